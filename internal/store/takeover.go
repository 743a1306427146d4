package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn/internal/hook"
)

// takePage bounds the rows of one step of a takeover.
const takePage = 2000

// take carries out takeovers, beside the keeper, which must not wait.
func (c *cluster) take(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case dead := <-c.dead:
			err := c.learnAfter(ctx, dead)
			if err != nil && ctx.Err() == nil && hook.CodeOf(err) != hook.CodeShuttingDown {
				c.store.log.Error("take over the work of a node that is gone; it will be tried again", "error", oneLine(err))
			}
		}
	}
}

// learnAfter takes over dead nodes and then learns what waits; nil: only the latter. Only then is it done
// with them: what fails before is tried again.
func (c *cluster) learnAfter(ctx context.Context, dead []int64) error {
	var mine []int64
	var failed error
	for _, epoch := range dead {
		taken, err := c.takeOver(ctx, epoch, nil)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("node %d: %w", epoch, err))
		} else if taken {
			mine = append(mine, epoch)
		}
	}
	if len(mine) == 0 && dead != nil {
		return failed
	}
	if err := c.learn(ctx); err != nil {
		return errors.Join(failed, err)
	}
	if len(mine) == 0 {
		return failed
	}
	return errors.Join(failed, c.done(ctx, mine))
}

// takeOver gives the rows of a dead node back to the table and takes its test events
// and single shots, which come as jobs: into jobs, or to the dispatcher if that is nil.
// It reports whether this node did it: another one may have been first. Until done is
// called, the rest is left to this node's next look, or to whoever finds this one dead.
func (c *cluster) takeOver(ctx context.Context, epoch int64, jobs *[]hook.Job) (bool, error) {
	s := c.store
	var mine int64
	var name string
	err := s.carryOut(ctx, &op{rows: 1, settles: true, apply: func(t *tx) (err error) {
		// Writes that the node is just ending come first; no later one finds it alive.
		if _, err := t.exec("lock nodes", "SELECT pg_advisory_xact_lock(7596481, 1)"); err != nil {
			return err
		}
		mine, err = t.exec("take over node", "UPDATE nodes n SET taker = ? WHERE n.epoch = ? AND NOT n.done AND (n.taker = ? OR "+abandoned+")",
			s.Epoch(), epoch, s.Epoch()) // one that this node began and did not end counts too
		if err != nil || mine == 0 {
			return err
		}
		_, err = t.row("read node", "SELECT name FROM nodes WHERE epoch = ?", []any{epoch}, &name)
		return err
	}})
	if err != nil || mine == 0 {
		return false, err
	}
	dead := fmt.Sprintf("owner = %d", epoch)
	var had []hook.Job
	if jobs != nil {
		had = slices.Clip(*jobs)
	}
	if err := s.carryOut(ctx, &op{rows: takePage, settles: true, apply: func(t *tx) error {
		var found []hook.Job
		if err := t.recoverTests(fmt.Sprintf("owner IN (0, %d)", epoch), &found); err != nil {
			return err
		}
		if err := t.recoverOneshots(dead, &found); err != nil {
			return err
		}
		if err := t.listenersAway(epoch); err != nil {
			return err
		}
		if jobs != nil {
			*jobs = append(had, found...) // it may run more than once
		} else {
			t.jobs = append(t.jobs, found...)
		}
		return nil
	}}); err != nil {
		return true, err
	}
	rows, err := s.disown(ctx, dead, takePage)
	if err != nil {
		return true, err
	}
	c.takenRows.Add(rows)
	s.log.Info("took over the work of a node that is gone", "epoch", epoch, "node", name, "deliveries", rows)
	s.wakeSweeper()
	return true, nil
}

// done ends takeovers.
func (c *cluster) done(ctx context.Context, taken []int64) error {
	s := c.store
	err := s.carryOut(ctx, &op{rows: 1, settles: true, apply: func(t *tx) error {
		_, err := t.exec("end takeover", "UPDATE nodes SET done = true WHERE taker = ? AND epoch = ANY(?)", s.Epoch(), taken)
		return err
	}})
	if err == nil {
		c.takeovers.Add(int64(len(taken)))
	}
	return err
}

// learn tells the dispatcher what waits in the table: a dead node knew of retries
// that nobody else has in memory.
func (c *cluster) learn(ctx context.Context) error {
	s := c.store
	found, err := collect(ctx, s.read, scanWaiting, summaryRows)
	if err != nil {
		return wrap("summarise deliveries", err)
	}
	for len(found) > 0 {
		page := found[:min(len(found), recoverPage)]
		found = found[len(page):]
		err := s.carryOut(ctx, &op{rows: len(page), settles: true, apply: func(t *tx) error {
			due, err := t.claimables(page)
			for _, d := range due {
				t.waits(d.Target, d.At)
			}
			return err
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

// recover is Recover on PostgreSQL: it takes over the nodes that are dead by now,
// before all what this one was before.
func (c *cluster) recover(ctx context.Context) ([]hook.Due, []hook.Job, error) {
	s := c.store
	var jobs []hook.Job
	dead, err := collect(ctx, s.read, func(row scanner) (n int64, err error) { err = row.Scan(&n); return n, err },
		"SELECT n.epoch FROM nodes n WHERE NOT n.done AND n.epoch <> ? AND "+abandoned+" ORDER BY n.epoch", s.Epoch())
	if err != nil {
		return nil, nil, fmt.Errorf("recover: %w", s.readError("look for dead nodes", err))
	}
	var mine []int64
	for _, epoch := range dead {
		taken, err := c.takeOver(ctx, epoch, &jobs)
		if err != nil {
			return nil, nil, fmt.Errorf("recover: %w", err)
		}
		if taken {
			mine = append(mine, epoch)
		}
	}
	found, err := collect(ctx, s.read, scanWaiting, summaryRows)
	if err != nil {
		return nil, nil, fmt.Errorf("recover: %w", s.readError("summarise deliveries", err))
	}
	var due []hook.Due
	err = s.carryOut(ctx, &op{rows: recoverPage, settles: true, apply: func(t *tx) (err error) {
		due, err = t.claimables(found)
		return err
	}})
	if err == nil && len(mine) > 0 {
		err = c.done(ctx, mine)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("recover: %w", err)
	}
	s.wakeSweeper()
	return due, jobs, nil
}

// listen waits for notifications, which make changes known at once. They are a hint:
// a pooler may swallow them, and the keeper looks twice a second anyway.
func (c *cluster) listen(ctx context.Context) {
	for ctx.Err() == nil {
		if err := c.hear(ctx); err != nil && ctx.Err() == nil {
			c.store.log.Debug("listen for changes", "error", oneLine(err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Second):
		}
	}
}

// hear returns when the connection ends.
func (c *cluster) hear(ctx context.Context) error {
	conn, err := pgx.ConnectConfig(ctx, c.lanes[0].config)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(background, time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	if _, err := conn.Exec(ctx, "LISTEN posthorn"); err != nil {
		return err
	}
	for {
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return err
		}
		select {
		case c.poke <- struct{}{}:
		default:
		}
	}
}

// The claim of many shares at once. Rows that another node is just claiming are left
// to it.
const (
	claimArrays = `UPDATE deliveries d SET owner = ?, fence = d.fence + 1 FROM (SELECT w.event, w.endpoint
			FROM unnest(?::bytea[], ?::int8[]) AS s(endpoint, most) CROSS JOIN LATERAL (SELECT o.event, o.endpoint FROM deliveries o
				WHERE o.state = 0 AND o.owner = 0 AND o.endpoint = s.endpoint AND o.due <= ? ORDER BY o.due LIMIT s.most FOR UPDATE SKIP LOCKED) w) c
		WHERE d.event = c.event AND d.endpoint = c.endpoint RETURNING ` + deliveryColumns
	earliestOf = `SELECT s.endpoint, w.due FROM unnest(?::bytea[]) AS s(endpoint) CROSS JOIN LATERAL
		(SELECT o.due FROM deliveries o WHERE o.state = 0 AND o.owner = 0 AND o.endpoint = s.endpoint ORDER BY o.due LIMIT 1) w`
)

// claimShares claims for all endpoints that may be claimed for, oldest first.
func (t *tx) claimShares(c *hook.Claim, out *hook.Claimed) error {
	held, err := t.beingHeld()
	if err != nil {
		return err
	}
	targets := map[hook.ID]*hook.Endpoint{}
	var ids [][]byte
	var most []int64
	for _, share := range c.Shares {
		target, err := t.endpoint(share.Scope, share.Endpoint)
		if err != nil {
			return err
		}
		if target == nil || target.Status != hook.Enabled || held[target.ID] || targets[target.ID] != nil || !t.mine(target) {
			continue
		}
		targets[target.ID] = target
		ids, most = append(ids, target.ID[:]), append(most, int64(max(share.Limit, 0)))
	}
	if len(ids) == 0 {
		return nil
	}
	t.writes++
	rows, err := collect(background, t.q(), scanDelivery, claimArrays, t.s.Epoch(), ids, most, micros(c.Now))
	if err != nil {
		return err
	}
	slices.SortFunc(rows, func(a, b hook.Delivery) int {
		return cmp.Or(a.Due.Compare(b.Due), bytes.Compare(a.Event[:], b.Event[:]))
	})
	for _, d := range rows {
		out.Jobs = append(out.Jobs, hook.Job{Delivery: d, Target: targets[d.Endpoint], Trigger: triggerOf(&d), Holder: d.Owner})
	}
	left, err := collect(background, t.q(), func(row scanner) (w waiting, err error) {
		err = row.Scan(blob(w.endpoint[:]), &w.due)
		return w, err
	}, earliestOf, ids)
	for _, w := range left {
		target := targets[w.endpoint]
		out.Due = append(out.Due, hook.Due{Target: target, At: fromMicros(w.due)})
		if at := fromMicros(w.due); (target.RateLimit > 0 || target.MaxInFlight > 0) && !at.After(c.Now) {
			t.offer(target) // more is due than this node's part
		}
	}
	return err
}
