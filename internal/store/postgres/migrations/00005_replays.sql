-- Replays: jobs that send again, to one endpoint, what was accepted before. The range
-- [low, high) of events is what is left to look at; each page of a job shrinks it in the
-- transaction that makes the page's attempts. state is 0 running, 1 paused, 2 done,
-- 3 cancelled, 4 failed.

-- +goose Up
CREATE TABLE replays (
  id         bytea NOT NULL PRIMARY KEY,
  mode       bigint NOT NULL,
  tenant     text COLLATE "C" NOT NULL,
  endpoint   bytea NOT NULL,
  source     text COLLATE "C" NOT NULL,
  filter     text COLLATE "C" NOT NULL, -- JSON
  newest     bigint NOT NULL, -- 1: the newest first
  rate       double precision NOT NULL, -- a second
  hold       bigint NOT NULL, -- 1: waits while the endpoint is disabled
  state      bigint NOT NULL,
  reason     text COLLATE "C" NOT NULL,
  low        bytea NOT NULL,
  high       bytea NOT NULL,
  exhausted  bigint NOT NULL, -- 1: nothing is left of the range
  total      bigint NOT NULL, -- counted when the job was made
  exact      bigint NOT NULL, -- 0: the count stopped at its bound
  requested  bigint NOT NULL, -- attempts asked for
  created    bigint NOT NULL, -- deliveries made
  skipped    bigint NOT NULL,
  delivered  bigint NOT NULL, -- of the attempts asked for
  failed     bigint NOT NULL,
  dropped    bigint NOT NULL,
  owner      bigint NOT NULL, -- epoch of the node that runs it
  fence      bigint NOT NULL, -- raised whenever it changes hands
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL,
  ended_at   bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
CREATE INDEX replays_scope ON replays (mode, tenant, id);
CREATE INDEX replays_active ON replays (mode, tenant) WHERE state < 2;
CREATE INDEX replays_ended ON replays (ended_at) WHERE ended_at > 0;

ALTER TABLE oneshots ADD COLUMN replay bytea; -- the job that asked for it; NULL: none

-- +goose Down
ALTER TABLE oneshots DROP COLUMN replay;
DROP TABLE replays;
