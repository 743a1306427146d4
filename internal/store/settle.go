package store

import (
	"context"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/unit"
)

// Owner and fence decide who may change a pending delivery.
//
// The owner is the epoch of the process that has the delivery in memory; 0 means that it
// waits in the table. A row gets an owner when it is inserted with a job (see roomFor) or
// claimed. It loses the owner when it is settled, given back, swept or cancelled, or when
// its owner has ended (see takeover.go).
//
// The fence is raised when a row is claimed, and when it is taken from an owner who may
// still be attempting it: by a sweep, a cancellation, or a success outside the schedule. A
// job carries the owner and fence of its row. An outcome whose job still matches the row
// moves it by the schedule (settleFast). Any other outcome is late. It is treated like
// that of a single shot: it is logged, a success still wins, and a failure changes nothing
// (settleSlow). So a failure never undoes what happened to a row since its attempt began.

// giveBackRow returns a delivery to the table. The state is written so that PostgreSQL
// finds the row by its key (see sqltext.MoveDelivery).
const (
	giveBackRow = "UPDATE deliveries SET owner = 0, due = ? WHERE event = ? AND endpoint = ? AND fence = ? AND state + 0 = 0 AND owner = ?"
)

// Settle records attempts and moves their deliveries by [hook.Next]. It returns the due
// time of the earliest planned retry of each endpoint. The hook.Commit does not repeat
// these.
//
// An error means that nothing was recorded. The caller keeps the outcomes and calls again,
// on a full disk until there is space. Settle skips deliveries that no longer exist.
func (s *Store) Settle(ctx context.Context, done []hook.Settlement) ([]hook.Due, error) {
	if len(done) == 0 {
		return nil, nil
	}
	o := &op{Name: "settle", Hot: true, Stays: true, Outcome: true, Rows: 2 * len(done)}
	for i := range done {
		o.Bytes += len(done[i].Outcome.ResponseBody) + len(done[i].Outcome.ResponseHeaders)
	}
	var due []hook.Due
	o.Apply = func(t *tx) error {
		t.Bytes += o.Bytes
		planned := map[hook.ID]hook.Due{}
		for i := range done {
			if err := t.settle(&done[i], planned); err != nil {
				return err
			}
		}
		due = due[:0]
		for _, d := range planned {
			due = append(due, d)
		}
		return nil
	}
	if err := s.write(ctx, o); err != nil {
		return nil, err
	}
	slices.SortFunc(due, func(a, b hook.Due) int { return a.At.Compare(b.At) })
	return due, nil
}

// unknownPolicy is used for an outcome without a policy, because a delivery must not end
// when its plan is unknown.
var unknownPolicy = &hook.Policy{Retry: hook.Retry{Steps: []time.Duration{time.Minute}, Repeat: true}}

func (t *tx) settle(done *hook.Settlement, planned map[hook.ID]hook.Due) error {
	job, o := &done.Job, &done.Outcome
	if o.Skipped {
		return t.giveBack(job, planned)
	}
	policy := o.Policy
	if policy == nil {
		policy = unknownPolicy
	}
	after, effects, ok, err := t.settleFast(job, o, policy)
	if err != nil {
		return err
	}
	was := job.Delivery.State
	if !ok {
		if after, was, effects, ok, err = t.settleSlow(job, o, policy); err != nil || !ok {
			return err
		}
	}
	if was.Open() && !after.State.Open() {
		t.AddOpen(after.Scope, -1)
	}
	if err := t.logAttempt(&after, job.Trigger, o); err != nil {
		return err
	}
	t.NoteAttempt(&after, was, o)
	target, err := t.Endpoint(after.Scope, after.Endpoint)
	if err != nil || target == nil {
		return err
	}
	if err := t.judge(target, effects, policy.Trip, o); err != nil {
		return err
	}
	if effects.Has(hook.EffectExhausted) {
		t.s.alerts.Exhausted(t.Tx, target, &after, job.Event, o)
	}
	if after.Kind == hook.TestEvent && target.Unverified() {
		if err := t.answered(target, &after, o); err != nil {
			return err
		}
	}
	if after.State == hook.Pending && after.Owner == 0 && target.Receives() {
		if old, ok := planned[target.ID]; !ok || after.Due.Before(old.At) {
			planned[target.ID] = hook.Due{Target: target, At: after.Due}
		}
	}
	return nil
}

// giveBackPause is the least time until a delivery that was given back is claimed again.
// Without it, a delivery that this process cannot attempt would be claimed in a loop.
const giveBackPause = time.Second

// giveBack returns a delivery that was not attempted to the table, unless its row has
// changed hands. It also returns a single shot if the endpoint still receives, and deletes
// it otherwise.
func (t *tx) giveBack(job *hook.Job, planned map[hook.ID]hook.Due) error {
	d := &job.Delivery
	due := d.Due
	if soonest := t.Now.Add(giveBackPause); due.Before(soonest) || job.Trigger.OneShot() {
		due = soonest
	}
	gone, err := t.giveBackDelivery(job, due)
	if err != nil || gone {
		return err
	}
	target, err := t.claimable(d.Scope, d.Endpoint)
	if err != nil {
		return err
	}
	if target == nil {
		if e, err := t.Endpoint(d.Scope, d.Endpoint); err != nil || e != nil && e.Damage != 0 {
			t.TellNodes(sqltext.WorkDue, d.Scope, hook.Ref{Endpoint: d.Endpoint}) // another node may have the key that opens its secrets
			return err
		}
		if job.Trigger.OneShot() {
			return t.deleteGivenBack(d)
		}
		return nil
	}
	if !t.CanAttempt(target) {
		t.NoteDue(target, due)
		return nil
	}
	if old, ok := planned[target.ID]; !ok || due.Before(old.At) {
		planned[target.ID] = hook.Due{Target: target, At: due}
	}
	return nil
}

// giveBackDelivery makes the job's row unowned. gone reports that the row had changed
// hands.
func (t *tx) giveBackDelivery(job *hook.Job, due time.Time) (gone bool, err error) {
	if job.Trigger.OneShot() {
		had, err := t.giveBackShot(job, due)
		return !had, err
	}
	d := &job.Delivery
	n, err := t.Exec("give delivery back", "UPDATE deliveries SET owner = 0, due = ? WHERE event = ? AND endpoint = ? AND fence = ? AND state = 0 AND owner = ?",
		sqltext.Micros(due), d.Event[:], d.Endpoint[:], d.Fence, d.Owner)
	return n == 0, err
}

// settleFast applies hook.Next to the job's copy of the row and writes the result if the
// row still equals that copy.
func (t *tx) settleFast(job *hook.Job, o *hook.Outcome, policy *hook.Policy) (hook.Delivery, hook.Effect, bool, error) {
	d := job.Delivery
	if job.Trigger.OneShot() || d.State != hook.Pending {
		return d, 0, false, nil
	}
	after, effects := hook.Next(d, policy, job.Trigger, *o, t.Now, t.s.opts.Jitter())
	t.Rows++
	ok, err := t.Conn.Move(&d, &after)
	return after, effects, ok, sqltext.Wrap("settle delivery", err)
}

// settleSlow reads the row and applies hook.Next to it. It handles single shots and late
// outcomes, whose row has since been held, cancelled or claimed again. was is the state
// that it found.
func (t *tx) settleSlow(job *hook.Job, o *hook.Outcome, policy *hook.Policy) (after hook.Delivery, was hook.State, effects hook.Effect, ok bool, err error) {
	row, ok, err := t.ReadDelivery(job.Delivery.Event, job.Delivery.Endpoint)
	if err != nil || !ok {
		return row, row.State, 0, false, err
	}
	if job.Trigger.OneShot() {
		became := unit.ReplayCounts{Failed: 1}
		if o.Success {
			became = unit.ReplayCounts{Delivered: 1}
		}
		if err := t.takeShot(&row, became); err != nil {
			return row, row.State, 0, false, err
		}
	}
	trigger := job.Trigger
	if row.Fence != job.Delivery.Fence || row.Owner != job.Delivery.Owner {
		if !trigger.OneShot() {
			trigger = hook.ByHand // this job no longer decides the schedule
		}
		if job.Holder != t.s.Epoch() || row.Owner != 0 && row.Owner != t.s.Epoch() {
			t.StaleSettles++
		}
	}
	after, effects = hook.Next(row, policy, trigger, *o, t.Now, t.s.opts.Jitter())
	if o.Success && trigger.OneShot() && row.State == hook.Pending {
		t.Dropped = append(t.Dropped, hook.Ref{Event: row.Event, Endpoint: row.Endpoint, Scheduled: true})
		if row.Owner != 0 && row.Owner != t.s.Epoch() {
			t.TellNodes(sqltext.DroppedJob, row.Scope, hook.Ref{Event: row.Event, Endpoint: row.Endpoint, Scheduled: true})
		}
	}
	if o.Success && (trigger.OneShot() || row.State != hook.Pending) {
		after.Fence++
	}
	return after, row.State, effects, true, t.writeDelivery(&after)
}

// logAttempt inserts the attempt, numbered by the row's count of attempts.
func (t *tx) logAttempt(d *hook.Delivery, trigger hook.Trigger, o *hook.Outcome) error {
	truncated := int64(0)
	if o.Truncated {
		truncated = 1
	}
	t.Counts.Attempts++
	t.Grew(d.Scope, d.Event, hook.DiskBytes{Attempts: unit.AttemptRow + int64(len(o.Message)+len(o.ResponseHeaders)+len(o.ResponseBody))})
	if err := t.s.upkeep.KeepAnswer(t.Tx, d, o); err != nil {
		return err
	}
	return t.Insert("log attempt", sqltext.Attempts, d.Event[:], d.Endpoint[:], int64(d.Attempts), int64(d.Scope.Mode), d.Scope.Tenant,
		sqltext.Micros(o.StartedAt), o.Duration.Microseconds(), int64(o.Status), string(o.Class), o.Message, int64(trigger),
		sqltext.OrNull(o.ResponseHeaders), sqltext.OrNull(o.ResponseBody), truncated, sqltext.OrNull(sqltext.PackTiming(o.Address, o.Timing)))
}
