package native_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/api/native"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
	"github.com/posthorn/posthorn/internal/store"
)

// as returns the call with another key.
func as(key string, c call) call {
	c.key = key
	return c
}

// paced returns a testAPI whose clock stands still, with one tenant and two of its
// keys.
func paced(t *testing.T, change func(*app.Options)) (h *testAPI, keys [2]string, now *time.Time) {
	t.Helper()
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	now = &at
	h = newTestAPI(t, func(o *app.Options, so *store.Options) {
		o.Now, so.Synchronous = func() time.Time { return *now }, "off"
		change(o)
	})
	h.tenant("acme")
	return h, [2]string{h.key("tenant", "acme"), h.key("tenant", "acme")}, now
}

func TestCallsOfAKeyAreLimited(t *testing.T) {
	h, keys, now := paced(t, func(o *app.Options) {
		o.Reads, o.Writes = app.Rate{PerSecond: 2, Burst: 4}, app.Rate{PerSecond: 1, Burst: 2}
	})
	list := as(keys[0], get("/v1/endpoints"))
	for i := range 4 {
		w := h.do(list)
		if got := w.Header().Get("RateLimit"); w.Code != 200 || got != fmt.Sprintf(`"reads";r=%d;t=%d`, 3-i, (i+2)/2) || w.Header().Get("RateLimit-Policy") != `"reads";q=4;w=2` {
			t.Fatalf("read %d: %d %q %q", i, w.Code, got, w.Header().Get("RateLimit-Policy"))
		}
	}
	p := refused(h, 429, hook.CodeRateLimited, "", list)
	if !strings.Contains(p.Detail, "2 calls that read a second, 4 at once") || !strings.Contains(p.Detail, "in 1 s") {
		t.Error(p.Detail)
	}
	if w := h.do(list); w.Header().Get("Retry-After") != "1" || w.Header().Get("RateLimit") != `"reads";r=0;t=1` {
		t.Errorf("%v", w.Header())
	}
	want[client.Page[client.Endpoint]](h, 200, as(keys[1], get("/v1/endpoints"))) // another key
	create := as(keys[0], post("/v1/endpoints", `{"url":"https://hooks.example.com/a","event_types":["*"]}`))
	for range 2 { // writes have their own bucket
		want[client.Endpoint](h, 201, create)
	}
	refused(h, 429, hook.CodeRateLimited, "", create)
	if n := len(want[client.Page[client.Endpoint]](h, 200, get("/v1/endpoints?tenant=acme")).Data); n != 2 {
		t.Errorf("%d endpoints: a refused call stored something", n)
	}
	for range 39 { // an operator's key may make ten times as many, and has made one read
		if w := h.do(get("/v1/tenants")); w.Code != 200 {
			t.Fatal(w.Code, w.Body)
		}
	}
	*now = now.Add(500 * time.Millisecond)
	want[client.Page[client.Endpoint]](h, 200, list)
	refused(h, 429, hook.CodeRateLimited, "", list)
	refused(h, 429, hook.CodeRateLimited, "", create)
}

// Control: without the options nothing is limited, and no limits are reported.
func TestCallsAreNotLimited(t *testing.T) {
	h, keys, _ := paced(t, func(*app.Options) {})
	for range 50 {
		if w := h.do(as(keys[0], get("/v1/endpoints"))); w.Code != 200 || w.Header().Get("RateLimit") != "" {
			t.Fatal(w.Code, w.Header())
		}
	}
}

// resends publishes one event to thirty endpoints and requests ten resends of it with a
// key. It returns how many requests were accepted.
func resends(t *testing.T, rate app.Rate, operator bool) (h *testAPI, passed int, last client.Problem, keys [2]string, event client.Published) {
	t.Helper()
	h, keys, _ = paced(t, func(o *app.Options) { o.Attempts, o.AllowReveal = rate, true })
	for range 30 {
		h.endpoint("acme", "*")
	}
	event = h.event("acme", "a.b")
	by := keys[0]
	if operator {
		by = liveKey
	}
	for range 10 {
		c := as(by, post("/v1/events/"+event.ID+"/resend", `{}`))
		if w := h.do(c); w.Code == 202 {
			passed++
			continue
		}
		last = refused(h, 429, hook.CodeRateLimited, "", c)
	}
	return h, passed, last, keys, event
}

// Requests of a tenant count by the attempts that they cause, over all of its keys.
func TestAttemptsAskedForAreCounted(t *testing.T) {
	h, passed, last, keys, event := resends(t, app.Rate{PerSecond: 1, Burst: 60}, false)
	if passed != 2 || !strings.Contains(last.Detail, "counts as 30") || !strings.Contains(last.Detail, "in 30 s") {
		t.Errorf("%d of 10 resends passed: %s", passed, last.Detail)
	}
	d := want[client.Page[client.Delivery]](h, 200, get("/v1/deliveries?tenant=acme&event="+event.ID)).Data[0]
	before := h.count()
	for _, c := range []call{post("/v1/deliveries/"+d.ID+"/retry", nil), post("/v1/endpoints/"+d.Endpoint+"/test", nil),
		post("/v1/endpoints/"+d.Endpoint+"/secret/rotate", nil), post("/v1/endpoints/"+d.Endpoint+"/secret/reveal", nil),
		post("/v1/events/"+event.ID+"/resend", `{"endpoint":"`+d.Endpoint+`"}`)} {
		for _, key := range keys { // the limit is the tenant's, not the key's
			c := as(key, c)
			refused(h, 429, hook.CodeRateLimited, "", c)
			if w := h.do(c); w.Header().Get("Retry-After") != "1" || w.Header().Get("RateLimit-Policy") != `"attempts";q=60;w=60` {
				t.Errorf("%s: %v", c.path, w.Header())
			}
		}
		if w := h.do(c); w.Code/100 != 2 { // the operator's own bucket
			t.Errorf("%s: %d %s", c.path, w.Code, w.Body)
		}
	}
	if after := h.count(); after["events"] != before["events"]+1 {
		t.Errorf("%v, then %v", before, after)
	}
}

// Operators may request ten times as many.
func TestOperatorsResendMore(t *testing.T) {
	if _, passed, _, _, _ := resends(t, app.Rate{PerSecond: 1, Burst: 20}, true); passed != 6 {
		t.Errorf("%d of 10 resends passed", passed)
	}
}

// Control: without the limit all of them are accepted.
func TestResendsWithoutALimit(t *testing.T) {
	if _, passed, _, _, _ := resends(t, app.Rate{}, false); passed != 10 {
		t.Errorf("%d of 10 resends passed", passed)
	}
}

// A resend to more endpoints than the bucket holds is accepted once, and later requests
// wait for it.
func TestALargeResendIsPaidFor(t *testing.T) {
	_, passed, last, _, _ := resends(t, app.Rate{PerSecond: 1, Burst: 10}, false)
	if passed != 1 || !strings.Contains(last.Detail, "in 30 s") {
		t.Errorf("%d of 10 resends passed: %s", passed, last.Detail)
	}
}

func TestCeilings(t *testing.T) {
	low := app.Ceilings{InFlight: 10, ShortestRetry: time.Minute, Attempts: 5, Endpoints: 3}
	for _, c := range []struct{ member, field string }{
		{`"max_in_flight":11`, "max_in_flight"}, {`"retry":{"steps":["1m","59s"]}`, "retry/steps/1"}, {`"retry":{"first":"30s","max_attempts":3}`, "retry/first"},
		{`"retry":{"first":"2m","cap":"30s","max_attempts":3}`, "retry/cap"}, {`"retry":{"first":"2m"}`, "retry/max_attempts"},
		{`"retry":{"first":"2m","max_attempts":6}`, "retry/max_attempts"}, {`"retry":{"steps":["1m","1m","1m","1m","1m"]}`, "retry/steps"},
		{`"retry":{"steps":["1m"],"then":"repeat"}`, "retry/then"},
		{`"max_in_flight":10,"retry":{"first":"1m","max_attempts":5}`, ""}, {`"retry":{"steps":["1m","1m","1m","1m"]}`, ""}, {`"max_in_flight":0`, ""},
	} {
		for _, k := range []app.Ceilings{low, {}} { // the second is the control
			h, keys, _ := paced(t, func(o *app.Options) { o.Ceilings = k })
			existing := h.endpoint("acme", "*")
			for _, key := range []string{keys[0], liveKey} { // they apply to operators too
				body := `{"tenant":"acme","url":"https://hooks.example.com/a","event_types":["*"],` + c.member + `}`
				change := call{"PATCH", "/v1/endpoints/" + existing.ID, key, `{` + c.member + `}`, nil}
				if c.field == "" || k == (app.Ceilings{}) {
					want[client.Endpoint](h, 201, as(key, post("/v1/endpoints", body)))
					want[client.Endpoint](h, 200, change)
					continue
				}
				p := refused(h, 422, hook.CodeInvalidRequest, c.field, as(key, post("/v1/endpoints", body)))
				refused(h, 422, hook.CodeInvalidRequest, c.field, change)
				if !strings.Contains(p.Detail, "This server allows") {
					t.Errorf("%s: %s", c.member, p.Detail)
				}
			}
		}
	}
	h, keys, _ := paced(t, func(o *app.Options) { o.Ceilings = low })
	for range 3 {
		h.endpoint("acme", "*")
	}
	create := post("/v1/endpoints", `{"tenant":"acme","url":"https://hooks.example.com/a","event_types":["*"]}`)
	refused(h, 409, hook.CodeEndpointLimit, "", as(keys[0], create))
	if p := refused(h, 409, hook.CodeEndpointLimit, "", create); !strings.Contains(p.Detail, "allows 3 (--endpoints-per-tenant)") {
		t.Error(p.Detail)
	}
}

// A value that was set under a higher ceiling does not prevent other changes.
func TestALoweredCeiling(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	path := "/v1/endpoints/" + h.endpoint("acme", "*").ID
	change := func(body string) call { return call{"PATCH", path, liveKey, body, nil} }
	want[client.Endpoint](h, 200, change(`{"max_in_flight":500,"retry":{"first":"1s"}}`))
	service, err := app.New(app.Options{Store: h.store, Profiles: profile.Builtin(), OperatorKey: liveKey, CheckHeaders: egress.CheckHeaders, Log: h.logger(),
		Admit:    func(context.Context, string, bool) (string, []app.Warning, error) { panic("not asked") },
		Ceilings: app.Ceilings{InFlight: 10, ShortestRetry: time.Minute}})
	if err != nil {
		t.Fatal(err)
	}
	h.handler = native.New(native.Options{Service: service, Log: h.logger()})
	want[client.Endpoint](h, 200, change(`{"title":"T","max_in_flight":500,"retry":{"first":"1s"}}`))
	refused(h, 422, hook.CodeInvalidRequest, "max_in_flight", change(`{"max_in_flight":499}`))
	refused(h, 422, hook.CodeInvalidRequest, "retry/first", change(`{"retry":{"first":"2s"}}`))
	want[client.Endpoint](h, 200, change(`{"max_in_flight":9,"retry":null}`))
}

func TestLoopIsRefused(t *testing.T) {
	const own = hook.Loop("0123456789abcdef")
	h, keys, _ := paced(t, func(o *app.Options) { o.Loop = own })
	e := h.endpoint("acme", "*")
	for _, value := range []string{own.Value(), "a.example, posthorn;id=" + string(own), `posthorn; id="` + string(own) + `" , b`} {
		for _, key := range []string{keys[0], liveKey, "", "nonsense"} {
			for _, c := range []call{post("/v1/events", event("")), post("/v1/events/batch", "["+event("")+"]"), post("/v1/endpoints/"+e.ID+"/test", nil), get("/v1/endpoints")} {
				c.header = map[string]string{"CDN-Loop": value}
				refused(h, 508, hook.CodeLoopDetected, "CDN-Loop", as(key, c))
			}
		}
	}
	if n := h.count()["events"]; n != 0 {
		t.Errorf("%d events", n)
	}
	if strings.Contains(h.log.String(), "request failed") {
		t.Error("a tenant can fill the log with loops")
	}
	for _, other := range []string{"", "posthorn", "posthorn; id=fedcba9876543210", "foo.example"} { // control: entries of others
		c := post("/v1/events", event(""))
		c.header = map[string]string{"CDN-Loop": other}
		want[client.Published](h, 202, c)
	}
}
