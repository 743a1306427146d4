package native_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store"
)

// The store's writer renders a batch even if its caller has disconnected. It must not
// use the response any more. The race detector finds violations. Afterwards each key has
// its answer, and its event is stored once, whether its caller was there or not.
func TestCancelledBatch(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	var b strings.Builder
	b.WriteString(`[{"tenant":"acme","type":"a.b","data":{}}`)
	for range 900 {
		b.WriteString(`,{"tenant":"acme","type":"a b","data":{}}`)
	}
	b.WriteString("]")
	send := func(ctx context.Context, i int) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", "/v1/events/batch", bytes.NewReader([]byte(b.String()))).WithContext(ctx)
		r.Header.Set("Authorization", "Bearer "+liveKey)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", fmt.Sprint("key-", i))
		w := httptest.NewRecorder()
		h.handler.ServeHTTP(w, r)
		return w
	}
	const keys = 40
	for i := range keys {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Duration(i)*200*time.Microsecond, cancel)
		send(ctx, i)
		cancel()
	}
	for i := range keys {
		var got client.BatchResults
		if w := send(t.Context(), i); json.Unmarshal(w.Body.Bytes(), &got) != nil || len(got.Results) != 901 || got.Results[0].ID == "" || got.Results[1].Error == nil {
			t.Errorf("key %d: %d %.200s", i, w.Code, w.Body)
		}
	}
	if events := want[client.Page[client.Event]](h, 200, get("/v1/events?limit=250")).Data; len(events) != keys {
		t.Errorf("%d events for %d keys", len(events), keys)
	}
}

// A tenant whose id begins with a dot can be read.
func TestDottedTenant(t *testing.T) {
	h := newTestAPI(t)
	h.tenant(".acme")
	for path, want := range map[string]int{"/v1/tenants/.acme": 200, "//v1/events": 404, "/v1/./events": 404, "/v1/x/../events": 404} {
		if got := h.do(call{method: "GET", path: path, key: liveKey}).Code; got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
}

// Test events do not count towards the backlog, so they have their own bound.
func TestTestEventsAreBounded(t *testing.T) {
	h := newTestAPI(t, func(o *app.Options, _ *store.Options) { o.Attempts = app.Rate{PerSecond: 1, Burst: 60} })
	h.tenant("acme")
	path, key := "/v1/endpoints/"+h.endpoint("acme", "*").ID+"/test", h.key("tenant", "acme")
	last := 0
	for range 100 {
		last = h.do(call{method: "POST", path: path, key: key}).Code
	}
	if last != 429 {
		t.Errorf("100 test events at once: %d", last)
	}
}

// Every publish scans all endpoints of its tenant, so their number is bounded.
func TestEndpointLimit(t *testing.T) {
	h := newTestAPI(t, func(_ *app.Options, o *store.Options) { o.Synchronous = "off" })
	h.tenant("acme")
	for range 1000 {
		h.endpoint("acme", "*")
	}
	refused(h, 409, hook.CodeEndpointLimit, "", call{method: "POST", path: "/v1/endpoints", key: liveKey,
		body: map[string]any{"tenant": "acme", "url": "https://example.com/x", "event_types": []string{}}})
}
