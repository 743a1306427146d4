package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// CreateToken stores a token of a key of the scope, whose tenant is required. A
// key that is unknown there or revoked, even a moment ago, gives CodeNotFound.
func (s *Store) CreateToken(ctx context.Context, scope hook.Scope, token hook.Token) error {
	return s.doFor(ctx, scope, "create token", 1, func(t *tx) error {
		n, err := t.exec("insert token", `INSERT INTO oauth_tokens (hash, key, mode, tenant, created_at, expires_at)
			SELECT ?, id, mode, tenant, ?, ? FROM keys WHERE id = ? AND mode = ? AND tenant = ? AND revoked_at = 0`,
			token.Hash[:], sqltext.Micros(t.now), sqltext.Micros(token.ExpiresAt), token.Key[:], int64(scope.Mode), scope.Tenant)
		if err == nil && n == 0 {
			return hook.NotFound("key")
		}
		return err
	})
}

// TokenKey returns the key behind the token with this SHA-256 of its text. An
// unknown token, an expired one and one of a revoked key give the same
// CodeNotFound. Nothing is remembered in between: a revocation counts from its
// commit on.
func (s *Store) TokenKey(ctx context.Context, hash [32]byte) (hook.Key, error) {
	k, err := scanKey(s.read.QueryRowContext(ctx, `SELECT k.id, k.kind, k.mode, k.tenant, k.name, k.hash, k.created_at
		FROM oauth_tokens o JOIN keys k ON k.id = o.key AND k.mode = o.mode AND k.tenant = o.tenant
		WHERE o.hash = ? AND o.expires_at > ? AND k.revoked_at = 0`, hash[:], sqltext.Micros(s.now())))
	if errors.Is(err, sql.ErrNoRows) {
		return hook.Key{}, hook.NotFound("token")
	}
	if err != nil {
		return hook.Key{}, s.readError("read token", err)
	}
	return k, nil
}

// expireTokens deletes the tokens that nobody can use any more.
func (s *Store) expireTokens(ctx context.Context) error {
	for more := true; more; {
		err := s.maintain(ctx, "expire tokens", housekeepPage, func(t *tx) error {
			n, err := t.exec("expire tokens", `DELETE FROM oauth_tokens WHERE hash IN
				(SELECT hash FROM oauth_tokens WHERE expires_at <= ? LIMIT ?)`, sqltext.Micros(t.now), int64(housekeepPage))
			more = n == housekeepPage
			return err
		})
		if err != nil {
			return fmt.Errorf("housekeep: %w", err)
		}
	}
	return nil
}
