-- The schema of the SQLite files beside this folder, in PostgreSQL's words, with what
-- several nodes need: nodes, config, news and three functions. Times are unix
-- microseconds, 0 for none; ids are 16 bytes; texts sort by their bytes.

-- +goose Up
CREATE TABLE meta (
  key   text COLLATE "C" PRIMARY KEY,
  value bytea NOT NULL
);

-- One row. version counts changes of what nodes keep in memory, news counts lines of
-- the table of that name, floor is below every id that may still be given.
CREATE TABLE config (
  one     boolean PRIMARY KEY DEFAULT true CHECK (one),
  version bigint NOT NULL DEFAULT 1,
  news    bigint NOT NULL DEFAULT 0,
  floor   bytea NOT NULL DEFAULT ''
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);
INSERT INTO config DEFAULT VALUES;

-- What nodes tell each other: a scope or keys that changed, a waiting job that must
-- not be attempted, work that waits for a node.
CREATE TABLE news (
  seq      bigint PRIMARY KEY,
  node     bigint NOT NULL,
  kind     bigint NOT NULL,
  mode     bigint NOT NULL,
  tenant   text COLLATE "C" NOT NULL,
  event    bytea NOT NULL,
  endpoint bytea NOT NULL,
  at       bigint NOT NULL
);

-- A node's row is its lease: alive while taker is 0 and seen_at is not older than
-- lease. Each connection it writes with leaves the number of its last write in
-- node_writes; a write whose number is not greater comes too late.
CREATE SEQUENCE node_epochs;
CREATE TABLE nodes (
  epoch      bigint PRIMARY KEY,
  name       text COLLATE "C" NOT NULL,
  version    text COLLATE "C" NOT NULL,
  started_at timestamptz NOT NULL,
  seen_at    timestamptz NOT NULL,
  lease      interval NOT NULL,
  gone       boolean NOT NULL DEFAULT false, -- it left by itself
  taker      bigint NOT NULL DEFAULT 0,      -- epoch of the node that takes its work over
  done       boolean NOT NULL DEFAULT false  -- the takeover is complete
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

CREATE TABLE node_writes (
  epoch  bigint NOT NULL,
  lane   bigint NOT NULL,
  number bigint NOT NULL,
  PRIMARY KEY (epoch, lane)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

CREATE TABLE tenants (
  seq        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- order of creation, for lists
  id         text COLLATE "C" NOT NULL UNIQUE,
  name       text COLLATE "C" NOT NULL,
  created_at bigint NOT NULL,
  deleted_at bigint NOT NULL DEFAULT 0
);

CREATE TABLE keys (
  id         bytea NOT NULL PRIMARY KEY,
  kind       text COLLATE "C" NOT NULL,
  mode       bigint NOT NULL,
  tenant     text COLLATE "C" NOT NULL, -- empty: all tenants
  name       text COLLATE "C" NOT NULL,
  hash       bytea NOT NULL UNIQUE, -- SHA-256 of the key's text
  created_at bigint NOT NULL,
  revoked_at bigint NOT NULL DEFAULT 0
);
CREATE INDEX keys_scope ON keys (mode, tenant, id);

CREATE TABLE endpoints (
  id              bytea NOT NULL PRIMARY KEY,
  mode            bigint NOT NULL,
  tenant          text COLLATE "C" NOT NULL,
  url             text COLLATE "C" NOT NULL, -- without its query
  query_sealed    bytea,         -- with its question mark; NULL: none
  types           text COLLATE "C" NOT NULL, -- JSON array
  title           text COLLATE "C" NOT NULL,
  description     text COLLATE "C" NOT NULL,
  profile         text COLLATE "C" NOT NULL,
  headers_sealed  bytea,         -- JSON array, sealed; NULL: none
  rate_limit      double precision NOT NULL,
  max_in_flight   bigint NOT NULL,
  max_failures    bigint NOT NULL,
  retry           text COLLATE "C", -- JSON; NULL: the profile's
  status          bigint NOT NULL,
  disabled_reason text COLLATE "C" NOT NULL,
  disabled_at     bigint NOT NULL,
  created_at      bigint NOT NULL,
  updated_at      bigint NOT NULL,
  revision        bigint NOT NULL,
  enablings       bigint NOT NULL,
  home            bigint NOT NULL DEFAULT 0, -- of a listener: epoch of the node that it is connected to
  sweep           text COLLATE "C" NOT NULL DEFAULT '', -- work under way over its open deliveries
  sweep_reason    text COLLATE "C" NOT NULL DEFAULT '',
  sweep_bound     bytea NOT NULL DEFAULT '', -- hold: events younger than this stay as they are
  sweep_next      text COLLATE "C" NOT NULL DEFAULT ''   -- the sweep that follows
);
CREATE INDEX endpoints_scope ON endpoints (mode, tenant, id);
CREATE INDEX endpoints_home ON endpoints (home) WHERE home <> 0;
CREATE INDEX endpoints_sweep ON endpoints (id) WHERE sweep <> '';

CREATE TABLE secrets (
  endpoint   bytea NOT NULL,
  version    bigint NOT NULL,
  mode       bigint NOT NULL,
  tenant     text COLLATE "C" NOT NULL,
  encoding   text COLLATE "C" NOT NULL,
  sealed     bytea NOT NULL,
  created_at bigint NOT NULL,
  expires_at bigint NOT NULL,
  PRIMARY KEY (endpoint, version)
);

CREATE TABLE endpoint_revisions (
  endpoint bytea NOT NULL,
  revision bigint NOT NULL,
  mode     bigint NOT NULL,
  tenant   text COLLATE "C" NOT NULL,
  at       bigint NOT NULL,
  url      text COLLATE "C" NOT NULL, -- for display: the query masked
  types    text COLLATE "C" NOT NULL,
  status   bigint NOT NULL,
  profile  text COLLATE "C" NOT NULL,
  PRIMARY KEY (endpoint, revision)
);

CREATE TABLE health (
  endpoint         bytea NOT NULL PRIMARY KEY,
  mode             bigint NOT NULL,
  tenant           text COLLATE "C" NOT NULL,
  failures         bigint NOT NULL,
  first_failure_at bigint NOT NULL,
  last_failure_at  bigint NOT NULL,
  warned_at        bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Events, deliveries and attempts are kept in partitions by the id of the event, which
-- begins with its time. The partitions are made ahead and dropped by the nodes; what has
-- no partition of its own is in the default one.
CREATE TABLE events (
  id          bytea NOT NULL PRIMARY KEY,
  mode        bigint NOT NULL,
  tenant      text COLLATE "C" NOT NULL,
  public_id   bytea, -- NULL: id
  kind        bigint NOT NULL,
  type        text COLLATE "C" NOT NULL,
  created_at  bigint NOT NULL, -- the platform's
  accepted_at bigint NOT NULL, -- ours
  data        bytea NOT NULL,
  checksum    bigint NOT NULL  -- CRC-32C of data
) PARTITION BY RANGE (id);
CREATE INDEX events_scope ON events (mode, tenant, id);
CREATE TABLE events_default PARTITION OF events DEFAULT;

-- Only events whose id the platform gave. The id comes before the tenant so that
-- an operator finds an event without naming one.
CREATE TABLE event_ids (
  mode      bigint NOT NULL,
  public_id bytea NOT NULL,
  tenant    text COLLATE "C" NOT NULL,
  event     bytea NOT NULL,
  hash      bytea NOT NULL, -- SHA-256 of what was published
  PRIMARY KEY (mode, public_id, tenant)
);
CREATE INDEX event_ids_event ON event_ids (event);

CREATE TABLE deliveries (
  event       bytea NOT NULL,
  endpoint    bytea NOT NULL,
  id          bytea NOT NULL, -- shares its first 8 bytes with event: found without an index
  mode        bigint NOT NULL,
  tenant      text COLLATE "C" NOT NULL,
  type        text COLLATE "C" NOT NULL,
  kind        bigint NOT NULL,
  profile     bytea NOT NULL,
  state       bigint NOT NULL,
  reason      text COLLATE "C" NOT NULL,
  attempts    bigint NOT NULL,
  scheduled   bigint NOT NULL, -- of the attempts, those that the schedule made
  due         bigint NOT NULL,
  last_status bigint NOT NULL,
  last_error  text COLLATE "C" NOT NULL,
  created_at  bigint NOT NULL,
  settled_at  bigint NOT NULL,
  held_at     bigint NOT NULL,
  owner       bigint NOT NULL, -- epoch of the node that holds it in memory, 0: none
  fence       bigint NOT NULL,
  PRIMARY KEY (event, endpoint)
) PARTITION BY RANGE (event);
-- Claims (owner = 0), takeovers (dead owners), sweeps, and the summary at start.
CREATE INDEX deliveries_open ON deliveries (endpoint, owner, due) WHERE state = 0;
-- The backlog of an endpoint and its failures.
CREATE INDEX deliveries_stopped ON deliveries (endpoint, state, event) WHERE state = 1 OR state = 3;
-- Test events pass a disabled endpoint, so no claim finds those of a dead node.
CREATE INDEX deliveries_tests ON deliveries (event) WHERE state = 0 AND kind = 1;
CREATE TABLE deliveries_default PARTITION OF deliveries DEFAULT;

CREATE TABLE attempts (
  event            bytea NOT NULL,
  endpoint         bytea NOT NULL,
  number           bigint NOT NULL,
  mode             bigint NOT NULL,
  tenant           text COLLATE "C" NOT NULL,
  at               bigint NOT NULL,
  duration_us      bigint NOT NULL,
  status           bigint NOT NULL,
  class            text COLLATE "C" NOT NULL,
  message          text COLLATE "C" NOT NULL,
  trigger_by       bigint NOT NULL,
  response_headers bytea,
  response_body    bytea,
  truncated        bigint NOT NULL,
  PRIMARY KEY (event, endpoint, number)
) PARTITION BY RANGE (event);
CREATE TABLE attempts_default PARTITION OF attempts DEFAULT;

-- Attempts asked for by hand and not yet made. A crash loses none.
CREATE TABLE oneshots (
  event        bytea NOT NULL,
  endpoint     bytea NOT NULL,
  mode         bigint NOT NULL,
  tenant       text COLLATE "C" NOT NULL,
  trigger_by   bigint NOT NULL,
  requested_at bigint NOT NULL,
  owner        bigint NOT NULL, -- epoch of the node that will make it
  PRIMARY KEY (event, endpoint)
);

CREATE TABLE idempotency (
  mode       bigint NOT NULL,
  tenant     text COLLATE "C" NOT NULL,
  route      text COLLATE "C" NOT NULL,
  key        text COLLATE "C" NOT NULL,
  body_hash  bytea NOT NULL,
  status     bigint NOT NULL,
  answer     bytea NOT NULL, -- sealed: it may hold a secret that is shown once
  created_at bigint NOT NULL,
  PRIMARY KEY (mode, tenant, route, key)
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX idempotency_age ON idempotency (created_at);

CREATE TABLE profiles (
  hash bytea NOT NULL PRIMARY KEY,
  name text COLLATE "C" NOT NULL,
  text text COLLATE "C" NOT NULL,
  kept_at bigint NOT NULL DEFAULT 0 -- the newest text of a name is in force on all nodes
);

CREATE TABLE oauth_tokens (
  hash       bytea NOT NULL PRIMARY KEY, -- SHA-256 of the token's text
  key        bytea NOT NULL,             -- it dies with this key
  mode       bigint NOT NULL,
  tenant     text COLLATE "C" NOT NULL,
  created_at bigint NOT NULL,
  expires_at bigint NOT NULL
);
CREATE INDEX oauth_tokens_age ON oauth_tokens (expires_at);

CREATE TABLE partner_users (
  id         bytea NOT NULL PRIMARY KEY,
  mode       bigint NOT NULL,
  partner    text COLLATE "C" NOT NULL, -- the tenant whose keys may act
  user_id    text COLLATE "C" NOT NULL, -- the partner's name for the user
  tenant     text COLLATE "C" NOT NULL, -- the tenant acted for
  created_at bigint NOT NULL
);
CREATE UNIQUE INDEX partner_users_user ON partner_users (mode, partner, user_id);

CREATE TABLE event_types (
  mode        bigint NOT NULL,
  name        text COLLATE "C" NOT NULL,
  description text COLLATE "C" NOT NULL,
  schema      bytea, -- JSON Schema; NULL: none
  example     bytea, -- data of an event; NULL: none
  created_at  bigint NOT NULL,
  updated_at  bigint NOT NULL,
  PRIMARY KEY (mode, name)
);

-- The last statement of every write. It makes sure that the node that writes is alive
-- and knows the configuration in force, that nobody changes that until the commit, and
-- that the commit will wait for the disk. It leaves the number of the write, by which
-- the node finds out after a lost connection whether the write was committed.
-- +goose StatementBegin
CREATE FUNCTION posthorn_guard(me bigint, of_lane bigint, write_number bigint, known bigint, change boolean, durable boolean) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
  now_in_force bigint;
BEGIN
  IF NOT durable THEN
    PERFORM set_config('synchronous_commit', 'off', true);
  ELSIF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') OR current_setting('fsync') <> 'on' THEN
    RAISE EXCEPTION 'synchronous_commit is %, fsync is %', current_setting('synchronous_commit'), current_setting('fsync') USING ERRCODE = 'PH003';
  END IF;
  IF change THEN
    PERFORM pg_advisory_xact_lock(7596481, 1);
  ELSE
    PERFORM pg_advisory_xact_lock_shared(7596481, 1);
  END IF;
  SELECT version INTO now_in_force FROM config;
  IF now_in_force <> known THEN
    RAISE EXCEPTION 'the configuration changed' USING ERRCODE = 'PH001';
  END IF;
  PERFORM FROM nodes WHERE epoch = me AND taker = 0;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'the lease of node % is over', me USING ERRCODE = 'PH002';
  END IF;
  UPDATE node_writes SET number = write_number WHERE epoch = me AND lane = of_lane AND number < write_number;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'write % of node % was given up', write_number, me USING ERRCODE = 'PH005';
  END IF;
  IF change THEN
    UPDATE config SET version = version + 1 RETURNING version INTO now_in_force;
  END IF;
  RETURN now_in_force;
END $$;
-- +goose StatementEnd

-- A write that moves rows expects to find all of them as it left them.
-- +goose StatementBegin
CREATE FUNCTION posthorn_expect(moved bigint, wanted bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
BEGIN
  IF moved <> wanted THEN
    RAISE EXCEPTION '% of % deliveries were moved by others', wanted - moved, wanted USING ERRCODE = 'PH004';
  END IF;
  RETURN moved;
END $$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION posthorn_expect(bigint, bigint);
DROP FUNCTION posthorn_guard(bigint, bigint, bigint, bigint, boolean, boolean);
DROP TABLE event_types, partner_users, oauth_tokens, profiles, idempotency, oneshots, attempts, deliveries, event_ids, events, health,
  endpoint_revisions, secrets, endpoints, keys, tenants, node_writes, nodes, news, config, meta;
DROP SEQUENCE node_epochs;
