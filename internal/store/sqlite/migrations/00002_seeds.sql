-- What the management APIs of the seeds need: tokens that keys were exchanged
-- for, and the users that partners may act for. Times are unix microseconds.

-- +goose Up
CREATE TABLE oauth_tokens (
  hash       BLOB NOT NULL PRIMARY KEY, -- SHA-256 of the token's text
  key        BLOB NOT NULL,             -- it dies with this key
  mode       INTEGER NOT NULL,
  tenant     TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX oauth_tokens_age ON oauth_tokens (expires_at);

CREATE TABLE partner_users (
  id         BLOB NOT NULL PRIMARY KEY,
  mode       INTEGER NOT NULL,
  partner    TEXT NOT NULL, -- the tenant whose keys may act
  user_id    TEXT NOT NULL, -- the partner's name for the user
  tenant     TEXT NOT NULL, -- the tenant acted for
  created_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX partner_users_user ON partner_users (mode, partner, user_id);

-- +goose Down
DROP TABLE partner_users;
DROP TABLE oauth_tokens;
