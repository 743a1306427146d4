package native_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store"
)

// reasons explains an event and returns the reason of each named endpoint.
func (h *testAPI) reasons(event string, named map[string]string) map[string]string {
	h.t.Helper()
	out := map[string]string{}
	x := want[client.Explanation](h, 200, get("/v1/events/"+event+"/explain"))
	for name, id := range named {
		out[name] = "absent"
		for _, e := range x.Endpoints {
			if e.Endpoint == id {
				out[name] = e.Reason
				got := e.Reason == "matched" || e.Reason == "resent" || e.Reason == "test" && e.Delivery != nil
				if e.Message == "" || (e.Delivery != nil) != got {
					h.t.Errorf("%s: %+v", name, e)
				}
			}
		}
	}
	return out
}

func TestExplain(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	ids := map[string]string{}
	for _, name := range []string{"matched", "type", "disabled", "deleted", "tripped"} {
		types := "*"
		if name == "type" {
			types = "x.*"
		}
		ids[name] = h.endpoint("acme", types).ID
	}
	h.patch(ids["disabled"], `{"enabled":false}`)
	want[struct{}](h, 204, call{"DELETE", "/v1/endpoints/" + ids["deleted"], liveKey, nil, nil})
	h.trip(ids["tripped"])
	e := h.event("acme", "a.b")
	ids["later"] = h.endpoint("acme", "*").ID

	expected := map[string]string{"matched": "matched", "type": "type", "disabled": "disabled", "deleted": "deleted", "tripped": "matched", "later": "not_created"}
	if diff := cmp.Diff(expected, h.reasons(e.ID, ids)); diff != "" {
		t.Error(diff)
	}
	// Later changes do not change an explanation.
	h.patch(ids["type"], `{"event_types":["*"]}`)
	h.patch(ids["matched"], `{"event_types":[],"enabled":false}`)
	h.patch(ids["disabled"], `{"enabled":true}`)
	want[struct{}](h, 204, call{"DELETE", "/v1/endpoints/" + ids["tripped"], liveKey, nil, nil})
	if diff := cmp.Diff(expected, h.reasons(e.ID, ids)); diff != "" {
		t.Error(diff)
	}
	// It is resent to an endpoint that did not get it.
	want[client.Resent](h, 202, post("/v1/events/"+e.ID+"/resend", `{"endpoint":"`+ids["type"]+`"}`))
	expected["type"] = "resent"
	if diff := cmp.Diff(expected, h.reasons(e.ID, ids)); diff != "" {
		t.Error(diff)
	}
	x := want[client.Explanation](h, 200, get("/v1/events/"+e.ID+"/explain"))
	for _, one := range x.Endpoints {
		if one.Endpoint == ids["matched"] && (cmp.Diff([]string{"*"}, one.EventTypes) != "" || one.URL == nil) {
			t.Errorf("the filter of then is not shown: %+v", one)
		}
	}
	if x.OtherMode || x.More || x.Type != "a.b" || x.Tenant != "acme" {
		t.Errorf("%+v", x)
	}
	c := post("/v1/endpoints", `{"tenant":"acme","url":"https://hooks.example.com/","event_types":["*"]}`)
	c.key = testKey
	hidden := want[client.Endpoint](h, 201, c)
	w := h.do(get("/v1/events/" + e.ID + "/explain"))
	if !strings.Contains(w.Body.String(), `"other_mode":true`) || strings.Contains(w.Body.String(), hidden.ID) {
		t.Errorf("an endpoint of the other mode: %s", w.Body)
	}
	test := want[client.TestEvent](h, 202, post("/v1/endpoints/"+ids["later"]+"/test", nil))
	if got := h.reasons(test.Event, ids); got["later"] != "test" || got["type"] != "test" {
		t.Errorf("a test event: %v", got)
	}
}

// trip disables an endpoint as failures do.
func (h *testAPI) trip(id string) {
	h.t.Helper()
	e := h.event("acme", "trip.it")
	for _, d := range want[client.Event](h, 200, get("/v1/events/"+e.ID)).Deliveries {
		if d.Endpoint != id {
			continue
		}
		h.settle(d.ID, func(o *hook.Outcome) { o.Status, o.Class = 410, hook.ClassGone })
		return
	}
	h.t.Fatal("no delivery to trip with")
}

// settle records an attempt of a delivery as the dispatcher would.
func (h *testAPI) settle(delivery string, change func(*hook.Outcome)) {
	h.t.Helper()
	id, _ := hook.ParseID(delivery)
	row, _, err := h.store.Delivery(h.t.Context(), hook.Scope{Mode: hook.Live}, id)
	if err != nil {
		h.t.Fatal(err)
	}
	target, err := h.store.Endpoint(h.t.Context(), row.Scope, row.Endpoint)
	if err != nil {
		h.t.Fatal(err)
	}
	o := hook.Outcome{StartedAt: time.Now(), Duration: 20 * time.Millisecond, Enablings: target.Enablings,
		Policy: &hook.Policy{GoneDisables: true, Retry: hook.Retry{Steps: []time.Duration{time.Hour}}}}
	change(&o)
	if _, err := h.store.Settle(h.t.Context(), []hook.Settlement{{Job: hook.Job{Delivery: row.Delivery, Target: target}, Outcome: o}}); err != nil {
		h.t.Fatal(err)
	}
}

// Everything happens in one microsecond: the delivery shows which revision was in
// force.
func TestExplainOfOneMoment(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	h := newTestAPI(t, func(_ *app.Options, o *store.Options) { o.Now = func() time.Time { return at } })
	h.tenant("acme")
	ids := map[string]string{"before": h.endpoint("acme", "*").ID, "opened": h.endpoint("acme", "x.y").ID}
	e := h.event("acme", "a.b")
	h.patch(ids["before"], `{"event_types":["x.y"]}`)
	h.patch(ids["opened"], `{"event_types":["*"]}`)
	ids["after"] = h.endpoint("acme", "*").ID
	if diff := cmp.Diff(map[string]string{"before": "matched", "opened": "type", "after": "not_created"}, h.reasons(e.ID, ids)); diff != "" {
		t.Error(diff)
	}
}

func TestResend(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	one, two := h.endpoint("acme", "a.*"), h.endpoint("acme", "x")
	e := h.event("acme", "a.b")
	resend := "/v1/events/" + e.ID + "/resend"
	h.patch(two.ID, `{"event_types":["*"]}`)

	all := want[client.Resent](h, 202, post(resend, nil))
	if all.Event != e.ID || len(all.Deliveries) != 2 || all.Created != 1 || all.Skipped != 0 {
		t.Errorf("to all: %+v", all)
	}
	again := want[client.Resent](h, 202, post(resend, `{}`))
	if len(again.Deliveries) != 2 || again.Created != 0 {
		t.Errorf("again: %+v", again)
	}
	if n := len(want[client.Event](h, 200, get("/v1/events/"+e.ID)).Deliveries); n != 2 {
		t.Errorf("%d deliveries of 2 endpoints", n)
	}
	named := want[client.Resent](h, 202, post(resend, `{"endpoint":"`+one.ID+`"}`))
	if len(named.Deliveries) != 1 || named.Deliveries[0].Endpoint != one.ID {
		t.Errorf("to one: %+v", named)
	}
	first := h.do(with(post(resend, `{}`), "Idempotency-Key", "k"))
	second := h.do(with(post(resend, `{}`), "Idempotency-Key", "k"))
	if first.Code != 202 || first.Body.String() != second.Body.String() || second.Header().Get("Idempotency-Replayed") != "true" {
		t.Errorf("idempotency: %d %s\n%s", first.Code, first.Body, second.Body)
	}

	h.patch(one.ID, `{"enabled":false}`)
	refused(h, 409, hook.CodeEndpointDisabled, "endpoint", post(resend, `{"endpoint":"`+one.ID+`"}`))
	if rest := want[client.Resent](h, 202, post(resend, nil)); len(rest.Deliveries) != 1 || rest.Deliveries[0].Endpoint != two.ID {
		t.Errorf("with one disabled: %+v", rest)
	}
	refused(h, 404, hook.CodeNotFound, "", post(resend, `{"endpoint":"`+e.ID+`"}`))
	refused(h, 422, hook.CodeInvalidRequest, "endpoint", post(resend, `{"endpoint":"7"}`))
	refused(h, 422, hook.CodeUnknownField, "to", post(resend, `{"to":"7"}`))
	test := want[client.TestEvent](h, 202, post("/v1/endpoints/"+two.ID+"/test", nil))
	refused(h, 409, hook.CodeConflict, "", post("/v1/events/"+test.Event+"/resend", nil))
}

func TestReveal(t *testing.T) {
	closed := newTestAPI(t)
	closed.tenant("acme")
	refused(closed, 403, hook.CodeRevealDisabled, "", post("/v1/endpoints/"+closed.endpoint("acme", "*").ID+"/secret/reveal", nil))

	h := newTestAPI(t, func(o *app.Options, _ *store.Options) { o.AllowReveal = true })
	h.tenant("acme")
	made := h.endpoint("acme", "*")
	c := post("/v1/endpoints/"+made.ID+"/secret/reveal", nil)
	if strings.Contains(h.log.String(), "audit") {
		t.Fatal("audited before anything happened")
	}
	for name, key := range map[string]string{"bootstrap": liveKey, "tenant": h.key("tenant", "acme")} {
		c.key = key
		w := h.do(c)
		if w.Code != 200 || !strings.Contains(w.Body.String(), made.Secret) || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v %s", name, w.Code, w.Header(), w.Body)
		}
		if log := h.log.String(); !strings.Contains(log, "audit: secret revealed") || !strings.Contains(log, made.ID) || strings.Contains(log, made.Secret) {
			t.Errorf("log: %s", log)
		}
	}
	if n := strings.Count(h.log.String(), "audit: secret revealed"); n != 2 {
		t.Errorf("%d audit lines of 2 uses", n)
	}
	c.key = h.key("publisher", "acme")
	refused(h, 403, hook.CodeForbidden, "", c)
	rotated := want[client.RotatedSecret](h, 200, post("/v1/endpoints/"+made.ID+"/secret/rotate", nil))
	c.key = liveKey
	if got := want[client.RevealedSecret](h, 200, c); got.Secret != rotated.Secret {
		t.Error("after a rotation it is not the new one")
	}
}

func TestEndpointStats(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	e := h.endpoint("acme", "*")
	path := "/v1/endpoints/" + e.ID + "/stats"
	empty := want[client.EndpointStats](h, 200, get(path))
	if len(empty.Buckets.Buckets) != 61 && len(empty.Buckets.Buckets) != 60 || empty.Step != "1m" {
		t.Errorf("buckets: %d by %s", len(empty.Buckets.Buckets), empty.Step)
	}
	empty.Buckets = client.Buckets{}
	if diff := cmp.Diff(client.EndpointStats{Endpoint: e.ID, Recent: client.RecentStats{Errors: map[string]int{}}}, empty); diff != "" {
		t.Error(diff)
	}
	for i := range 20 {
		d := want[client.Event](h, 200, get("/v1/events/"+h.event("acme", "a.b").ID)).Deliveries[0]
		switch {
		case i < 16:
			h.settle(d.ID, func(o *hook.Outcome) {
				o.Success, o.Status, o.Duration = true, 200, time.Duration(i+1)*time.Millisecond
			})
		case i < 18:
			h.settle(d.ID, func(o *hook.Outcome) {
				o.Status, o.Class, o.Duration, o.Policy = 500, hook.ClassStatus, time.Second, &hook.Policy{}
			})
		}
	}
	want[client.TestEvent](h, 202, post("/v1/endpoints/"+e.ID+"/test", nil)) // not counted
	got := want[client.EndpointStats](h, 200, get(path))
	if got.Pending != 3 || got.Held != 0 || got.Failed != 2 || got.OldestPendingAt == nil || time.Since(got.OldestPendingAt.Time) > time.Minute {
		t.Errorf("now: %+v", got) // the test event is also pending
	}
	r := got.Recent
	if diff := cmp.Diff(client.Counts{Pending: 2, Succeeded: 16, Failed: 2}, r.Deliveries); diff != "" {
		t.Error(diff)
	}
	if r.Attempts != 18 || *r.SuccessRate != 0.8889 || *r.LatencyP50MS != 9 || *r.LatencyP95MS != 1000 || r.Errors["status_not_success"] != 2 || r.Since == nil {
		t.Errorf("recent: %+v rate %v p50 %v p95 %v", r, *r.SuccessRate, *r.LatencyP50MS, *r.LatencyP95MS)
	}
	h.patch(e.ID, `{"enabled":false}`)
	deadline := time.Now().Add(5 * time.Second)
	for got.Held != 2 && time.Now().Before(deadline) { // the sweep holds them in the background
		got = want[client.EndpointStats](h, 200, get(path))
	}
	if got.Held != 2 {
		t.Errorf("held after disabling: %+v", got)
	}
}
