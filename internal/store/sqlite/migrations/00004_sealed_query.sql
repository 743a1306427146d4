-- The query of an endpoint's URL often holds a token, so it is kept sealed: url ends
-- before the question mark. In rows of before it stands there until the next change.

-- +goose Up
ALTER TABLE endpoints ADD COLUMN query_sealed BLOB; -- with its question mark; NULL: none

-- +goose Down
ALTER TABLE endpoints DROP COLUMN query_sealed;
