package native_test

import (
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
)

// A refusal states what to do next.
func TestRefusalsSayTheNextStep(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	for _, c := range []struct {
		call   call
		status int
		code   hook.Code
		field  string
		detail string
	}{
		{call{"GET", "/v1/events", "", nil, nil}, 401, hook.CodeUnauthorized, "", `send "Authorization: Bearer KEY"`},
		{with(call{"GET", "/v1/events", "", nil, nil}, "Authorization", "Basic eDp5"), 401, hook.CodeUnauthorized, "", `send "Authorization: Bearer KEY"`},
		{with(call{"GET", "/v1/events", "", nil, nil}, "Authorization", "Bearer "), 401, hook.CodeUnauthorized, "", `send "Authorization: Bearer KEY"`},
		{call{"GET", "/v1/events", "x", nil, nil}, 401, hook.CodeUnauthorized, "", "The API key is not valid."},
		{post("/v1/keys", `{"kind":"operator","mode":"test"}`), 422, hook.CodeUnknownField, "mode", "use a key of the other mode"},
		{post("/v1/events", `{"tenant":"acme","event_type":"a.b","data":{}}`), 422, hook.CodeUnknownField, "event_type", `Did you mean "type"?`},
		{endpointWith(`,"profile":"nope"`), 422, hook.CodeInvalidRequest, "profile", "paysway, "},
		{get("/v1/events?after=now"), 422, hook.CodeInvalidRequest, "after", `"after" must be RFC 3339 such as 2026-11-21T22:00:00Z`},
		{call{"POST", "/oauth2/token", "", nil, nil}, 404, hook.CodeRouteNotFound, "", "--mount paysway"},
		{get("/webhooks/subscriptions"), 404, hook.CodeRouteNotFound, "", "--mount paysway"},
		{get("/v1/webhooks/"), 404, hook.CodeRouteNotFound, "", "--mount paywise"},
		{get("/v1/webhooksx"), 404, hook.CodeRouteNotFound, "", "There is no such route."},
	} {
		if p := refused(h, c.status, c.code, c.field, c.call); !strings.Contains(p.Detail, c.detail) {
			t.Errorf("%s %s: %q, want %q in it", c.call.method, c.call.path, p.Detail, c.detail)
		}
	}
}

// The root redirects browsers to the reference page and lists the main routes for
// programs.
func TestRoot(t *testing.T) {
	h := newTestAPI(t)
	links := want[map[string]string](h, 200, call{"GET", "/", "", nil, nil})
	for _, name := range []string{"docs", "openapi", "version", "health"} {
		if w := h.do(call{"GET", links[name], "", nil, nil}); w.Code != 200 {
			t.Errorf("%s: %q answers %d", name, links[name], w.Code)
		}
	}
	w := h.do(with(call{"GET", "/", "", nil, nil}, "Accept", "text/html,*/*;q=0.8"))
	if w.Code != 303 || w.Header().Get("Location") != "/docs" {
		t.Errorf("to a browser: %d to %q", w.Code, w.Header().Get("Location"))
	}
}

// A key of one tenant need not name it; every other key must.
func TestPublisherOfATenantMayLeaveItOut(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	h.tenant("other")
	bare, key := `{"type":"a.b","data":{}}`, h.key("publisher", "acme")
	if got := want[client.Published](h, 202, call{"POST", "/v1/events", key, bare, nil}); got.Tenant != "acme" {
		t.Errorf("%+v", got)
	}
	results := want[client.BatchResults](h, 202, call{"POST", "/v1/events/batch", key, "[" + bare + "," + event("") + "]", nil}).Results
	if len(results) != 2 || results[0].Error != nil || results[1].Error != nil {
		t.Errorf("%+v", results)
	}
	refused(h, 404, hook.CodeTenantNotFound, "tenant", call{"POST", "/v1/events", key, `{"tenant":"other","type":"a.b","data":{}}`, nil})
	refused(h, 422, hook.CodeInvalidRequest, "tenant", call{"POST", "/v1/events", h.key("publisher", ""), bare, nil})
	refused(h, 422, hook.CodeInvalidRequest, "tenant", post("/v1/events", bare))
}

// An operator who mistypes a tenant must not get an empty list.
func TestListsOfAnUnknownTenant(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	h.tenant("gone")
	h.event("gone", "a.b")
	want[struct{}](h, 204, call{"DELETE", "/v1/tenants/gone", liveKey, nil, nil})
	for _, list := range []string{"endpoints", "events", "deliveries"} {
		path := "/v1/" + list + "?tenant="
		refused(h, 404, hook.CodeTenantNotFound, "tenant", get(path+"nobody"))
		if rows := want[client.Page[any]](h, 200, get(path+"acme")).Data; len(rows) != 0 { // control: an empty list is not an error
			t.Errorf("%s: %v", list, rows)
		}
		want[client.Page[any]](h, 200, call{"GET", path + "acme", testKey, nil, nil})
	}
	refused(h, 404, hook.CodeTenantNotFound, "tenant", get("/v1/deliveries?tenant=nobody&event=019396e0-5c2f-7cc1-8f3d-6d1f0f1c2b3a"))
	refused(h, 404, hook.CodeTenantNotFound, "tenant", get("/v1/events?tenant=gone")) // nobody sees what a deleted tenant left
}
