-- Erasures: jobs that remove a tenant or an event with all its rows, and their receipts.
-- state is 0 running, 1 done.

-- +goose Up
CREATE TABLE erasures (
  id           bytea NOT NULL PRIMARY KEY,
  mode         bigint NOT NULL,
  tenant       text COLLATE "C" NOT NULL,
  event        bytea NOT NULL,    -- 16 zero bytes: the whole tenant
  public_id    bytea NOT NULL,
  state        bigint NOT NULL,
  step         text COLLATE "C" NOT NULL,    -- what it works on; empty: it is done
  progress     bytea NOT NULL,    -- how far that step got
  counts       text COLLATE "C" NOT NULL,    -- JSON: rows removed, by table
  asked_kind   text COLLATE "C" NOT NULL,    -- of the key that asked for it
  asked_by     text COLLATE "C" NOT NULL,
  owner        bigint NOT NULL, -- the process that runs it
  fence        bigint NOT NULL, -- raised whenever it changes hands
  created_at   bigint NOT NULL,
  updated_at   bigint NOT NULL,
  ended_at     bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
CREATE INDEX erasures_mode ON erasures (mode, id);
CREATE INDEX erasures_of ON erasures (tenant, event, id);
CREATE INDEX erasures_event ON erasures (mode, public_id, id);
CREATE INDEX erasures_running ON erasures (id) WHERE state = 0;
CREATE INDEX erasures_ended ON erasures (ended_at) WHERE ended_at > 0;

ALTER TABLE event_types ADD COLUMN redact text COLLATE "C" NOT NULL DEFAULT ''; -- JSON array of JSON pointers; empty: nothing

-- +goose Down
ALTER TABLE event_types DROP COLUMN redact;
DROP TABLE erasures;
