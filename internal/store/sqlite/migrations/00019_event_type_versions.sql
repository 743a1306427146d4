-- Versions of event types, groups, and types that are deprecated or hidden.

-- +goose Up
ALTER TABLE event_types ADD COLUMN type_group TEXT NOT NULL DEFAULT '';
ALTER TABLE event_types ADD COLUMN version INTEGER NOT NULL DEFAULT 1; -- of schema and example
ALTER TABLE event_types ADD COLUMN other_versions BLOB; -- JSON: the other versions with their schemas and examples; NULL: none
ALTER TABLE event_types ADD COLUMN deprecated INTEGER NOT NULL DEFAULT 0;
ALTER TABLE event_types ADD COLUMN replacement TEXT NOT NULL DEFAULT ''; -- of a deprecated type: the name of another
ALTER TABLE event_types ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0; -- 1: tenants do not see it

-- +goose Down
ALTER TABLE event_types DROP COLUMN hidden;
ALTER TABLE event_types DROP COLUMN replacement;
ALTER TABLE event_types DROP COLUMN deprecated;
ALTER TABLE event_types DROP COLUMN other_versions;
ALTER TABLE event_types DROP COLUMN version;
ALTER TABLE event_types DROP COLUMN type_group;
