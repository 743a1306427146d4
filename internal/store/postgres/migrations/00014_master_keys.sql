-- Which master keys a node has, by their ids. A node of an earlier release says none.

-- +goose Up
ALTER TABLE nodes ADD COLUMN master_keys text COLLATE "C" NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE nodes DROP COLUMN master_keys;
