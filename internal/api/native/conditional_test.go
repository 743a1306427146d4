package native_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
)

func (h *testAPI) etag(path string) string {
	h.t.Helper()
	w := h.do(get(path))
	tag := w.Header().Get("ETag")
	if w.Code != 200 || len(tag) < 10 || !strings.HasPrefix(tag, `"`) || !strings.HasSuffix(tag, `"`) {
		h.t.Fatalf("%s: %d, ETag %q", path, w.Code, tag)
	}
	return tag
}

func TestSingleResourcesHaveATag(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	e := h.endpoint("acme", "*")
	p := h.event("acme", "a.b")
	d := want[client.Page[client.Delivery]](h, 200, get("/v1/deliveries")).Data[0]
	want[client.EventType](h, 201, post("/v1/event-types", `{"name":"a.b"}`))
	for _, path := range []string{"/v1/tenants/acme", "/v1/endpoints/" + e.ID, "/v1/events/" + p.ID, "/v1/deliveries/" + d.ID, "/v1/event-types/a.b"} {
		tag := h.etag(path)
		for given, status := range map[string]int{tag: 304, "W/" + tag: 304, `"x", ` + tag: 304, "*": 304, `"x"`: 200, strings.Trim(tag, `"`): 200} {
			w := h.do(with(get(path), "If-None-Match", given))
			if w.Code != status || w.Header().Get("ETag") != tag || (w.Body.Len() == 0) != (status == 304) {
				t.Errorf("%s with %s: %d, ETag %q, %d bytes", path, given, w.Code, w.Header().Get("ETag"), w.Body.Len())
			}
		}
	}
	tag := h.etag("/v1/deliveries/" + d.ID)
	want[client.Delivery](h, 200, post("/v1/deliveries/"+d.ID+"/cancel", nil))
	if h.etag("/v1/deliveries/"+d.ID) == tag {
		t.Error("a delivery changed and its tag did not")
	}
}

func TestIfMatch(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	want[client.EventType](h, 201, post("/v1/event-types", `{"name":"a.b"}`))
	for _, r := range []struct{ path, patch string }{{"/v1/endpoints/" + h.endpoint("acme", "*").ID, `{"title":"T"}`},
		{"/v1/event-types/a.b", `{"description":"D"}`}, {"/v1/tenants/acme", `{"name":"N"}`}} {
		path, patch := r.path, r.patch
		change := call{"PATCH", path, liveKey, patch, nil}
		remove := call{"DELETE", path, liveKey, nil, nil}
		old := h.etag(path)
		w := h.do(with(change, "If-Match", old))
		if w.Code != 200 || w.Header().Get("ETag") == old {
			t.Errorf("%s with its tag: %d %q %s", path, w.Code, w.Header().Get("ETag"), w.Body)
		}
		next := w.Header().Get("ETag")
		for _, stale := range []string{old, `"x"`, "W/" + next, "nonsense"} {
			refused(h, 412, hook.CodePrecondition, "If-Match", with(change, "If-Match", stale))
			refused(h, 412, hook.CodePrecondition, "If-Match", with(remove, "If-Match", stale))
		}
		want[struct{}](h, 200, with(change, "If-Match", `"x", *`))
		want[struct{}](h, 200, change) // no condition
		want[struct{}](h, 204, with(remove, "If-Match", h.etag(path)))
		refused(h, 404, hook.CodeNotFound, "", with(remove, "If-Match", "*"))
	}
}

// The response for an endpoint contains its health, but a change of health does not
// count: an endpoint that is failing can still be edited with If-Match.
func TestIfMatchLooksAtTheRevision(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	e := h.endpoint("acme", "*")
	path := "/v1/endpoints/" + e.ID
	tag := h.etag(path)
	d := want[client.Event](h, 200, get("/v1/events/"+h.event("acme", "a.b").ID)).Deliveries[0]
	h.settle(d.ID, func(o *hook.Outcome) { o.Status, o.Class = 500, hook.ClassStatus })
	if now := h.etag(path); now == tag {
		t.Error("the answer changed and its strong tag did not")
	}
	want[client.Endpoint](h, 200, with(call{"PATCH", path, liveKey, `{"title":"T"}`, nil}, "If-Match", tag))
}

func TestMethodsOfARoute(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	for path, allow := range map[string]string{"/v1/endpoints": "GET, HEAD, POST", "/v1/tenants/acme": "DELETE, GET, HEAD, PATCH",
		"/v1/events/batch": "GET, HEAD, POST", "/healthz": "GET, HEAD", "/docs": "GET, HEAD", "/v1/profiles": "GET, HEAD"} {
		for _, method := range []string{"PUT", "TRACE", "QUERY", "OPTIONS"} {
			w := h.do(call{method, path, liveKey, nil, nil})
			got, expected, status := w.Header().Get("Allow"), allow, http.StatusMethodNotAllowed
			if method == "OPTIONS" {
				expected, status = allow+", OPTIONS", http.StatusNoContent
			}
			if w.Code != status || got != expected || w.Header().Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s %s: %d, Allow %q, want %d %q", method, path, w.Code, got, status, expected)
			}
		}
	}
	for _, path := range []string{"/v1/endpoints", "/v1/tenants/acme", "/healthz"} {
		head, full := h.do(call{"HEAD", path, liveKey, nil, nil}), h.do(get(path))
		if head.Code != 200 || head.Header().Get("Content-Type") != full.Header().Get("Content-Type") || head.Header().Get("ETag") != full.Header().Get("ETag") {
			t.Errorf("HEAD %s: %d %v", path, head.Code, head.Header())
		}
	}
	refused(h, 401, hook.CodeUnauthorized, "", call{"HEAD", "/v1/endpoints", "", nil, nil})
	refused(h, 404, hook.CodeRouteNotFound, "", call{"OPTIONS", "/v1/nothing", liveKey, nil, nil})
}
