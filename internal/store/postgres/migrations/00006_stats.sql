-- Statistics in spans of time: docs/decisions/028-statistics.md. What happened is in the
-- rows of stat_log, which each transaction adds to, until the span is over. Then it is in
-- stats, a row for each subject: a mode (no tenant), a tenant (no endpoint) or an
-- endpoint. A subject may have several rows of one span, which are added up.

-- +goose Up
CREATE TABLE stat_log (
  id       bigint PRIMARY KEY, -- unix microseconds * 1024 and a few bits of the node
  span     bigint NOT NULL, -- seconds: 60 or 3600
  start    bigint NOT NULL, -- of the span
  fresh    bigint NOT NULL, -- 1: not yet part of a sum of the span
  subjects bigint NOT NULL, -- in data
  data     bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Spans come first, so that rows are added at the end and removed from the front.
CREATE TABLE stats (
  span     bigint NOT NULL,
  start    bigint NOT NULL,
  mode     bigint NOT NULL,
  tenant   text COLLATE "C" NOT NULL,
  endpoint bytea NOT NULL,
  part     bigint NOT NULL, -- tells rows of one subject and span apart
  data     bytea NOT NULL,
  PRIMARY KEY (span, start, mode, tenant, endpoint, part)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

-- +goose Down
DROP TABLE stats, stat_log;
