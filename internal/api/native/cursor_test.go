package native_test

import (
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
)

// list is a list with a filter and a key.
type list struct{ path, key string }

// cursorOf returns the cursor after the first page, which has one row.
func (h *testAPI) cursorOf(l list) string {
	h.t.Helper()
	page := want[client.Page[struct{}]](h, 200, call{"GET", l.path + "&limit=1", l.key, nil, nil})
	if page.NextCursor == nil {
		h.t.Fatalf("%s has no second page", l.path)
	}
	return *page.NextCursor
}

// A cursor continues the list that it comes from, with any limit, and no other list.
// The control puts the digest of the other list in front of the cursor, as if it were
// not bound: some lists then return a page, and rows are missing.
func TestCursorsBelongToTheirList(t *testing.T) {
	h := newTestAPI(t)
	for _, tenant := range []string{"acme", "rival"} {
		h.tenant(tenant)
		for _, key := range []string{liveKey, testKey} {
			for range 3 {
				want[client.Endpoint](h, 201, call{"POST", "/v1/endpoints", key, client.NewEndpoint{Tenant: tenant, URL: "https://hooks.example.com/in", EventTypes: []string{"*"}}, nil})
				want[client.Published](h, 202, call{"POST", "/v1/events", key, `{"tenant":"` + tenant + `","type":"a.b","data":{}}`, nil})
			}
		}
		h.key("publisher", tenant)
	}
	for _, name := range []string{"a.b", "c.d"} {
		want[client.EventType](h, 201, post("/v1/event-types", `{"name":"`+name+`"}`))
	}
	acme, rival := h.key("tenant", "acme"), h.key("tenant", "rival")
	lists := []list{
		{"/v1/events?", liveKey}, {"/v1/events?", testKey}, {"/v1/events?", acme}, {"/v1/events?", rival}, {"/v1/events?tenant=acme", liveKey},
		{"/v1/events?tenant=rival", liveKey}, {"/v1/events?type=a.b", liveKey}, {"/v1/events?type=a.b&tenant=acme", liveKey},
		{"/v1/events?after=2026-01-01T00:00:00Z", liveKey}, {"/v1/endpoints?", liveKey}, {"/v1/endpoints?enabled=true", liveKey},
		{"/v1/deliveries?", liveKey}, {"/v1/deliveries?state=pending", liveKey}, {"/v1/deliveries?", acme}, {"/v1/keys?", liveKey},
		{"/v1/tenants?", liveKey}, {"/v1/event-types?", liveKey},
	}
	taken := 0
	for _, from := range lists {
		cursor := h.cursorOf(from)
		for _, limit := range []string{"", "&limit=1", "&limit=250"} {
			want[client.Page[struct{}]](h, 200, call{"GET", from.path + "&cursor=" + cursor + limit, from.key, nil, nil})
		}
		for _, to := range lists {
			if to == from {
				continue
			}
			p := refused(h, 422, hook.CodeInvalidRequest, "cursor", call{"GET", to.path + "&cursor=" + cursor, to.key, nil, nil})
			if !strings.Contains(p.Detail, "start without it") {
				t.Errorf("%s with the cursor of %s: %s", to.path, from.path, p.Detail)
			}
			if h.do(call{"GET", to.path + "&cursor=" + h.cursorOf(to)[:8] + cursor[8:], to.key, nil, nil}).Code == 200 {
				taken++
			}
		}
	}
	if taken < len(lists) {
		t.Errorf("control: without the digest only %d cursors of other lists are taken", taken)
	}
	for _, cursor := range []string{h.cursorOf(lists[0])[:8], "A", "%20", h.cursorOf(lists[0]) + "A"} {
		refused(h, 422, hook.CodeInvalidRequest, "cursor", get("/v1/events?cursor="+cursor))
	}
	// The order of parameters does not matter.
	cursor := h.cursorOf(list{"/v1/events?tenant=acme&type=a.b", liveKey})
	want[client.Page[struct{}]](h, 200, get("/v1/events?cursor="+cursor+"&type=a.b&tenant=acme"))
}
