package app

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// TokenLifetime is how long a token from IssueToken is valid (PaySway docs:
// authentication).
const TokenLifetime = time.Hour

// tokenPrefix identifies tokens to people and secret scanners. It differs from the
// prefix of keys, so that tokens and keys are never confused.
const tokenPrefix = "pht_"

// IssueToken exchanges the id and text of a tenant key for a token. The token stands
// for the key for TokenLifetime, or until the key is revoked. Any error in the
// credentials is CodeUnauthorized. One key can request 60 tokens at once and one per
// second; beyond that the error is CodeRateLimited.
func (s *Service) IssueToken(ctx context.Context, clientID, clientSecret string, from netip.Addr) (string, error) {
	caller, err := s.Authenticate(ctx, clientSecret, from)
	if err != nil {
		return "", err
	}
	id, err := hook.ParseID(clientID)
	if err != nil || caller.Kind != hook.TenantKey || caller.KeyID != id {
		return "", errUnauthorized
	}
	// The limit keeps the token table small. It is checked after the secret, so that
	// somebody who knows only a key's id cannot lock out its owner. Guessing 256 bits
	// needs no limit.
	if err := s.spend(ctx, caller, limitTokens, 1); err != nil {
		return "", err
	}
	if from := hook.ActorOf(ctx); from != nil {
		ctx = caller.Acting(ctx, from.Address, from.Request)
	}
	text := tokenPrefix + string(randomDigits(keyRandom))
	token := hook.Token{Hash: sha256.Sum256([]byte(text)), Key: id, ExpiresAt: s.o.Now().Add(TokenLifetime)}
	err = s.o.Store.CreateToken(ctx, hook.Scope{Tenant: caller.Tenant, Mode: caller.Mode}, token)
	if hook.CodeOf(err) == hook.CodeNotFound { // revoked in the meantime
		return "", errUnauthorized
	}
	if err != nil {
		return "", fmt.Errorf("keep token: %w", err)
	}
	return text, nil
}

// AuthenticateToken returns the caller for the text of a token: that of its key. It
// refuses a key's own text like any other text that is not a token. The limits of the
// key apply as in Authenticate.
func (s *Service) AuthenticateToken(ctx context.Context, bearer string, from netip.Addr) (Caller, error) {
	if len(bearer) != len(tokenPrefix)+keyRandom || !strings.HasPrefix(bearer, tokenPrefix) {
		return Caller{}, errUnauthorized
	}
	key, err := s.o.Store.TokenKey(ctx, sha256.Sum256([]byte(bearer)))
	if hook.CodeOf(err) == hook.CodeNotFound {
		return Caller{}, errUnauthorized
	}
	if err != nil {
		return Caller{}, fmt.Errorf("look up token: %w", err)
	}
	return s.callerOf(&key, from)
}
