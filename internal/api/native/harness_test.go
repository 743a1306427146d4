package native_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/api/apitest"
	"github.com/posthorn/posthorn/internal/api/native"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
	"github.com/posthorn/posthorn/internal/store"
)

const (
	liveKey = "live-operator-key-of-32-characters-or-more"
	testKey = "test-operator-key-of-32-characters-or-more"
)

// testAPI is a server over a real store, without a network.
type testAPI struct {
	t       testing.TB
	handler http.Handler
	store   *store.Store
	service *app.Service
	options app.Options
	ready   error
	notice  string
	log     lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newTestAPI(t testing.TB, change ...func(*app.Options, *store.Options)) *testAPI {
	t.Helper()
	h := &testAPI{t: t}
	log := slog.New(slog.NewTextHandler(&h.log, nil))
	keys := newKeysInMemory()
	ring, err := keys.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	so := store.Options{Dir: t.TempDir(), Keys: ring, KeySource: keys, Log: log, Reserve: -1, Fatal: func(err error) { t.Errorf("fatal: %v", err) }}
	ao := app.Options{Log: log, Profiles: profile.Builtin(), OperatorKey: liveKey, OperatorTestKey: testKey, CheckHeaders: egress.CheckHeaders, Admit: apitest.Admit(log)}
	for _, f := range change {
		f(&ao, &so)
	}
	if h.store, err = store.Open(t.Context(), so); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.store.Close() })
	h.options = ao
	h.rewire(func(s app.Store) app.Store { return s })
	return h
}

// rewire replaces the handler by one with another store in front of the testAPI's.
func (h *testAPI) rewire(around func(app.Store) app.Store) {
	h.t.Helper()
	h.options.Store = around(h.store)
	service, err := app.New(h.options)
	if err != nil {
		h.t.Fatal(err)
	}
	h.service = service
	h.handler = native.New(native.Options{Service: service, Log: h.options.Log, Version: "1.2.3",
		Ready: func(context.Context) error { return h.ready }, Notice: func() string { return h.notice }})
}

// call is one request. Body may be a string, bytes, or any value that can be encoded.
type call struct {
	method, path, key string
	body              any
	header            map[string]string
}

func (h *testAPI) do(c call) *httptest.ResponseRecorder {
	h.t.Helper()
	var text io.Reader = http.NoBody
	switch b := c.body.(type) {
	case nil:
	case string:
		text = strings.NewReader(b)
	case []byte:
		text = bytes.NewReader(b)
	default:
		encoded, err := json.Marshal(b)
		if err != nil {
			h.t.Fatal(err)
		}
		text = bytes.NewReader(encoded)
	}
	r := httptest.NewRequest(c.method, c.path, text)
	if c.body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.key != "" {
		r.Header.Set("Authorization", "Bearer "+c.key)
	}
	for name, value := range c.header {
		if value == "" {
			r.Header.Del(name)
			continue
		}
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	return w
}

// want makes a call that must return the status, and decodes the response.
func want[T any](h *testAPI, status int, c call) T {
	h.t.Helper()
	w := h.do(c)
	if w.Code != status {
		h.t.Fatalf("%s %s: status %d, want %d: %s", c.method, c.path, w.Code, status, w.Body)
	}
	var out T
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
			h.t.Fatalf("%s %s: %v: %s", c.method, c.path, err, w.Body)
		}
	}
	return out
}

// refused makes a call that must be refused, checks the form of the problem and returns
// it.
func refused(h *testAPI, status int, code hook.Code, field string, c call) client.Problem {
	h.t.Helper()
	w := h.do(c)
	var p client.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		h.t.Fatalf("%s %s: not a problem: %v: %d %s", c.method, c.path, err, w.Code, w.Body)
	}
	if w.Code != status || p.Status != status || p.Code != string(code) || p.Field != field {
		h.t.Errorf("%s %s %.80v: %d %q field %q, want %d %q field %q: %s", c.method, c.path, c.body, w.Code, p.Code, p.Field, status, code, field, p.Detail)
	}
	if w.Header().Get("Content-Type") != "application/problem+json" || p.Type != "urn:posthorn:problem:"+p.Code ||
		p.Title == "" || p.Detail == "" || p.RequestID == "" || p.RequestID != w.Header().Get("X-Request-Id") {
		h.t.Errorf("%s %s: malformed problem: %s %s", c.method, c.path, w.Header().Get("Content-Type"), w.Body)
	}
	return p
}

func (h *testAPI) tenant(id string) {
	h.t.Helper()
	want[client.Tenant](h, 201, call{"POST", "/v1/tenants", liveKey, client.NewTenant{ID: id}, nil})
}

func (h *testAPI) key(kind, tenant string) string {
	h.t.Helper()
	return want[client.Key](h, 201, call{"POST", "/v1/keys", liveKey, client.NewKey{Kind: kind, Tenant: tenant}, nil}).Key
}

func (h *testAPI) endpoint(tenant string, types ...string) client.Endpoint {
	h.t.Helper()
	return want[client.Endpoint](h, 201, call{"POST", "/v1/endpoints", liveKey,
		client.NewEndpoint{Tenant: tenant, URL: "https://hooks.example.com/in", EventTypes: types}, nil})
}

// event publishes an event of the type and returns the response.
func (h *testAPI) event(tenant, eventType string) client.Published {
	h.t.Helper()
	return want[client.Published](h, 202, call{"POST", "/v1/events", liveKey,
		`{"tenant":"` + tenant + `","type":"` + eventType + `","data":{"n":1}}`, nil})
}

// count returns the number of rows of each list, over both modes.
func (h *testAPI) count() map[string]int {
	h.t.Helper()
	out := map[string]int{}
	for _, key := range []string{liveKey, testKey} {
		for _, list := range []string{"tenants", "keys", "endpoints", "events", "deliveries"} {
			rows := want[client.Page[json.RawMessage]](h, 200, call{"GET", "/v1/" + list + "?limit=250", key, nil, nil})
			out[list] += len(rows.Data)
		}
	}
	return out
}

func (h *testAPI) logger() *slog.Logger { return slog.New(slog.NewTextHandler(&h.log, nil)) }

// broken is a store whose methods all panic.
type broken struct{ app.Store }

func (broken) Publish(context.Context, []hook.NewEvent, func(*hook.Endpoint) hook.ProfileHash, *hook.Once) ([]hook.Published, *hook.Replay, error) {
	panic("boom")
}

func (broken) Tenants(context.Context, hook.TenantQuery) ([]hook.Tenant, string, error) {
	panic("boom")
}

func brokenService(t testing.TB) *app.Service {
	t.Helper()
	s, err := app.New(app.Options{Store: broken{}, Profiles: profile.Builtin(), OperatorKey: liveKey, CheckHeaders: egress.CheckHeaders,
		Admit: func(context.Context, string, bool) (string, []app.Warning, error) { panic("boom") }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
