package app

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

const (
	maxPublicKeys = 1000 // keys in one response
	publicReads   = 300  // requests for them per minute from one address
)

// PublicKeys returns the public keys (whpk_...) that verify the ed25519 signatures of
// the endpoints in the scope: one for every secret in force, so both during the overlap
// of a rotation, without duplicates. The newest endpoints come first. There are at most
// 1,000 keys. A nonzero endpoint limits the result to its keys.
//
// The call needs no key. A tenant that does not exist therefore gets the same empty
// result as one that does not use ed25519. An address can call it 300 times a minute;
// beyond that the error is CodeRateLimited.
func (s *Service) PublicKeys(ctx context.Context, from netip.Addr, scope hook.Scope, endpoint hook.ID) ([]string, error) {
	now := s.o.Now()
	if n, left := s.publicAsked.count(Site(from), now); n > publicReads {
		return nil, &hook.Error{Code: hook.CodeRateLimited, RetryAfter: left, Message: fmt.Sprintf(
			"More than %d requests for public keys came from your address within a minute. Keep an answer for the 5 minutes that it is good for, and wait %d s.",
			publicReads, (left+time.Second-1)/time.Second)}
	}
	if !hook.ValidTenantID(scope.Tenant) {
		return nil, nil
	}
	all, err := s.o.Store.TenantEndpoints(ctx, scope)
	if err != nil {
		return nil, err
	}
	var keys []string
	seen, tried := map[string]bool{}, map[string]bool{} // deriving a key costs more than a look-up
	for _, ep := range slices.Backward(all) {
		if !endpoint.IsZero() && ep.ID != endpoint || ep.Damage.Has(hook.DamagedSecrets) {
			continue
		}
		p := s.profileNamed(ep.Profile)
		for _, secret := range ep.Secrets {
			what := ep.Profile + " " + secret.Text
			if !secret.Live(now) || tried[what] {
				continue
			}
			tried[what] = true
			text, ok := p.PublicKey(secret)
			if !ok || seen[text] {
				continue
			}
			if len(keys) == maxPublicKeys {
				return keys, nil
			}
			keys, seen[text] = append(keys, text), true
		}
	}
	return keys, nil
}
