package storetest

import (
	"bytes"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store"
)

const day = 24 * time.Hour

// byClass reopens the store with a retention of 10 days for payloads, 5 days for answers and
// 90 days for events.
func (w *world) byClass() {
	w.Helper()
	w.tweak = func(o *store.Options) {
		o.Retention, o.RetentionPayloads, o.RetentionAnswers, o.HeldFor = 90*day, 10*day, 5*day, 365*day
	}
	w.reopen()
}

// payload reports whether the payload of an event is there. If it is not, the rest must be.
func (w *world) payload(j hook.Job) bool {
	w.Helper()
	e, err := w.store.Event(w.ctx, j.Delivery.Scope, j.Delivery.Event)
	w.must(err)
	if e.PayloadRemovedAt.IsZero() == (len(e.Data) == 0) || e.Type != "a.b" || e.AcceptedAt.IsZero() {
		w.Fatalf("event %+v", e)
	}
	rows, _, err := w.store.Events(w.ctx, hook.EventQuery{Scope: j.Delivery.Scope})
	w.must(err)
	for _, row := range rows {
		if row.ID == e.ID && !row.PayloadRemovedAt.Equal(e.PayloadRemovedAt) {
			w.Errorf("the list says %v, the event %v", row.PayloadRemovedAt, e.PayloadRemovedAt)
		}
	}
	return len(e.Data) > 0
}

// answers returns how many attempts of a delivery have an answer, and how many had one.
func (w *world) answers(j hook.Job) (there, removed int) {
	w.Helper()
	_, attempts := w.delivery(j)
	for _, a := range attempts {
		switch {
		case len(a.ResponseBody) > 0 && a.AnswerRemovedAt.IsZero():
			there++
		case a.ResponseBody == nil && a.ResponseHeaders == nil && !a.AnswerRemovedAt.IsZero() && a.Status != 0:
			removed++
		default:
			w.Fatalf("attempt %+v", a)
		}
	}
	return there, removed
}

// payloads are removed after their retention, counted from settlement, and not while a
// delivery needs them. Nothing sends an event without its payload.
func payloads(w *world) {
	w.byClass()
	e := w.endpoint(live)
	first, late, open := w.job(live), w.job(live), w.job(live)
	forever := &hook.Policy{Retry: hook.Retry{Steps: []time.Duration{time.Hour}, Repeat: true}}
	failing := w.outcome(open, 500)
	failing.Outcome.Policy = forever
	w.settle(w.outcome(first, 200), failing)
	held, stopped, sent := w.heldAndSent()
	_ = stopped
	w.pass(4 * day)
	w.settle(w.outcome(late, 200))
	w.housekeep(6*day - time.Second) // 10 days less a second
	if !w.payload(first) {
		w.Fatal("removed before its time")
	}
	w.housekeep(time.Minute)
	if w.payload(first) || !w.payload(late) || !w.payload(open) {
		w.Fatal("after 10 days: the first must be gone, those settled later or open must not")
	}
	if event, err := w.store.Event(w.ctx, test, sent.Delivery.Event); err != nil || len(event.Data) == 0 {
		w.Fatalf("the payload of a held delivery: %v", err)
	}
	w.housekeep(3 * day)
	if !w.payload(late) {
		w.Fatal("settled 9 days ago, and gone")
	}
	w.housekeep(25 * time.Hour)
	if w.payload(late) || !w.payload(open) {
		w.Fatal("10 days after settlement: gone; open: there")
	}
	w.wantState(first, hook.Succeeded, "", 1)

	_, _, err := w.store.Resend(w.ctx, live, first.Delivery.Event, hook.ID{}, profileOf, nil)
	w.wantCode(err, hook.CodePayloadGone)
	if !strings.Contains(err.Error(), "2026-03-11") {
		w.Errorf("when is not said: %v", err)
	}
	_, _, err = w.store.RetryDelivery(w.ctx, live, first.Delivery.ID, nil)
	w.wantCode(err, hook.CodePayloadGone)
	preview, err := w.store.PreviewReplay(w.ctx, hook.NewReplay{Scope: live, Endpoint: e.ID, Source: hook.FromAll, Rate: 1})
	if err != nil || preview.Matched != 1 || preview.Gone != 2 {
		w.Errorf("%d match, %d are gone, %v; want 1 and 2", preview.Matched, preview.Gone, err)
	}
	j, ref := w.replay(hook.NewReplay{Scope: live, Endpoint: e.ID, Source: hook.FromAll})
	w.steps(ref, 2)
	if done := w.replayNow(j.ID); done.Requested != 1 || done.Skipped != 2 || done.Total != 1 {
		w.Errorf("requested %d, skipped %d of %d", done.Requested, done.Skipped, done.Total)
	}
	w.endpoint(live, "a.b")
	missing := w.endpoint(live, "a.b")
	_, ref = w.replay(hook.NewReplay{Scope: live, Endpoint: missing.ID, Source: hook.FromMissing})
	w.steps(ref, 2)
	if rows := w.walk(hook.DeliveryQuery{Scope: live, Endpoint: missing.ID}, 10); len(rows) != 1 {
		w.Errorf("%d deliveries were made, want one: of the event with its payload", len(rows))
	}
	w.setStatus(held, hook.Enabled, false)
	w.housekeep(0) // it changes nothing when it is repeated
	if w.payload(first) || !w.payload(open) {
		w.Error("a repetition changes something")
	}
}

// tenantRetention is shorter for one tenant and mode, never longer than the server's.
func tenantRetention(w *world) {
	w.byClass()
	w.endpoint(live)
	w.endpoint(test)
	other := hook.Scope{Tenant: "other", Mode: hook.Live}
	w.endpoint(other)
	for field, own := range map[string]hook.Retention{
		"payloads": {Payloads: 10*day + 1, Answers: hook.NotSet, Events: hook.NotSet}, "answers": {Payloads: 0, Answers: 6 * day, Events: hook.NotSet},
		"events": {Payloads: 0, Answers: 0, Events: 91 * day},
	} {
		err := w.store.SetRetention(w.ctx, live, own)
		w.wantCode(err, hook.CodeInvalidRequest)
		if refused := err.(*hook.Error); refused.Field != field || !strings.Contains(refused.Message, "at most") {
			w.Errorf("%s: %+v", field, refused)
		}
	}
	w.wantCode(w.store.SetRetention(w.ctx, live, hook.Retention{Payloads: 0, Answers: 0, Events: time.Hour}), hook.CodeInvalidRequest)
	w.wantCode(w.store.SetRetention(w.ctx, hook.Scope{Tenant: "nobody", Mode: hook.Live}, hook.NoRetention), hook.CodeNotFound)
	w.must(w.store.SetRetention(w.ctx, live, hook.Retention{Payloads: 2 * day, Answers: hook.NotSet, Events: 20 * day}))
	own, inForce, err := w.store.Retention(w.ctx, live)
	if err != nil || own.Payloads != 2*day || own.Answers >= 0 || inForce != (hook.Retention{Payloads: 2 * day, Answers: 5 * day, Events: 20 * day}) {
		w.Fatalf("%+v %+v %v", own, inForce, err)
	}
	mine, sandbox, theirs := w.job(live), w.job(test), w.job(other)
	w.settle(w.outcome(mine, 200), w.outcome(sandbox, 200), w.outcome(theirs, 200))
	w.reopen() // the setting stays
	w.housekeep(2*day + time.Hour)
	if w.payload(mine) || !w.payload(sandbox) || !w.payload(theirs) {
		w.Fatal("after 2 days: of one tenant and mode only")
	}
	// A shorter one is caught up with.
	w.must(w.store.SetRetention(w.ctx, test, hook.Retention{Payloads: 3 * day, Answers: hook.NotSet, Events: hook.NotSet}))
	w.housekeep(0)
	if !w.payload(sandbox) {
		w.Fatal("removed before its time")
	}
	w.must(w.store.SetRetention(w.ctx, test, hook.Retention{Payloads: day, Answers: hook.NotSet, Events: hook.NotSet}))
	w.housekeep(0)
	if w.payload(sandbox) || !w.payload(theirs) {
		w.Fatal("a shorter retention does not reach older events")
	}
	w.housekeep(18 * day)
	_, err = w.store.Event(w.ctx, live, mine.Delivery.Event)
	w.wantCode(err, hook.CodeNotFound)
	if rows := w.walk(hook.DeliveryQuery{Scope: live}, 10); len(rows) != 0 {
		w.Errorf("%d deliveries of a dropped event", len(rows))
	}
	if w.payload(theirs) || w.payload(sandbox) {
		w.Error("their payloads are older than the server's retention")
	}
	w.wantState(theirs, hook.Succeeded, "", 1)
	// Without settings of its own it is kept like the others'.
	w.must(w.store.SetRetention(w.ctx, live, hook.NoRetention))
	last := w.job(live)
	w.settle(w.outcome(last, 200))
	w.housekeep(9 * day)
	if !w.payload(last) {
		w.Error("removed by a retention that was taken back")
	}
}

// eventRetention is set with the event.
func eventRetention(w *world) {
	w.byClass()
	e := w.endpoint(live)
	keep := func(d time.Duration) hook.NewEvent {
		return hook.NewEvent{Scope: live, Type: "a.b", Data: []byte(`{"n":1}`), PayloadRetention: &d}
	}
	w.taken()
	out := w.publishAll(keep(10*day+time.Second), keep(0), keep(3*day), keep(0))
	w.wantCode(out[0].Err, hook.CodeInvalidRequest)
	if refused := out[0].Err.(*hook.Error); refused.Field != "payload_retention" || !strings.Contains(refused.Message, "240h") {
		w.Errorf("%+v", refused)
	}
	jobs := w.taken().Jobs
	if len(jobs) != 3 {
		w.Fatalf("%d jobs", len(jobs))
	}
	now, days, waits := jobs[0], jobs[1], jobs[2]
	w.settle(w.outcome(now, 200), w.outcome(days, 200), w.outcome(waits, 500)) // retried in a minute
	w.housekeep(0)
	if w.payload(now) || !w.payload(days) || !w.payload(waits) {
		w.Fatal("0s: gone when it is settled, and not before")
	}
	w.pass(2 * time.Minute)
	again := w.claim(9, e).Jobs
	if len(again) != 1 {
		w.Fatalf("%d jobs", len(again))
	}
	w.settle(w.outcome(again[0], 200))
	w.housekeep(time.Hour)
	if w.payload(waits) || !w.payload(days) {
		w.Fatal("settled after its retry: gone")
	}
	w.housekeep(3 * day)
	if w.payload(days) {
		w.Fatal("older than its own retention")
	}
	// A tenant's own is a limit too.
	w.must(w.store.SetRetention(w.ctx, live, hook.Retention{Payloads: day, Answers: hook.NotSet, Events: hook.NotSet}))
	w.wantCode(w.publishAll(keep(25 * time.Hour))[0].Err, hook.CodeInvalidRequest)
	w.must(w.publishAll(keep(day))[0].Err)
}

// receiverAnswers are removed after their retention, counted from the attempt.
func receiverAnswers(w *world) {
	w.byClass()
	e := w.endpoint(live)
	first, open := w.job(live), w.job(live)
	forever := &hook.Policy{Retry: hook.Retry{Steps: []time.Duration{time.Hour}, Repeat: true}}
	fail := func(j hook.Job) hook.Settlement {
		s := w.outcome(j, 500)
		s.Outcome.Policy = forever
		return s
	}
	w.settle(w.outcome(first, 200), fail(open))
	w.pass(3 * day)
	w.settle(fail(w.claim(1, e).Jobs[0]))
	w.housekeep(2*day - time.Second)
	if there, removed := w.answers(first); there != 1 || removed != 0 {
		w.Fatalf("%d, %d removed before its time", there, removed)
	}
	w.housekeep(time.Minute)
	if there, removed := w.answers(first); there != 0 || removed != 1 {
		w.Fatalf("%d are there, %d removed after 5 days", there, removed)
	}
	if there, removed := w.answers(open); there != 1 || removed != 1 {
		w.Fatalf("%d are there, %d removed of a delivery that is open", there, removed)
	}
	if !w.payload(first) {
		w.Fatal("the payload is kept for longer")
	}
	w.housekeep(3 * day)
	if there, removed := w.answers(open); there != 0 || removed != 2 {
		w.Fatalf("%d are there, %d removed", there, removed)
	}
	// The walk has passed this event, and its delivery was settled.
	w.taken()
	_, _, err := w.store.Resend(w.ctx, live, first.Delivery.Event, hook.ID{}, profileOf, nil)
	w.must(err)
	w.settle(w.outcome(w.taken().Jobs[0], 200))
	late := w.endpoint(live) // gets its delivery only now
	_, _, err = w.store.Resend(w.ctx, live, first.Delivery.Event, late.ID, profileOf, nil)
	w.must(err)
	made := w.taken().Jobs[0]
	w.settle(w.outcome(made, 200))
	w.housekeep(4 * day)
	if there, removed := w.answers(first); there != 1 || removed != 1 {
		w.Fatalf("%d are there, %d removed 4 days after a resend", there, removed)
	}
	w.housekeep(day + time.Hour)
	if there, removed := w.answers(first); there != 0 || removed != 2 {
		w.Fatalf("%d are there, %d removed 5 days after a resend", there, removed)
	}
	if there, removed := w.answers(made); there != 0 || removed != 1 {
		w.Fatalf("%d are there, %d removed of a delivery that was made late", there, removed)
	}
}

// classPages checks that retention by class goes over more than a page, and that what it
// passed while it was needed is removed later.
func classPages(w *world) {
	w.byClass()
	e := w.endpoint(live)
	w.room = 0
	var batch []hook.NewEvent
	for range 300 {
		batch = append(batch, hook.NewEvent{Scope: live, Type: "a.b", Data: bytes.Repeat([]byte(" "), 10)})
	}
	w.publishAll(batch...)
	w.publishAll(batch...)
	jobs := w.claim(310, e).Jobs
	var done []hook.Settlement
	for _, j := range jobs {
		done = append(done, w.outcome(j, 200))
	}
	w.settle(done...)
	count := func() (n int) {
		for page := (hook.Page{Limit: 250}); ; {
			rows, next, err := w.store.Events(w.ctx, hook.EventQuery{Scope: live, Page: page})
			w.must(err)
			for _, e := range rows {
				if !e.PayloadRemovedAt.IsZero() {
					n++
				}
			}
			if page.Cursor = next; next == "" {
				return n
			}
		}
	}
	w.housekeep(10*day + time.Minute)
	if n := count(); n != 310 {
		w.Fatalf("%d payloads are gone, want 310", n)
	}
	done = nil
	for range 300 {
		for _, j := range w.claim(310, e).Jobs {
			done = append(done, w.outcome(j, 200))
		}
	}
	w.settle(done...)
	w.housekeep(10*day + time.Minute)
	w.housekeep(25 * time.Hour) // those that were open are looked at again after a day at most
	if n := count(); n != 600 {
		w.Fatalf("%d payloads are gone, want all 600", n)
	}
}

// diskUse counts what tenants take, and refuses publishing beyond the budget.
func diskUse(w *world) {
	w.byClass()
	w.endpoint(live)
	mine := w.job(live)
	w.settle(w.outcome(mine, 200))
	use, err := w.store.DiskUse(w.ctx)
	w.must(err)
	if use.Used <= 0 || use.Files < use.Used || use.Classes.Payloads != 7 || use.Classes.Metadata == 0 || use.Classes.Attempts == 0 || use.Classes.Audit == 0 ||
		use.Classes.Statistics == 0 || use.Classes.Other == 0 || len(use.Tenants) != 1 || use.Tenants[0].Scope != live || use.Tenants[0].Payloads != 7 || use.Rest.Sum() != 0 {
		w.Fatalf("%+v", use)
	}
	w.reopen() // what was counted is written
	w.housekeep(10*day + time.Hour)
	w.reopen()
	d, err := w.store.TenantDisk(w.ctx, live)
	if err != nil || d.Payloads != 0 || d.Metadata == 0 || d.Attempts != use.Classes.Attempts-int64(len("bodyA: b")) {
		w.Errorf("after retention: %+v, before: %+v, %v", d, use.Classes, err)
	}
	w.housekeep(90 * day)
	w.pass(90 * day)
	w.housekeep(2 * day)
	w.housekeep(2 * time.Hour)
	if use, err = w.store.DiskUse(w.ctx); err != nil || use.Classes.Sum() != 0 {
		w.Errorf("after all was dropped: %+v %v", use.Classes, err)
	}
	if use.PerDay == nil {
		w.Error("the growth is not known")
	}

	w.tweak = func(o *store.Options) { o.DiskBudget = 1000 } // below its size
	w.reopen()
	_, _, err = w.store.Publish(w.ctx, []hook.NewEvent{{Scope: live, Type: "a.b", Data: []byte("{}")}}, profileOf, nil)
	w.wantCode(err, hook.CodeStorageFull)
	for _, word := range []string{"budget of 1 kB", "--disk-budget", "below 950 B"} {
		if !strings.Contains(err.Error(), word) {
			w.Errorf("%q is not in: %v", word, err)
		}
	}
	if w.store.DiskNotice() == "" {
		w.Error("no notice")
	}
	w.must(w.store.Ready(w.ctx))
	w.endpoint(test) // everything else goes on
	w.must(w.store.Housekeep(w.ctx))
	w.tweak = func(o *store.Options) { o.DiskBudget = 1 << 40 }
	w.reopen()
	w.publish(live, "a.b")
}
