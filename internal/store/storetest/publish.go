package storetest

import (
	"bytes"
	"fmt"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/posthorn/posthorn/internal/hook"
)

func publishFansOut(w *world) {
	a, b := w.endpoint(live), w.endpoint(live)
	w.taken()
	p := w.publish(live, "a.b")
	if p.Deliveries != 2 || p.PublicID != p.Event || !p.CreatedAt.Equal(w.clock()) {
		w.Errorf("published %+v", p)
	}
	jobs := w.taken().Jobs
	if len(jobs) != 2 {
		w.Fatalf("%d jobs, want 2", len(jobs))
	}
	for _, j := range jobs {
		if j.Target.ID != a.ID && j.Target.ID != b.ID || j.Delivery.Endpoint != j.Target.ID {
			w.Errorf("job for %s", j.Target.ID)
		}
		if string(j.Event.Data) != `{"n":1}` || j.Trigger != hook.BySchedule || j.Delivery.Owner != w.store.Epoch() || j.Delivery.Fence != 1 {
			w.Errorf("job %+v", j)
		}
		row, _ := w.delivery(j)
		if diff := cmp.Diff(j.Delivery, row); diff != "" {
			w.Errorf("the job's copy is not the row: %s", diff)
		}
	}
	e, err := w.store.Event(w.ctx, live, p.Event)
	w.must(err)
	if diff := cmp.Diff(jobs[0].Event, e); diff != "" {
		w.Errorf("the job's event is not the stored one: %s", diff)
	}
}

func filterDecides(w *world) {
	exact, prefix := w.endpoint(live, "invoice.paid"), w.endpoint(live, "invoice.*")
	w.endpoint(live, "other")
	e, _, err := w.store.CreateEndpoint(w.ctx, hook.Endpoint{Scope: live, URL: "https://example.com", Types: nil}, nil)
	w.must(err)
	w.setStatus(w.endpoint(live), hook.Disabled, false)
	for eventType, want := range map[string][]hook.ID{
		"invoice.paid": {exact.ID, prefix.ID}, "invoice.sent": {prefix.ID}, "invoice": nil, "nothing": nil,
	} {
		w.taken()
		if p := w.publish(live, eventType); p.Deliveries != len(want) {
			w.Errorf("%s: %d deliveries, want %d", eventType, p.Deliveries, len(want))
		}
		for _, j := range w.taken().Jobs {
			if j.Target.ID == e.ID || !bytes.Contains(flat(want), j.Target.ID[:]) {
				w.Errorf("%s went to %s", eventType, j.Target.ID)
			}
		}
	}
}

func flat(ids []hook.ID) (all []byte) {
	for _, id := range ids {
		all = append(all, id[:]...)
	}
	return all
}

func noRoom(w *world) {
	e := w.endpoint(live)
	w.room = 2
	w.taken()
	var events []hook.NewEvent
	for range 5 {
		events = append(events, hook.NewEvent{Scope: live, Type: "a", Data: []byte("{}")})
	}
	w.publishAll(events...)
	got := w.taken()
	if len(got.Jobs) != 2 || len(got.Due) != 1 || got.Due[0].Target.ID != e.ID || !got.Due[0].At.Equal(w.clock()) {
		w.Fatalf("%d jobs and due %v, want 2 jobs and one due now", len(got.Jobs), got.Due)
	}
	if jobs := w.claim(10, e).Jobs; len(jobs) != 3 {
		w.Errorf("claimed %d, want the 3 that had no room", len(jobs))
	}
}

func walls(w *world) {
	e := w.endpoint(live)
	w.endpoint(test)
	w.endpoint(hook.Scope{Tenant: "other", Mode: hook.Live})
	w.taken()
	p := w.publish(live, "a")
	jobs := w.taken().Jobs
	if p.Deliveries != 1 || len(jobs) != 1 || jobs[0].Target.ID != e.ID {
		w.Fatalf("an event crossed a wall: %+v", jobs)
	}
	d := jobs[0].Delivery
	strangers := []hook.Scope{test, {Tenant: "other", Mode: hook.Live}, {Tenant: "", Mode: hook.Test}, {Tenant: "nobody", Mode: hook.Live}}
	for _, scope := range strangers {
		_, err := w.store.Event(w.ctx, scope, p.Event)
		w.wantCode(err, hook.CodeNotFound)
		_, err = w.store.EventByPublicID(w.ctx, scope, p.PublicID)
		w.wantCode(err, hook.CodeNotFound)
		_, err = w.store.Endpoint(w.ctx, scope, e.ID)
		w.wantCode(err, hook.CodeNotFound)
		_, _, err = w.store.Health(w.ctx, scope, e.ID)
		w.wantCode(err, hook.CodeNotFound)
		_, _, err = w.store.Delivery(w.ctx, scope, d.ID)
		w.wantCode(err, hook.CodeNotFound)
		_, _, err = w.store.RetryDelivery(w.ctx, scope, d.ID, nil)
		w.wantCode(err, hook.CodeNotFound)
		_, err = w.store.CancelDelivery(w.ctx, scope, d.ID)
		w.wantCode(err, hook.CodeNotFound)
		w.wantCode(w.store.DeleteEndpoint(w.ctx, scope, e.ID), hook.CodeNotFound)
		_, _, _, err = w.store.PublishTest(w.ctx, scope, e.ID, "a", []byte("{}"), hook.ProfileHash{}, nil)
		w.wantCode(err, hook.CodeNotFound)
		_, _, err = w.store.RotateSecret(w.ctx, scope, e.ID, hook.Secret{Text: "x"}, 0, nil)
		w.wantCode(err, hook.CodeNotFound)
		_, err = w.store.UpdateEndpoint(w.ctx, scope, e.ID, func(o hook.Endpoint) (hook.Endpoint, error) { return o, nil }, false)
		w.wantCode(err, hook.CodeNotFound)
		if got := w.claimAs(scope, e.ID); len(got.Jobs)+len(got.Due) != 0 {
			w.Errorf("claimed across a wall")
		}
		rows, _, err := w.store.Deliveries(w.ctx, hook.DeliveryQuery{Scope: scope, Endpoint: e.ID})
		w.must(err)
		events, _, err := w.store.Events(w.ctx, hook.EventQuery{Scope: scope})
		w.must(err)
		if len(rows)+len(events) != 0 {
			w.Errorf("%v lists %d deliveries and %d events of another", scope, len(rows), len(events))
		}
	}
	for _, scope := range []hook.Scope{live, {Mode: hook.Live}} { // control: these may read it
		_, err := w.store.Event(w.ctx, scope, p.Event)
		w.must(err)
		_, err = w.store.Endpoint(w.ctx, scope, e.ID)
		w.must(err)
		_, _, err = w.store.Delivery(w.ctx, scope, d.ID)
		w.must(err)
	}
}

func (w *world) claimAs(scope hook.Scope, endpoint hook.ID) hook.Claimed {
	got, err := w.store.Claim(w.ctx, hook.Claim{Now: w.clock().Add(time.Hour), Shares: []hook.Share{{Scope: scope, Endpoint: endpoint, Limit: 5}}})
	w.must(err)
	return got
}

func unknownTenant(w *world) {
	nobody := hook.Scope{Tenant: "nobody", Mode: hook.Live}
	p := w.publishAll(hook.NewEvent{Scope: nobody, Type: "a", Data: []byte("{}")})
	w.wantCode(p[0].Err, hook.CodeTenantNotFound)
	p = w.publishAll(hook.NewEvent{Scope: nobody, Type: "a", Data: []byte("{}"), CreateTenant: true})
	w.must(p[0].Err)
	if _, err := w.store.Tenant(w.ctx, "nobody"); err != nil {
		w.Errorf("the tenant was not made: %v", err)
	}
	_, _, err := w.store.CreateEndpoint(w.ctx, hook.Endpoint{Scope: hook.Scope{Tenant: "none", Mode: hook.Live}}, nil)
	w.wantCode(err, hook.CodeTenantNotFound)
}

func samePublicID(w *world) {
	w.endpoint(live)
	w.endpoint(test)
	w.tenant("other")
	n := hook.NewEvent{Scope: live, PublicID: hook.ID{9}, Type: "a", Data: []byte(`{"a":1}`)}
	first := w.publishAll(n)[0]
	w.must(first.Err)
	w.pass(time.Minute)
	w.taken()
	again := w.publishAll(n)[0]
	want := first
	want.Repeated = true
	if diff := cmp.Diff(want, again); diff != "" {
		w.Errorf("not the first answer again: %s", diff)
	}
	if jobs := w.taken().Jobs; len(jobs) != 0 {
		w.Errorf("delivered again: %v", jobs)
	}
	for _, change := range []func(*hook.NewEvent){
		func(n *hook.NewEvent) { n.Data = []byte(`{"a":2}`) },
		func(n *hook.NewEvent) { n.Type = "b" },
		func(n *hook.NewEvent) { n.CreatedAt = w.clock() },
	} {
		other := n
		change(&other)
		w.wantCode(w.publishAll(other)[0].Err, hook.CodeEventConflict)
	}
	for _, scope := range []hook.Scope{test, {Tenant: "other", Mode: hook.Live}} {
		other := n
		other.Scope = scope
		if p := w.publishAll(other)[0]; p.Err != nil || p.Repeated {
			w.Errorf("the id is not free for %v: %+v", scope, p)
		}
	}
	both := w.publishAll(hook.NewEvent{Scope: live, PublicID: hook.ID{8}, Type: "a", Data: []byte("{}")},
		hook.NewEvent{Scope: live, PublicID: hook.ID{8}, Type: "a", Data: []byte("{}")})
	if both[0].Err != nil || both[0].Repeated || !both[1].Repeated || both[0].Event != both[1].Event {
		w.Errorf("twice in one call: %+v", both)
	}
}

func publicIDFound(w *world) {
	w.endpoint(live)
	w.tenant("other")
	p := w.publishAll(hook.NewEvent{Scope: live, PublicID: hook.ID{9}, Type: "a", Data: []byte("{}")})[0]
	for _, scope := range []hook.Scope{live, {Mode: hook.Live}} {
		e, err := w.store.EventByPublicID(w.ctx, scope, hook.ID{9})
		w.must(err)
		if e.ID != p.Event || e.PublicID != (hook.ID{9}) {
			w.Errorf("found %+v", e)
		}
		_, err = w.store.EventByPublicID(w.ctx, scope, p.Event)
		w.wantCode(err, hook.CodeNotFound) // our id is not public
	}
	w.publishAll(hook.NewEvent{Scope: hook.Scope{Tenant: "other", Mode: hook.Live}, PublicID: hook.ID{9}, Type: "a", Data: []byte("{}")})
	_, err := w.store.EventByPublicID(w.ctx, hook.Scope{Mode: hook.Live}, hook.ID{9})
	w.wantCode(err, hook.CodeConflict)
}

func fanOutBound(w *world) {
	for range 20 {
		w.endpoint(live)
	}
	if p := w.publish(live, "a"); p.Deliveries != 20 {
		w.Fatalf("%d deliveries at the bound", p.Deliveries)
	}
	w.endpoint(live)
	before := w.store.Stats()
	out := w.publishAll(hook.NewEvent{Scope: live, Type: "a", Data: []byte("{}")})
	w.wantCode(out[0].Err, hook.CodeTooManyDeliveries)
	if after := w.store.Stats(); after.Events != before.Events || after.Deliveries != before.Deliveries {
		w.Errorf("something was stored: %+v, %+v", before, after)
	}
}

// Data that does not match its schema stores nothing, not even the tenant that it would
// create.
func refusedData(w *world) {
	w.endpoint(live)
	before := w.store.Stats()
	refused := hook.NewEvent{Scope: hook.Scope{Tenant: "unmade", Mode: hook.Live}, Type: "a", Data: []byte("{}"), CreateTenant: true,
		Mismatch: &hook.Mismatch{Field: "data/a", Message: "no", Refused: true}}
	warned := hook.NewEvent{Scope: live, PublicID: hook.ID{7, 7}, Type: "a", Data: []byte("{}"), Mismatch: &hook.Mismatch{Message: "odd"}}
	checked := w.publishAll(refused, warned)
	w.wantCode(checked[0].Err, hook.CodeDataInvalid)
	w.must(checked[1].Err)
	if after := w.store.Stats(); after.Events != before.Events+1 || checked[1].Mismatch == nil {
		w.Errorf("%+v, then %+v; %+v", before, after, checked[1])
	}
	_, err := w.store.Tenant(w.ctx, "unmade")
	w.wantCode(err, hook.CodeNotFound)
	warned.Mismatch = refused.Mismatch // what was accepted before stays accepted
	if again := w.publishAll(warned); again[0].Err != nil || !again[0].Repeated {
		w.Errorf("repeated under a stricter schema: %+v", again[0])
	}
}

func badItem(w *world) {
	w.endpoint(live)
	good := hook.NewEvent{Scope: live, Type: "a", Data: []byte("{}")}
	bad := hook.NewEvent{Scope: hook.Scope{Tenant: "nobody", Mode: hook.Live}, Type: "a", Data: []byte("{}")}
	out := w.publishAll(good, bad, good)
	w.must(out[0].Err)
	w.wantCode(out[1].Err, hook.CodeTenantNotFound)
	w.must(out[2].Err)

	// Operations that fail after they wrote share batches with others, which must not be
	// affected: the callback of one panics inside the transaction.
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			if i%4 == 0 {
				_, _, err := w.store.Publish(w.ctx, []hook.NewEvent{good}, func(*hook.Endpoint) hook.ProfileHash { panic("bad") }, nil)
				if hook.CodeOf(err) != hook.CodeInternal {
					w.Errorf("a panic gave %v", err)
				}
				return
			}
			if out, _, err := w.store.Publish(w.ctx, []hook.NewEvent{good}, profileOf, nil); err != nil || out[0].Err != nil {
				w.Errorf("a neighbour was harmed: %v, %+v", err, out)
			}
		})
	}
	all.Wait()
	events, _, err := w.store.Events(w.ctx, hook.EventQuery{Scope: live, Page: hook.Page{Limit: 250}})
	w.must(err)
	if len(events) != 32 {
		w.Errorf("%d events, want 2 and 30", len(events))
	}
}

func (w *world) once(key string, body byte) *hook.Once {
	return &hook.Once{Route: "POST /v1/events", Key: key, BodyHash: [32]byte{body}, Scope: live,
		Answer: func(result any) (int, []byte) { return 202, fmt.Appendf(nil, "answer to %T", result) }}
}

func idempotency(w *world) {
	w.endpoint(live)
	events := []hook.NewEvent{{Scope: live, Type: "a", Data: []byte("{}")}}
	publish := func(o *hook.Once) (*hook.Replay, error) {
		_, replay, err := w.store.Publish(w.ctx, events, profileOf, o)
		return replay, err
	}
	if replay, err := publish(w.once("k", 1)); err != nil || replay != nil {
		w.Fatalf("first use: %v, %v", replay, err)
	}
	replay, err := publish(w.once("k", 1))
	if err != nil || replay == nil || replay.Status != 202 || string(replay.Body) != "answer to []hook.Published" {
		w.Fatalf("second use: %+v, %v", replay, err)
	}
	_, err = publish(w.once("k", 2))
	w.wantCode(err, hook.CodeIdempotencyReused)
	for _, change := range []func(*hook.Once){
		func(o *hook.Once) { o.Route = "other" },
		func(o *hook.Once) { o.Scope = test },
		func(o *hook.Once) { o.Scope.Tenant = "other" },
	} {
		o := w.once("k", 2)
		change(o)
		if replay, err := publish(o); err != nil || replay != nil {
			w.Errorf("the key is not free elsewhere: %v, %v", replay, err)
		}
	}
	w.pass(25 * time.Hour)
	if replay, err := publish(w.once("k", 2)); err != nil || replay != nil {
		w.Errorf("after a day: %v, %v", replay, err)
	}
	events[0].Scope.Tenant = "nobody" // nothing is stored, so the key stays free
	if replay, err := publish(w.once("n", 1)); err != nil || replay != nil {
		w.Fatalf("refused event: %v, %v", replay, err)
	}
	w.tenant("nobody")
	if replay, err := publish(w.once("n", 1)); err != nil || replay != nil {
		w.Errorf("the key of a refused request is taken: %v, %v", replay, err)
	}
}

func fiftyFirstUses(w *world) {
	w.endpoint(live)
	var all sync.WaitGroup
	var mu sync.Mutex
	firsts := 0
	for range 50 {
		all.Go(func() {
			_, replay, err := w.store.Publish(w.ctx, []hook.NewEvent{{Scope: live, Type: "a", Data: []byte("{}")}}, profileOf, w.once("k", 1))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				w.Errorf("publish: %v", err)
			} else if replay == nil {
				firsts++
			}
		})
	}
	all.Wait()
	if got := w.store.Stats().Events; firsts != 1 || got != 1 {
		w.Errorf("%d firsts, %d events; want 1 and 1", firsts, got)
	}
}
