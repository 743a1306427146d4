package native_test

import (
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
)

// Counts are those of the scope of the key and of the endpoint, and never of another tenant or the
// other mode. Lists tell what was attempted from what was not.
func TestCountsOfDeliveries(t *testing.T) {
	h := newTestAPI(t)
	for _, tenant := range []string{"acme", "rival"} {
		h.tenant(tenant)
	}
	e := h.endpoint("acme", "*")
	event := want[client.Event](h, 200, get("/v1/events/"+h.event("acme", "a.b").ID))
	h.settle(event.Deliveries[0].ID, func(o *hook.Outcome) { o.Class = hook.ClassTimeout })
	h.event("acme", "a.b")
	h.event("acme", "a.b")
	own, rival := h.key("tenant", "acme"), h.key("tenant", "rival")
	for _, c := range []struct {
		key, query        string
		pending, retrying int
	}{
		{liveKey, "", 2, 1}, {liveKey, "?tenant=acme", 2, 1}, {liveKey, "?tenant=rival", 0, 0}, {liveKey, "?endpoint=" + e.ID, 2, 1},
		{own, "", 2, 1}, {own, "?endpoint=" + e.ID, 2, 1}, {rival, "", 0, 0}, {testKey, "", 0, 0},
	} {
		got := want[client.DeliveryCounts](h, 200, call{"GET", "/v1/deliveries/counts" + c.query, c.key, nil, nil})
		if (got != client.DeliveryCounts{Pending: client.Count{Count: c.pending}, Retrying: client.Count{Count: c.retrying}}) {
			t.Errorf("%s: %+v", c.query, got)
		}
	}
	for _, c := range []struct {
		key, query string
		status     int
	}{{rival, "?endpoint=" + e.ID, 404}, {rival, "?tenant=acme", 404}, {testKey, "?endpoint=" + e.ID, 404}, {liveKey, "?tenant=nobody", 404}, {liveKey, "?endpoint=x", 422}, {liveKey, "?state=failed", 422}} {
		if got := h.do(call{"GET", "/v1/deliveries/counts" + c.query, c.key, nil, nil}).Code; got != c.status {
			t.Errorf("%s: %d, want %d", c.query, got, c.status)
		}
	}
	for query, n := range map[string]int{"tried=true": 1, "tried=false": 2} {
		if got := want[client.Page[client.Delivery]](h, 200, get("/v1/deliveries?"+query)); len(got.Data) != n {
			t.Errorf("%s: %d, want %d", query, len(got.Data), n)
		}
	}
}
