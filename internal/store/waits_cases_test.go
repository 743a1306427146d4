// Under the race detector durations mean nothing.

//go:build !race

package store_test

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

var waitCases = []waitCase{
	{name: "control: a write that takes too long", given: nothing, notices: true, worst: func(w *waitRun) { w.hold(w.bound + 200*time.Millisecond) }},

	{name: "publish a batch to all endpoints", given: wide, worst: func(w *waitRun) { w.fanOut(w.plan.batch) }},
	{name: "publish as many deliveries as a request may have", given: wide, worst: func(w *waitRun) { w.fanOut(requestDeliveries / w.plan.endpoints) }},
	{name: "resend to all endpoints", given: resendable, worst: resendAll},
	{name: "resend to endpoints that have no delivery", given: missed, worst: resendAll},

	{name: "disable by hand", pages: true, given: waiting, worst: func(w *waitRun) {
		w.clears(hook.Pending, func() error { return w.status(w.endpoints[0], hook.Disabled, false) })
	}},
	{name: "disable by failures", pages: true, given: waiting, worst: func(w *waitRun) {
		w.clears(hook.Pending, func() error { return w.trip(w.endpoints[0]) })
	}},
	{name: "delete an endpoint", pages: true, given: waiting, worst: func(w *waitRun) {
		w.clears(hook.Pending, func() error { return w.DeleteEndpoint(w.ctx, live, w.endpoints[0]) })
	}},
	{name: "delete a tenant", pages: true, given: spread, worst: func(w *waitRun) {
		w.clears(hook.Pending, func() error { return w.DeleteTenant(w.ctx, live.Tenant) })
	}},
	{name: "enable and release", pages: true, given: held, worst: func(w *waitRun) {
		w.clears(hook.Held, func() error { return w.status(w.endpoints[0], hook.Enabled, false) })
	}},
	{name: "enable and discard", pages: true, given: held, worst: func(w *waitRun) {
		w.clears(hook.Held, func() error { return w.status(w.endpoints[0], hook.Enabled, true) })
	}},
	{name: "a listener comes and goes", pages: true, given: listening, worst: flap},

	{name: "retry by hand", given: failed, worst: func(w *waitRun) {
		w.each(64, len(w.deliveries), func(i int) error {
			_, _, err := w.RetryDelivery(w.ctx, live, w.deliveries[i], nil)
			return err
		})
	}},
	{name: "a page of a replay", given: failed, worst: func(w *waitRun) {
		j, _, err := w.CreateReplay(w.ctx, hook.NewReplay{Scope: live, Endpoint: w.endpoints[0], Source: hook.FromFailed, Rate: 1000}, nil)
		w.must(err)
		_, err = w.StepReplay(w.ctx, hook.ReplayRef{ID: j.ID, Fence: j.Fence, Rate: j.Rate}, 100, profileOf)
		w.must(err)
	}},
	{name: "cancel one by one", given: cancellable, worst: func(w *waitRun) {
		w.each(64, len(w.deliveries), func(i int) error {
			_, err := w.CancelDelivery(w.ctx, live, w.deliveries[i])
			return err
		})
	}},
	{name: "claim full shares", given: due, worst: claimAll},

	{name: "retention", given: settled, worst: retain},
	{name: "retention by class", given: settled, worst: func(w *waitRun) {
		w.must(w.SetRetention(w.ctx, live, hook.Retention{Payloads: 0, Answers: 0, Events: hook.NotSet}))
		w.pass(time.Hour)
		w.must(w.Housekeep(w.ctx))
		w.must(w.SetRetention(w.ctx, live, hook.Retention{Payloads: 0, Answers: 0, Events: 24 * time.Hour}))
		w.pass(24 * time.Hour)
		w.must(w.Housekeep(w.ctx))
		if left, _, err := w.Events(w.ctx, hook.EventQuery{Scope: live}); err != nil || len(left) > 0 {
			w.t.Errorf("%d events are left, %v", len(left), err)
		}
	}},
	{name: "retention of a day with its partition", postgresOnly: true, given: settledToday, worst: retain},
	{name: "expiry of what is held", pages: true, given: held, worst: func(w *waitRun) {
		w.pass(heldFor + time.Hour)
		w.clears(hook.Held, func() error { return w.Housekeep(w.ctx) })
	}},
	{name: "expiry of idempotency keys", given: answered, worst: func(w *waitRun) {
		w.pass(25 * time.Hour)
		w.must(w.Housekeep(w.ctx))
	}},

	{name: "create what exists", given: nothing, worst: func(w *waitRun) {
		w.sharing(func() error {
			_, _, err := w.CreateTenant(w.ctx, hook.Tenant{ID: live.Tenant}, nil)
			return err
		})
	}},
	{name: "refuse a request with an expired idempotency key", given: answered, worst: func(w *waitRun) {
		w.pass(25 * time.Hour)
		w.sharing(func() error {
			_, _, err := w.CreateTenant(w.ctx, hook.Tenant{ID: live.Tenant}, once(0))
			return err
		})
	}},

	{name: "take over a dead node", postgresOnly: true, pages: true, given: wideOne, before: secondNode, worst: func(w *waitRun) {
		before := w.ClusterStats()
		w.must(w.dead.Close())
		w.until("the work of the dead node is taken over", func() bool {
			now := w.ClusterStats()
			return now.Takeovers > before.Takeovers && now.TakenDeliveries == before.TakenDeliveries+int64(w.plan.backlog)
		})
	}},
}

// The fixtures.
var (
	nothing = &fixture{func(*waitRun) {}}
	wideOne = &fixture{func(w *waitRun) { w.endpoint(live) }}
	wide    = &fixture{func(w *waitRun) { w.many(w.plan.endpoints) }}
	// resendable has events with a delivery for every endpoint.
	resendable = &fixture{func(w *waitRun) {
		w.many(w.plan.endpoints)
		w.publish(w.plan.resends)
	}}
	missed = &fixture{func(w *waitRun) {
		w.publish(w.plan.resends)
		w.many(w.plan.endpoints)
	}}
	waiting = &fixture{func(w *waitRun) {
		w.endpoint(live)
		w.publish(w.plan.backlog)
	}}
	spread = &fixture{func(w *waitRun) {
		w.many(w.plan.endpoints)
		w.publish(w.plan.backlog / w.plan.endpoints)
	}}
	// held has an endpoint that tripped first, so that its deliveries are held at once.
	held = &fixture{func(w *waitRun) {
		w.endpoint(live)
		w.publish(1)
		w.must(w.trip(w.endpoints[0]))
		w.publish(w.plan.backlog)
	}}
	listening = &fixture{func(w *waitRun) {
		w.create(hook.Endpoint{Scope: live, URL: hook.ListenURL("dev"), Types: hook.Filter{"*"}, Status: hook.Tripped})
		w.publish(w.plan.backlog / 10)
	}}
	failed = &fixture{func(w *waitRun) {
		w.endpoint(live)
		w.settled(w.plan.failed, hook.Outcome{Status: 500, Class: hook.ClassStatus, Policy: &hook.Policy{}})
	}}
	cancellable = &fixture{func(w *waitRun) {
		w.endpoint(live)
		w.room.Store(1 << 30)
		w.publish(w.plan.cancelled)
		for _, j := range w.take() {
			w.deliveries = append(w.deliveries, j.Delivery.ID)
		}
	}}
	// due has work for full claims of as many endpoints as a claim has shares.
	due = &fixture{func(w *waitRun) {
		w.many(claimShares)
		w.publish(w.plan.claims * claimRows)
	}}
	// settled is in the default partition on PostgreSQL, so that retention drops it page by
	// page there too.
	settled = &fixture{func(w *waitRun) {
		w.many(w.plan.endpoints)
		w.pass(20 * 24 * time.Hour)
		w.settled(w.plan.history, hook.Outcome{Success: true, Status: 200, ResponseBody: []byte("ok"), Policy: &hook.Policy{}})
	}}
	settledToday = &fixture{func(w *waitRun) {
		w.many(w.plan.endpoints)
		w.settled(w.plan.history, hook.Outcome{Success: true, Status: 200, Policy: &hook.Policy{}})
	}}
	answered = &fixture{func(w *waitRun) {
		w.each(64, w.plan.answers, func(i int) error {
			_, _, err := w.Publish(w.ctx, []hook.NewEvent{{Scope: live, Type: "a.b", Data: []byte("{}")}}, profileOf, once(i))
			return err
		})
	}}
)

// once returns an idempotency key that any request may use.
func once(i int) *hook.Once {
	key := fmt.Sprintf("key-%d", i)
	return &hook.Once{Route: "any", Key: key, BodyHash: sha256.Sum256([]byte(key)), Scope: live,
		Answer: func(any) (int, []byte) { return 202, []byte(`{}`) }}
}

func (w *waitRun) tenant(scope hook.Scope) {
	w.t.Helper()
	_, _, err := w.CreateTenant(w.ctx, hook.Tenant{ID: scope.Tenant}, nil)
	w.must(err)
}

func (w *waitRun) endpoint(scope hook.Scope) {
	w.t.Helper()
	w.create(hook.Endpoint{Scope: scope, URL: "https://example.com", Types: hook.Filter{"*"}})
}

func (w *waitRun) create(e hook.Endpoint) {
	w.t.Helper()
	made, _, err := w.CreateEndpoint(w.ctx, e, nil)
	w.must(err)
	if made.Scope == live {
		w.endpoints = append(w.endpoints, made.ID)
	}
}

func (w *waitRun) many(endpoints int) {
	w.t.Helper()
	for range endpoints {
		w.endpoint(live)
	}
}

// page returns how many events make a commit of a few thousand deliveries, which is about
// as many jobs as one transaction hands over.
func (w *waitRun) page() int { return max(1, min(1000, 4000/max(1, len(w.endpoints)))) }

// publish stores events of the first tenant.
func (w *waitRun) publish(events int) {
	w.t.Helper()
	for ; events > 0; events -= w.page() {
		out, err := publishTo(w.Store, live, min(w.page(), events))
		w.must(err)
		for i := range out {
			w.events = append(w.events, out[i].Event)
		}
	}
}

// settled publishes events and settles all deliveries with the outcome.
func (w *waitRun) settled(events int, o hook.Outcome) {
	w.t.Helper()
	w.room.Store(1 << 30)
	for ; events > 0; events -= w.page() {
		n := min(w.page(), events)
		w.publish(n)
		jobs := w.take()
		if len(jobs) != n*len(w.endpoints) {
			w.t.Fatalf("%d jobs were handed over, want %d", len(jobs), n*len(w.endpoints))
		}
		w.settle(jobs, o)
	}
}

func (w *waitRun) settle(jobs []hook.Job, o hook.Outcome) {
	w.t.Helper()
	o.StartedAt = w.now()
	for part := range chunks(jobs, 500) {
		var done []hook.Settlement
		for _, j := range part {
			o.Enablings = j.Target.Enablings
			done = append(done, hook.Settlement{Job: j, Outcome: o})
			w.deliveries = append(w.deliveries, j.Delivery.ID)
		}
		_, err := w.Settle(w.ctx, done)
		w.must(err)
	}
}

func (w *waitRun) now() time.Time { return time.Now().Add(w.shift()) }

func (w *waitRun) status(endpoint hook.ID, status hook.Status, discard bool) error {
	_, err := w.UpdateEndpoint(w.ctx, live, endpoint, func(old hook.Endpoint) (hook.Endpoint, error) { old.Status = status; return old, nil }, discard)
	return err
}

// trip makes the endpoint fail once, which trips it under the policy.
func (w *waitRun) trip(endpoint hook.ID) error {
	w.t.Helper()
	got, err := w.Claim(w.ctx, hook.Claim{Now: w.now(), Shares: []hook.Share{{Scope: live, Endpoint: endpoint, Limit: 1}}})
	if err != nil {
		return err
	}
	w.settle(got.Jobs, hook.Outcome{Status: 500, Class: hook.ClassStatus,
		Policy: &hook.Policy{Retry: hook.Retry{Steps: []time.Duration{time.Hour}, Repeat: true}, Trip: hook.Trip{Count: hook.TripAttempts, N: 1}}})
	e, err := w.Endpoint(w.ctx, live, endpoint)
	if err == nil && e.Status != hook.Tripped {
		err = fmt.Errorf("the endpoint is %v after %d failures", e.Status, len(got.Jobs))
	}
	return err
}

// clears runs an operation after which no delivery of the first tenant is in the state,
// and waits until that is so.
func (w *waitRun) clears(state hook.State, act func() error) {
	w.t.Helper()
	if !w.any(state) {
		w.t.Fatalf("no delivery is %v", state)
	}
	w.must(act())
	w.gone(state)
}

// gone waits until no delivery of the first tenant is in the state.
func (w *waitRun) gone(state hook.State) {
	w.t.Helper()
	w.until("no delivery is "+state.String(), func() bool { return !w.any(state) })
}

// any reports whether a delivery of the first tenant is in the state.
func (w *waitRun) any(state hook.State) bool {
	w.t.Helper()
	q := hook.DeliveryQuery{Scope: live, State: &state, Page: hook.Page{Limit: 1}}
	if len(w.endpoints) == 1 {
		q.Endpoint = w.endpoints[0]
	}
	for {
		rows, next, err := w.Deliveries(w.ctx, q)
		w.must(err)
		if len(rows) > 0 || next == "" {
			return len(rows) > 0
		}
		q.Cursor = next
	}
}

func (w *waitRun) until(what string, ok func() bool) {
	w.t.Helper()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	late := time.After(w.plan.limit)
	for !ok() {
		select {
		case <-look.C:
		case <-late:
			w.t.Errorf("not within %v: %s", w.plan.limit, what)
			return
		}
	}
}

// each calls do with 0 to n-1, from the given number of callers at once.
func (w *waitRun) each(callers, n int, do func(int) error) {
	w.t.Helper()
	var next atomic.Int64
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					w.t.Errorf("request %d: %v", i, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// hold occupies the writer for d.
func (w *waitRun) hold(d time.Duration) {
	w.t.Helper()
	_, err := w.UpdateTenant(w.ctx, live.Tenant, func(old hook.Tenant) (hook.Tenant, error) {
		<-time.After(d)
		return old, nil
	})
	w.must(err)
}

// fanOut publishes a batch to all endpoints. A batch with more deliveries than a request
// may make may be refused, in whole or in part.
func (w *waitRun) fanOut(events int) {
	w.t.Helper()
	_, err := publishTo(w.Store, live, events)
	if err != nil && hook.CodeOf(err) == hook.CodeTooManyDeliveries && events*len(w.endpoints) > requestDeliveries {
		w.note, err = "refused", nil
	}
	if err != nil {
		w.t.Errorf("publish %d events to %d endpoints: %v", events, len(w.endpoints), err)
	}
	// The caller may get its answer before the write ends.
	w.until("the writer takes a write of the first tenant", func() bool {
		_, err := w.UpdateTenant(w.ctx, live.Tenant, func(old hook.Tenant) (hook.Tenant, error) { return old, nil })
		return err == nil
	})
}

func resendAll(w *waitRun) {
	w.room.Store(1 << 30)
	for _, event := range w.events {
		out, _, err := w.Resend(w.ctx, live, event, hook.ID{}, profileOf, nil)
		w.must(err)
		if len(out.Deliveries) != len(w.endpoints) {
			w.t.Errorf("%d deliveries were made or asked for again, want %d", len(out.Deliveries), len(w.endpoints))
		}
	}
}

// flap lets a listener connect and disconnect before its backlog is released.
func flap(w *waitRun) {
	for range flaps {
		w.must(w.status(w.endpoints[0], hook.Enabled, false))
		w.must(w.status(w.endpoints[0], hook.Tripped, false))
	}
	w.gone(hook.Pending)
}

// retain drops everything that the first tenant has.
func retain(w *waitRun) {
	w.pass(keptFor + 24*time.Hour)
	w.must(w.Housekeep(w.ctx))
	if left, _, err := w.Events(w.ctx, hook.EventQuery{Scope: live}); err != nil || len(left) > 0 {
		w.t.Errorf("%d events are left, %v", len(left), err)
	}
}

// claimAll claims full shares until nothing is left.
func claimAll(w *waitRun) {
	claim := hook.Claim{Now: w.now()}
	for _, e := range w.endpoints {
		claim.Shares = append(claim.Shares, hook.Share{Scope: live, Endpoint: e, Limit: claimRows})
	}
	rows := 0
	for {
		got, err := w.Claim(w.ctx, claim)
		w.must(err)
		if len(got.Jobs) == 0 {
			break
		}
		rows += len(got.Jobs)
	}
	if want := len(w.events) * len(w.endpoints); rows != want {
		w.t.Errorf("%d rows were claimed, want %d", rows, want)
	}
}

// sharing repeats a request that is refused while many others publish. The others must
// still share commits.
func (w *waitRun) sharing(refused func() error) {
	w.t.Helper()
	alone := w.shared(nil)
	beside := w.shared(refused)
	w.note = fmt.Sprintf("%.1f events a commit, %.1f with the refused", alone, beside)
	if beside < alone/2 {
		w.t.Errorf("a commit carries %.1f events, %.1f beside a request that is refused again and again", alone, beside)
	}
}

// shared returns how many events a commit carries with many publishers.
func (w *waitRun) shared(beside func() error) float64 {
	w.t.Helper()
	end := make(chan struct{})
	var all sync.WaitGroup
	going := func() bool {
		select {
		case <-end:
			return false
		default:
			return true
		}
	}
	for range 64 {
		all.Go(func() {
			for going() {
				if _, err := publishTo(w.Store, live, 1); err != nil {
					w.t.Errorf("publish: %v", err)
					return
				}
			}
		})
	}
	if beside != nil {
		all.Go(func() {
			for going() {
				if err := beside(); hook.CodeOf(err) != hook.CodeTenantExists {
					w.t.Errorf("the answer is %v, want a refusal", err)
					return
				}
			}
		})
	}
	before := w.Stats()
	<-time.After(w.plan.under)
	after := w.Stats()
	close(end)
	all.Wait()
	return float64(after.Events-before.Events) / float64(max(1, after.Commits-before.Commits))
}

// secondNode is another node on the same database, with a backlog in memory.
func secondNode(w *waitRun) {
	dead := w.bench.open(w.t, w.scene)
	dead.room.Store(1 << 30)
	dead.publish(w.plan.backlog)
	if n := len(dead.take()); n != w.plan.backlog {
		w.t.Fatalf("the second node holds %d deliveries, want %d", n, w.plan.backlog)
	}
	w.dead = dead.Store
}
