-- What a key may do less than others of its kind, and when it was last used.

-- +goose Up
ALTER TABLE keys ADD COLUMN expires_at bigint NOT NULL DEFAULT 0; -- 0: never
ALTER TABLE keys ADD COLUMN last_used_at bigint NOT NULL DEFAULT 0; -- to the minute; 0: not yet
ALTER TABLE keys ADD COLUMN read_only bigint NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN event_types text COLLATE "C" NOT NULL DEFAULT ''; -- entries of a filter, a space between them; empty: all
ALTER TABLE keys ADD COLUMN networks text COLLATE "C" NOT NULL DEFAULT ''; -- CIDR, a space between them; empty: any

-- +goose Down
ALTER TABLE keys DROP COLUMN networks;
ALTER TABLE keys DROP COLUMN event_types;
ALTER TABLE keys DROP COLUMN read_only;
ALTER TABLE keys DROP COLUMN last_used_at;
ALTER TABLE keys DROP COLUMN expires_at;
