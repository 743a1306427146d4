package native_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
)

func TestStats(t *testing.T) {
	h := newTestAPI(t)
	for _, tenant := range []string{"acme", "rival"} {
		h.tenant(tenant)
	}
	e := h.endpoint("acme", "*")
	h.endpoint("acme", "*")
	event := want[client.Event](h, 200, get("/v1/events/"+h.event("acme", "a.b").ID))
	h.event("rival", "a.b")
	for _, d := range event.Deliveries {
		h.settle(d.ID, func(o *hook.Outcome) {
			o.StartedAt = time.Now()
			o.Duration = 40 * time.Millisecond
			if o.Success = d.Endpoint == e.ID; !o.Success {
				o.Class = hook.ClassTimeout
			}
		})
	}
	tenantKey := h.key("tenant", "acme")
	for _, c := range []struct {
		key, path                                    string
		events, accepted, delivered, errors, pending int
	}{
		{liveKey, "/v1/stats", 2, 2, 1, 1, 1},
		{liveKey, "/v1/stats?tenant=acme&step=5m", 1, 2, 1, 1, 1},
		{liveKey, "/v1/tenants/acme/stats?step=1h", 1, 2, 1, 1, 1},
		{liveKey, "/v1/tenants/rival/stats", 1, 0, 0, 0, 0},
		{tenantKey, "/v1/stats?step=1d", 1, 2, 1, 1, 1},
		{testKey, "/v1/stats", 0, 0, 0, 0, 0},
	} {
		got := want[client.Stats](h, 200, call{"GET", c.path, c.key, nil, nil})
		all := got.Total
		if *all.Events != c.events || all.Accepted != c.accepted || all.Delivered != c.delivered || all.FirstTry != c.delivered || all.Errors["timeout_response"] != c.errors || got.Pending != c.pending {
			t.Errorf("%s: %+v, %d pending", c.path, all, got.Pending)
		}
		if n := len(got.Buckets.Buckets); n == 0 || got.Buckets.Buckets[0].Start != got.From {
			t.Errorf("%s: %d buckets from %v", c.path, n, got.From)
		}
	}
	got := want[client.Stats](h, 200, get("/v1/stats"))
	if q := got.Total.AttemptTime; q == nil || q.P50MS < 40*31./32 || q.P99MS > 40*33./32 {
		t.Errorf("attempts took %+v, want 40 ms", q)
	}
	if o := got.OldestPending; o == nil || o.Attempts != 1 || o.WaitsFor == nil || *o.WaitsFor != "retry" || *o.LastError != "timeout_response" {
		t.Errorf("oldest pending %+v", got.OldestPending)
	}
	of := want[client.EndpointStats](h, 200, get("/v1/endpoints/"+e.ID+"/stats?step=15m"))
	if of.Total.Accepted != 1 || of.Total.Delivered != 1 || of.Total.Events != nil || of.Step != "15m" {
		t.Errorf("of the endpoint: %+v", of.Total)
	}
	refused(h, 404, hook.CodeTenantNotFound, "tenant", get("/v1/tenants/nobody/stats"))
	at := func(d time.Duration) string { return url.QueryEscape(time.Now().Add(d).UTC().Format(time.RFC3339)) }
	for query, field := range map[string]string{
		"step=2m":               "step",
		"from=yesterday":        "from",
		"from=" + at(time.Hour): "from", // not before now
		"from=" + at(-time.Hour) + "&to=" + at(-2*time.Hour): "from",
		"step=1m&from=" + at(-50*time.Hour):                  "from", // minutes are kept for a day
		"from=" + at(-100*24*time.Hour):                      "from",
		"step=1h&from=" + at(-80*24*time.Hour):               "step", // too many buckets
	} {
		for _, path := range []string{"/v1/stats?", "/v1/tenants/acme/stats?", "/v1/endpoints/" + e.ID + "/stats?"} {
			refused(h, 422, hook.CodeInvalidRequest, field, get(path+query))
		}
	}
}
