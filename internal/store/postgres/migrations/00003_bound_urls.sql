-- Sealed headers and queries are bound to the URL that they belong to, which earlier
-- releases cannot open. The tables stay as they are: the version keeps such a release from
-- starting here.

-- +goose Up
SELECT 1;

-- +goose Down
SELECT 1;
