-- Columns that have a meaning where several nodes share a database; one process has
-- the file, so here they say little. They keep the texts the same for every database.

-- +goose Up
ALTER TABLE oneshots ADD COLUMN owner INTEGER NOT NULL DEFAULT 0; -- who will make the attempt
ALTER TABLE profiles ADD COLUMN kept_at INTEGER NOT NULL DEFAULT 0; -- when the text was put in force

ALTER TABLE endpoints ADD COLUMN home INTEGER NOT NULL DEFAULT 0; -- of a listener: the process that it is connected to

-- +goose Down
ALTER TABLE endpoints DROP COLUMN home;
ALTER TABLE profiles DROP COLUMN kept_at;
ALTER TABLE oneshots DROP COLUMN owner;
