package store

import (
	"context"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// Resend asks for one more attempt of an event, by our key: to the endpoint, or
// with a zero one to each that wants the event now. The delivery of event and
// endpoint is used again, whatever its state: a failure leaves it and its schedule
// as they are. One that does not exist is made and follows the endpoint's policy.
//
// A named endpoint that is not enabled gives CodeEndpointDisabled; without a name,
// one disabled by failures gets a missing delivery held and an existing one not
// again. Test events are not resent: CodeConflict.
func (s *Store) Resend(ctx context.Context, scope hook.Scope, event, endpoint hook.ID,
	profileOf func(*hook.Endpoint) hook.ProfileHash, once *hook.Once) (hook.Resent, *hook.Replay, error) {
	var out hook.Resent
	var replay *hook.Replay
	err := s.writeCounted(ctx, op{Name: "resend", Key: scope, Rows: 8, Apply: func(t *tx) (err error) {
		replay, err = t.once(once, func() (any, bool, error) {
			out, err = t.resend(scope, event, endpoint, profileOf)
			return out, true, err
		})
		return err
	}})
	if err != nil {
		return hook.Resent{}, nil, err
	}
	return out, replay, nil
}

func (t *tx) resend(scope hook.Scope, event, endpoint hook.ID, profileOf func(*hook.Endpoint) hook.ProfileHash) (hook.Resent, error) {
	out := hook.Resent{Event: event}
	found, err := sqltext.Collect(background, t.c, sqltext.ScanEvent, "SELECT "+sqltext.EventColumns+" FROM events e WHERE e.id = ? AND e.mode = ? AND "+
		sqltext.TenantIs(scope)+"{lock}", event[:], scope.Mode, scope.Tenant)
	if err != nil {
		return out, sqltext.Wrap("read event", err)
	}
	if len(found) == 0 {
		return out, hook.NotFound("event")
	}
	e := found[0]
	if e.Kind == hook.TestEvent {
		return out, &hook.Error{Code: hook.CodeConflict, Message: "This is a test event. Send another test instead."}
	}
	targets, err := t.resendTargets(e, endpoint)
	if err != nil {
		return out, err
	}
	for _, target := range targets {
		if err := t.resendTo(e, target, profileOf, &out); err != nil {
			return out, err
		}
	}
	return out, nil
}

func (t *tx) resendTargets(e *hook.Event, endpoint hook.ID) ([]*hook.Endpoint, error) {
	entry, err := t.scope(e.Scope)
	if err != nil {
		return nil, err
	}
	if endpoint.IsZero() {
		targets := t.match(entry, e.Type)
		if len(targets) > t.s.opts.MaxFanOut {
			return nil, t.tooMany(len(targets))
		}
		return targets, nil
	}
	target := entry.Find(endpoint)
	if target == nil {
		return nil, hook.NotFound("endpoint")
	}
	if target.Status != hook.Enabled {
		return nil, &hook.Error{Code: hook.CodeEndpointDisabled, Field: "endpoint", Message: "The endpoint is disabled. Enable it first."}
	}
	return []*hook.Endpoint{target}, nil
}

// resendTo uses the row of event and endpoint, or makes it.
func (t *tx) resendTo(e *hook.Event, target *hook.Endpoint, profileOf func(*hook.Endpoint) hook.ProfileHash, out *hook.Resent) error {
	row, exists, err := t.readDelivery(e.ID, target.ID)
	switch {
	case err != nil:
		return err
	case exists && (target.Status != hook.Enabled || !t.mine(target)):
		out.Skipped++
		return nil
	case exists:
		err = t.oneShot(&row, target, hook.ByReplay)
	default:
		full, err := t.backlogFull(e.Scope, 1)
		if err != nil {
			return err
		}
		if full != nil {
			return full
		}
		if err := t.deliver(e, target, profileOf(target)); err != nil {
			return err
		}
		if row, _, err = t.readDelivery(e.ID, target.ID); err != nil {
			return err
		}
		out.Created++
	}
	out.Deliveries = append(out.Deliveries, row)
	return err
}
