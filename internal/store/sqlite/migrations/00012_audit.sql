-- Who did what, in chains: each entry has the hash over the one before it and itself.

-- +goose Up
CREATE TABLE audit (
    chain      INTEGER NOT NULL, -- 0 on SQLite; on PostgreSQL the epoch of the node
    mode       INTEGER NOT NULL,
    seq        INTEGER NOT NULL, -- in its chain and mode, from 1 on
    id         BLOB NOT NULL,
    at         INTEGER NOT NULL,
    tenant     TEXT NOT NULL,
    actor_kind TEXT NOT NULL,
    actor      TEXT NOT NULL, -- id of a key, or a word
    address    TEXT NOT NULL,
    request    TEXT NOT NULL,
    act        TEXT NOT NULL,
    object     TEXT NOT NULL,
    object_id  TEXT NOT NULL,
    outcome    TEXT NOT NULL,
    detail     TEXT NOT NULL,
    hash       BLOB NOT NULL,
    PRIMARY KEY (chain, mode, seq)
);
CREATE INDEX audit_mode ON audit (mode, id);
CREATE INDEX audit_tenant ON audit (mode, tenant, id);

-- +goose Down
DROP TABLE audit;
