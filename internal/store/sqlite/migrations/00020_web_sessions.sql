-- Sessions of people in browsers, and the links that open them. Values that open a session
-- are stored as SHA-256.

-- +goose Up
CREATE TABLE web_sessions (
    id         BLOB NOT NULL PRIMARY KEY,
    short      TEXT NOT NULL, -- in the paths of the portal; empty for an operator
    kind       TEXT NOT NULL, -- operator or portal
    mode       INTEGER NOT NULL,
    tenant     TEXT NOT NULL,
    hash       BLOB NOT NULL, -- of the cookie; empty: its link was not used yet
    live_key   BLOB NOT NULL, -- hash of an operator key; empty: none
    test_key   BLOB NOT NULL,
    maker      BLOB NOT NULL, -- id of the key that made it
    settings   TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL, -- to the minute; 0: not yet
    expires_at INTEGER NOT NULL,
    enter_by   INTEGER NOT NULL,
    ended_at   INTEGER NOT NULL
);
CREATE UNIQUE INDEX web_sessions_hash ON web_sessions (hash) WHERE length(hash) > 0;
CREATE INDEX web_sessions_short ON web_sessions (short) WHERE short <> '';
CREATE INDEX web_sessions_scope ON web_sessions (kind, mode, tenant, id);
CREATE INDEX web_sessions_expiry ON web_sessions (expires_at);

CREATE TABLE web_links (
    hash       BLOB NOT NULL PRIMARY KEY,
    kind       TEXT NOT NULL,
    session    BLOB NOT NULL, -- of the portal; empty for an operator
    live_key   BLOB NOT NULL,
    test_key   BLOB NOT NULL,
    again      INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    spent_at   INTEGER NOT NULL
);
CREATE INDEX web_links_expiry ON web_links (expires_at);
CREATE INDEX web_links_session ON web_links (session);

-- +goose Down
DROP TABLE web_links;
DROP TABLE web_sessions;
