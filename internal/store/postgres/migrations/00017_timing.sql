-- Which address an attempt went to, and how long its phases took.

-- +goose Up
ALTER TABLE attempts ADD COLUMN timing bytea; -- packed (sqltext.PackTiming); NULL: no address

-- +goose Down
ALTER TABLE attempts DROP COLUMN timing;
