package paywise_test

import (
	"testing"

	"github.com/posthorn/posthorn/internal/api/apitest"
	"github.com/posthorn/posthorn/internal/api/paywise"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

// limited serves the store of a testAPI again, with limits.
func limited(t *testing.T, h *testAPI, o app.Options) {
	t.Helper()
	o.Profile = "paywise"
	handler, err := paywise.New(paywise.Options{Service: h.world.Over(t, o)})
	if err != nil {
		t.Fatal(err)
	}
	h.server = apitest.Serve(t, handler)
}

// Calls and test events are limited, with errors in the framework's format.
func TestCallsAreLimited(t *testing.T) {
	h := newTestAPI(t)
	key := h.tenant("acme", hook.Live).Text
	const path = "/v1/webhooks/"
	for range 3 { // control
		if a := h.api("GET", path, key, ""); a.status != 200 || a.header.Get("RateLimit") != "" {
			t.Fatal(a)
		}
	}
	made := h.api("POST", path, key, `{"url":"https://hooks.example.com/a","events":["payment.created"]}`)
	if made.status != 201 {
		t.Fatal(made)
	}
	id, _ := made.object(t)["id"].(string)
	limited(t, h, app.Options{Reads: app.Rate{PerSecond: .001, Burst: 2}, Attempts: app.Rate{PerSecond: .001, Burst: 1}})
	for range 2 {
		if a := h.api("GET", path, key, ""); a.status != 200 || a.header.Get("RateLimit") == "" {
			t.Fatal(a)
		}
	}
	read := h.api("GET", path, key, "")
	h.detail("read", read, 429, "Nothing was stored")
	if read.header.Get("Retry-After") != "1000" || read.header.Get("RateLimit-Policy") != `"reads";q=2;w=2000` {
		t.Errorf("%v", read.header)
	}
	if a := h.api("POST", path+id+"/test/", key, ""); a.status/100 != 2 {
		t.Fatal(a)
	}
	before := h.rows()
	h.detail("test", h.api("POST", path+id+"/test/", key, ""), 429, "by hand")
	if h.rows() != before {
		t.Error("a refused test stored something")
	}
}

func TestLoopIsRefused(t *testing.T) {
	h := newTestAPI(t)
	key := h.tenant("acme", hook.Live).Text
	const own = hook.Loop("0123456789abcdef")
	limited(t, h, app.Options{Loop: own})
	header := map[string]string{"Authorization": "Bearer " + key, "CDN-Loop": own.Value()}
	h.detail("loop", h.do("GET", "/v1/webhooks/", header, ""), 508, "CDN-Loop")
	header["CDN-Loop"] = "foo.example"
	if a := h.do("GET", "/v1/webhooks/", header, ""); a.status != 200 { // control
		t.Error(a)
	}
}
