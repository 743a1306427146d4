-- Operational endpoints, the alerts about an endpoint's health, and alerts that a digest sums up.

-- +goose Up
ALTER TABLE endpoints ADD COLUMN operational bigint NOT NULL DEFAULT 0; -- 1: it gets alerts and nothing else
ALTER TABLE endpoints ADD COLUMN alarm bigint NOT NULL DEFAULT 0; -- a set, see hook.Alarm

CREATE TABLE alert_sums (
	id bytea PRIMARY KEY,
	mode bigint NOT NULL,
	tenant text COLLATE "C" NOT NULL, -- whose operational endpoints get the digest
	type text COLLATE "C" NOT NULL,
	n bigint NOT NULL,
	at bigint NOT NULL,
	example text COLLATE "C" NOT NULL -- hook.AlertExample
);

-- +goose Down
DROP TABLE alert_sums;
ALTER TABLE endpoints DROP COLUMN alarm;
ALTER TABLE endpoints DROP COLUMN operational;
