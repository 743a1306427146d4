-- Retention by class (0 payloads, 1 answers of receivers, 2 events) and what the store
-- takes on disk. Times and durations are microseconds.

-- +goose Up
ALTER TABLE events ADD COLUMN payload_removed_at INTEGER; -- data is empty since then; NULL: it is there
ALTER TABLE attempts ADD COLUMN answer_removed_at INTEGER; -- NULL: it is there, or there was none

-- What a tenant keeps for less time than the server. -1: as the server.
CREATE TABLE tenant_retention (
  mode     INTEGER NOT NULL,
  tenant   TEXT NOT NULL,
  payloads INTEGER NOT NULL,
  answers  INTEGER NOT NULL,
  events   INTEGER NOT NULL,
  PRIMARY KEY (mode, tenant)
) STRICT, WITHOUT ROWID;

-- How far a class was worked off, for a tenant or for all (mode 0): everything up to the
-- event mark was removed or is in retention_due.
CREATE TABLE retention_marks (
  class  INTEGER NOT NULL,
  mode   INTEGER NOT NULL,
  tenant TEXT NOT NULL,
  keep   INTEGER NOT NULL, -- how long the class was kept when the mark was set
  mark   BLOB NOT NULL,
  PRIMARY KEY (class, mode, tenant)
) STRICT, WITHOUT ROWID;

-- Events that must be looked at again: passed while they were still needed, or with a
-- retention of their own.
CREATE TABLE retention_due (
  class INTEGER NOT NULL,
  event BLOB NOT NULL,
  due   INTEGER NOT NULL,
  keep  INTEGER NOT NULL, -- the event's own retention; -1: none
  PRIMARY KEY (class, event)
) STRICT, WITHOUT ROWID;
CREATE INDEX retention_due_at ON retention_due (class, due);

-- Estimated bytes by the day of the event (days since 1970).
CREATE TABLE disk_usage (
  mode     INTEGER NOT NULL,
  tenant   TEXT NOT NULL,
  day      INTEGER NOT NULL,
  payloads INTEGER NOT NULL,
  metadata INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  PRIMARY KEY (mode, tenant, day)
) STRICT, WITHOUT ROWID;

-- The size of the store each hour, for its growth.
CREATE TABLE disk_samples (
  at   INTEGER NOT NULL PRIMARY KEY,
  used INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE disk_samples;
DROP TABLE disk_usage;
DROP TABLE retention_due;
DROP TABLE retention_marks;
DROP TABLE tenant_retention;
ALTER TABLE attempts DROP COLUMN answer_removed_at;
ALTER TABLE events DROP COLUMN payload_removed_at;
