package storetest

import (
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// later publishes an event that asks for its first attempt after a time.
func (w *world) later(id hook.ID, wait time.Duration) hook.Published {
	w.Helper()
	p := w.publishAll(hook.NewEvent{Scope: live, PublicID: id, Type: "a.b", Data: []byte(`{"n":1}`), DeliverAt: w.clock().Add(wait)})[0]
	w.must(p.Err)
	return p
}

// wantDue expects one delivery of the endpoint that is claimed at a time, and not before.
func (w *world) wantDue(e *hook.Endpoint, at time.Time) hook.Job {
	w.Helper()
	w.pass(at.Add(-time.Second).Sub(w.clock()))
	early := w.claim(5, e)
	if len(early.Jobs) != 0 || len(early.Due) != 1 || !early.Due[0].At.Equal(at) {
		w.Fatalf("a second before: claimed %d, due %v, want nothing until %v", len(early.Jobs), early.Due, at)
	}
	w.pass(time.Second)
	jobs := w.claim(5, e).Jobs
	if len(jobs) != 1 {
		w.Fatalf("claimed %d at the time, want 1", len(jobs))
	}
	return jobs[0]
}

// deliverAt: the schedule makes no attempt of an event before the time that it asks for,
// also after a restart, and then goes on from there.
func deliverAt(w *world) {
	e := w.endpoint(live)
	w.taken()
	start := w.clock()
	at := start.Add(time.Hour)
	p := w.later(hook.ID{9}, time.Hour)
	c := w.taken()
	if len(c.Jobs) != 0 || len(c.Due) != 1 || !c.Due[0].At.Equal(at) || !p.DeliverAt.Equal(at) || p.Deliveries != 1 {
		w.Fatalf("%+v: %d jobs, due %v", p, len(c.Jobs), c.Due)
	}
	if again := w.publishAll(hook.NewEvent{Scope: live, PublicID: hook.ID{9}, Type: "a.b", Data: []byte(`{"n":1}`), DeliverAt: at})[0]; !again.Repeated || !again.DeliverAt.Equal(at) {
		w.Errorf("the same again: %+v", again)
	}
	for _, other := range []time.Time{{}, at.Add(time.Second)} {
		w.wantCode(w.publishAll(hook.NewEvent{Scope: live, PublicID: hook.ID{9}, Type: "a.b", Data: []byte(`{"n":1}`), DeliverAt: other})[0].Err, hook.CodeEventConflict)
	}

	w.reopen()
	due, jobs, err := w.store.Recover(w.ctx)
	w.must(err)
	if len(jobs) != 0 || len(due) != 1 || !due[0].At.Equal(at) {
		w.Fatalf("after a restart: %d jobs, due %v", len(jobs), due)
	}
	j := w.wantDue(e, at)
	row, err := w.store.DeliveryRow(w.ctx, live, j.Delivery.ID)
	w.must(err)
	event, err := w.store.EventByPublicID(w.ctx, live, hook.ID{9})
	w.must(err)
	if !row.DeliverAt.Equal(at) || !event.DeliverAt.Equal(at) || !row.CreatedAt.Equal(start) {
		w.Errorf("row %+v, event %+v", row, event)
	}
	failed := w.outcome(j, 500)
	failed.Outcome.DeliverAt = event.DeliverAt
	failed.Outcome.Policy = &hook.Policy{Retry: hook.Retry{Steps: []time.Duration{time.Minute}, Repeat: true, MaxAge: 2 * time.Minute}} // of its age since at
	if due := w.settle(failed); len(due) != 1 {
		w.Errorf("its age counts from its publication: %v", due)
	}

	w.taken() // control: without a time, and with one that is past
	w.publish(live, "a.b")
	w.later(hook.ID{8}, -time.Hour)
	if c := w.taken(); len(c.Jobs) != 2 {
		w.Errorf("%d jobs, want 2", len(c.Jobs))
	}
}

// deliverAtHeld: what a hold takes and a release gives back still waits for its time; what
// was attempted before is due at once.
func deliverAtHeld(w *world) {
	e := w.endpoint(live)
	retried := w.job(live)
	at := w.clock().Add(time.Hour)
	w.later(hook.ID{7}, time.Hour)
	held := func(n int) func() bool {
		return func() bool {
			state := hook.Held
			rows, _, err := w.store.Deliveries(w.ctx, hook.DeliveryQuery{Scope: live, State: &state})
			w.must(err)
			for _, row := range rows {
				if !row.Due.IsZero() {
					w.Fatalf("a held delivery is due: %+v", row)
				}
			}
			return len(rows) == n
		}
	}
	tripped := w.outcome(retried, 500)
	tripped.Outcome.Policy = &hook.Policy{Retry: plan.Retry, Trip: hook.Trip{Count: hook.TripAttempts, N: 1}}
	w.settle(tripped)
	w.until("held", held(2))
	w.later(hook.ID{6}, time.Hour)
	w.until("held too", held(3))
	w.setStatus(e, hook.Enabled, false)
	w.until("released", held(0))
	if now := w.claim(5, e); len(now.Jobs) != 1 || now.Jobs[0].Delivery.Event != retried.Delivery.Event {
		w.Fatalf("claimed %d, want the one that was attempted", len(now.Jobs))
	}
	w.pass(at.Sub(w.clock()))
	if jobs := w.claim(5, e).Jobs; len(jobs) != 2 {
		w.Errorf("claimed %d at the time, want 2", len(jobs))
	}
}

// deliverAtEnds: a waiting delivery can be cancelled and sent by hand, and an endpoint that
// comes later waits too.
func deliverAtEnds(w *world) {
	e := w.endpoint(live)
	at := w.clock().Add(time.Hour)
	rowOf := func(p hook.Published, endpoint hook.ID) hook.Delivery {
		rows, _, err := w.store.Deliveries(w.ctx, hook.DeliveryQuery{Scope: live, Event: p.Event, Endpoint: endpoint})
		w.must(err)
		return rows[0].Delivery
	}
	cancelled, sent := w.later(hook.ID{5}, time.Hour), w.later(hook.ID{4}, time.Hour)
	_, err := w.store.CancelDelivery(w.ctx, live, rowOf(cancelled, e.ID).ID)
	w.must(err)
	now := w.retry(hook.Job{Delivery: rowOf(sent, e.ID), Target: e, Trigger: hook.ByHand})
	w.settle(w.outcome(now, 200))
	w.wantState(now, hook.Succeeded, "", 1)
	w.later(hook.ID{3}, time.Hour)
	w.wantDue(e, at) // only the third

	w.pass(at.Add(-time.Hour).Sub(w.clock()))
	other := w.endpoint(live)
	_, _, err = w.store.Resend(w.ctx, live, sent.Event, other.ID, profileOf, nil)
	w.must(err)
	if d := rowOf(sent, other.ID); !d.Due.Equal(at) || d.Owner != 0 {
		w.Errorf("resent: %+v", d)
	}
}
