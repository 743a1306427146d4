package app

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"strings"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
)

// Verification (S-15): with Options.VerifyEndpoints an endpoint receives only a
// challenge until its receiver has responded to one with 2xx. Creating an endpoint or
// moving it to another host requests a challenge, so it counts as a requested attempt.
// The management APIs of PaySway and paywise have no concept of it; endpoints that they
// create or move need no verification.

// ChallengeType is the type of the event that verifies an endpoint.
const ChallengeType = "posthorn.endpoint.verification"

// challenged returns the verification of an endpoint that is to receive a challenge.
func challenged(p *profile.Profile) hook.Verification {
	data, _ := json.Marshal(struct { // cannot fail
		Challenge string `json:"challenge"`
	}{rand.Text()})
	return hook.Verification{State: hook.VerificationPending, Challenge: &hook.Challenge{Type: ChallengeType, Data: data, Profile: p.Hash()}}
}

// origin returns the part of a canonical URL that identifies the receiving party:
// scheme, host and port.
func origin(url string) string {
	scheme, rest, _ := strings.Cut(url, "://")
	if end := strings.IndexAny(rest, "/?"); end >= 0 {
		rest = rest[:end]
	}
	return scheme + "://" + rest
}

// applyVerification requests a challenge if the change moves the endpoint to another
// origin. If none is needed, a move or an enabling ends the wait for an earlier one.
func (s *Service) applyVerification(row *hook.Endpoint, moves bool, change EndpointChange) error {
	enables := change.Enabled != nil && *change.Enabled
	switch {
	case moves && s.o.VerifyEndpoints && !change.exempt:
		row.Verification = challenged(s.profileNamed(row.Profile))
	case moves, enables && row.Unverified() && !s.o.VerifyEndpoints:
		row.Verification = hook.Verification{}
	}
	if change.Discard && row.Unverified() {
		return hook.NotVerified()
	}
	return nil
}

// VerifyEndpoint sends another challenge to an unverified endpoint, unless one is in
// progress. With trust, for operators only, the endpoint counts as verified without
// one. An endpoint that is not unverified is returned unchanged.
func (s *Service) VerifyEndpoint(ctx context.Context, c Caller, id hook.ID, trust bool, once *Once) (Endpoint, *hook.Replay, error) {
	if err := c.may(hook.MayManage); err != nil {
		return Endpoint{}, nil, err
	}
	ep, err := s.endpoint(ctx, c, id)
	if err != nil {
		return Endpoint{}, nil, err
	}
	v := hook.Verification{State: hook.Verified, Reason: "An operator marked it as verified."}
	if trust {
		if err := c.administer(); err != nil {
			return Endpoint{}, nil, err
		}
		s.o.Log.LogAttrs(ctx, levelAudit, "audit: endpoint marked as verified", c.audit(ep)...)
	} else {
		v = challenged(s.profileNamed(ep.Profile))
		if ep.Unverified() {
			if err := s.spend(ctx, c, limitAttempts, 1); err != nil {
				return Endpoint{}, nil, err
			}
		}
	}
	made := Endpoint{}
	stored, replay, err := s.o.Store.VerifyEndpoint(ctx, ep.Scope, id, v, once.in(ep.Scope, func(stored any) any { return made.with(stored) }))
	if err != nil || replay != nil {
		return Endpoint{}, replay, err
	}
	return made.with(stored), nil, nil
}
