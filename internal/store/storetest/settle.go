package storetest

import (
	"net/netip"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store"
)

func settleSucceeds(w *world) {
	w.endpoint(live)
	j := w.job(live)
	w.pass(time.Second)
	sent := w.outcome(j, 200)
	sent.Outcome.Address, sent.Outcome.Timing = netip.MustParseAddr("203.0.113.41"), hook.Timing{DNS: time.Millisecond, FirstByte: time.Second, Reused: true}
	if due := w.settle(sent); len(due) != 0 {
		w.Errorf("due %v after a success", due)
	}
	d := w.wantState(j, hook.Succeeded, "", 1)
	if !d.SettledAt.Equal(w.clock()) || d.Owner != 0 || !d.Due.IsZero() || d.LastStatus != 200 {
		w.Errorf("row %+v", d)
	}
	_, attempts := w.delivery(j)
	want := hook.Attempt{Number: 1, At: w.clock(), Duration: 5 * time.Millisecond, Status: 200, ResponseHeaders: []byte("A: b"), ResponseBody: []byte("body"),
		Address: sent.Outcome.Address, Timing: sent.Outcome.Timing}
	if diff := cmp.Diff(want, attempts[0], cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		w.Errorf("attempt: %s", diff)
	}
	missing := j
	missing.Delivery.Event = hook.ID{1}
	w.settle(w.outcome(missing, 200)) // its settlement is skipped
	w.settle()
}

func settleRetries(w *world) {
	e := w.endpoint(live)
	j := w.job(live)
	for i, wait := range []time.Duration{time.Minute, time.Hour} {
		due := w.settle(w.outcome(j, 500))
		at := w.clock().Add(5*time.Millisecond + wait)
		if len(due) != 1 || due[0].Target.ID != e.ID || !due[0].At.Equal(at) {
			w.Fatalf("due %v, want %v", due, at)
		}
		d := w.wantState(j, hook.Pending, "", i+1)
		if d.Owner != 0 || !d.Due.Equal(at) || d.LastError != hook.ClassStatus {
			w.Errorf("row %+v", d)
		}
		w.pass(wait + time.Second)
		got := w.claim(5, e).Jobs
		if len(got) != 1 || got[0].Delivery.Fence != d.Fence+1 {
			w.Fatalf("claimed %+v", got)
		}
		j = got[0]
	}
	if due := w.settle(w.outcome(j, 500)); len(due) != 0 {
		w.Errorf("due %v after the end", due)
	}
	w.wantState(j, hook.Failed, hook.ReasonPolicyEnded, 3)
	if c := w.taken(); len(c.Due) != 0 {
		w.Errorf("a planned retry was told twice: %v", c.Due)
	}
}

func staleFence(w *world) {
	w.endpoint(live)
	first := w.job(live)
	second := w.job(live)
	w.reopen() // the new process owns none of these deliveries yet
	_, _, err := w.store.Recover(w.ctx)
	w.must(err)
	e, err := w.store.Endpoint(w.ctx, live, first.Target.ID)
	w.must(err)
	owned := w.claim(5, e).Jobs
	if len(owned) != 2 {
		w.Fatalf("claimed %d", len(owned))
	}
	w.settle(w.outcome(first, 500))
	d := w.wantState(first, hook.Pending, "", 1)
	if d.Owner != w.store.Epoch() || d.Fence != owned[0].Delivery.Fence {
		w.Errorf("a stale failure moved the row: %+v", d)
	}
	w.taken()
	w.settle(w.outcome(second, 200))
	d = w.wantState(second, hook.Succeeded, "", 1)
	if d.Fence <= owned[1].Delivery.Fence {
		w.Errorf("the holder keeps its fence: %+v", d)
	}
	if dropped := w.taken().Dropped; len(dropped) != 1 || dropped[0].Event != second.Delivery.Event {
		w.Errorf("dropped %v", dropped)
	}
	// The failure of the current owner is a later attempt of the same row.
	w.settle(w.outcome(owned[0], 500))
	w.wantState(first, hook.Pending, "", 2)
}

func successWins(w *world) {
	e := w.endpoint(live)
	cancelled, lost, heldWin, heldLoss := w.job(live), w.job(live), w.job(live), w.job(live)
	for _, j := range []hook.Job{cancelled, lost} {
		_, err := w.store.CancelDelivery(w.ctx, live, j.Delivery.ID)
		w.must(err)
	}
	if dropped := w.taken().Dropped; len(dropped) != 2 {
		w.Errorf("dropped %v", dropped)
	}
	_, err := w.store.CancelDelivery(w.ctx, live, lost.Delivery.ID)
	w.wantCode(err, hook.CodeDeliverySettled)
	w.setStatus(e, hook.Disabled, false)
	w.until("held", func() bool { d, _ := w.delivery(heldLoss); return d.State == hook.Held })
	w.settle(w.outcome(cancelled, 200), w.outcome(lost, 500), w.outcome(heldWin, 200), w.outcome(heldLoss, 500))
	w.wantState(cancelled, hook.Succeeded, "", 1)
	w.wantState(lost, hook.Cancelled, hook.ReasonByHand, 1)
	w.wantState(heldWin, hook.Succeeded, "", 1)
	w.wantState(heldLoss, hook.Held, hook.ReasonDisabled, 1)
}

func byHand(w *world) {
	e := w.endpoint(live)
	j := w.job(live)
	w.settle(w.outcome(j, 500))
	before := w.wantState(j, hook.Pending, "", 1)
	one := w.retry(j)
	w.settle(w.outcome(one, 500))
	d := w.wantState(j, hook.Pending, "", 2)
	if !d.Due.Equal(before.Due) || d.Owner != before.Owner || d.Fence != before.Fence {
		w.Errorf("a failure by hand moved the schedule: %+v, was %+v", d, before)
	}
	if _, attempts := w.delivery(j); attempts[1].Trigger != hook.ByHand {
		w.Errorf("attempts %+v", attempts)
	}
	one = w.retry(j) // the first was deleted when it was settled
	w.settle(w.outcome(one, 200))
	w.wantState(j, hook.Succeeded, "", 3)
	if dropped := w.taken().Dropped; len(dropped) != 1 {
		w.Errorf("the waiting attempt was not dropped: %v", dropped)
	}
	w.settle(w.outcome(w.retry(j), 500))
	w.wantState(j, hook.Succeeded, "", 4) // a success is final

	w.taken()
	again := w.job(live)
	w.retry(again)
	_, _, err := w.store.RetryDelivery(w.ctx, live, again.Delivery.ID, nil)
	w.must(err)
	if jobs := w.taken().Jobs; len(jobs) != 0 {
		w.Errorf("asked twice, handed over twice: %v", jobs)
	}
	w.setStatus(e, hook.Disabled, false)
	_, _, err = w.store.RetryDelivery(w.ctx, live, j.Delivery.ID, nil)
	w.wantCode(err, hook.CodeEndpointDisabled)
}

func (w *world) retry(j hook.Job) hook.Job {
	w.Helper()
	w.taken()
	_, _, err := w.store.RetryDelivery(w.ctx, live, j.Delivery.ID, nil)
	w.must(err)
	jobs := w.taken().Jobs
	if len(jobs) != 1 || jobs[0].Trigger != hook.ByHand || jobs[0].Delivery.ID != j.Delivery.ID {
		w.Fatalf("jobs %+v", jobs)
	}
	return jobs[0]
}

func claimShares(w *world) {
	a, b := w.endpoint(live, "a"), w.endpoint(live, "b")
	w.room = 0
	var order []hook.ID
	for range 5 {
		order = append(order, w.publish(live, "a").Event)
		w.pass(time.Second)
	}
	w.publish(live, "b")
	w.pass(-time.Second) // the last one is due later
	got := w.claim(2, a, b)
	if len(got.Jobs) != 2 || got.Jobs[0].Delivery.Event != order[0] || got.Jobs[1].Delivery.Event != order[1] {
		w.Fatalf("claimed %+v, want the two oldest of one share", got.Jobs)
	}
	if len(got.Due) != 2 {
		w.Fatalf("due %v, want one of each endpoint", got.Due)
	}
	for _, d := range got.Due {
		if d.Target.ID == b.ID && !d.At.Equal(w.clock().Add(time.Second)) {
			w.Errorf("due %v, want in a second", d.At)
		}
	}
	for _, j := range got.Jobs {
		if row, _ := w.delivery(j); cmp.Diff(row, j.Delivery) != "" || row.Owner != w.store.Epoch() || row.Fence != 2 || j.Event != nil {
			w.Errorf("job %+v of row %+v", j, row)
		}
	}
	got = w.claim(100, a)
	if len(got.Jobs) != 3 || len(got.Due) != 0 {
		w.Errorf("claimed %d with due %v, want the other three", len(got.Jobs), got.Due)
	}
	if got = w.claim(100, a); len(got.Jobs) != 0 {
		w.Errorf("claimed twice")
	}
}

func claimDisabled(w *world) {
	e := w.endpoint(live)
	w.room = 0
	w.publish(live, "a")
	w.setStatus(e, hook.Disabled, false)
	if got := w.claim(5, e); len(got.Jobs)+len(got.Due) != 0 {
		w.Errorf("claimed %+v of a disabled endpoint", got)
	}
	w.must(w.store.DeleteEndpoint(w.ctx, live, e.ID))
	if got := w.claim(5, e); len(got.Jobs)+len(got.Due) != 0 {
		w.Errorf("claimed %+v of a deleted endpoint", got)
	}
}

func recovery(w *world) {
	e := w.endpoint(live)
	owned, retried, done := w.job(live), w.job(live), w.job(live)
	w.settle(w.outcome(retried, 500), w.outcome(done, 200))
	w.room = 0
	w.publish(live, "later")
	old := w.store.Epoch()
	w.pass(time.Second)
	w.reopen()
	if w.store.Epoch() <= old {
		w.Fatalf("epoch %d after %d", w.store.Epoch(), old)
	}
	due, jobs, err := w.store.Recover(w.ctx)
	w.must(err)
	if len(jobs) != 0 || len(due) != 1 || due[0].Target.ID != e.ID || !due[0].At.Equal(owned.Delivery.Due) {
		w.Fatalf("due %v, jobs %v", due, jobs)
	}
	d := w.wantState(owned, hook.Pending, "", 0)
	if d.Owner != 0 {
		w.Errorf("still owned: %+v", d)
	}
	got := w.claim(10, e)
	if len(got.Jobs) != 2 || got.Jobs[0].Delivery.Event != owned.Delivery.Event || len(got.Due) != 1 {
		w.Errorf("claimed %d, due %v; want the owned and the unowned, and the retry later", len(got.Jobs), got.Due)
	}
}

func oneshotsSurvive(w *world) {
	e := w.endpoint(live)
	j, gone := w.job(live), w.job(live)
	w.settle(w.outcome(j, 200), w.outcome(gone, 200))
	w.retry(j)
	w.retry(gone)
	w.settle(w.outcome(hook.Job{Delivery: gone.Delivery, Target: e, Trigger: hook.ByHand}, 200))
	_, delivery, _, err := w.store.PublishTest(w.ctx, live, e.ID, "ping", []byte("{}"), hook.ProfileHash{}, nil)
	w.must(err)
	w.reopen()
	due, jobs, err := w.store.Recover(w.ctx)
	w.must(err)
	if len(due) != 1 || due[0].Target.ID != e.ID || len(jobs) != 1 {
		w.Fatalf("due %v, jobs %+v", due, jobs)
	}
	for _, r := range append(jobs, w.claim(10, e).Jobs...) {
		switch r.Trigger {
		case hook.ByHand:
			if r.Delivery.ID != j.Delivery.ID {
				w.Errorf("wrong one shot %+v", r)
			}
		case hook.ByTest:
			if r.Delivery.ID != delivery || r.Delivery.Owner != w.store.Epoch() {
				w.Errorf("wrong test %+v", r)
			}
		default:
			w.Errorf("trigger %s", r.Trigger)
		}
		w.settle(w.outcome(r, 200))
	}
	w.reopen()
	if due, jobs, err := w.store.Recover(w.ctx); err != nil || len(due)+len(jobs) != 0 {
		w.Errorf("made already, came again: %v, %v, %v", due, jobs, err)
	}
}

func testEvent(w *world) {
	e := w.endpoint(live, "only.this")
	w.setStatus(e, hook.Disabled, false)
	w.room = 0
	w.taken()
	p, delivery, replay, err := w.store.PublishTest(w.ctx, live, e.ID, "ping", []byte(`{"t":1}`), hook.ProfileHash{4}, w.once("t", 1))
	w.must(err)
	jobs := w.taken().Jobs
	if replay != nil || len(jobs) != 1 || jobs[0].Delivery.ID != delivery || jobs[0].Trigger != hook.ByTest || p.Deliveries != 1 {
		w.Fatalf("published %+v, jobs %+v", p, jobs)
	}
	if _, _, replay, err = w.store.PublishTest(w.ctx, live, e.ID, "ping", []byte(`{"t":1}`), hook.ProfileHash{4}, w.once("t", 1)); err != nil || replay == nil {
		w.Errorf("second use: %v, %v", replay, err)
	}
	w.settle(w.outcome(jobs[0], 500))
	w.wantState(jobs[0], hook.Failed, hook.ReasonTestFailed, 1)
	if h, _, err := w.store.Health(w.ctx, live, e.ID); err != nil || h != (hook.Health{}) {
		w.Errorf("a test counts for health: %+v, %v", h, err)
	}
	w.settle(w.outcome(w.retry(jobs[0]), 200)) // a disabled endpoint still gets tests
	w.wantState(jobs[0], hook.Succeeded, "", 2)
	ev, err := w.store.Event(w.ctx, live, p.Event)
	if err != nil || ev.Kind != hook.TestEvent {
		w.Errorf("event %+v, %v", ev, err)
	}
	_, _, _, err = w.store.PublishTest(w.ctx, live, hook.ID{1}, "ping", []byte("{}"), hook.ProfileHash{}, nil)
	w.wantCode(err, hook.CodeNotFound)
	rows, _, err := w.store.Deliveries(w.ctx, hook.DeliveryQuery{Scope: live, Event: p.Event})
	if err != nil || len(rows) != 1 {
		w.Errorf("rows %v, %v", rows, err)
	}
}

// oneshotsWait checks that single shots without room in memory wait in the table. They are
// claimed like other work and take at most half a share.
func oneshotsWait(w *world) {
	e := w.endpoint(live)
	var all []hook.Job
	for range 6 {
		j := w.job(live)
		w.settle(w.outcome(j, 200))
		all = append(all, j)
	}
	w.room = 0
	w.publish(live, "a.b")
	w.taken()
	for _, j := range all {
		_, _, err := w.store.RetryDelivery(w.ctx, live, j.Delivery.ID, nil)
		w.must(err)
		w.pass(time.Millisecond)
	}
	if c := w.taken(); len(c.Jobs) != 0 || len(c.Due) == 0 {
		w.Fatalf("%d jobs handed over without room, due %v", len(c.Jobs), c.Due)
	}
	got := w.claim(4, e)
	if len(got.Jobs) != 3 || len(got.Due) != 1 || got.Due[0].At.After(w.clock()) {
		w.Fatalf("claimed %d jobs, due %v; want 2 single shots, a delivery, and the others due", len(got.Jobs), got.Due)
	}
	for i, trigger := range []hook.Trigger{hook.ByHand, hook.ByHand, hook.BySchedule} {
		if got.Jobs[i].Trigger != trigger || trigger == hook.ByHand && got.Jobs[i].Delivery.ID != all[i].Delivery.ID {
			w.Errorf("job %d: %+v", i, got.Jobs[i])
		}
	}
	w.settle(w.outcome(got.Jobs[0], 200))
	back := w.settle(hook.Settlement{Job: got.Jobs[1], Outcome: hook.Outcome{Skipped: true}})
	if len(back) != 1 || !back[0].At.Equal(w.clock().Add(time.Second)) {
		w.Errorf("a single shot that was not made is due at %v, want in a second", back)
	}
	if got := w.claim(20, e); len(got.Jobs) != 4 || len(got.Due) != 1 {
		w.Errorf("claimed %d with due %v, want the other 4, and the one that rests due", len(got.Jobs), got.Due)
	}
	w.pass(time.Second)
	if got := w.claim(20, e); len(got.Jobs) != 1 || got.Jobs[0].Delivery.ID != all[1].Delivery.ID {
		w.Errorf("claimed %+v, want the one that rested", got.Jobs)
	}
	w.reopen()
	due, jobs, err := w.store.Recover(w.ctx)
	w.must(err)
	if len(due) != 1 || len(jobs) != 0 || len(w.claim(20, e).Jobs) != 6 {
		w.Errorf("recovered %v, %d jobs; want the 5 single shots and the delivery in the table", due, len(jobs))
	}
	w.reopen()
	_, _, err = w.store.Recover(w.ctx)
	w.must(err)
	w.setStatus(e, hook.Disabled, false)
	w.setStatus(e, hook.Enabled, true)
	w.until("backlog discarded", func() bool { return w.wantOpen(e) == 0 })
	if got := w.claim(20, e); len(got.Jobs) != 0 {
		w.Errorf("claimed %d after the endpoint was disabled", len(got.Jobs))
	}
}

// wantOpen counts the open deliveries of an endpoint.
func (w *world) wantOpen(e *hook.Endpoint) (n int) {
	w.Helper()
	for _, state := range []hook.State{hook.Pending, hook.Held} {
		rows, _, err := w.store.Deliveries(w.ctx, hook.DeliveryQuery{Scope: e.Scope, Endpoint: e.ID, State: &state})
		w.must(err)
		n += len(rows)
	}
	return n
}

// oneshotsAreBounded checks that single shots count in the backlog of a tenant.
func oneshotsAreBounded(w *world) {
	must := func(_ hook.Delivery, _ *hook.Replay, err error) { w.Helper(); w.must(err) }
	w.must(w.store.Close())
	w.tweak = func(o *store.Options) { o.TenantBacklog = 3 }
	w.open()
	e := w.endpoint(live)
	var all []hook.Job
	for range 4 {
		j := w.job(live)
		w.settle(w.outcome(j, 200))
		all = append(all, j)
	}
	for _, j := range all[:3] {
		must(w.store.RetryDelivery(w.ctx, live, j.Delivery.ID, nil))
	}
	_, _, err := w.store.RetryDelivery(w.ctx, live, all[3].Delivery.ID, nil)
	w.wantCode(err, hook.CodeBacklogFull)
	if p := w.publishAll(hook.NewEvent{Scope: live, Type: "a", Data: []byte("{}")}); hook.CodeOf(p[0].Err) != hook.CodeBacklogFull {
		w.Errorf("published beside 3 single shots: %v", p[0].Err)
	}
	for _, j := range w.taken().Jobs {
		if j.Trigger == hook.ByHand {
			w.settle(w.outcome(j, 200))
		}
	}
	must(w.store.RetryDelivery(w.ctx, live, all[3].Delivery.ID, nil))
	w.setStatus(e, hook.Disabled, false) // deletes the single shot
	w.setStatus(e, hook.Enabled, false)
	for _, j := range all[:3] {
		must(w.store.RetryDelivery(w.ctx, live, j.Delivery.ID, nil))
	}
}
