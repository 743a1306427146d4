-- Channels: a second filter besides the event type. Stored as ",a,b,".

-- +goose Up
ALTER TABLE endpoints ADD COLUMN channels TEXT NOT NULL DEFAULT ''; -- '': it gets events of any channel
ALTER TABLE endpoint_revisions ADD COLUMN channels TEXT NOT NULL DEFAULT '';
ALTER TABLE events ADD COLUMN channels TEXT; -- NULL: none

-- +goose Down
ALTER TABLE events DROP COLUMN channels;
ALTER TABLE endpoint_revisions DROP COLUMN channels;
ALTER TABLE endpoints DROP COLUMN channels;
