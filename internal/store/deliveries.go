package store

import (
	"context"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// RetryDelivery requests a single shot of a delivery in any state. A failed attempt leaves
// the delivery and its schedule unchanged. RetryDelivery returns CodeEndpointDisabled if
// the endpoint is not enabled and the event is not a test, and CodeUnverified if the
// endpoint is unverified and the event is not its latest challenge. The request survives a
// crash. Two requests before the attempt cause one attempt. An empty tenant means every
// tenant of the mode.
func (s *Store) RetryDelivery(ctx context.Context, scope hook.Scope, id hook.ID, once *hook.Once) (hook.Delivery, *hook.Replay, error) {
	return s.retryDelivery(ctx, scope, id, false, once)
}

// RetryAnyway is RetryDelivery, but it also works while the endpoint is disabled. The
// attempt then does not count in the endpoint's health.
func (s *Store) RetryAnyway(ctx context.Context, scope hook.Scope, id hook.ID, once *hook.Once) (hook.Delivery, *hook.Replay, error) {
	return s.retryDelivery(ctx, scope, id, true, once)
}

func (s *Store) retryDelivery(ctx context.Context, scope hook.Scope, id hook.ID, anyway bool, once *hook.Once) (hook.Delivery, *hook.Replay, error) {
	var row hook.Delivery
	var replay *hook.Replay
	err := s.writeCounted(ctx, op{Name: "retry delivery", Key: scope, Rows: 1, Apply: func(t *tx) (err error) {
		replay, err = t.Once(once, func() (any, bool, error) {
			if row, err = t.findDelivery(scope, id); err != nil {
				return nil, false, err
			}
			target, err := t.Endpoint(row.Scope, row.Endpoint)
			if err != nil {
				return nil, false, err
			}
			trigger := hook.ByHand
			switch {
			case target != nil && !target.MayGet(row.Event):
				return nil, false, hook.NotVerified()
			case mayRetry(target, &row):
			case target == nil:
				return nil, false, &hook.Error{Code: hook.CodeEndpointDisabled, Message: "The endpoint of this delivery is deleted."}
			case !anyway:
				return nil, false, &hook.Error{Code: hook.CodeEndpointDisabled,
					Message: "The endpoint of this delivery is disabled. Enable it first, or ask for the attempt with \"even_if_disabled\"."}
			default:
				trigger = hook.Anyway
			}
			if !t.CanAttempt(target) {
				return nil, false, errElsewhere()
			}
			requested, removed, err := t.ShotRequested(&row)
			if err != nil {
				return nil, false, err
			}
			if !removed.IsZero() {
				return nil, false, hook.PayloadGone(removed)
			}
			if requested && trigger == hook.Anyway {
				if requested, err = t.shotUnderWay(&row); err != nil {
					return nil, false, err
				}
			}
			if err := t.requestShot(&row, requested, target, trigger); err != nil {
				return nil, false, err
			}
			var detail []string
			if trigger == hook.Anyway {
				detail = []string{"although the endpoint is disabled"}
			}
			t.Audited(hook.ActDeliveryRetried, "delivery", id.String(), row.Scope, detail...)
			return row, true, nil
		})
		return err
	}})
	if err != nil {
		return hook.Delivery{}, nil, err
	}
	return row, replay, nil
}

// mayRetry reports whether a single shot of the delivery may be attempted.
func mayRetry(target *hook.Endpoint, d *hook.Delivery) bool {
	return target != nil && target.MayGet(d.Event) && (target.Status == hook.Enabled || d.Kind == hook.TestEvent)
}

// CancelDelivery cancels a pending or held delivery. An attempt in progress may still
// succeed. CancelDelivery returns CodeDeliverySettled if the delivery is settled. An empty
// tenant means every tenant of the mode.
func (s *Store) CancelDelivery(ctx context.Context, scope hook.Scope, id hook.ID) (hook.Delivery, error) {
	var row hook.Delivery
	err := s.doFor(ctx, scope, "cancel delivery", 1, func(t *tx) (err error) {
		if row, err = t.findDelivery(scope, id); err != nil {
			return err
		}
		if !row.State.Open() {
			return &hook.Error{Code: hook.CodeDeliverySettled, Message: "The delivery is " + row.State.String() + " already."}
		}
		if row.Owner != 0 && row.Owner != t.s.Epoch() {
			t.TellNodes(sqltext.DroppedJob, row.Scope, hook.Ref{Event: row.Event, Endpoint: row.Endpoint})
		}
		t.cancel(&row, hook.ReasonByHand)
		t.Dropped = append(t.Dropped, hook.Ref{Event: row.Event, Endpoint: row.Endpoint})
		if err := t.deleteShot(&row); err != nil {
			return err
		}
		if err := t.writeDelivery(&row); err != nil {
			return err
		}
		t.Audited(hook.ActDeliveryCancelled, "delivery", id.String(), row.Scope)
		return nil
	})
	if err != nil {
		return hook.Delivery{}, err
	}
	return row, nil
}

// cancel ends an open delivery and takes it from its owner.
func (t *tx) cancel(d *hook.Delivery, why hook.Reason) {
	t.AddOpen(d.Scope, -1)
	d.State, d.Reason, d.Due, d.SettledAt, d.Owner = hook.Cancelled, why, time.Time{}, t.Now, 0
	d.Fence++
}

// writeDelivery stores the fields that a transition may change. It also keeps the time
// since when a held delivery has been held.
func (t *tx) writeDelivery(d *hook.Delivery) error {
	held := int64(0)
	if d.State == hook.Held {
		held = 1
	}
	_, err := t.Exec("update delivery", `UPDATE deliveries SET state = ?, reason = ?, attempts = ?, scheduled = ?, due = ?, last_status = ?,
		last_error = ?, settled_at = ?, owner = ?, fence = ?, held_at = CASE WHEN ? = 0 THEN 0 WHEN held_at > 0 THEN held_at ELSE ? END
		WHERE event = ? AND endpoint = ?`,
		int64(d.State), string(d.Reason), int64(d.Attempts), int64(d.Scheduled), sqltext.Micros(d.Due), int64(d.LastStatus), string(d.LastError),
		sqltext.Micros(d.SettledAt), d.Owner, d.Fence, held, sqltext.Micros(t.Now), d.Event[:], d.Endpoint[:])
	return err
}

// findDelivery reads a row by its id within a scope. An empty tenant means every tenant of
// the mode. The id leads to the event, so no separate index is needed.
func (t *tx) findDelivery(scope hook.Scope, id hook.ID) (hook.Delivery, error) {
	found, err := sqltext.Collect(background, t.Conn, sqltext.ScanDelivery, sqltext.FindDelivery+"{lock}", sqltext.FindDeliveryArgs(scope, id)...)
	if err != nil {
		return hook.Delivery{}, sqltext.Wrap("find delivery", err)
	}
	if len(found) == 0 {
		return hook.Delivery{}, hook.NotFound("delivery")
	}
	return found[0], nil
}
