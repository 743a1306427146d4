package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/seal"
)

// Claim takes due work of each share out of the table, oldest first, for this
// process: owner and fence change with it. Endpoints that are not enabled, or
// whose backlog is still being held, give nothing. Jobs come without Event.
//
// Once the claim is under way its caller's context no longer matters: what was
// claimed is always handed back, so that no row is owned and forgotten.
func (s *Store) Claim(ctx context.Context, c hook.Claim) (hook.Claimed, error) {
	var out hook.Claimed
	o := &op{rows: 1}
	for _, share := range c.Shares {
		o.rows += share.Limit
	}
	o.apply = func(t *tx) error {
		out = hook.Claimed{}
		if t.s.cluster != nil {
			return wrap("claim deliveries", t.claimShares(&c, &out))
		}
		for _, share := range c.Shares {
			if err := t.claim(share, c.Now, &out); err != nil {
				return fmt.Errorf("claim deliveries: %w", err)
			}
		}
		return nil
	}
	if err := s.carryOut(ctx, o); err != nil {
		return hook.Claimed{}, err
	}
	return out, nil
}

func (t *tx) claim(share hook.Share, now time.Time, out *hook.Claimed) error {
	target, err := t.claimable(share.Scope, share.Endpoint)
	if err != nil || target == nil {
		return err
	}
	rows, err := collect(background, t.q(), scanDelivery, claimRows, target.ID[:], micros(now), max(share.Limit, 0))
	if err != nil {
		return err
	}
	for _, d := range rows {
		d.Owner = t.s.Epoch()
		d.Fence++
		if _, err := t.exec("own delivery", "UPDATE deliveries SET owner = ?, fence = ? WHERE event = ? AND endpoint = ?",
			d.Owner, d.Fence, d.Event[:], d.Endpoint[:]); err != nil {
			return err
		}
		out.Jobs = append(out.Jobs, hook.Job{Delivery: d, Target: target, Trigger: triggerOf(&d), Holder: d.Owner})
	}
	at, ok, err := t.earliest(target.ID)
	if ok {
		out.Due = append(out.Due, hook.Due{Target: target, At: at})
	}
	return err
}

const claimRows = "SELECT " + deliveryColumns + ` FROM deliveries d
	WHERE d.state = 0 AND d.owner = 0 AND d.endpoint = ? AND d.due <= ? ORDER BY d.due LIMIT ?`

// claimable returns the endpoint if its work may be claimed now.
func (t *tx) claimable(scope hook.Scope, id hook.ID) (*hook.Endpoint, error) {
	target, err := t.endpoint(scope, id)
	if err != nil || target == nil || target.Status != hook.Enabled {
		return nil, err
	}
	var sweep string
	_, err = t.row("read sweep", "SELECT sweep FROM endpoints WHERE id = ?", []any{id[:]}, &sweep)
	if err != nil || sweep == sweepHold {
		// Its older rows are on their way to being held and released again.
		return nil, err
	}
	return target, nil
}

// earliest returns when the endpoint's first unowned delivery is due.
func (t *tx) earliest(endpoint hook.ID) (time.Time, bool, error) {
	var due int64
	ok, err := t.row("read earliest due", earliestDue, []any{endpoint[:]}, &due)
	return fromMicros(due), ok, err
}

const earliestDue = "SELECT due FROM deliveries WHERE state = 0 AND owner = 0 AND endpoint = ? ORDER BY due LIMIT 1"

func triggerOf(d *hook.Delivery) hook.Trigger {
	if d.Kind == hook.TestEvent {
		return hook.ByTest
	}
	return hook.BySchedule
}

// recoverPage bounds the rows of one step of recovery.
const recoverPage = 1000

// Recover takes up what earlier processes left: their deliveries go back into the
// table, sweeps go on, test events and attempts asked for by hand come as jobs.
// It returns the earliest due time of each enabled endpoint with work. It works on
// a full disk too, as far as the reserve goes. It is called once after Open, before the first Claim.
func (s *Store) Recover(ctx context.Context) ([]hook.Due, []hook.Job, error) {
	if s.cluster != nil {
		return s.cluster.recover(ctx)
	}
	dead := fmt.Sprintf("owner > 0 AND owner < %d", s.Epoch())
	var jobs []hook.Job
	err := s.carryOut(ctx, &op{rows: recoverPage, settles: true, apply: func(t *tx) (err error) {
		jobs = nil
		if err := t.recoverTests(fmt.Sprintf("owner >= 0 AND owner < %d", s.Epoch()), &jobs); err != nil {
			return err
		}
		return t.recoverOneshots("owner >= 0", &jobs)
	}})
	if err != nil {
		return nil, nil, fmt.Errorf("recover: %w", err)
	}
	if _, err := s.disown(ctx, dead, recoverPage); err != nil {
		return nil, nil, fmt.Errorf("recover: %w", err)
	}
	var due []hook.Due
	err = s.carryOut(ctx, &op{rows: recoverPage, settles: true, apply: func(t *tx) error {
		found, err := collect(background, t.q(), scanWaiting, summaryRows)
		if err != nil {
			return wrap("summarise deliveries", err)
		}
		due, err = t.claimables(found)
		return err
	}})
	if err != nil {
		return nil, nil, fmt.Errorf("recover: %w", err)
	}
	s.wakeSweeper()
	return due, jobs, nil
}

// disown gives the rows of dead owners back to the table, a page at a time, and
// returns how many these were. It may be broken off: the rest stays for another time.
func (s *Store) disown(ctx context.Context, dead string, page int) (rows int64, err error) {
	for left := int64(1); left > 0; rows += left {
		err := s.carryOut(ctx, &op{rows: page, settles: true, apply: func(t *tx) (err error) {
			left, err = t.exec("disown deliveries", disownRows(dead), int64(page))
			return err
		}})
		if err != nil {
			return rows, err
		}
	}
	return rows, nil
}

func disownRows(dead string) string {
	return `UPDATE deliveries SET owner = 0 WHERE (event, endpoint) IN
		(SELECT event, endpoint FROM deliveries WHERE state = 0 AND ` + dead + ` LIMIT ?) AND ` + dead
}

// recoverTests owns the test events that a dead owner did not send: their endpoint
// may be disabled, so no claim would ever find them.
func (t *tx) recoverTests(dead string, jobs *[]hook.Job) error {
	rows, err := collect(background, t.q(), scanDelivery, "SELECT "+deliveryColumns+" FROM deliveries d WHERE d.state = 0 AND "+dead+
		" AND d.kind = 1{lock}")
	if err != nil {
		return wrap("read test deliveries", err)
	}
	for _, d := range rows {
		target, err := t.endpoint(d.Scope, d.Endpoint)
		if t.passOver(err, d.Endpoint) {
			continue
		}
		if err != nil {
			return err
		}
		if target == nil {
			continue // deleted; its sweep cancels the row
		}
		d.Owner = t.s.Epoch()
		d.Fence++
		if err := t.writeDelivery(&d); err != nil {
			return err
		}
		*jobs = append(*jobs, hook.Job{Delivery: d, Target: target, Trigger: hook.ByTest, Holder: d.Owner})
	}
	return nil
}

// recoverOneshots takes the attempts asked for by hand for which the condition holds.
func (t *tx) recoverOneshots(of string, jobs *[]hook.Job) error {
	type oneshot struct {
		hook.Delivery
		trigger hook.Trigger
	}
	rows, err := collect(background, t.q(), func(row scanner) (o oneshot, err error) {
		o.Delivery, err = scanDeliveryAnd(row, &o.trigger)
		return o, err
	}, "SELECT "+deliveryColumns+`, o.trigger_by
		FROM oneshots o JOIN deliveries d ON d.event = o.event AND d.endpoint = o.endpoint WHERE o.`+of+` ORDER BY o.requested_at`)
	if err != nil {
		return wrap("read one shots", err)
	}
	for _, o := range rows {
		d := o.Delivery
		target, err := t.endpoint(d.Scope, d.Endpoint)
		if t.passOver(err, d.Endpoint) {
			continue
		}
		if err != nil {
			return err
		}
		if !mayRetry(target, &d) {
			if err := t.forgetOneshot(d.Event, d.Endpoint); err != nil {
				return err
			}
			continue
		}
		n, err := t.exec("own one shot", "UPDATE oneshots SET owner = ? WHERE event = ? AND endpoint = ? AND "+of, t.s.Epoch(), d.Event[:], d.Endpoint[:])
		if err != nil {
			return err
		}
		if n == 0 {
			continue // somebody else has it by now
		}
		*jobs = append(*jobs, hook.Job{Delivery: d, Target: target, Trigger: o.trigger, Holder: t.s.Epoch()})
	}
	return nil
}

// passOver reports whether the error is one endpoint's own damage, which must not
// keep the others from being recovered.
func (t *tx) passOver(err error, endpoint hook.ID) bool {
	if !errors.Is(err, seal.ErrDamaged) && !errors.Is(err, seal.ErrOtherKey) {
		return false
	}
	t.s.log.Error("an endpoint's secrets cannot be opened: its deliveries wait", "endpoint", endpoint, "error", err)
	return true
}

// waiting is the earliest work of an endpoint in the table.
type waiting struct {
	scope    hook.Scope
	endpoint hook.ID
	due      int64
}

func scanWaiting(row scanner) (w waiting, err error) {
	err = row.Scan(blob(w.endpoint[:]), &w.due, &w.scope.Mode, &w.scope.Tenant)
	return w, err
}

// claimables keeps those whose work may be claimed now.
func (t *tx) claimables(found []waiting) ([]hook.Due, error) {
	held, err := t.beingHeld()
	if err != nil {
		return nil, err
	}
	var due []hook.Due
	for _, w := range found {
		target, err := t.endpoint(w.scope, w.endpoint)
		if t.passOver(err, w.endpoint) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if target != nil && target.Status == hook.Enabled && !held[w.endpoint] && t.mine(target) {
			due = append(due, hook.Due{Target: target, At: fromMicros(w.due)})
		}
	}
	return due, nil
}

// beingHeld returns the endpoints whose older rows are on their way to being held
// and released again.
func (t *tx) beingHeld() (map[hook.ID]bool, error) {
	ids, err := collect(background, t.q(), scanID, "SELECT id FROM endpoints WHERE sweep <> '' AND sweep = 'hold'")
	if err != nil {
		return nil, wrap("read sweeps", err)
	}
	held := map[hook.ID]bool{}
	for _, id := range ids {
		held[id] = true
	}
	return held, nil
}

// summaryRows lists what waits in the table, from the open index alone.
const summaryRows = `SELECT w.endpoint, w.due, e.mode, e.tenant FROM
	(SELECT endpoint, min(due) AS due FROM deliveries WHERE state = 0 AND owner = 0 GROUP BY endpoint) w
	JOIN endpoints e ON e.id = w.endpoint`
