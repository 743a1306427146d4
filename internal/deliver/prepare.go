package deliver

import (
	"fmt"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
)

// preparedMost bounds the cache of prepared endpoints. When it is full, it is cleared.
const preparedMost = 20_000

type preparedKey struct {
	endpoint hook.ID
	format   hook.ProfileHash
}

// prepared is what does not change between attempts at an endpoint: the format, the
// signer with its keys, and the policy.
type prepared struct {
	target *hook.Endpoint   // the snapshot it was made from
	named  *profile.Profile // the profile of that name at the time; a reload may change it
	until  time.Time        // when the first secret expires; zero: never
	format *profile.Profile
	signer *profile.Signer
	policy hook.Policy
}

// prepare returns what is needed to render and sign for the endpoint. The format is the
// profile text with the given hash, which the delivery was accepted with. If that text
// is no longer known, it is the endpoint's current profile. The policy is always the
// endpoint's current one. On error the result may be non-nil and then holds the policy.
func (s *Sender) prepare(target *hook.Endpoint, hash hook.ProfileHash, now time.Time) (*prepared, error) {
	key := preparedKey{target.ID, hash}
	named, _ := s.opts.Profiles.Get(target.Profile)
	s.mu.RLock()
	p := s.prepared[key]
	s.mu.RUnlock()
	if p != nil && p.target == target && p.named == named && (p.until.IsZero() || now.Before(p.until)) {
		return p, nil
	}
	format, kept := s.opts.Profiles.ByHash(hash)
	if !kept {
		format = named
	}
	if format == nil {
		return nil, fmt.Errorf("profile %q is not loaded", target.Profile)
	}
	current := named
	if current == nil {
		current = format
	}
	p = &prepared{target: target, named: named, format: format, policy: current.Policy(target)}
	live := make([]hook.Secret, 0, len(target.Secrets))
	for _, secret := range target.Secrets {
		if !secret.Live(now) {
			continue
		}
		live = append(live, secret)
		if !secret.ExpiresAt.IsZero() && (p.until.IsZero() || secret.ExpiresAt.Before(p.until)) {
			p.until = secret.ExpiresAt
		}
	}
	signer, err := format.Signer(live)
	if err != nil {
		return p, fmt.Errorf("prepare signer: %w", err)
	}
	p.signer = signer
	s.mu.Lock()
	if len(s.prepared) >= preparedMost {
		clear(s.prepared)
	}
	s.prepared[key] = p
	s.mu.Unlock()
	return p, nil
}
