-- The catalogue of event types: what platforms tell their customers about them.

-- +goose Up
CREATE TABLE event_types (
  mode        INTEGER NOT NULL,
  name        TEXT NOT NULL,
  description TEXT NOT NULL,
  schema      BLOB, -- JSON Schema; NULL: none
  example     BLOB, -- data of an event; NULL: none
  created_at  INTEGER NOT NULL,
  updated_at  INTEGER NOT NULL,
  PRIMARY KEY (mode, name)
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE event_types;
