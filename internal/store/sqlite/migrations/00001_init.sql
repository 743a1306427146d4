-- Times are unix microseconds, 0 for none. Ids are 16 bytes. Every table below
-- tenants carries mode and tenant, and every unique key there includes mode.

-- +goose Up
CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value ANY NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tenants (
  seq        INTEGER PRIMARY KEY, -- order of creation, for lists
  id         TEXT NOT NULL UNIQUE,
  name       TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  deleted_at INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE keys (
  id         BLOB NOT NULL PRIMARY KEY,
  kind       TEXT NOT NULL,
  mode       INTEGER NOT NULL,
  tenant     TEXT NOT NULL, -- empty: all tenants
  name       TEXT NOT NULL,
  hash       BLOB NOT NULL UNIQUE, -- SHA-256 of the key's text
  created_at INTEGER NOT NULL,
  revoked_at INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX keys_scope ON keys (mode, tenant, id);

CREATE TABLE endpoints (
  id              BLOB NOT NULL PRIMARY KEY,
  mode            INTEGER NOT NULL,
  tenant          TEXT NOT NULL,
  url             TEXT NOT NULL,
  types           TEXT NOT NULL, -- JSON array
  title           TEXT NOT NULL,
  description     TEXT NOT NULL,
  profile         TEXT NOT NULL,
  headers_sealed  BLOB,          -- JSON array, sealed; NULL: none
  rate_limit      REAL NOT NULL,
  max_in_flight   INTEGER NOT NULL,
  max_failures    INTEGER NOT NULL,
  retry           TEXT,          -- JSON; NULL: the profile's
  status          INTEGER NOT NULL,
  disabled_reason TEXT NOT NULL,
  disabled_at     INTEGER NOT NULL,
  created_at      INTEGER NOT NULL,
  updated_at      INTEGER NOT NULL,
  revision        INTEGER NOT NULL,
  enablings       INTEGER NOT NULL,
  sweep           TEXT NOT NULL DEFAULT '', -- work under way over its open deliveries
  sweep_reason    TEXT NOT NULL DEFAULT '',
  sweep_bound     BLOB NOT NULL DEFAULT x'', -- hold: events younger than this stay as they are
  sweep_next      TEXT NOT NULL DEFAULT ''   -- the sweep that follows
) STRICT;
CREATE INDEX endpoints_scope ON endpoints (mode, tenant, id);
CREATE INDEX endpoints_sweep ON endpoints (id) WHERE sweep <> '';

CREATE TABLE secrets (
  endpoint   BLOB NOT NULL,
  version    INTEGER NOT NULL,
  mode       INTEGER NOT NULL,
  tenant     TEXT NOT NULL,
  encoding   TEXT NOT NULL,
  sealed     BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (endpoint, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE endpoint_revisions (
  endpoint BLOB NOT NULL,
  revision INTEGER NOT NULL,
  mode     INTEGER NOT NULL,
  tenant   TEXT NOT NULL,
  at       INTEGER NOT NULL,
  url      TEXT NOT NULL, -- for display: the query masked
  types    TEXT NOT NULL,
  status   INTEGER NOT NULL,
  profile  TEXT NOT NULL,
  PRIMARY KEY (endpoint, revision)
) STRICT, WITHOUT ROWID;

CREATE TABLE health (
  endpoint         BLOB NOT NULL PRIMARY KEY,
  mode             INTEGER NOT NULL,
  tenant           TEXT NOT NULL,
  failures         INTEGER NOT NULL,
  first_failure_at INTEGER NOT NULL,
  last_failure_at  INTEGER NOT NULL,
  warned_at        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Events keep their rowid: a table without one would carry the data in its inner
-- pages, at several times the size.
CREATE TABLE events (
  id          BLOB NOT NULL PRIMARY KEY,
  mode        INTEGER NOT NULL,
  tenant      TEXT NOT NULL,
  public_id   BLOB, -- NULL: id
  kind        INTEGER NOT NULL,
  type        TEXT NOT NULL,
  created_at  INTEGER NOT NULL, -- the platform's
  accepted_at INTEGER NOT NULL, -- ours
  data        BLOB NOT NULL,
  checksum    INTEGER NOT NULL  -- CRC-32C of data
) STRICT;
CREATE INDEX events_scope ON events (mode, tenant, id);

-- Only events whose id the platform gave. The id comes before the tenant so that
-- an operator finds an event without naming one.
CREATE TABLE event_ids (
  mode      INTEGER NOT NULL,
  public_id BLOB NOT NULL,
  tenant    TEXT NOT NULL,
  event     BLOB NOT NULL,
  hash      BLOB NOT NULL, -- SHA-256 of what was published
  PRIMARY KEY (mode, public_id, tenant)
) STRICT, WITHOUT ROWID;

CREATE TABLE deliveries (
  event       BLOB NOT NULL,
  endpoint    BLOB NOT NULL,
  id          BLOB NOT NULL, -- shares its first 8 bytes with event: found without an index
  mode        INTEGER NOT NULL,
  tenant      TEXT NOT NULL,
  type        TEXT NOT NULL,
  kind        INTEGER NOT NULL,
  profile     BLOB NOT NULL,
  state       INTEGER NOT NULL,
  reason      TEXT NOT NULL,
  attempts    INTEGER NOT NULL,
  scheduled   INTEGER NOT NULL, -- of the attempts, those that the schedule made
  due         INTEGER NOT NULL,
  last_status INTEGER NOT NULL,
  last_error  TEXT NOT NULL,
  created_at  INTEGER NOT NULL,
  settled_at  INTEGER NOT NULL,
  held_at     INTEGER NOT NULL,
  owner       INTEGER NOT NULL,
  fence       INTEGER NOT NULL,
  PRIMARY KEY (event, endpoint)
) STRICT, WITHOUT ROWID;
-- Claims (owner = 0), recovery (earlier owners) and the summary at start.
CREATE INDEX deliveries_open ON deliveries (owner, endpoint, due) WHERE state = 0;
-- The backlog of an endpoint and its failures. The OR form is the one that
-- SQLite's planner recognises in a query for one of the two.
CREATE INDEX deliveries_stopped ON deliveries (endpoint, state, event) WHERE state = 1 OR state = 3;

CREATE TABLE attempts (
  event            BLOB NOT NULL,
  endpoint         BLOB NOT NULL,
  number           INTEGER NOT NULL,
  mode             INTEGER NOT NULL,
  tenant           TEXT NOT NULL,
  at               INTEGER NOT NULL,
  duration_us      INTEGER NOT NULL,
  status           INTEGER NOT NULL,
  class            TEXT NOT NULL,
  message          TEXT NOT NULL,
  trigger_by       INTEGER NOT NULL,
  response_headers BLOB,
  response_body    BLOB,
  truncated        INTEGER NOT NULL,
  PRIMARY KEY (event, endpoint, number)
) STRICT, WITHOUT ROWID;

-- Attempts asked for by hand and not yet made. A crash loses none.
CREATE TABLE oneshots (
  event        BLOB NOT NULL,
  endpoint     BLOB NOT NULL,
  mode         INTEGER NOT NULL,
  tenant       TEXT NOT NULL,
  trigger_by   INTEGER NOT NULL,
  requested_at INTEGER NOT NULL,
  PRIMARY KEY (event, endpoint)
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency (
  mode       INTEGER NOT NULL,
  tenant     TEXT NOT NULL,
  route      TEXT NOT NULL,
  key        TEXT NOT NULL,
  body_hash  BLOB NOT NULL,
  status     INTEGER NOT NULL,
  answer     BLOB NOT NULL, -- sealed: it may hold a secret that is shown once
  created_at INTEGER NOT NULL,
  PRIMARY KEY (mode, tenant, route, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_age ON idempotency (created_at);

CREATE TABLE profiles (
  hash BLOB NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  text TEXT NOT NULL
) STRICT;

-- +goose Down
DROP TABLE profiles;
DROP TABLE idempotency;
DROP TABLE oneshots;
DROP TABLE attempts;
DROP TABLE deliveries;
DROP TABLE event_ids;
DROP TABLE events;
DROP TABLE health;
DROP TABLE endpoint_revisions;
DROP TABLE secrets;
DROP TABLE endpoints;
DROP TABLE keys;
DROP TABLE tenants;
DROP TABLE meta;
