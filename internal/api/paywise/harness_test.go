package paywise_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/api/paywise"
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

// testAPI is paywise's API over a real store, called over plain HTTP.
type testAPI struct {
	t        *testing.T
	url      string
	handler  http.Handler
	service  *app.Service
	store    *store.Store
	db       *sql.DB
	operator app.Caller
	ahead    atomic.Int64 // how far the clock is set forward
}

func newTestAPI(t *testing.T) *testAPI {
	t.Helper()
	h := &testAPI{t: t, operator: app.Caller{Kind: hook.Operator, Mode: hook.Live}}
	now := func() time.Time { return time.Now().Add(time.Duration(h.ahead.Load())) }
	quiet := slog.New(slog.DiscardHandler)
	key := make([]byte, seal.KeySize)
	rand.Read(key)
	ring, err := seal.New(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if h.store, err = store.Open(t.Context(), store.Options{Dir: dir, Keys: ring, Log: quiet, Reserve: -1, Now: now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.store.Close() })
	if h.db, err = sql.Open("sqlite", "file:"+filepath.Join(dir, "posthorn.db")+"?mode=ro"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.db.Close() })
	profiles := profile.Builtin()
	guard := egress.New(egress.Options{Resolver: oneAddress{}, Log: quiet})
	h.service, err = app.New(app.Options{Store: h.store, Profiles: profiles, Profile: "paywise", CheckHeaders: egress.CheckHeaders, Now: now,
		Admit: func(ctx context.Context, raw string, ipHosts bool) (string, []app.Warning, error) {
			canonical, _, err := guard.Admit(ctx, raw, egress.Rules{IPHosts: ipHosts})
			return canonical, nil, err
		}})
	if err != nil {
		t.Fatal(err)
	}
	handler, err := paywise.New(paywise.Options{Service: h.service, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, pattern := range paywise.Patterns() {
		mux.Handle(pattern, handler)
	}
	h.handler = mux
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	h.url = server.URL
	return h
}

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
	sum := sha256.New()
	for _, table := range []string{"tenants", "keys", "endpoints", "secrets", "endpoint_revisions", "health", "events", "deliveries", "oauth_tokens", "partner_users"} {
		rows, err := h.db.QueryContext(h.t.Context(), "SELECT * FROM "+table)
		if err != nil {
			h.t.Fatal(err)
		}
		columns, _ := rows.Columns()
		for rows.Next() {
			values := make([]any, len(columns))
			for i := range values {
				values[i] = &values[i]
			}
			if err := rows.Scan(values...); err != nil {
				h.t.Fatal(err)
			}
			for i, name := range columns {
				if strings.HasPrefix(name, "sweep") || name == "last_used_at" { // changed by the store in the background
					values[i] = nil
				}
			}
			var line bytes.Buffer
			fmt.Fprintln(&line, table, values)
			sum.Write(line.Bytes())
		}
		if err := rows.Close(); err != nil {
			h.t.Fatal(err)
		}
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}
