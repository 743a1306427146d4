-- Sessions of people in browsers, and the links that open them. Values that open a session
-- are stored as SHA-256.

-- +goose Up
CREATE TABLE web_sessions (
    id         bytea NOT NULL PRIMARY KEY,
    short      text COLLATE "C" NOT NULL, -- in the paths of the portal; empty for an operator
    kind       text COLLATE "C" NOT NULL, -- operator or portal
    mode       bigint NOT NULL,
    tenant     text COLLATE "C" NOT NULL,
    hash       bytea NOT NULL, -- of the cookie; empty: its link was not used yet
    live_key   bytea NOT NULL, -- hash of an operator key; empty: none
    test_key   bytea NOT NULL,
    maker      bytea NOT NULL, -- id of the key that made it
    settings   text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    seen_at    bigint NOT NULL, -- to the minute; 0: not yet
    expires_at bigint NOT NULL,
    enter_by   bigint NOT NULL,
    ended_at   bigint NOT NULL
);
CREATE UNIQUE INDEX web_sessions_hash ON web_sessions (hash) WHERE length(hash) > 0;
CREATE INDEX web_sessions_short ON web_sessions (short) WHERE short <> '';
CREATE INDEX web_sessions_scope ON web_sessions (kind, mode, tenant, id);
CREATE INDEX web_sessions_expiry ON web_sessions (expires_at);

CREATE TABLE web_links (
    hash       bytea NOT NULL PRIMARY KEY,
    kind       text COLLATE "C" NOT NULL,
    session    bytea NOT NULL, -- of the portal; empty for an operator
    live_key   bytea NOT NULL,
    test_key   bytea NOT NULL,
    again      bigint NOT NULL,
    expires_at bigint NOT NULL,
    spent_at   bigint NOT NULL
);
CREATE INDEX web_links_expiry ON web_links (expires_at);
CREATE INDEX web_links_session ON web_links (session);

-- +goose Down
DROP TABLE web_links;
DROP TABLE web_sessions;
