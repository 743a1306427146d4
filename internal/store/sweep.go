package store

import (
	"context"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// The sweeps: work over all open deliveries of an endpoint that its change of
// status ordered. The order is stored with that change, carried out in pages
// between other writes, and taken up again after a crash.
const (
	sweepHold    = "hold"    // pending -> held
	sweepRelease = "release" // held -> pending, due now
	sweepDiscard = "discard" // held -> cancelled
	sweepCancel  = "cancel"  // pending and held -> cancelled

	sweepPage = 500
)

// orderHold holds what waits now. What is published after the endpoint is enabled
// again must not be held, so the order carries a bound in the order of events.
func (t *tx) orderHold(target *hook.Endpoint, why hook.Reason) error {
	bound := t.s.ids.Next()
	if _, err := t.exec("order hold", "UPDATE endpoints SET sweep = ?, sweep_reason = ?, sweep_bound = ?, sweep_next = '' WHERE id = ?",
		sweepHold, string(why), bound[:], target.ID[:]); err != nil {
		return err
	}
	t.sweeps = true
	t.holds = append(t.holds, target.ID)
	return t.forgetOneshots(target, false)
}

// orderAfterHold releases or discards the backlog. A hold that is still under way
// ends first: some of its rows may still count as owned by a dispatcher that gave
// them up when the endpoint was disabled.
func (t *tx) orderAfterHold(endpoint hook.ID, sweep string) error {
	t.sweeps = true
	_, err := t.exec("order sweep", `UPDATE endpoints SET
		sweep_next = CASE WHEN sweep = 'hold' THEN ? ELSE '' END,
		sweep = CASE WHEN sweep = 'hold' THEN 'hold' ELSE ? END WHERE id = ?`, sweep, sweep, endpoint[:])
	return err
}

func (t *tx) orderCancel(target *hook.Endpoint) error {
	t.sweeps = true
	if _, err := t.exec("order cancel", "UPDATE endpoints SET sweep = ?, sweep_reason = ?, sweep_next = '' WHERE id = ?",
		sweepCancel, string(hook.ReasonEndpointDeleted), target.ID[:]); err != nil {
		return err
	}
	return t.forgetOneshots(target, true)
}

// sweepAgain is how long a sweep waits after an error, such as a full disk.
const sweepAgain = 2 * time.Second

// sweep is the goroutine that carries the orders out, a page at a time, each page
// a write like any other so that nobody waits for a big backlog.
func (s *Store) sweep(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.sweeps:
		}
		for s.sweepAll(ctx) != nil {
			select {
			case <-ctx.Done():
				return
			case <-time.After(sweepAgain):
			}
		}
	}
}

// sweepAll goes on until there is no order left. An error leaves the rest for
// another time; nothing is lost, as the orders are stored.
func (s *Store) sweepAll(ctx context.Context) error {
	for more := true; more; {
		err := s.maintain(ctx, "sweep all", sweepPage, func(t *tx) (err error) {
			more, err = t.sweepOnce()
			return err
		})
		if err != nil {
			if code := hook.CodeOf(err); ctx.Err() == nil && code != hook.CodeStorageFull && code != hook.CodeStorageDown && code != hook.CodeShuttingDown {
				s.log.Error("sweep of deliveries failed and will be tried again", "error", err)
			}
			return err
		}
	}
	return nil
}

// sweepOnce does one page for each endpoint that has an order, and reports
// whether there is more to do.
func (t *tx) sweepOnce() (bool, error) {
	ids, err := t.nextSweeps()
	if err != nil {
		return false, sqltext.Wrap("read sweeps", err)
	}
	for _, id := range ids {
		if err := t.sweepPage(id, max(sweepPage/len(ids), 1)); err != nil {
			return false, err
		}
	}
	return len(ids) > 0, nil
}

// nextSweeps returns the endpoints whose turn it is. They take turns, so that a
// small backlog does not wait for the big ones.
func (t *tx) nextSweeps() ([]hook.ID, error) {
	const ordered = "SELECT id FROM endpoints WHERE sweep <> '' AND id > ? ORDER BY id LIMIT 8"
	last := t.s.lastSwept
	ids, err := sqltext.Collect(background, t.c, sqltext.ScanID, ordered, last[:])
	if err == nil && len(ids) == 0 && !last.IsZero() {
		last = hook.ID{}
		ids, err = sqltext.Collect(background, t.c, sqltext.ScanID, ordered, last[:])
	}
	if len(ids) > 0 {
		t.s.lastSwept = ids[len(ids)-1]
	}
	return ids, err
}

func (t *tx) sweepPage(id hook.ID, limit int) error {
	var sweep string
	var why hook.Reason
	var bound []byte
	var scope hook.Scope
	ok, err := t.row("read sweep", "SELECT sweep, sweep_reason, sweep_bound, mode, tenant FROM endpoints WHERE id = ?{lock}",
		[]any{id[:]}, &sweep, &why, &bound, &scope.Mode, &scope.Tenant)
	if err != nil || !ok {
		return err
	}
	n, err := t.sweepRows(scope, id, sweep, why, bound, limit)
	if err != nil || n > 0 {
		return err
	}
	if _, err = t.exec("end sweep", "UPDATE endpoints SET sweep = sweep_next, sweep_next = '' WHERE id = ?", id[:]); err != nil {
		return err
	}
	return t.tellWaiting(scope, id)
}

// tellWaiting tells what the table holds for an endpoint after a sweep: while its
// rows were being held, claims were sent away with nothing.
func (t *tx) tellWaiting(scope hook.Scope, id hook.ID) error {
	target, err := t.claimable(scope, id)
	if err != nil || target == nil {
		return err
	}
	at, ok, err := t.earliest(id)
	if ok {
		t.waitsSomewhere(target, at)
	}
	return err
}

// The rows that one page of a sweep moves. None of these is sorted: an index gives
// the held rows by event, and nothing needs an order of the pending ones.
const (
	pendingPage    = "SELECT d.event, d.endpoint FROM deliveries d WHERE d.state = 0 AND {anybody} AND d.endpoint = ? AND d.kind = 0 AND d.event < ? LIMIT ?{lock}"
	anyPendingPage = "SELECT d.event, d.endpoint FROM deliveries d WHERE d.state = 0 AND {anybody} AND d.endpoint = ? LIMIT ?{lock}"
	heldPage       = "SELECT d.event, d.endpoint FROM deliveries d WHERE d.state = 1 AND d.endpoint = ? ORDER BY d.event LIMIT ?{lock}"
)

// moveState is the statement that moves the rows of a page to another state.
// The fence is raised, so whoever holds a row can only win with a success. The state
// is asked for in the page alone: beside the key it would make PostgreSQL look for each
// row in an index over the whole backlog of the endpoint.
func moveState(page string) string {
	return `UPDATE deliveries SET state = ?, reason = ?, due = ?, settled_at = ?, held_at = ?, owner = 0, fence = fence + 1
		WHERE (event, endpoint) IN (` + page + `) RETURNING event`
}

// The sweeps by the statement that carries out a page of them.
var (
	holdRows          = moveState(pendingPage)
	cancelPendingRows = moveState(anyPendingPage)
	moveHeldRows      = moveState(heldPage)
)

// sweepRows moves one page of rows and returns how many these were.
func (t *tx) sweepRows(scope hook.Scope, id hook.ID, sweep string, why hook.Reason, bound []byte, limit int) (int, error) {
	now := sqltext.Micros(t.now)
	switch sweep {
	case sweepHold:
		moved, err := t.moveAll(holdRows, hook.Held, why, 0, 0, now, id[:], bound, limit)
		t.drop(id, moved, true)
		return len(moved), err
	case sweepRelease:
		moved, err := t.moveAll(moveHeldRows, hook.Pending, hook.ReasonNone, now, 0, 0, id[:], limit)
		if err != nil || len(moved) == 0 {
			return 0, err
		}
		return len(moved), t.released(scope, id)
	case sweepDiscard:
		moved, err := t.moveAll(moveHeldRows, hook.Cancelled, hook.ReasonDiscarded, 0, now, 0, id[:], limit)
		t.opened(scope, -len(moved))
		return len(moved), err
	}
	moved, err := t.moveAll(cancelPendingRows, hook.Cancelled, why, 0, now, 0, id[:], limit)
	t.drop(id, moved, false)
	if err == nil && len(moved) == 0 {
		moved, err = t.moveAll(moveHeldRows, hook.Cancelled, why, 0, now, 0, id[:], limit)
	}
	t.opened(scope, -len(moved))
	return len(moved), err
}

// moveAll runs a statement of moveState and returns the events of the rows it moved.
func (t *tx) moveAll(statement string, to hook.State, why hook.Reason, due, settled, held int64, page ...any) ([]hook.ID, error) {
	moved, err := returning(t, sqltext.ScanID, statement, append([]any{int64(to), string(why), due, settled, held}, page...)...)
	return moved, sqltext.Wrap("sweep deliveries", err)
}

// drop tells the dispatcher which jobs it must not attempt any more.
func (t *tx) drop(endpoint hook.ID, events []hook.ID, scheduled bool) {
	for _, event := range events {
		t.dropped = append(t.dropped, hook.Ref{Event: event, Endpoint: endpoint, Scheduled: scheduled})
	}
}

// released tells that the table holds work for the endpoint again.
func (t *tx) released(scope hook.Scope, id hook.ID) error {
	target, err := t.endpoint(scope, id)
	if err == nil && target != nil && target.Receives() {
		t.waitsSomewhere(target, t.now)
		t.offer(target)
	}
	return err
}
