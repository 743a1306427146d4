package paywise_test

import (
	"database/sql"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/posthorn/posthorn/internal/api/apitest"
	"github.com/posthorn/posthorn/internal/api/paywise"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store"
)

// testAPI is paywise's API over a real store, called over plain HTTP.
type testAPI struct {
	t        *testing.T
	world    *apitest.World
	server   *httptest.Server
	handler  http.Handler
	service  *app.Service
	store    *store.Store
	db       *sql.DB
	operator app.Caller
	ahead    *atomic.Int64 // how far the clock is set forward
}

func newTestAPI(t *testing.T) *testAPI {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	w := apitest.New(t, app.Options{Profile: "paywise"}, store.Options{})
	h := &testAPI{t: t, world: w, service: w.Service, store: w.Store, db: w.DB, operator: w.Operator, ahead: &w.Ahead}
	handler, err := paywise.New(paywise.Options{Service: h.service, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	h.handler = apitest.Mount(handler, paywise.Patterns())
	h.server = apitest.Serve(t, h.handler)
	return h
}

// tenant creates a tenant and one of its keys.
func (h *testAPI) tenant(id string, mode hook.Mode) app.NewKey {
	h.t.Helper()
	return h.world.Tenant(h.t, id, mode)
}

type answer struct {
	status int
	header http.Header
	text   string
}

func (h *testAPI) do(method, path string, header map[string]string, body string) answer {
	h.t.Helper()
	status, got, text := apitest.Do(h.t, h.server, method, path, header, body)
	return answer{status, got, text}
}

// api makes a call with a key.
func (h *testAPI) api(method, path, key, body string) answer {
	h.t.Helper()
	header := map[string]string{"Authorization": "Bearer " + key}
	if body != "" {
		header["Content-Type"] = "application/json"
	}
	return h.do(method, path, header, body)
}

func (a answer) object(t *testing.T) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(a.text), &v); err != nil {
		t.Fatalf("%d, not an object: %v: %q", a.status, err, a.text)
	}
	return v
}

// has checks status, media type and the exact set of members, and returns the object.
func (h *testAPI) has(a answer, status int, members ...string) map[string]any {
	h.t.Helper()
	v := a.object(h.t)
	slices.Sort(members)
	if got := slices.Sorted(maps.Keys(v)); a.status != status || !slices.Equal(got, members) || a.header.Get("Content-Type") != "application/json" {
		h.t.Errorf("status %d, %s, members %v; want %d with %v: %s", a.status, a.header.Get("Content-Type"), got, status, members, a.text)
	}
	return v
}

// detail checks an error that is one sentence.
func (h *testAPI) detail(what string, a answer, status int, part string) {
	h.t.Helper()
	v := h.has(a, status, "detail")
	if text, _ := v["detail"].(string); text == "" || !strings.Contains(text, part) {
		h.t.Errorf("%s: %d %s; want %d with %q", what, a.status, a.text, status, part)
	}
}

// fields checks a 400 with sentences for exactly these members.
func (h *testAPI) fields(what string, a answer, members ...string) {
	h.t.Helper()
	for name, value := range h.has(a, 400, members...) {
		list, _ := value.([]any)
		if len(list) == 0 {
			h.t.Errorf("%s: %s has no list of sentences: %s", what, name, a.text)
			continue
		}
		if text, _ := list[0].(string); text == "" {
			h.t.Errorf("%s: %s has an empty sentence: %s", what, name, a.text)
		}
	}
}

// rows returns a hash over every row that a caller could have changed.
func (h *testAPI) rows() string {
	h.t.Helper()
	return h.world.Rows(h.t)
}
