-- Single shots that memory has no room for wait here with owner 0 and are claimed like
-- other work; requested_at says from when on.

-- +goose Up
CREATE INDEX oneshots_owner ON oneshots (owner, endpoint, requested_at);
CREATE INDEX oneshots_endpoint ON oneshots (endpoint);

-- +goose Down
DROP INDEX oneshots_endpoint;
DROP INDEX oneshots_owner;
