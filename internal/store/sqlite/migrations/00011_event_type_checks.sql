-- Whether published data is checked against the schema of its type.

-- +goose Up
ALTER TABLE event_types ADD COLUMN enforce INTEGER NOT NULL DEFAULT 0; -- 0: off, 1: warn, 2: reject

-- +goose Down
ALTER TABLE event_types DROP COLUMN enforce;
