package storetest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// operational creates an operational endpoint.
func (w *world) operational(scope hook.Scope, types ...string) *hook.Endpoint {
	w.Helper()
	e, _, err := w.store.CreateEndpoint(w.ctx, hook.Endpoint{Scope: scope, URL: "https://ops.example.com/", Types: types, Profile: "standard", Operational: true,
		Secrets: []hook.Secret{{Text: "whsec_ops", Encoding: hook.EncodingWhsec}}}, nil)
	w.must(err)
	return e
}

var operatorLive = hook.Scope{Tenant: hook.OperatorTenant, Mode: hook.Live}

// alerts takes the jobs of operational endpoints out of what was committed: their types by
// endpoint, and the data of the last one.
func (w *world) alerts() (map[hook.ID][]string, map[string]any) {
	w.Helper()
	found, data := map[hook.ID][]string{}, map[string]any{}
	for _, j := range w.taken().Jobs {
		if !hook.ReservedType(j.Event.Type) {
			continue
		}
		if !j.Target.Operational || j.Event.Scope != j.Target.Scope {
			w.Fatalf("%s went to %+v", j.Event.Type, j.Target)
		}
		found[j.Target.ID] = append(found[j.Target.ID], j.Event.Type)
		data = map[string]any{}
		w.must(json.Unmarshal(j.Event.Data, &data))
	}
	return found, data
}

func (w *world) wantAlerts(e *hook.Endpoint, want ...string) map[string]any {
	w.Helper()
	found, data := w.alerts()
	if !slices.Equal(found[e.ID], want) {
		w.Fatalf("alerts %v, want %v", found[e.ID], want)
	}
	return data
}

// fail settles a failed attempt of a new event to the endpoint, under a rule.
func (w *world) attempt(e *hook.Endpoint, status int, trip hook.Trip) {
	w.Helper()
	w.publish(e.Scope, e.Types[0])
	for _, j := range w.taken().Jobs {
		if j.Target.ID == e.ID {
			s := w.outcome(j, status)
			s.Outcome.Policy = &hook.Policy{Retry: plan.Retry, GoneDisables: true, Trip: trip}
			s.Outcome.Enablings = j.Target.Enablings
			w.settle(s)
			return
		}
	}
	w.Fatal("the event made no job")
}

// alertsOnTransitions checks the life of a failing endpoint: each transition is one alert,
// whatever the number of attempts, and the owner learns of the end before it comes.
func alertsOnTransitions(w *world) {
	trip := hook.Trip{Count: hook.TripDuration, For: 10 * time.Hour}
	w.tenant("acme")
	ops := w.operational(operatorLive, "posthorn.endpoint.*")
	own := w.operational(live, "posthorn.endpoint.*")
	e := w.endpoint(live, "a.b")
	both := func(want ...string) map[string]any {
		w.Helper()
		found, data := w.alerts()
		if !slices.Equal(found[ops.ID], want) || !slices.Equal(found[own.ID], want) {
			w.Fatalf("the operator got %v, the tenant %v, want %v", found[ops.ID], found[own.ID], want)
		}
		return data
	}
	both(hook.AlertEndpointCreated)
	began := w.clock()
	for range 3 {
		w.attempt(e, 503, trip)
		w.pass(time.Minute)
	}
	both()
	w.pass(time.Hour)
	for range 5 {
		w.attempt(e, 503, trip)
		w.taken2(hook.AlertEndpointFailing, ops)
		w.pass(time.Minute)
	}
	w.pass(5 * time.Hour)
	w.attempt(e, 503, trip)
	warning := both(hook.AlertEndpointWarned)
	if warning["disable_at"] != hook.AlertTime(began.Add(trip.For)) || warning["endpoint"] != e.ID.String() || warning["reason"] != "failures" ||
		!strings.Contains(fmt.Sprint(warning["message"]), `{"enabled": true}`) || !strings.Contains(fmt.Sprint(warning["message"]), "1 March 2026, 22:00 UTC") {
		w.Fatalf("the warning is %v", warning)
	}
	w.attempt(e, 503, trip)
	both()
	w.pass(5 * time.Hour)
	w.attempt(e, 503, trip)
	if d := both(hook.AlertEndpointDisabled); d["reason"] != "failures" {
		w.Fatalf("the alert is %v", d)
	}
	w.reopen()
	e = w.setStatus(e, hook.Enabled, true)
	both(hook.AlertEndpointEnabled)
	w.attempt(e, 200, trip)
	both(hook.AlertEndpointRecovered)
	w.attempt(e, 200, trip)
	both()
	w.attempt(e, 410, trip)
	both(hook.AlertEndpointDisabled)
	e = w.setStatus(e, hook.Enabled, true)
	w.taken()
	_, err := w.store.UpdateEndpoint(w.ctx, live, e.ID, func(old hook.Endpoint) (hook.Endpoint, error) {
		old.Title, old.Operational, old.Alarm = "<!channel>", true, 7
		return old, nil
	}, false)
	w.must(err)
	d := both(hook.AlertEndpointUpdated)
	if strings.Contains(fmt.Sprint(d["message"]), "channel") {
		w.Errorf("a tenant's text is in the message: %v", d)
	}
	if now, err := w.store.Endpoint(w.ctx, live, e.ID); err != nil || now.Operational || now.Alarm != hook.AlarmUnwell {
		w.Errorf("a change made the endpoint %+v, %v", now, err)
	}
	w.must(w.store.DeleteEndpoint(w.ctx, live, e.ID))
	both(hook.AlertEndpointDeleted)
}

// taken2 checks that the alert comes at most once in the life of the world.
func (w *world) taken2(name string, ops *hook.Endpoint) {
	w.Helper()
	found, _ := w.alerts()
	for _, got := range found[ops.ID] {
		if w.seen == nil {
			w.seen = map[string]bool{}
		}
		if got != name || w.seen[got] {
			w.Fatalf("%s came (again)", got)
		}
		w.seen[got] = true
	}
}

// alertsStayInside checks who gets an alert: not another tenant, not the other mode, not an
// ordinary endpoint, nobody whose filter does not ask for it.
func alertsStayInside(w *world) {
	testOperator := hook.Scope{Tenant: hook.OperatorTenant, Mode: hook.Test}
	w.tenant("acme")
	w.tenant("other")
	wanting := w.operational(live, "*")
	strangers := []*hook.Endpoint{w.operational(hook.Scope{Tenant: "other", Mode: hook.Live}, "*"), w.operational(test, "*"),
		w.operational(testOperator, "*"), w.operational(live, hook.AlertJobFinished)}
	w.taken()
	all := w.endpoint(live, "*")
	found, _ := w.alerts()
	if len(found) != 1 || !slices.Equal(found[wanting.ID], []string{hook.AlertEndpointCreated}) {
		w.Fatalf("the alert went to %v, strangers %v", found, strangers)
	}
	// An operational endpoint gets nothing of the platform's, not even by a resend.
	published := w.publish(live, "a.b")
	for _, j := range w.taken().Jobs {
		if j.Target.ID != all.ID {
			w.Errorf("an event went to %+v", j.Target)
		}
	}
	if published.Deliveries != 1 {
		w.Errorf("%d deliveries", published.Deliveries)
	}
	alert, _, err := w.store.Events(w.ctx, hook.EventQuery{Scope: live, Type: hook.AlertEndpointCreated})
	w.must(err)
	if len(alert) != 1 {
		w.Fatalf("%d alerts are kept", len(alert))
	}
	again, _, err := w.store.Resend(w.ctx, live, alert[0].ID, hook.ID{}, profileOf, nil)
	w.must(err)
	if len(again.Deliveries) != 1 || again.Deliveries[0].Endpoint != wanting.ID {
		w.Errorf("a resend of an alert went to %+v", again.Deliveries)
	}
	for _, stranger := range strangers {
		if list, _, err := w.store.Deliveries(w.ctx, hook.DeliveryQuery{Scope: stranger.Scope, Endpoint: stranger.ID}); err != nil || len(list) != 0 {
			w.Errorf("%v has %v, %v", stranger.Scope, list, err)
		}
	}
	// Without an endpoint that wants it, nothing is stored.
	w.endpoint(hook.Scope{Tenant: "quiet", Mode: hook.Live})
	if list, _, err := w.store.Events(w.ctx, hook.EventQuery{Scope: hook.Scope{Tenant: "quiet", Mode: hook.Live}}); err != nil || len(list) != 0 {
		w.Errorf("nobody wants %v, %v", list, err)
	}
}

// alertsNeverLoop checks that what happens to operational endpoints is no alert.
func alertsNeverLoop(w *world) {
	trip := hook.Trip{Count: hook.TripAttempts, N: 2}
	w.tenant("acme")
	first, second := w.operational(operatorLive, "*"), w.operational(operatorLive, "*")
	e := w.endpoint(live, "a.b")
	for _, j := range w.taken().Jobs {
		for range 3 { // each attempt fails; the second disables the endpoint
			s := w.outcome(j, 410)
			s.Outcome.Policy = &hook.Policy{Trip: trip}
			w.settle(s)
		}
	}
	if found, _ := w.alerts(); len(found) != 0 {
		w.Fatalf("failing operational endpoints caused %v", found)
	}
	for _, ops := range []*hook.Endpoint{first, second} {
		if now, err := w.store.Endpoint(w.ctx, operatorLive, ops.ID); err != nil || now.Status != hook.Tripped {
			w.Fatalf("the operational endpoint is %v, %v", now, err)
		}
		w.setStatus(ops, hook.Enabled, true)
	}
	_, _, err := w.store.RotateSecret(w.ctx, operatorLive, first.ID, hook.Secret{Text: "whsec_x", Encoding: hook.EncodingWhsec}, 0, nil)
	w.must(err)
	w.must(w.store.DeleteEndpoint(w.ctx, operatorLive, second.ID))
	if found, _ := w.alerts(); len(found) != 0 {
		w.Fatalf("changes of operational endpoints caused %v", found)
	}
	// Control: the same happens to an ordinary endpoint.
	w.attempt(e, 500, trip)
	w.wantAlerts(first, hook.AlertEndpointWarned)
	w.attempt(e, 500, trip)
	w.wantAlerts(first, hook.AlertEndpointDisabled)
}

// alertsAreBounded checks that many endpoints that fail at once make few alerts and a
// digest, which adds up, even if the process ends in between.
func alertsAreBounded(w *world) {
	const many = 60
	w.tenant("acme")
	ops := w.operational(operatorLive, hook.AlertEndpointDisabled, hook.AlertDigest)
	var jobs []hook.Settlement
	made := func() {
		jobs = nil
		for i := range many {
			w.pass(time.Minute) // the alerts about their creation do not count here
			scope := hook.Scope{Tenant: fmt.Sprint("tenant-", i), Mode: hook.Live}
			e := w.endpoint(scope)
			w.publish(e.Scope, "a.b")
		}
		for _, j := range w.taken().Jobs {
			jobs = append(jobs, w.outcome(j, 410))
		}
		w.pass(time.Hour)
	}
	made()
	w.settle(jobs...)
	found, _ := w.alerts()
	if n := len(found[ops.ID]); n != hook.AlertsPerWindow {
		w.Fatalf("%d alerts at once, want %d", n, hook.AlertsPerWindow)
	}
	w.reopen()
	more, err := w.store.Digest(w.ctx)
	w.must(err)
	digest := w.wantAlerts(ops, hook.AlertDigest)
	if total := digest["total"]; more || total != float64(many-hook.AlertsPerWindow) || len(digest["examples"].([]any)) == 0 {
		w.Fatalf("the digest is %v", digest)
	}
	if more, err = w.store.Digest(w.ctx); more || err != nil {
		w.Fatalf("%v %v", more, err)
	}
	w.wantAlerts(ops)
	// Control: the same, one in a window, are all published.
	w.pass(time.Hour)
	made()
	all := 0
	for _, one := range jobs[:hook.AlertsPerWindow+5] {
		w.pass(hook.AlertWindow)
		w.settle(one)
		found, _ := w.alerts()
		all += len(found[ops.ID])
	}
	if all != hook.AlertsPerWindow+5 {
		w.Fatalf("%d alerts one by one", all)
	}
}

// alertsAboutWork checks the alerts about deliveries that failed for good, and about
// replays.
func alertsAboutWork(w *world) {
	w.tenant("acme")
	ops := w.operational(live, hook.AlertDeliveryExhausted, hook.AlertJobFinished, hook.AlertDigest)
	e := w.endpoint(live, "a.b")
	id := hook.ID{1, 2, 3}
	w.publishAll(hook.NewEvent{Scope: live, Type: "a.b", PublicID: id, Data: []byte(`{}`)})
	j := w.taken().Jobs[0]
	j.Event = nil // it left memory
	s := w.outcome(j, 500)
	s.Outcome.Policy = &hook.Policy{}
	w.settle(s)
	d := w.wantAlerts(ops, hook.AlertDeliveryExhausted)
	if d["event"] != id.String() || d["delivery"] != j.Delivery.ID.String() || d["reason"] != "policy_ended" || d["last_status"] != 500.0 {
		w.Fatalf("the alert is %v", d)
	}
	// Deliveries that were held for too long are counted.
	w.publish(live, "a.b")
	held := w.taken().Jobs[0]
	w.setStatus(e, hook.Disabled, false)
	w.until("held", func() bool { d, _ := w.delivery(held); return d.State == hook.Held })
	w.pass(25 * time.Hour)
	w.must(w.store.Housekeep(w.ctx))
	w.wantAlerts(ops)
	_, err := w.store.Digest(w.ctx)
	w.must(err)
	if d := w.wantAlerts(ops, hook.AlertDigest); d["total"] != 1.0 {
		w.Fatalf("the digest is %v", d)
	}
	e = w.setStatus(e, hook.Enabled, false)
	w.pass(time.Hour)
	replay, _, err := w.store.CreateReplay(w.ctx, hook.NewReplay{Scope: live, Endpoint: e.ID, Source: hook.FromFailed, Rate: 10}, nil)
	w.must(err)
	w.wantAlerts(ops)
	_, err = w.store.CancelReplay(w.ctx, live, replay.ID)
	w.must(err)
	if d := w.wantAlerts(ops, hook.AlertJobFinished); d["state"] != "cancelled" || d["id"] != replay.ID.String() {
		w.Fatalf("the alert is %v", d)
	}
	if replay, _, err = w.store.CreateReplay(w.ctx, hook.NewReplay{Scope: live, Endpoint: e.ID, Source: hook.FromFailed, Rate: 10}, nil); err != nil {
		w.Fatal(err)
	}
	for over := false; !over; {
		step, err := w.store.StepReplay(w.ctx, hook.ReplayRef{ID: replay.ID, Fence: replay.Fence, Rate: 10}, 100, profileOf)
		w.must(err)
		over = step.Over
	}
	w.wantAlerts(ops)
	var done []hook.Settlement
	for _, j := range w.claim(10, e).Jobs {
		done = append(done, w.outcome(j, 200))
	}
	w.settle(done...)
	if d := w.wantAlerts(ops, hook.AlertJobFinished); d["state"] != "done" || d["delivered"] != 2.0 {
		w.Fatalf("the alert is %v of %d", d, len(done))
	}
}
