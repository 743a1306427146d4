package svix_test

import (
	"database/sql"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/posthorn/posthorn/internal/api/apitest"
	"github.com/posthorn/posthorn/internal/api/svix"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store"
)

// testAPI is the Svix API over a real store, called over plain HTTP.
type testAPI struct {
	t        *testing.T
	world    *apitest.World
	server   *httptest.Server
	handler  http.Handler
	service  *app.Service
	store    *store.Store
	file     string
	db       *sql.DB
	operator app.Caller
	ahead    *atomic.Int64 // how far the clock is set forward
}

func newTestAPI(t *testing.T, change ...func(*store.Options)) *testAPI {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	var so store.Options
	for _, one := range change {
		one(&so)
	}
	w := apitest.New(t, app.Options{OperatorKey: operatorKey, OperatorTestKey: testKey, AllowReveal: true, Log: quiet, Profile: "svix"}, so)
	h := &testAPI{t: t, world: w, service: w.Service, store: w.Store, file: w.File, db: w.DB, operator: w.Operator, ahead: &w.Ahead}
	handler, err := svix.New(svix.Options{Service: h.service, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	h.handler = apitest.Mount(handler, svix.Patterns())
	h.server = apitest.Serve(t, h.handler)
	return h
}

const operatorKey, testKey = "an-operator-key-of-at-least-32-characters", "a-test-operator-key-of-at-least-32-characters"

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
