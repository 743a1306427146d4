-- The platform's own names and notes of endpoints and tenants.

-- +goose Up
ALTER TABLE endpoints ADD COLUMN uid text COLLATE "C" NOT NULL DEFAULT ''; -- '': none
ALTER TABLE endpoints ADD COLUMN metadata text COLLATE "C" NOT NULL DEFAULT ''; -- a JSON object of texts; '': none
ALTER TABLE tenants ADD COLUMN metadata text COLLATE "C" NOT NULL DEFAULT ''; -- a JSON object of texts; '': none

-- +goose Down
ALTER TABLE tenants DROP COLUMN metadata;
ALTER TABLE endpoints DROP COLUMN metadata;
ALTER TABLE endpoints DROP COLUMN uid;
