-- Statistics in spans of time: docs/decisions/028-statistics.md. What happened is in the
-- rows of stat_log, which each transaction adds to, until the span is over. Then it is in
-- stats, a row for each subject: a mode (no tenant), a tenant (no endpoint) or an
-- endpoint. A subject may have several rows of one span, which are added up.

-- +goose Up
CREATE TABLE stat_log (
  id       INTEGER PRIMARY KEY, -- unix microseconds * 1024 and a few bits of the process
  span     INTEGER NOT NULL, -- seconds: 60 or 3600
  start    INTEGER NOT NULL, -- of the span
  fresh    INTEGER NOT NULL, -- 1: not yet part of a sum of the span
  subjects INTEGER NOT NULL, -- in data
  data     BLOB NOT NULL
);

-- Spans come first, so that rows are added at the end and removed from the front.
CREATE TABLE stats (
  span     INTEGER NOT NULL,
  start    INTEGER NOT NULL,
  mode     INTEGER NOT NULL,
  tenant   TEXT NOT NULL,
  endpoint BLOB NOT NULL,
  part     INTEGER NOT NULL, -- tells rows of one subject and span apart
  data     BLOB NOT NULL,
  PRIMARY KEY (span, start, mode, tenant, endpoint, part)
) WITHOUT ROWID;

-- +goose Down
DROP TABLE stats;
DROP TABLE stat_log;
