package storetest

import (
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store"
)

const kept = 30 * 24 * time.Hour // the retention of these cases

// aged reopens the store with a retention of 30 days.
func (w *world) aged() {
	w.Helper()
	w.tweak = func(o *store.Options) { o.Retention, o.HeldFor = kept, 365*24*time.Hour }
	w.reopen()
}

// housekeep advances the clock by after and calls Housekeep once.
func (w *world) housekeep(after time.Duration) {
	w.Helper()
	w.pass(after)
	w.must(w.store.Housekeep(w.ctx))
}

// there reports whether an event with its body can be read by our id.
func (w *world) there(j hook.Job) bool {
	w.Helper()
	e, err := w.store.Event(w.ctx, j.Delivery.Scope, j.Delivery.Event)
	if hook.CodeOf(err) == hook.CodeNotFound {
		return false
	}
	w.must(err)
	return string(e.Data) == `{"n":1}`
}

// retention checks that events that were accepted and settled long ago are dropped with all
// their rows.
func retention(w *world) {
	w.aged()
	e := w.endpoint(live, "a.b")
	w.endpoint(test)
	first := w.job(live)
	w.settle(w.outcome(first, 200))
	named := hook.NewEvent{Scope: live, Type: "a.b", PublicID: hook.ID{7}, Data: []byte(`{"n":1}`)}
	w.taken()
	published := w.publishAll(named)[0]
	second := w.taken().Jobs[0]
	w.settle(w.outcome(second, 404)) // retried in a minute
	w.publish(live, "nobody.wants")
	w.pass(48 * time.Hour)
	other := w.job(test)
	w.settle(w.outcome(other, 200))
	retried := w.claim(9, e).Jobs
	if len(retried) != 1 {
		w.Fatalf("%d jobs", len(retried))
	}
	w.settle(w.outcome(retried[0], 200)) // settled two days after the first

	w.housekeep(kept - 24*time.Hour) // the first was settled 31 days ago, the second 29
	if w.there(first) || !w.there(second) || !w.there(other) {
		w.Fatalf("after 31 days the first is there: %v, the second, settled later: %v, the younger: %v", w.there(first), w.there(second), w.there(other))
	}
	w.wantState(second, hook.Succeeded, "", 2)
	if again := w.publishAll(named)[0]; !again.Repeated || again.Event != published.Event {
		w.Errorf("what is kept is known again: %+v", again)
	}
	w.housekeep(0) // nothing is left to do
	if !w.there(second) {
		w.Error("the second time took more")
	}
	list, _, err := w.store.Events(w.ctx, hook.EventQuery{Scope: live})
	if err != nil || len(list) != 1 {
		w.Errorf("%d events are listed, %v", len(list), err)
	}
	w.housekeep(48 * time.Hour)
	if w.there(second) || w.there(other) {
		w.Error("what was settled 31 days ago is there")
	}
	_, _, err = w.store.Delivery(w.ctx, live, second.Delivery.ID)
	w.wantCode(err, hook.CodeNotFound)
	_, err = w.store.EventByPublicID(w.ctx, live, named.PublicID)
	w.wantCode(err, hook.CodeNotFound)
	if rows := w.walk(hook.DeliveryQuery{Scope: live}, 10); len(rows) != 0 {
		w.Errorf("%d deliveries are listed", len(rows))
	}
	// The id can be used again, because it was dropped too.
	if anew := w.publishAll(named)[0]; anew.Repeated || anew.Err != nil || anew.Event == published.Event {
		w.Errorf("published anew: %+v", anew)
	}
	w.goesOn(e)
}

// goesOn publishes, claims, settles and lists.
func (w *world) goesOn(e *hook.Endpoint) {
	w.Helper()
	w.room = 0
	w.taken()
	p := w.publish(live, "a.b")
	jobs := w.claim(9, e).Jobs
	w.room = 1000
	if len(jobs) == 0 || jobs[len(jobs)-1].Delivery.Event != p.Event {
		w.Fatalf("claimed %+v, want also %s", jobs, p.Event)
	}
	w.settle(w.outcome(jobs[len(jobs)-1], 200))
	w.wantState(jobs[len(jobs)-1], hook.Succeeded, "", 1)
	if rows := w.walk(hook.DeliveryQuery{Scope: live, Endpoint: e.ID}, 10); len(rows) == 0 {
		w.Error("no deliveries are listed")
	}
}

// retentionKeeps checks that events that must still be sent are kept, however old they are:
// bodies, deliveries and attempts.
func retentionKeeps(w *world) {
	w.aged()
	e := w.endpoint(live)
	forever := &hook.Policy{Retry: hook.Retry{Steps: []time.Duration{time.Hour}, Repeat: true}}
	endless, waiting := w.job(live), w.job(live)
	fails := func(j hook.Job) hook.Settlement {
		s := w.outcome(j, 500)
		s.Outcome.Policy = forever
		return s
	}
	w.settle(fails(endless), fails(waiting))
	byHand, done := w.job(live), w.job(live)
	w.settle(w.outcome(byHand, 200), w.outcome(done, 200))
	mixed, held, sent := w.heldAndSent()

	w.pass(kept - time.Hour)
	w.taken()
	_, _, err := w.store.RetryDelivery(w.ctx, live, byHand.Delivery.ID, nil)
	w.must(err)
	shot := w.taken().Jobs[0]
	attempts := 1
	for range 3 { // the delivery with endless retries is attempted from time to time
		w.pass(20 * 24 * time.Hour)
		for _, j := range w.claim(1, e).Jobs {
			w.settle(fails(j))
			if j.Delivery.Event == endless.Delivery.Event {
				attempts++
			}
		}
		w.housekeep(0)
		if w.there(done) {
			w.Error("what nobody needs is there")
		}
		for name, j := range map[string]hook.Job{"endless": endless, "waiting": waiting, "held": held, "sent beside a held one": sent, "one shot": byHand} {
			if !w.there(j) {
				w.Fatalf("the event of a delivery is gone: %s", name)
			}
		}
	}
	w.wantState(endless, hook.Pending, "", attempts)
	w.wantState(held, hook.Held, hook.ReasonDisabled, 0)
	w.wantState(sent, hook.Succeeded, "", 1)
	w.settle(w.outcome(shot, 200))
	w.wantState(byHand, hook.Succeeded, "", 2)
	// These settle like any other, through the earlier jobs.
	w.setStatus(mixed, hook.Enabled, false)
	w.until("released", func() bool { d, _ := w.delivery(held); return d.State == hook.Pending })
	w.pass(2 * time.Hour)
	jobs := append(w.claim(9, mixed).Jobs, w.claim(9, e).Jobs...)
	if len(jobs) != 3 {
		w.Fatalf("claimed %d, want the held one and two that fail", len(jobs))
	}
	w.housekeep(24 * time.Hour) // does not affect attempts in progress
	for _, j := range jobs {
		w.settle(w.outcome(j, 200))
	}
	w.wantState(held, hook.Succeeded, "", 1)
	w.wantState(endless, hook.Succeeded, "", attempts+1)
	w.housekeep(0)
	if w.there(byHand) || !w.there(endless) || !w.there(held) {
		w.Error("settled just now, and gone; or settled long ago with nothing to wait for, and there")
	}
	w.housekeep(kept + 25*time.Hour)
	for _, j := range []hook.Job{endless, waiting, held} {
		if w.there(j) {
			w.Errorf("settled a retention ago, and there: %s", j.Delivery.Event)
		}
	}
	w.goesOn(e)
}

// heldAndSent creates an event with two deliveries. The delivery to the returned endpoint
// is held, the other has succeeded.
func (w *world) heldAndSent() (e *hook.Endpoint, held, sent hook.Job) {
	w.Helper()
	e = w.endpoint(test)
	w.endpoint(test)
	w.taken()
	w.publish(test, "a")
	pair := w.taken().Jobs
	w.setStatus(e, hook.Disabled, false)
	if held, sent = pair[0], pair[1]; held.Delivery.Endpoint != e.ID {
		held, sent = sent, held
	}
	w.until("held", func() bool { d, _ := w.delivery(held); return d.State == hook.Held })
	w.settle(w.outcome(sent, 200))
	return e, held, sent
}

// retentionPages drops more events than fit into a page, with some events to keep among
// them, and drops deleted endpoints.
func retentionPages(w *world) {
	w.aged()
	e, gone := w.endpoint(live, "keep"), w.endpoint(live, "gone")
	w.room = 0
	var events []hook.NewEvent
	for i := range 1300 {
		eventType := "drop"
		if i%300 == 150 {
			eventType = "keep"
		}
		events = append(events, hook.NewEvent{Scope: live, Type: eventType, Data: []byte(`{"n":1}`)})
	}
	for len(events) > 0 {
		n := min(len(events), 100)
		w.publishAll(events[:n]...)
		events = events[n:]
	}
	w.publish(live, "gone")
	w.must(w.store.DeleteEndpoint(w.ctx, live, gone.ID))
	cancelled := hook.Cancelled
	w.until("cancelled", func() bool { return len(w.walk(hook.DeliveryQuery{Scope: live, State: &cancelled}, 10)) == 1 })
	known := func() (n int) {
		list, _, err := w.store.History(w.ctx, live, w.clock())
		w.must(err)
		return len(list)
	}
	w.housekeep(kept + 48*time.Hour)
	list, _, err := w.store.Events(w.ctx, hook.EventQuery{Scope: live, Page: hook.Page{Limit: 250}})
	w.must(err)
	if len(list) != 4 || known() != 2 {
		w.Errorf("%d events are left of which 4 are needed, %d endpoints of 2", len(list), known())
	}
	w.room = 1000
	for _, j := range w.claim(9, e).Jobs {
		w.settle(w.outcome(j, 200))
	}
	w.housekeep(kept + 48*time.Hour)
	if known() != 1 {
		w.Errorf("%d endpoints are known, of which one is deleted and has no delivery left", known())
	}
}

// retentionEndless checks that nothing is dropped without a retention.
func retentionEndless(w *world) {
	w.endpoint(live)
	j := w.job(live)
	w.settle(w.outcome(j, 200))
	w.housekeep(20 * 365 * 24 * time.Hour)
	if !w.there(j) {
		w.Error("dropped without a retention")
	}
}
