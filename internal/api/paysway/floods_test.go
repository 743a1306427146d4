package paysway_test

import (
	"net/http"
	"testing"

	"github.com/posthorn/posthorn/internal/api/apitest"
	"github.com/posthorn/posthorn/internal/api/paysway"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

// limited serves the store of a testAPI again, with limits.
func limited(t *testing.T, h *testAPI, o app.Options) {
	t.Helper()
	o.Profile = "paysway"
	handler, err := paysway.New(paysway.Options{Service: h.world.Over(t, o)})
	if err != nil {
		t.Fatal(err)
	}
	h.server = apitest.Serve(t, handler)
}

// Calls are limited with PaySway's only code for too many requests.
func TestCallsAreLimited(t *testing.T) {
	h := newTestAPI(t, "paysway", 0)
	token := h.token(h.tenant("acme", hook.Live))
	const path, body = "/webhooks/subscriptions", `{"title":"T","url":"https://hooks.example.com/a","events":["RECIPIENT.CREATED"]}`
	for range 3 { // control
		if a := h.api("GET", path, token, ""); a.status != 200 || a.header.Get("RateLimit") != "" {
			t.Fatal(a)
		}
	}
	limited(t, h, app.Options{Reads: app.Rate{PerSecond: .001, Burst: 2}, Writes: app.Rate{PerSecond: .001, Burst: 1}})
	for range 2 {
		if a := h.api("GET", path, token, ""); a.status != 200 || a.header.Get("RateLimit") == "" {
			t.Fatal(a)
		}
	}
	read := h.api("GET", path, token, "")
	h.refused("read", read, 429, "AUTH_TOO_MANY_REQUESTS", "Nothing was stored")
	if read.header.Get("Retry-After") != "1000" || read.header.Get("RateLimit-Policy") != `"reads";q=2;w=2000` {
		t.Errorf("%v", read.header)
	}
	h.api("POST", path, token, body)
	before := h.rows()
	h.refused("write", h.api("POST", path, token, body), 429, "AUTH_TOO_MANY_REQUESTS", "write")
	if h.rows() != before {
		t.Error("a refused call stored something")
	}
}

func TestLoopIsRefused(t *testing.T) {
	h := newTestAPI(t, "paysway", 0)
	token := h.token(h.tenant("acme", hook.Live))
	const own = hook.Loop("0123456789abcdef")
	limited(t, h, app.Options{Loop: own})
	for _, path := range []string{"/webhooks/subscriptions", "/oauth2/token"} {
		for value, looped := range map[string]bool{own.Value(): true, "foo.example": false} {
			r, err := http.NewRequestWithContext(t.Context(), "POST", h.server.URL+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+token)
			r.Header.Set("CDN-Loop", value)
			got, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = got.Body.Close()
			if (got.StatusCode == 508) != looped {
				t.Errorf("%s with %q: %d", path, value, got.StatusCode)
			}
		}
	}
}
