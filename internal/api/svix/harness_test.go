package svix_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/api/svix"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store"
)

// oneAddress resolves every name to a public address; nothing is sent there.
type oneAddress struct{}

func (oneAddress) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("93.184.215.14")}, nil
}

// testAPI is the Svix API over a real store, called over plain HTTP.
type testAPI struct {
	t        *testing.T
	url      string
	handler  http.Handler
	service  *app.Service
	store    *store.Store
	db       *sql.DB
	operator app.Caller
}

func newTestAPI(t *testing.T) *testAPI {
	t.Helper()
	h := &testAPI{t: t, operator: app.Caller{Kind: hook.Operator, Mode: hook.Live}}
	quiet := slog.New(slog.DiscardHandler)
	key := make([]byte, seal.KeySize)
	rand.Read(key)
	ring, err := seal.New(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if h.store, err = store.Open(t.Context(), store.Options{Dir: dir, Keys: ring, Log: quiet, Reserve: -1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.store.Close() })
	if h.db, err = sql.Open("sqlite", "file:"+filepath.Join(dir, "posthorn.db")+"?mode=ro"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.db.Close() })
	profiles := profile.Builtin()
	guard := egress.New(egress.Options{Resolver: oneAddress{}, Log: quiet})
	h.service, err = app.New(app.Options{OperatorKey: operatorKey, OperatorTestKey: testKey, AllowReveal: true, Log: quiet, Store: h.store, Profiles: profiles, Profile: "svix", CheckHeaders: egress.CheckHeaders,
		Admit: func(ctx context.Context, raw string, ipHosts bool) (string, []app.Warning, error) {
			canonical, _, err := guard.Admit(ctx, raw, egress.Rules{IPHosts: ipHosts})
			return canonical, nil, err
		}})
	if err != nil {
		t.Fatal(err)
	}
	handler, err := svix.New(svix.Options{Service: h.service, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, pattern := range svix.Patterns() {
		mux.Handle(pattern, handler)
	}
	h.handler = mux
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	h.url = server.URL
	return h
}

const operatorKey, testKey = "an-operator-key-of-at-least-32-characters", "a-test-operator-key-of-at-least-32-characters"

// tenant creates a tenant and one of its keys.
func (h *testAPI) tenant(id string, mode hook.Mode) app.NewKey {
	h.t.Helper()
	if _, err := h.service.Tenant(h.t.Context(), h.operator, id); err != nil {
		if _, _, err := h.service.CreateTenant(h.t.Context(), h.operator, id, "", nil); err != nil {
			h.t.Fatal(err)
		}
	}
	k, _, err := h.service.CreateKey(h.t.Context(), app.Caller{Kind: hook.Operator, Mode: mode}, hook.Key{Kind: hook.TenantKey, Tenant: id}, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return k
}

type answer struct {
	status int
	header http.Header
	text   string
}

func (h *testAPI) do(method, path string, header map[string]string, body string) answer {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), method, h.url+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	for name, value := range header {
		r.Header.Set(name, value)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	got, err := client.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = got.Body.Close() }()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return answer{got.StatusCode, got.Header, string(text)}
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

func withAdmit(o app.Options) app.Options {
	o.Admit = func(_ context.Context, raw string, _ bool) (string, []app.Warning, error) { return raw, nil, nil }
	return o
}
