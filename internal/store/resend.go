package store

import (
	"context"
	"fmt"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// Resend requests one more attempt of an event, which it finds by Posthorn's id. The
// attempt goes to the endpoint or, if that is zero, to each endpoint that the event
// matches now. An existing delivery gets a single shot, whatever its state. A failed
// attempt leaves the delivery and its schedule unchanged. A missing delivery is created
// and follows the endpoint's policy.
//
// If an endpoint is named and not enabled, Resend returns CodeEndpointDisabled, or
// CodeUnverified. If none is named, a tripped endpoint gets a missing delivery, held, and
// no single shot of an existing one. Test events cannot be resent; they give CodeConflict.
func (s *Store) Resend(ctx context.Context, scope hook.Scope, event, endpoint hook.ID,
	profileOf func(*hook.Endpoint) hook.ProfileHash, once *hook.Once) (hook.Resent, *hook.Replay, error) {
	var out hook.Resent
	var replay *hook.Replay
	err := s.writeCounted(ctx, op{Name: "resend", Key: scope, Rows: 8, Apply: func(t *tx) (err error) {
		replay, err = t.Once(once, func() (any, bool, error) {
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
	found, err := sqltext.Collect(background, t.Conn, sqltext.ScanEvent, "SELECT "+sqltext.EventColumns+" FROM events e WHERE e.id = ? AND e.mode = ? AND "+
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
	if !e.PayloadRemovedAt.IsZero() {
		return out, hook.PayloadGone(e.PayloadRemovedAt)
	}
	targets, err := t.resendTargets(e, endpoint)
	if err != nil {
		return out, err
	}
	rowOf, err := t.existingOf(e.ID)
	if err != nil {
		return out, err
	}
	for _, target := range targets {
		if err := t.resendTo(e, target, rowOf[target.ID], profileOf, &out); err != nil {
			return out, err
		}
	}
	detail := fmt.Sprintf("%d deliveries", len(out.Deliveries))
	if !endpoint.IsZero() {
		detail = "endpoint " + endpoint.String()
	}
	t.Audited(hook.ActEventResent, "event", e.PublicID.String(), e.Scope, detail)
	return out, nil
}

// existing is an existing delivery of an event, and whether a single shot of it is already
// requested.
type existing struct {
	hook.Delivery
	shot bool
}

// existingOf reads the deliveries of an event, by endpoint.
func (t *tx) existingOf(event hook.ID) (map[hook.ID]*existing, error) {
	rows, err := sqltext.Collect(background, t.Conn, sqltext.ScanDelivery, "SELECT "+sqltext.DeliveryColumns+" FROM deliveries d WHERE d.event = ?{lock}", event[:])
	if err != nil {
		return nil, sqltext.Wrap("read deliveries", err)
	}
	rowOf := make(map[hook.ID]*existing, len(rows))
	for i := range rows {
		rowOf[rows[i].Endpoint] = &existing{Delivery: rows[i]}
	}
	shots, err := sqltext.Collect(background, t.Conn, sqltext.ScanID, "SELECT endpoint FROM oneshots WHERE event = ?", event[:])
	for _, endpoint := range shots {
		if a := rowOf[endpoint]; a != nil {
			a.shot = true
		}
	}
	return rowOf, sqltext.Wrap("read single shots", err)
}

func (t *tx) resendTargets(e *hook.Event, endpoint hook.ID) ([]*hook.Endpoint, error) {
	entry, err := t.Scope(e.Scope)
	if err != nil {
		return nil, err
	}
	if endpoint.IsZero() {
		targets := targetsOf(entry, e.Type, e.Channels)
		if len(targets) > t.s.opts.MaxFanOut {
			return nil, t.tooMany(len(targets))
		}
		return targets, nil
	}
	target := entry.Find(endpoint)
	if target == nil {
		return nil, hook.NotFound("endpoint")
	}
	if target.Unverified() {
		return nil, hook.NotVerified()
	}
	if target.Status != hook.Enabled {
		return nil, &hook.Error{Code: hook.CodeEndpointDisabled, Field: "endpoint", Message: "The endpoint is disabled. Enable it first."}
	}
	return []*hook.Endpoint{target}, nil
}

// resendTo resends an event to one endpoint. row is the existing delivery, nil if there is
// none.
func (t *tx) resendTo(e *hook.Event, target *hook.Endpoint, row *existing, profileOf func(*hook.Endpoint) hook.ProfileHash, out *hook.Resent) error {
	if row != nil {
		if target.Status != hook.Enabled || !t.CanAttempt(target) {
			out.Skipped++
			return nil
		}
		out.Deliveries = append(out.Deliveries, row.Delivery)
		return t.requestShot(&row.Delivery, row.shot, target, hook.ByReplay)
	}
	full, err := t.BacklogFull(e.Scope, 1)
	if err != nil {
		return err
	}
	if full != nil {
		return full
	}
	made, err := t.deliver(e, target, profileOf(target))
	out.Created++
	out.Deliveries = append(out.Deliveries, made)
	return err
}
