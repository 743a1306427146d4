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
	maxPublicKeys = 1000 // keys in one answer
	publicReads   = 300  // requests for them that one address may make in a minute
)

// PublicKeys returns the public keys (whpk_...) by which receivers verify what endpoints
// of the scope sign with ed25519: those of every secret in force, so both during the
// overlap of a rotation, without doubles. The newest endpoints come first, and there are
// at most 1,000 keys. An endpoint that is not zero limits them to its own.
//
// Anybody may ask, so a tenant that does not exist has no keys like one that signs
// otherwise, and one address may ask 300 times a minute: beyond it is CodeRateLimited.
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
	seen := map[string]bool{}
	for _, ep := range slices.Backward(all) {
		if !endpoint.IsZero() && ep.ID != endpoint || ep.Damage.Has(hook.DamagedSecrets) {
			continue
		}
		p := s.profileNamed(ep.Profile)
		for _, secret := range ep.Secrets {
			text, ok := p.PublicKey(secret)
			if !ok || !secret.Live(now) || seen[text] {
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
