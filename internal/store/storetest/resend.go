package storetest

import (
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// resend resends an event and returns the jobs that were handed over.
func (w *world) resend(event, endpoint hook.ID) (hook.Resent, []hook.Job) {
	w.Helper()
	w.taken()
	out, replay, err := w.store.Resend(w.ctx, live, event, endpoint, profileOf, nil)
	w.must(err)
	if replay != nil {
		w.Fatalf("replay %v", replay)
	}
	return out, w.taken().Jobs
}

func resendReuses(w *world) {
	e := w.endpoint(live)
	j := w.job(live)
	w.settle(w.outcome(j, 500))
	before := w.wantState(j, hook.Pending, "", 1)
	out, jobs := w.resend(j.Delivery.Event, hook.ID{})
	if len(out.Deliveries) != 1 || out.Created != 0 || len(jobs) != 1 || jobs[0].Trigger != hook.ByReplay || jobs[0].Delivery.ID != j.Delivery.ID {
		w.Fatalf("%+v, jobs %+v", out, jobs)
	}
	if _, more := w.resend(j.Delivery.Event, e.ID); len(more) != 0 {
		w.Errorf("asked twice before it was made: %+v", more)
	}
	w.settle(w.outcome(jobs[0], 500))
	after := w.wantState(j, hook.Pending, "", 2)
	if !after.Due.Equal(before.Due) || after.Fence != before.Fence || after.Owner != before.Owner {
		w.Errorf("a failed resend moved the schedule: %+v, was %+v", after, before)
	}
	if _, attempts := w.delivery(j); attempts[1].Trigger != hook.ByReplay {
		w.Errorf("attempts %+v", attempts)
	}
	_, jobs = w.resend(j.Delivery.Event, e.ID)
	w.settle(w.outcome(jobs[0], 200))
	w.wantState(j, hook.Succeeded, "", 3)
	_, jobs = w.resend(j.Delivery.Event, e.ID)
	w.settle(w.outcome(jobs[0], 500))
	w.wantState(j, hook.Succeeded, "", 4) // a success is final
}

func resendCreates(w *world) {
	w.endpoint(live, "a.b")
	j := w.job(live)
	other := w.endpoint(live, "x.y")
	w.pass(time.Hour)
	out, jobs := w.resend(j.Delivery.Event, other.ID)
	if out.Created != 1 || len(jobs) != 1 || jobs[0].Target.ID != other.ID || jobs[0].Event == nil || string(jobs[0].Event.Data) != `{"n":1}` {
		w.Fatalf("%+v, jobs %+v", out, jobs)
	}
	w.settle(w.outcome(jobs[0], 500))
	w.wantState(jobs[0], hook.Pending, "", 1) // it has its own schedule
	w.pass(2 * time.Minute)
	if got := w.claim(10, other); len(got.Jobs) != 1 {
		w.Errorf("the schedule of a delivery that was made by a resend: %+v", got)
	}
	d, _ := w.delivery(jobs[0])
	event, err := w.store.Event(w.ctx, live, j.Delivery.Event)
	w.must(err)
	if !d.CreatedAt.After(event.AcceptedAt) {
		w.Errorf("a resent delivery cannot be told from a matched one: %v, %v", d.CreatedAt, event.AcceptedAt)
	}
	tripped := w.endpoint(live, "a.b")
	w.settle(w.outcome(w.lastJob(tripped), 410))
	out, jobs = w.resend(j.Delivery.Event, hook.ID{})
	if out.Created != 1 || out.Skipped != 0 || len(jobs) != 1 || out.Deliveries[1].State != hook.Held {
		w.Errorf("to one disabled by failures: %+v, jobs %+v", out, jobs)
	}
	if out, _ = w.resend(j.Delivery.Event, hook.ID{}); out.Created != 0 || out.Skipped != 1 {
		w.Errorf("again: %+v", out)
	}
}

// lastJob publishes an event and returns its job for the endpoint.
func (w *world) lastJob(e *hook.Endpoint) hook.Job {
	w.Helper()
	w.taken()
	w.publish(e.Scope, "a.b")
	for _, j := range w.taken().Jobs {
		if j.Target.ID == e.ID {
			return j
		}
	}
	w.Fatal("no job")
	return hook.Job{}
}

func resendWalls(w *world) {
	e := w.endpoint(live)
	j := w.job(live)
	foreign := w.endpoint(hook.Scope{Tenant: "other", Mode: hook.Live})
	inTest := w.endpoint(test)
	for _, c := range []struct {
		scope           hook.Scope
		event, endpoint hook.ID
	}{{test, j.Delivery.Event, e.ID}, {hook.Scope{Tenant: "other", Mode: hook.Live}, j.Delivery.Event, foreign.ID},
		{live, j.Delivery.Event, foreign.ID}, {live, j.Delivery.Event, inTest.ID}, {hook.Scope{Mode: hook.Live}, j.Delivery.Event, foreign.ID},
		{live, hook.ID{1}, e.ID}} {
		_, _, err := w.store.Resend(w.ctx, c.scope, c.event, c.endpoint, profileOf, nil)
		w.wantCode(err, hook.CodeNotFound)
	}
	_, _, err := w.store.Resend(w.ctx, hook.Scope{Mode: hook.Live}, j.Delivery.Event, e.ID, profileOf, nil)
	w.must(err)
}

func resendSurvives(w *world) {
	e := w.endpoint(live)
	j := w.job(live)
	w.settle(w.outcome(j, 200))
	w.resend(j.Delivery.Event, hook.ID{})
	w.reopen()
	_, _, err := w.store.Recover(w.ctx)
	w.must(err)
	jobs := w.claim(10, e).Jobs
	if len(jobs) != 1 || jobs[0].Trigger != hook.ByReplay || jobs[0].Delivery.ID != j.Delivery.ID {
		w.Fatalf("jobs %+v", jobs)
	}
	w.settle(w.outcome(jobs[0], 200))
	w.reopen()
	if due, _, err := w.store.Recover(w.ctx); err != nil || len(due) != 0 {
		w.Errorf("made already, came again: %v, %v", due, err)
	}
}

func historyOfEndpoints(w *world) {
	at := w.clock()
	e := w.endpoint(live, "a.b")
	w.endpoint(test)
	w.pass(time.Second)
	w.setStatus(e, hook.Disabled, false)
	disabled := w.clock()
	w.pass(time.Second)
	w.must(w.store.DeleteEndpoint(w.ctx, live, e.ID))
	for _, c := range []struct {
		at     time.Time
		status []hook.Status
	}{{at.Add(-time.Second), nil}, {at, []hook.Status{hook.Enabled}}, {at.Add(time.Millisecond), []hook.Status{hook.Enabled}},
		{disabled, []hook.Status{hook.Enabled, hook.Disabled}}, // in the same microsecond both are correct
		{disabled.Add(time.Microsecond), []hook.Status{hook.Disabled}}, {disabled.Add(time.Hour), []hook.Status{hook.Deleted}}} {
		list, more, err := w.store.History(w.ctx, live, c.at)
		w.must(err)
		if len(list) != 1 || more || list[0].Endpoint != e.ID || list[0].Now != hook.Deleted || len(list[0].Then) != len(c.status) {
			w.Fatalf("at %v: %+v", c.at, list)
		}
		for i, r := range list[0].Then {
			if r.Status != c.status[i] || len(r.Types) != 1 || r.URL == "" {
				w.Errorf("at %v: %+v, want %v", c.at, list[0].Then, c.status)
			}
		}
	}
}

func eventTypes(w *world) {
	made, _, err := w.store.CreateEventType(w.ctx, hook.EventType{Mode: hook.Live, Name: "a.b", Description: "D", TypeVersion: hook.TypeVersion{Example: []byte(`{"a":1}`)}}, nil)
	w.must(err)
	if _, _, err = w.store.CreateEventType(w.ctx, hook.EventType{Mode: hook.Live, Name: "a.b"}, nil); hook.CodeOf(err) != hook.CodeConflict {
		w.Errorf("twice: %v", err)
	}
	_, err = w.store.EventType(w.ctx, hook.Test, "a.b")
	w.wantCode(err, hook.CodeNotFound)
	w.wantCode(w.store.DeleteEventType(w.ctx, hook.Test, "a.b"), hook.CodeNotFound)
	w.pass(time.Second)
	next, err := w.store.UpdateEventType(w.ctx, hook.Live, "a.b", func(old hook.EventType) (hook.EventType, error) {
		old.Name, old.Mode, old.Example, old.Schema = "c.d", hook.Test, nil, []byte(`{}`)
		return old, nil
	})
	w.must(err)
	got, err := w.store.EventType(w.ctx, hook.Live, "a.b")
	w.must(err)
	if got.Name != "a.b" || got.Example != nil || string(got.Schema) != "{}" || !got.UpdatedAt.After(got.CreatedAt) || !got.CreatedAt.Equal(made.CreatedAt) || !next.UpdatedAt.Equal(got.UpdatedAt) {
		w.Errorf("%+v, answered %+v", got, next)
	}
	checked := func() []hook.EventType {
		list, err := w.store.CheckedEventTypes(w.ctx, 10)
		w.must(err)
		return list
	}
	if list := checked(); len(list) != 0 {
		w.Errorf("checked before anybody asked: %+v", list)
	}
	_, err = w.store.UpdateEventType(w.ctx, hook.Live, "a.b", func(old hook.EventType) (hook.EventType, error) {
		old.Enforce = hook.EnforceReject
		return old, nil
	})
	w.must(err)
	if list := checked(); len(list) != 1 || list[0].Name != "a.b" || list[0].Enforce != hook.EnforceReject || string(list[0].Schema) != "{}" {
		w.Errorf("checked: %+v", list)
	}
	refusal := hook.NotFound("reason")
	w.wantCode(w.store.DeleteEventType(w.ctx, hook.Live, "a.b", func(hook.EventType) error { return refusal }), hook.CodeNotFound)
	w.must(w.store.DeleteEventType(w.ctx, hook.Live, "a.b"))
	_, err = w.store.EventType(w.ctx, hook.Live, "a.b")
	w.wantCode(err, hook.CodeNotFound)
}
