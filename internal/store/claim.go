package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// Claim takes due work of each share out of the table for this process, oldest first. It
// takes nothing from an endpoint that is not enabled or whose backlog is still being held.
// The jobs have no Event.
//
// A claim takes at most claimMost rows. An endpoint that got less than its share is in
// Due, as is every endpoint that has more work in the table. A damaged endpoint yields
// nothing and does not keep others from getting their shares.
//
// Once a claim has started, it ignores its caller's context and always returns what was
// claimed, so that no row is owned and forgotten.
func (s *Store) Claim(ctx context.Context, c hook.Claim) (hook.Claimed, error) {
	c.Shares = bounded(c.Shares)
	rows := 1
	for _, share := range c.Shares {
		rows += share.Limit
	}
	var out hook.Claimed
	err := s.maintain(ctx, "claim deliveries", rows, func(t *tx) (err error) {
		out, err = t.claim(&c)
		return err
	})
	if err != nil {
		return hook.Claimed{}, err
	}
	return out, nil
}

// claimMost bounds the rows of one claim, which is one transaction.
const claimMost = 1024

// bounded reduces the shares so that their sum is at most claimMost. Each endpoint gets an
// equal part of it before any gets more.
func bounded(shares []hook.Share) []hook.Share {
	cut := make([]hook.Share, len(shares))
	left := claimMost
	each := claimMost / max(len(shares), 1)
	for i, share := range shares {
		cut[i] = share
		cut[i].Limit = min(max(share.Limit, 0), each)
		left -= cut[i].Limit
	}
	for i, share := range shares {
		more := min(max(share.Limit, 0)-cut[i].Limit, left)
		cut[i].Limit += more
		left -= more
	}
	return cut
}

func (t *tx) claim(c *hook.Claim) (out hook.Claimed, err error) {
	asked := make([]hook.ID, len(c.Shares))
	for i := range c.Shares {
		asked[i] = c.Shares[i].Endpoint
	}
	held, err := t.beingHeld(asked)
	if err != nil {
		return out, err
	}
	targets := map[hook.ID]*hook.Endpoint{}
	var shares []sqltext.Share
	for _, share := range c.Shares {
		target, err := t.Endpoint(share.Scope, share.Endpoint)
		if err != nil {
			return out, err
		}
		if target == nil || !target.Receives() || held[target.ID] || targets[target.ID] != nil || !t.CanAttempt(target) {
			continue
		}
		targets[target.ID] = target
		shares = append(shares, sqltext.Share{Endpoint: target.ID, Limit: share.Limit})
	}
	if len(shares) == 0 {
		return out, nil
	}
	if err := t.claimShots(c.Now, targets, shares, &out); err != nil {
		return out, err
	}
	claimed, err := t.claimRows(shares, c.Now)
	if err != nil {
		return out, err
	}
	for _, d := range claimed.Deliveries {
		out.Jobs = append(out.Jobs, hook.Job{Delivery: d, Target: targets[d.Endpoint], Trigger: triggerOf(&d), Holder: d.Owner})
	}
	for _, w := range claimed.Left {
		target := targets[w.Endpoint]
		out.Due = append(out.Due, hook.Due{Target: target, At: w.Due})
		if (target.Rate() > 0 || target.MaxInFlight > 0) && !w.Due.After(c.Now) {
			t.Announce(target) // more is due than this node's part of the limits
		}
	}
	return out, nil
}

// claimable returns the endpoint if its work may be claimed now, and nil otherwise.
func (t *tx) claimable(scope hook.Scope, id hook.ID) (*hook.Endpoint, error) {
	target, err := t.Endpoint(scope, id)
	if err != nil || target == nil || !target.Receives() {
		return nil, err
	}
	var sweep string
	_, err = t.Row("read sweep", "SELECT sweep FROM endpoints WHERE id = ?", []any{id[:]}, &sweep)
	if err != nil || sweep == sweepHold {
		return nil, err // a hold is in progress
	}
	return target, nil
}

// earliest returns when the endpoint's first unowned work is due.
func (t *tx) earliest(endpoint hook.ID) (time.Time, bool, error) {
	var due int64
	_, err := t.Row("read earliest due", sqltext.EarliestDue, []any{endpoint[:], endpoint[:]}, &due)
	return sqltext.FromMicros(due), due != 0, err
}

func triggerOf(d *hook.Delivery) hook.Trigger {
	if d.Kind == hook.TestEvent {
		return hook.ByTest
	}
	return hook.BySchedule
}

// recoverPage bounds the rows of one step of recovery.
const recoverPage = 1000

// Recover takes over the work of processes that have ended. It returns their deliveries
// and single shots to the table, returns their test events as jobs, and continues sweeps.
// It also returns the earliest due time of each enabled endpoint with work. It works on a
// full disk too, as long as the reserve lasts. It is called once after Open, before the
// first Claim.
func (s *Store) Recover(ctx context.Context) ([]hook.Due, []hook.Job, error) {
	due, jobs, err := s.recoverAll(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("recover: %w", err)
	}
	s.wakeSweeper()
	return due, jobs, nil
}

func (s *Store) recoverAll(ctx context.Context) (due []hook.Due, jobs []hook.Job, err error) {
	left, err := s.core.Peers.Abandoned(ctx)
	if err != nil {
		return nil, nil, s.core.ReadError("find the work of ended processes", err)
	}
	mine, err := s.takeOver(ctx, left, &jobs)
	if err != nil {
		return nil, nil, err
	}
	due, err = s.recoverDue(ctx)
	if err != nil {
		return nil, nil, err
	}
	return due, jobs, s.doneWith(ctx, mine)
}

// disown returns the rows of ended owners to the table, one page at a time, and returns
// the number of deliveries. After an interruption the next call does the rest.
func (s *Store) disown(ctx context.Context, dead string, page int) (rows int64, err error) {
	if _, err := s.core.InPages(ctx, "disown single shots", disownShots(dead), page); err != nil {
		return 0, err
	}
	return s.core.InPages(ctx, "disown deliveries", disownRows(dead), page)
}

func disownRows(dead string) string {
	return `UPDATE deliveries SET owner = 0 WHERE (event, endpoint) IN
		(SELECT event, endpoint FROM deliveries WHERE state = 0 AND ` + dead + ` LIMIT ?) AND ` + dead
}

// recoverTests takes over the test events that an ended owner did not send. No claim would
// find them if their endpoint is disabled. recoverTests appends them to jobs, or hands
// them to the dispatcher if jobs is nil. Each page is an operation.
func (s *Store) recoverTests(ctx context.Context, dead string, jobs *[]hook.Job) error {
	var last hook.Ref
	for more := true; more; {
		var found []hook.Job
		var next hook.Ref
		err := s.recover(ctx, "recover tests", testsPage, func(t *tx) (err error) {
			found = nil
			if next, more, err = t.recoverTestPage(dead, last, &found); err == nil && jobs == nil {
				t.Jobs = append(t.Jobs, found...)
			}
			return err
		})
		if err != nil {
			return err
		}
		if last = next; jobs != nil {
			*jobs = append(*jobs, found...)
		}
	}
	return nil
}

// testsPage bounds the test events of one step of recovery.
const testsPage = 100

// recoverTestPage takes over a page of test events after the given one. It returns the
// last event of the page and whether there may be more.
func (t *tx) recoverTestPage(dead string, after hook.Ref, jobs *[]hook.Job) (last hook.Ref, more bool, err error) {
	rows, err := sqltext.Collect(background, t.Conn, sqltext.ScanDelivery, "SELECT "+sqltext.DeliveryColumns+" FROM deliveries d WHERE d.state = 0 AND "+dead+
		" AND d.kind = 1 AND (d.event, d.endpoint) > (?, ?) ORDER BY d.event, d.endpoint LIMIT ?{lock}", after.Event[:], after.Endpoint[:], testsPage)
	if err != nil {
		return after, false, sqltext.Wrap("read test deliveries", err)
	}
	for _, d := range rows {
		last = hook.Ref{Event: d.Event, Endpoint: d.Endpoint}
		target, err := t.Endpoint(d.Scope, d.Endpoint)
		if err != nil {
			return last, false, err
		}
		if target == nil {
			continue // the endpoint was deleted, and its sweep cancels the row
		}
		d.Owner = t.s.Epoch()
		d.Fence++
		if err := t.writeDelivery(&d); err != nil {
			return last, false, err
		}
		*jobs = append(*jobs, hook.Job{Delivery: d, Target: target, Trigger: hook.ByTest, Holder: d.Owner})
	}
	return last, len(rows) == testsPage, nil
}

// recoverTestShots takes over the single shots of test events.
func (t *tx) recoverTestShots(of string, jobs *[]hook.Job) error {
	type oneshot struct {
		hook.Delivery
		trigger hook.Trigger
	}
	rows, err := sqltext.Collect(background, t.Conn, func(row sqltext.Scanner) (o oneshot, err error) {
		o.Delivery, err = sqltext.ScanDeliveryAnd(row, &o.trigger)
		return o, err
	}, "SELECT "+sqltext.DeliveryColumns+`, o.trigger_by
		FROM oneshots o JOIN deliveries d ON d.event = o.event AND d.endpoint = o.endpoint WHERE o.`+of+` AND d.kind = 1
		ORDER BY o.requested_at LIMIT ?`, recoverPage)
	if err != nil {
		return sqltext.Wrap("read single shots", err)
	}
	for _, o := range rows {
		d := o.Delivery
		target, err := t.Endpoint(d.Scope, d.Endpoint)
		if err != nil {
			return err
		}
		if !mayRetry(target, &d) {
			if err := t.deleteShot(&d); err != nil {
				return err
			}
			continue
		}
		n, err := t.Exec("own single shot", "UPDATE oneshots SET owner = ? WHERE event = ? AND endpoint = ? AND "+of, t.s.Epoch(), d.Event[:], d.Endpoint[:])
		if err != nil {
			return err
		}
		if n == 0 {
			continue // another process has taken it
		}
		*jobs = append(*jobs, hook.Job{Delivery: d, Target: target, Trigger: o.trigger, Holder: t.s.Epoch()})
	}
	return nil
}

// waiting is the earliest work of an endpoint in the table.
type waiting struct {
	scope    hook.Scope
	endpoint hook.ID
	due      int64
}

func scanWaiting(row sqltext.Scanner) (w waiting, err error) {
	err = row.Scan(sqltext.Blob(w.endpoint[:]), &w.due, &w.scope.Mode, &w.scope.Tenant)
	return w, err
}

// claimables returns the due work of the endpoints in found that may be claimed now.
func (t *tx) claimables(found []waiting) ([]hook.Due, error) {
	ids := make([]hook.ID, len(found))
	for i := range found {
		ids[i] = found[i].endpoint
	}
	held, err := t.beingHeld(ids)
	if err != nil {
		return nil, err
	}
	var due []hook.Due
	for _, w := range found {
		target, err := t.Endpoint(w.scope, w.endpoint)
		if err != nil {
			return nil, err
		}
		if target != nil && target.Receives() && !held[w.endpoint] && t.CanAttempt(target) {
			due = append(due, hook.Due{Target: target, At: sqltext.FromMicros(w.due)})
		}
	}
	return due, nil
}

// waitingPage bounds the endpoints that one operation looks up. The tenant of each may
// have to be read first.
const waitingPage = 100

// waitingWork finds the work in the table that may be claimed. It searches outside the
// writer and calls take on the writer, in one operation per page. take may run twice for a
// page.
func (s *Store) waitingWork(ctx context.Context, take func(t *tx, due []hook.Due)) error {
	found, err := sqltext.Collect(ctx, s.core.Read, scanWaiting, summaryRows)
	if err != nil {
		return s.core.ReadError("summarise deliveries", err)
	}
	for len(found) > 0 {
		page := found[:min(len(found), waitingPage)]
		found = found[len(page):]
		err := s.recover(ctx, "waiting work", len(page), func(t *tx) error {
			due, err := t.claimables(page)
			take(t, due)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// recoverDue returns when the earliest work of each endpoint in the table is due.
func (s *Store) recoverDue(ctx context.Context) ([]hook.Due, error) {
	earliest := map[hook.ID]hook.Due{}
	err := s.waitingWork(ctx, func(_ *tx, due []hook.Due) {
		for _, d := range due {
			earliest[d.Target.ID] = d
		}
	})
	return slices.Collect(maps.Values(earliest)), err
}

// beingHeld returns the endpoints of ids that have a hold in progress.
func (t *tx) beingHeld(ids []hook.ID) (map[hook.ID]bool, error) {
	held := map[hook.ID]bool{}
	if len(ids) == 0 {
		return held, nil
	}
	args := make([]any, len(ids))
	for i := range ids {
		args[i] = ids[i][:]
	}
	found, err := sqltext.Collect(background, t.Conn, sqltext.ScanID,
		"SELECT id FROM endpoints WHERE id IN (?"+strings.Repeat(", ?", len(ids)-1)+") AND sweep = 'hold'", args...)
	for _, id := range found {
		held[id] = true
	}
	return held, sqltext.Wrap("read sweeps", err)
}

// summaryRows lists the earliest work of each endpoint in the table. It reads indexes only.
const summaryRows = `SELECT w.endpoint, w.due, e.mode, e.tenant FROM
	(SELECT a.endpoint, min(a.due) AS due FROM (
		SELECT endpoint, min(due) AS due FROM deliveries WHERE state = 0 AND owner = 0 GROUP BY endpoint UNION ALL
		SELECT endpoint, min(requested_at) AS due FROM oneshots WHERE owner = 0 GROUP BY endpoint) a GROUP BY a.endpoint) w
	JOIN endpoints e ON e.id = w.endpoint`
