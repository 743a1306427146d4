package store

import (
	"context"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/unit"
)

// Sweeps are work over all open deliveries of an endpoint, ordered by a change of its
// status. The order is stored with that change, carried out in pages between other writes,
// and continued after a crash.
//
// The bound of a hold decides which deliveries a hold takes.
//
// A hold takes the pending deliveries that exist when the endpoint is disabled. It must
// not take what is published after the endpoint is enabled again, even if the hold is
// still in progress then. Therefore the order stores a bound, an id in the order of
// events, and the hold takes only events below it.
//
// A single process takes the bound from its ids, which only grow. Nodes on PostgreSQL have
// their own clocks, so there the commit raises the bound above all stored events while no
// node can publish, and every node's next id is above it (unit.Effects.Holds). New ids are made only
// after that commit, so no other operation may follow a hold in its transaction
// (unit.Tx.Written).
//
// While a hold is in progress, claims take nothing from the endpoint (beingHeld,
// claimable), and a release or discard waits for the end of the hold (orderAfterHold).
const (
	sweepHold    = "hold"    // pending -> held
	sweepRelease = "release" // held -> pending, due now, or when the event may be sent
	sweepDiscard = "discard" // held -> cancelled
	sweepCancel  = "cancel"  // pending and held -> cancelled

	sweepPage = 500
)

// orderHold orders a hold of the deliveries that are pending now.
func (t *tx) orderHold(target *hook.Endpoint, why hook.Reason) error {
	bound := t.s.core.IDs.Next()
	if _, err := t.Exec("order hold", "UPDATE endpoints SET sweep = ?, sweep_reason = ?, sweep_bound = ?, sweep_next = '' WHERE id = ?",
		sweepHold, string(why), bound[:], target.ID[:]); err != nil {
		return err
	}
	t.Sweeps = true
	t.Holds = append(t.Holds, target.ID)
	return t.deleteShots(target, false)
}

// orderAfterHold orders a release or discard of the held deliveries. A hold in progress
// ends first: some of its rows may still be owned by a dispatcher that forgot their jobs
// when the endpoint was disabled.
func (t *tx) orderAfterHold(endpoint hook.ID, sweep string) error {
	t.Sweeps = true
	_, err := t.Exec("order sweep", `UPDATE endpoints SET
		sweep_next = CASE WHEN sweep = 'hold' THEN ? ELSE '' END,
		sweep = CASE WHEN sweep = 'hold' THEN 'hold' ELSE ? END WHERE id = ?`, sweep, sweep, endpoint[:])
	return err
}

func (t *tx) orderCancel(target *hook.Endpoint) error {
	t.Sweeps = true
	if err := t.s.replays.End(t.Tx, target); err != nil {
		return err
	}
	if _, err := t.Exec("order cancel", "UPDATE endpoints SET sweep = ?, sweep_reason = ?, sweep_next = '' WHERE id = ?",
		sweepCancel, string(hook.ReasonEndpointDeleted), target.ID[:]); err != nil {
		return err
	}
	return t.deleteShots(target, true)
}

// sweepAgain is how long the sweeper waits after an error, such as a full disk.
const sweepAgain = 2 * time.Second

// sweep is the goroutine that carries out the orders. Each page is a separate operation,
// so that a large backlog does not delay other writes.
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

// sweepAll sweeps until no order is left. After an error it leaves the rest for later.
// Nothing is lost, because the orders are stored.
func (s *Store) sweepAll(ctx context.Context) error {
	for more := true; more; {
		err := s.maintain(ctx, "sweep deliveries", sweepPage, func(t *tx) (err error) {
			more, err = t.sweepOnce()
			return err
		})
		if err != nil {
			if code := hook.CodeOf(err); ctx.Err() == nil && code != hook.CodeStorageFull && code != hook.CodeStorageDown && code != hook.CodeShuttingDown {
				s.core.Log.Error("sweep of deliveries failed and will be tried again", "error", err)
			}
			return err
		}
	}
	return nil
}

// sweepOnce moves a page of rows, shared by the endpoints that are next, and reports
// whether there may be more.
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

// nextSweeps returns the endpoints to sweep next. It picks them round-robin, so that a
// small backlog does not wait for a large one.
func (t *tx) nextSweeps() ([]hook.ID, error) {
	const ordered = "SELECT id FROM endpoints WHERE sweep <> '' AND id > ? ORDER BY id LIMIT 8"
	last := t.s.lastSwept
	ids, err := sqltext.Collect(background, t.Conn, sqltext.ScanID, ordered, last[:])
	if err == nil && len(ids) == 0 && !last.IsZero() {
		last = hook.ID{}
		ids, err = sqltext.Collect(background, t.Conn, sqltext.ScanID, ordered, last[:])
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
	ok, err := t.Row("read sweep", "SELECT sweep, sweep_reason, sweep_bound, mode, tenant FROM endpoints WHERE id = ?{lock}",
		[]any{id[:]}, &sweep, &why, &bound, &scope.Mode, &scope.Tenant)
	if err != nil || !ok {
		return err
	}
	n, err := t.sweepRows(scope, id, sweep, why, bound, limit)
	if err != nil || n > 0 {
		return err
	}
	if _, err = t.Exec("end sweep", "UPDATE endpoints SET sweep = sweep_next, sweep_next = '' WHERE id = ?", id[:]); err != nil {
		return err
	}
	return t.noteEarliest(scope, id)
}

// noteEarliest records the earliest work of an endpoint after a sweep. While its rows were
// being held, claims got nothing, so no dispatcher knows of the rest.
func (t *tx) noteEarliest(scope hook.Scope, id hook.ID) error {
	target, err := t.claimable(scope, id)
	if err != nil || target == nil {
		return err
	}
	at, ok, err := t.earliest(id)
	if ok {
		t.NoteDue(target, at)
	}
	return err
}

// The rows that a page of a sweep moves. No query sorts: an index returns the held rows by
// event, and the pending rows need no order.
const (
	pendingPage    = "SELECT d.event, d.endpoint FROM deliveries d WHERE d.state = 0 AND {anybody} AND d.endpoint = ? AND d.kind = 0 AND d.event < ? LIMIT ?{lock}"
	anyPendingPage = "SELECT d.event, d.endpoint FROM deliveries d WHERE d.state = 0 AND {anybody} AND d.endpoint = ? LIMIT ?{lock}"
	heldPage       = "SELECT d.event, d.endpoint FROM deliveries d WHERE d.state = 1 AND d.endpoint = ? ORDER BY d.event LIMIT ?{lock}"
)

// moveState returns the statement that moves the rows of a page to another state and
// raises their fence. due is the new due time. A held row keeps the time before which its
// event asked for no attempt, if that is still to come. Only the page tests the state: tested beside the key, it would make
// PostgreSQL search for each row in an index over the endpoint's whole backlog.
func moveState(page, due string) string {
	return `UPDATE deliveries SET state = ?, reason = ?, due = ` + due + `, settled_at = ?, held_at = ?, owner = 0, fence = fence + 1
		WHERE (event, endpoint) IN (` + page + `) RETURNING event`
}

// The statements that carry out a page of a sweep.
var (
	holdRows          = moveState(pendingPage, "CASE WHEN scheduled = 0 AND due > ? THEN due ELSE 0 END")
	releaseRows       = moveState(heldPage, "CASE WHEN due > ? THEN due ELSE ? END")
	cancelPendingRows = moveState(anyPendingPage, "?")
	moveHeldRows      = moveState(heldPage, "?")
)

// sweepRows moves one page of rows and returns their number.
func (t *tx) sweepRows(scope hook.Scope, id hook.ID, sweep string, why hook.Reason, bound []byte, limit int) (int, error) {
	now, none := sqltext.Micros(t.Now), []any{int64(0)}
	switch sweep {
	case sweepHold:
		moved, err := t.moveAll(holdRows, hook.Held, why, []any{now}, 0, now, id[:], bound, limit)
		t.dropJobs(id, moved, true)
		return len(moved), err
	case sweepRelease:
		moved, err := t.moveAll(releaseRows, hook.Pending, hook.ReasonNone, []any{now, now}, 0, 0, id[:], limit)
		if err != nil || len(moved) == 0 {
			return 0, err
		}
		return len(moved), t.noteReleased(scope, id)
	case sweepDiscard:
		moved, err := t.moveAll(moveHeldRows, hook.Cancelled, hook.ReasonDiscarded, none, now, 0, id[:], limit)
		t.AddOpen(scope, -len(moved))
		return len(moved), err
	}
	moved, err := t.moveAll(cancelPendingRows, hook.Cancelled, why, none, now, 0, id[:], limit)
	t.dropJobs(id, moved, false)
	if err == nil && len(moved) == 0 {
		moved, err = t.moveAll(moveHeldRows, hook.Cancelled, why, none, now, 0, id[:], limit)
	}
	t.AddOpen(scope, -len(moved))
	return len(moved), err
}

// moveAll runs a statement of moveState and returns the events of the rows that it moved.
func (t *tx) moveAll(statement string, to hook.State, why hook.Reason, due []any, settled, held int64, page ...any) ([]hook.ID, error) {
	moved, err := unit.Returning(t.Tx, sqltext.ScanID, statement, slices.Concat([]any{int64(to), string(why)}, due, []any{settled, held}, page)...)
	return moved, sqltext.Wrap("sweep deliveries", err)
}

// dropJobs tells the dispatcher which jobs must no longer be attempted.
func (t *tx) dropJobs(endpoint hook.ID, events []hook.ID, scheduled bool) {
	for _, event := range events {
		t.Dropped = append(t.Dropped, hook.Ref{Event: event, Endpoint: endpoint, Scheduled: scheduled})
	}
}

// noteReleased records that the table holds work for the endpoint again.
func (t *tx) noteReleased(scope hook.Scope, id hook.ID) error {
	target, err := t.Endpoint(scope, id)
	if err == nil && target != nil && target.Receives() {
		t.NoteDue(target, t.Now)
		t.Announce(target)
	}
	return err
}
