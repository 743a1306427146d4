package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"

	"github.com/posthorn/posthorn/internal/hook"
)

// errUnauthorized is the same response to unknown, malformed and revoked keys (S-10).
var errUnauthorized = &hook.Error{Code: hook.CodeUnauthorized, Message: "The API key is not valid."}

var errNoKey = &hook.Error{Code: hook.CodeUnauthorized, Message: "No API key: send \"Authorization: Bearer KEY\"."}

// Authenticate returns the caller that a key's text identifies. An empty text means no
// key. from is the address of the request. An expired key is CodeKeyExpired; a key that
// may not be used from the address is CodeAddressNotAllowed. The store caches the keys
// in use and drops a key with the commit that revokes it.
func (s *Service) Authenticate(ctx context.Context, bearer string, from netip.Addr) (Caller, error) {
	if bearer == "" {
		return Caller{}, errNoKey
	}
	hash := sha256.Sum256([]byte(bearer))
	if _, ok := s.bootstrap[hash]; !ok && !CheckKeyText(bearer) {
		return Caller{}, errUnauthorized
	}
	return s.Holder(ctx, hash, from)
}

// Holder is Authenticate for the SHA-256 of a key's text. Sessions use it, because they
// do not store the text of a key.
func (s *Service) Holder(ctx context.Context, hash [32]byte, from netip.Addr) (Caller, error) {
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
	return s.callerOf(&key, from)
}

var (
	// errAddress does not name the networks: they would show the finder of a key where
	// to use it.
	errAddress = &hook.Error{Code: hook.CodeAddressNotAllowed,
		Message: "This key may not be used from your address. Nothing was done. Send the request from a network that the key was created for, or ask an operator for a key with another \"networks\"."}
	errExpired = &hook.Error{Code: hook.CodeKeyExpired, Message: "The time of this API key is over. Nothing was done. Ask an operator for a new key."}
)

// callerOf returns the caller for a key, if the key may be used from the address now,
// and notes its use.
func (s *Service) callerOf(key *hook.Key, from netip.Addr) (Caller, error) {
	c := Caller{Kind: key.Kind, Mode: key.Mode, Tenant: key.Tenant, KeyID: key.ID}
	if key.Limited() {
		if !key.Admits(from) {
			return Caller{}, errAddress
		}
		if key.Expired(s.o.Now()) {
			return Caller{}, errExpired
		}
		limits := key.KeyLimits
		c.Limits = &limits
	}
	s.o.Store.KeyUsed(key.ID)
	return c, nil
}
