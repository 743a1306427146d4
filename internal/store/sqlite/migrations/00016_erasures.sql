-- Erasures: jobs that remove a tenant or an event with all its rows, and their receipts.
-- state is 0 running, 1 done.

-- +goose Up
CREATE TABLE erasures (
  id           BLOB NOT NULL PRIMARY KEY,
  mode         INTEGER NOT NULL,
  tenant       TEXT NOT NULL,
  event        BLOB NOT NULL,    -- 16 zero bytes: the whole tenant
  public_id    BLOB NOT NULL,
  state        INTEGER NOT NULL,
  step         TEXT NOT NULL,    -- what it works on; empty: it is done
  progress     BLOB NOT NULL,    -- how far that step got
  counts       TEXT NOT NULL,    -- JSON: rows removed, by table
  asked_kind   TEXT NOT NULL,    -- of the key that asked for it
  asked_by     TEXT NOT NULL,
  owner        INTEGER NOT NULL, -- the process that runs it
  fence        INTEGER NOT NULL, -- raised whenever it changes hands
  created_at   INTEGER NOT NULL,
  updated_at   INTEGER NOT NULL,
  ended_at     INTEGER NOT NULL
) STRICT;
CREATE INDEX erasures_mode ON erasures (mode, id);
CREATE INDEX erasures_of ON erasures (tenant, event, id);
CREATE INDEX erasures_event ON erasures (mode, public_id, id);
CREATE INDEX erasures_running ON erasures (id) WHERE state = 0;
CREATE INDEX erasures_ended ON erasures (ended_at) WHERE ended_at > 0;

ALTER TABLE event_types ADD COLUMN redact TEXT NOT NULL DEFAULT ''; -- JSON array of JSON pointers; empty: nothing

-- +goose Down
ALTER TABLE event_types DROP COLUMN redact;
DROP TABLE erasures;
