package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/posthorn/posthorn/internal/hook"
)

// errUnauthorized is the one answer to unknown, malformed and revoked keys (S-10).
var errUnauthorized = &hook.Error{Code: hook.CodeUnauthorized, Message: "The API key is not valid."}

var errNoKey = &hook.Error{Code: hook.CodeUnauthorized, Message: "No API key: send \"Authorization: Bearer KEY\"."}

// Authenticate returns whom the text of a key stands for; an empty one is no key. The store keeps the keys
// in use in memory and forgets them with the commit that revokes them.
func (s *Service) Authenticate(ctx context.Context, bearer string) (Caller, error) {
	if bearer == "" {
		return Caller{}, errNoKey
	}
	hash := sha256.Sum256([]byte(bearer))
	if _, ok := s.bootstrap[hash]; !ok && !CheckKeyText(bearer) {
		return Caller{}, errUnauthorized
	}
	return s.Holder(ctx, hash)
}

// Holder returns whom the key whose text has this SHA-256 stands for, as Authenticate
// does. It is for sessions, which keep no text of a key.
func (s *Service) Holder(ctx context.Context, hash [32]byte) (Caller, error) {
	if caller, ok := s.bootstrap[hash]; ok {
		return caller, nil
	}
	key, err := s.o.Store.KeyByHash(ctx, hash)
	if e, ok := errors.AsType[*hook.Error](err); ok && (e.Code == hook.CodeNotFound || e.Code == hook.CodeUnauthorized) {
		return Caller{}, errUnauthorized
	}
	if err != nil {
		return Caller{}, fmt.Errorf("look up key: %w", err)
	}
	return Caller{Kind: key.Kind, Mode: key.Mode, Tenant: key.Tenant, KeyID: key.ID}, nil
}
