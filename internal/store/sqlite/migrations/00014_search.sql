-- What searches need: tags of events, members of the data that become tags, and lists of a
-- mode without a tenant.

-- +goose Up
CREATE INDEX events_mode ON events (mode, id);

-- The tags of an event lie together, so that they are shown and dropped with it.
CREATE TABLE event_tags (
  event  BLOB NOT NULL,
  name   TEXT NOT NULL,
  value  TEXT NOT NULL,
  mode   INTEGER NOT NULL,
  tenant TEXT NOT NULL,
  PRIMARY KEY (event, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX event_tags_tenant ON event_tags (mode, tenant, name, value, event);
CREATE INDEX event_tags_mode ON event_tags (mode, name, value, event); -- for operators who name no tenant

ALTER TABLE event_types ADD COLUMN searchable TEXT NOT NULL DEFAULT ''; -- JSON: names of tags with pointers into the data; empty: none

CREATE INDEX audit_request ON audit (mode, request, id) WHERE request <> '';

-- +goose Down
DROP INDEX audit_request;
ALTER TABLE event_types DROP COLUMN searchable;
DROP TABLE event_tags;
DROP INDEX events_mode;
