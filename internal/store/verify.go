package store

import (
	"context"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// Verification. An endpoint that must be verified is Tripped until the receiver has
// answered its latest challenge with 2xx. So its deliveries are held, released and expired
// like any other held ones, and the only attempt made is that of the challenge, which is a
// test event. A challenge belongs to the host it was made for. A change of host creates
// another challenge, and the answer to an earlier one is then ignored.

// VerifyEndpoint replaces the verification of an unverified endpoint and returns the
// endpoint. Any other endpoint stays as it is. So does one whose latest challenge is still
// to be attempted, if the new verification is another challenge. An empty tenant means
// every tenant of the mode.
func (s *Store) VerifyEndpoint(ctx context.Context, scope hook.Scope, id hook.ID, v hook.Verification, once *hook.Once) (*hook.Endpoint, *hook.Replay, error) {
	var made *hook.Endpoint
	var replay *hook.Replay
	err := s.doFor(ctx, scope, "verify endpoint", 6, func(t *tx) (err error) {
		replay, err = t.Once(once, func() (any, bool, error) {
			old, err := t.EndpointByID(scope, id)
			if err != nil {
				return nil, false, err
			}
			made = old
			waits, err := t.challengeWaits(old)
			if err != nil || !old.Unverified() || waits && v.Challenge != nil {
				return made, true, err
			}
			next := copied(old)
			next.Verification = v
			if next.Verification.AttemptAt = old.Verification.AttemptAt; v.State == hook.Verified {
				next.Verification.VerifiedAt = t.Now
			}
			made = next
			act := hook.ActEndpointChallenged
			if v.State == hook.Verified {
				act = hook.ActEndpointVerified
			}
			if err := t.moveVerified(old, next); err != nil {
				return nil, false, err
			}
			t.Audited(act, "endpoint", id.String(), next.Scope)
			return made, true, nil
		})
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return made, replay, nil
}

// challengeWaits reports whether the latest challenge is still to be attempted.
func (t *tx) challengeWaits(e *hook.Endpoint) (bool, error) {
	if e.Verification.State != hook.VerificationPending {
		return false, nil
	}
	row, ok, err := t.ReadDelivery(e.Verification.Event, e.ID)
	return ok && row.State.Open(), err
}

// moveVerified saves a snapshot whose verification changed.
func (t *tx) moveVerified(old, next *hook.Endpoint) error {
	t.gate(old, next)
	return t.moveEndpoint(old, next, false)
}

// gate keeps an unverified endpoint from being enabled, and enables one that only its
// missing verification held back.
func (t *tx) gate(old, next *hook.Endpoint) {
	switch {
	case next.Unverified() && next.Status == hook.Enabled:
		next.Status = hook.Tripped
		if old.Status == hook.Tripped && old.DisabledReason != hook.DisabledUnverified { // by request
			next.DisabledReason, next.DisabledAt = hook.DisabledUnverified, t.Now
		}
	case !next.Unverified() && next.Status == hook.Tripped && old.DisabledReason == hook.DisabledUnverified:
		next.Status = hook.Enabled
	}
}

// newChallenge makes the event of the challenge that a snapshot requests and notes it in
// the snapshot. It returns nil if the snapshot requests none.
func (t *tx) newChallenge(e *hook.Endpoint) *challenge {
	ask := e.Verification.Challenge
	if ask == nil {
		return nil
	}
	event := t.newEvent(&hook.NewEvent{Scope: e.Scope, Type: ask.Type, Data: ask.Data})
	event.Kind = hook.TestEvent
	e.Verification.Event, e.Verification.Challenge = event.ID, nil
	return &challenge{event, ask.Profile}
}

type challenge struct {
	event   *hook.Event
	profile hook.ProfileHash
}

// sendChallenge stores a challenge with its delivery, whose job is handed over at once.
func (t *tx) sendChallenge(e *hook.Endpoint, c *challenge) error {
	if c == nil {
		return nil
	}
	t.Bytes += len(c.event.Data)
	if err := t.storeEvent(c.event); err != nil {
		return err
	}
	_, err := t.deliver(c.event, e, c.profile)
	return err
}

// answered records the result of an attempt of a test event to an unverified endpoint. Any
// 2xx counts as consent, whatever the profile defines as success.
func (t *tx) answered(target *hook.Endpoint, d *hook.Delivery, o *hook.Outcome) error {
	if d.Event != target.Verification.Event {
		return nil
	}
	next := copied(target)
	v := &next.Verification
	v.AttemptAt = o.StartedAt.UTC().Truncate(time.Microsecond)
	if o.Status >= 200 && o.Status < 300 {
		v.State, v.VerifiedAt, v.Reason = hook.Verified, t.Now, ""
	} else {
		v.State, v.Reason = hook.VerificationFailed, o.Message
	}
	return t.moveVerified(target, next)
}
