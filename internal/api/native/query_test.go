package native_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
)

// route is a route of the server with the parameters in its document.
type route struct {
	method, path string
	query        []string
}

// routes returns the routes of the document, those beside it, and the batch.
func (h *testAPI) routes() []route {
	h.t.Helper()
	doc := want[struct {
		Paths map[string]map[string]struct {
			Parameters []struct{ Name, In string }
		}
	}](h, 200, call{"GET", "/openapi.json", "", nil, nil})
	all := []route{{"GET", "/", nil}, {"GET", "/docs", nil}, {"GET", "/docs/style.css", nil}}
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		if strings.HasPrefix(path, "/v1/listen") {
			continue // package listen tests its own
		}
		for method, op := range doc.Paths[path] {
			r := route{method: strings.ToUpper(method), path: path}
			for _, p := range op.Parameters {
				if p.In == "query" {
					r.query = append(r.query, p.Name)
				}
			}
			all = append(all, r)
		}
	}
	return all
}

// good has a valid value for each parameter.
var good = map[string]string{"/v1/erasures state": "done", "test": "true", "tried": "true", "deprecated": "true", "hidden": "true", "from_version": "1", "to_version": "1", "kind": "tenant", "disabled_reason": "failures", "error": "dns_not_found", "limit": "1", "enabled": "true", "operational": "true", "state": "failed", "status_class": "5xx", "status": "503", "tag": "order:o-1", "after": "2026-01-31T12:00:00Z",
	"from": time.Now().Add(-time.Hour).Format(time.RFC3339), "to": time.Now().Format(time.RFC3339), "step": "5m", "before": "2026-01-31T12:00:00Z", "endpoint": "019396e0-5c2f-7cc1-8f3d-6d1f0f1c2b3a", "event": "019396e0-5c2f-7cc1-8f3d-6d1f0f1c2b3a"}

// No route accepts a query that another parser could read as wider. It is an error if a
// route refuses something else instead, such as an unknown id: the query must be
// checked first.
func TestEveryRouteRefusesOddQueries(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	h.endpoint("acme", "*")
	before, routes := h.count(), h.routes()
	if len(routes) < 40 {
		t.Fatalf("%d routes", len(routes))
	}
	for _, r := range routes {
		path := strings.ReplaceAll(r.path, "{id}", "019396e0-5c2f-7cc1-8f3d-6d1f0f1c2b3a")
		body := any(nil)
		if r.method == "POST" || r.method == "PATCH" {
			body = event("")
		}
		if strings.HasSuffix(path, "z") {
			for _, query := range []string{"?x=", "?%zz", "?x=1&x=1"} {
				want[client.Status](h, 200, call{"GET", path + query, "", nil, nil})
			}
			continue
		}
		refused(h, 422, hook.CodeUnknownField, "dry_run", call{r.method, path + "?dry_run=true", liveKey, body, nil})
		refused(h, 422, hook.CodeUnknownField, "Tenant", call{r.method, path + "?Tenant=acme", liveKey, body, nil})
		refused(h, 422, hook.CodeUnknownField, "", call{r.method, path + "?=x", liveKey, body, nil})
		refused(h, 422, hook.CodeInvalidRequest, "x", call{r.method, path + "?x=%zz", liveKey, body, nil})
		refused(h, 422, hook.CodeInvalidRequest, "%zz", call{r.method, path + "?%zz=x", liveKey, body, nil})
		for _, name := range r.query {
			value := name + "=" + firstOf(good[path+" "+name], firstOf(good[name], "acme"))
			for _, query := range []string{name, name + "=", name + "=%", name + "=%zz", name + "=%ff", name + "=%00", name + "=a;b", value + "&" + value} {
				refused(h, 422, hook.CodeInvalidRequest, name, call{r.method, path + "?" + query, liveKey, body, nil})
			}
			// Control: with one value the query is not the reason for the refusal.
			w := h.do(call{r.method, path + "?" + value, liveKey, body, nil})
			var p client.Problem
			if _ = json.Unmarshal(w.Body.Bytes(), &p); p.Field == name && name != "cursor" && name != "tenant" {
				t.Errorf("%s %s?%s: %s", r.method, path, value, w.Body)
			}
		}
	}
	if after := h.count(); !maps.Equal(before, after) {
		t.Errorf("rows: %v before, %v after", before, after)
	}
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// lenient parses a query as net/url does and as this server once did: an empty, invalid
// or second value counts as absent.
func lenient(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kept := url.Values{}
		for name := range r.URL.Query() {
			if value := r.URL.Query().Get(name); value != "" {
				kept.Set(name, value)
			}
		}
		r.URL.RawQuery = kept.Encode()
		next.ServeHTTP(w, r)
	})
}

// Only an operator that names no tenant sees the events of all tenants, not one whose
// query means a single tenant. The control parses the queries leniently: each shows too
// much.
func TestAFilterNeverWidens(t *testing.T) {
	h := newTestAPI(t)
	for _, tenant := range []string{"acme", "rival"} {
		h.tenant(tenant)
		h.event(tenant, "a.b")
		h.event(tenant, "c.d")
	}
	shown := func(h *testAPI, path string) int {
		return len(want[client.Page[client.Event]](h, 200, call{"GET", path, liveKey, nil, nil}).Data)
	}
	if n := shown(h, "/v1/events"); n != 4 {
		t.Errorf("all tenants: %d events", n)
	}
	if n := shown(h, "/v1/events?tenant=acme&type=a.b"); n != 1 {
		t.Errorf("one tenant and type: %d events", n)
	}
	old := &testAPI{t: t, handler: lenient(h.handler)}
	for _, query := range []string{"tenant=&type=a.b", "tenant=%zz&type=a.b", "tenant&type=a.b", "tenant=acme&type=", "tenant=acme&type=%zz", "tenant=acme&tenant=rival"} {
		if w := h.do(call{"GET", "/v1/events?" + query, liveKey, nil, nil}); w.Code != 422 {
			t.Errorf("%s: %d %s", query, w.Code, w.Body)
		}
		if n := shown(old, "/v1/events?"+query); n != 2 {
			t.Errorf("control: %s shows %d events, want 2", query, n)
		}
	}
	// The zero id means none in the store: it must not mean all.
	refused(h, 422, hook.CodeInvalidRequest, "endpoint", get("/v1/deliveries?endpoint=00000000-0000-0000-0000-000000000000"))
	refused(h, 422, hook.CodeInvalidRequest, "event", get("/v1/deliveries?event=00000000-0000-0000-0000-000000000000"))
}

// deadlines is a response that records the read deadlines that are set on its connection.
type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

// No route leaves a read deadline behind on the connection: the body is read before the
// handler runs, so a deadline would pass while the handler works, which cancels this request
// and every later one on the same connection.
func TestNoRouteSetsAReadDeadline(t *testing.T) {
	h := newTestAPI(t)
	reached := 0
	for _, r := range h.routes() {
		if r.method != "POST" && r.method != "PATCH" {
			continue
		}
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		path := strings.ReplaceAll(r.path, "{id}", "019396e0-5c2f-7cc1-8f3d-6d1f0f1c2b3a")
		q := httptest.NewRequest(r.method, path, strings.NewReader("{}"))
		q.Header.Set("Content-Type", "application/json")
		q.Header.Set("Authorization", "Bearer "+liveKey)
		h.handler.ServeHTTP(w, q)
		for _, at := range w.set {
			reached++
			if !at.IsZero() {
				t.Errorf("%s %s sets a deadline in %v", r.method, r.path, time.Until(at))
			}
		}
	}
	if reached < 10 { // control
		t.Errorf("only %d routes said whether they want a deadline", reached)
	}
}
