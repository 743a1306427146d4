-- Replays: jobs that send again, to one endpoint, what was accepted before. The range
-- [low, high) of events is what is left to look at; each page of a job shrinks it in the
-- transaction that makes the page's attempts. state is 0 running, 1 paused, 2 done,
-- 3 cancelled, 4 failed.

-- +goose Up
CREATE TABLE replays (
  id         BLOB NOT NULL PRIMARY KEY,
  mode       INTEGER NOT NULL,
  tenant     TEXT NOT NULL,
  endpoint   BLOB NOT NULL,
  source     TEXT NOT NULL,
  filter     TEXT NOT NULL,    -- JSON
  newest     INTEGER NOT NULL, -- 1: the newest first
  rate       REAL NOT NULL,    -- a second
  hold       INTEGER NOT NULL, -- 1: waits while the endpoint is disabled
  state      INTEGER NOT NULL,
  reason     TEXT NOT NULL,
  low        BLOB NOT NULL,
  high       BLOB NOT NULL,
  exhausted  INTEGER NOT NULL, -- 1: nothing is left of the range
  total      INTEGER NOT NULL, -- counted when the job was made
  exact      INTEGER NOT NULL, -- 0: the count stopped at its bound
  requested  INTEGER NOT NULL, -- attempts asked for
  created    INTEGER NOT NULL, -- deliveries made
  skipped    INTEGER NOT NULL,
  delivered  INTEGER NOT NULL, -- of the attempts asked for
  failed     INTEGER NOT NULL,
  dropped    INTEGER NOT NULL,
  owner      INTEGER NOT NULL, -- the process that runs it
  fence      INTEGER NOT NULL, -- raised whenever it changes hands
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  ended_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX replays_scope ON replays (mode, tenant, id);
CREATE INDEX replays_active ON replays (mode, tenant) WHERE state < 2;
CREATE INDEX replays_ended ON replays (ended_at) WHERE ended_at > 0;

ALTER TABLE oneshots ADD COLUMN replay BLOB; -- the job that asked for it; NULL: none

-- +goose Down
ALTER TABLE oneshots DROP COLUMN replay;
DROP TABLE replays;
