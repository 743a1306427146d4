-- Operational endpoints, the alerts about an endpoint's health, and alerts that a digest sums up.

-- +goose Up
ALTER TABLE endpoints ADD COLUMN operational INTEGER NOT NULL DEFAULT 0; -- 1: it gets alerts and nothing else
ALTER TABLE endpoints ADD COLUMN alarm INTEGER NOT NULL DEFAULT 0; -- a set, see hook.Alarm

CREATE TABLE alert_sums (
	id BLOB NOT NULL PRIMARY KEY,
	mode INTEGER NOT NULL,
	tenant TEXT NOT NULL, -- whose operational endpoints get the digest
	type TEXT NOT NULL,
	n INTEGER NOT NULL,
	at INTEGER NOT NULL,
	example TEXT NOT NULL -- hook.AlertExample
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE alert_sums;
ALTER TABLE endpoints DROP COLUMN alarm;
ALTER TABLE endpoints DROP COLUMN operational;
