-- Indexes of small tables whose lists read all rows: alerts of one tenant that wait for a
-- digest, and portal sessions of a mode.

-- +goose Up
CREATE INDEX alert_sums_scope ON alert_sums (mode, tenant, id);
CREATE INDEX web_sessions_mode ON web_sessions (kind, mode, id);

-- +goose Down
DROP INDEX web_sessions_mode;
DROP INDEX alert_sums_scope;
