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

// TokenLifetime is how long a token of IssueToken is good for (PaySway docs:
// authentication).
const TokenLifetime = time.Hour

// tokenPrefix shows people and secret scanners what it is. It differs from that of
// keys, so that neither is ever taken for the other.
const tokenPrefix = "pht_"

// IssueToken exchanges the id and text of a tenant key for a token that stands for
// it for TokenLifetime, or until the key is revoked. Whatever is wrong with the
// credentials gives CodeUnauthorized; more than 60 tokens at once and one a second
// for the same key CodeRateLimited.
func (s *Service) IssueToken(ctx context.Context, clientID, clientSecret string, from netip.Addr) (string, error) {
	caller, err := s.Authenticate(ctx, clientSecret, from)
	if err != nil {
		return "", err
	}
	id, err := hook.ParseID(clientID)
	if err != nil || caller.Kind != hook.TenantKey || caller.KeyID != id {
		return "", errUnauthorized
	}
	// The limit keeps the table of tokens small. It stands behind the check of the
	// secret, so that nobody who knows only a key's id can shut its owner out;
	// guessing 256 bits needs no limit.
	if err := s.spend(ctx, caller, limitTokens, 1); err != nil {
		return "", err
	}
	if from := hook.ActorOf(ctx); from != nil {
		ctx = caller.Acting(ctx, from.Address, from.Request)
	}
	text := tokenPrefix + string(randomDigits(keyRandom))
	token := hook.Token{Hash: sha256.Sum256([]byte(text)), Key: id, ExpiresAt: s.o.Now().Add(TokenLifetime)}
	err = s.o.Store.CreateToken(ctx, hook.Scope{Tenant: caller.Tenant, Mode: caller.Mode}, token)
	if hook.CodeOf(err) == hook.CodeNotFound { // revoked in this moment
		return "", errUnauthorized
	}
	if err != nil {
		return "", fmt.Errorf("keep token: %w", err)
	}
	return text, nil
}

// AuthenticateToken returns whom the text of a token stands for: its key. A key's
// own text is refused here like any other text that is no token. The limits of the key
// hold as Authenticate has them.
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
