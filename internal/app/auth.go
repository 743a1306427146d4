package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"

	"github.com/posthorn/posthorn/internal/hook"
)

// errUnauthorized is the one answer to unknown, malformed and revoked keys (S-10).
var errUnauthorized = &hook.Error{Code: hook.CodeUnauthorized, Message: "The API key is not valid."}

var errNoKey = &hook.Error{Code: hook.CodeUnauthorized, Message: "No API key: send \"Authorization: Bearer KEY\"."}

// Authenticate returns whom the text of a key stands for; an empty one is no key. The
// request comes from the address. A key whose time is over is CodeKeyExpired, one that
// may not be used from there CodeAddressNotAllowed. The store keeps the keys in use in
// memory and forgets them with the commit that revokes them.
func (s *Service) Authenticate(ctx context.Context, bearer string, from netip.Addr) (Caller, error) {
	if bearer == "" {
		return Caller{}, errNoKey
	}
	hash := sha256.Sum256([]byte(bearer))
	if caller, ok := s.bootstrap[hash]; ok {
		return caller, nil
	}
	if !CheckKeyText(bearer) {
		return Caller{}, errUnauthorized
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
	// errAddress does not tell the networks: whoever found a key would know where to use it.
	errAddress = &hook.Error{Code: hook.CodeAddressNotAllowed,
		Message: "This key may not be used from your address. Nothing was done. Send the request from a network that the key was created for, or ask an operator for a key with another \"networks\"."}
	errExpired = &hook.Error{Code: hook.CodeKeyExpired, Message: "The time of this API key is over. Nothing was done. Ask an operator for a new key."}
)

// callerOf returns whom a key stands for, if it may be used from the address now, and
// notes its use.
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
