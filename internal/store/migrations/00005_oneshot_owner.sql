-- Who will make an attempt that was asked for by hand. One process has the file, so
-- here it says nothing; the column keeps the texts the same for every database.

-- +goose Up
ALTER TABLE oneshots ADD COLUMN owner INTEGER NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE oneshots DROP COLUMN owner;
