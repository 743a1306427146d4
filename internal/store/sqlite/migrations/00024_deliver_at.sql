-- Events that are sent at a later time, and the rate limit of a tenant's endpoints that have none.

-- +goose Up
ALTER TABLE events ADD COLUMN deliver_at INTEGER; -- NULL: at once
ALTER TABLE tenants ADD COLUMN rate_limit REAL NOT NULL DEFAULT 0; -- attempts per second; 0: none

-- +goose Down
ALTER TABLE tenants DROP COLUMN rate_limit;
ALTER TABLE events DROP COLUMN deliver_at;
