package paysway_test

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
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/api/paysway"
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

// testAPI is PaySway's API over a real store, called over plain HTTP.
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

func newTestAPI(t *testing.T, defaultProfile string, limit int, more ...*profile.Profile) *testAPI {
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
	for _, p := range more {
		if err := profiles.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	guard := egress.New(egress.Options{Resolver: oneAddress{}, Log: quiet})
	h.service, err = app.New(app.Options{Store: h.store, Profiles: profiles, Profile: defaultProfile, CheckHeaders: egress.CheckHeaders, Now: now,
		Admit: func(ctx context.Context, raw string, ipHosts bool) (string, []app.Warning, error) {
			canonical, _, err := guard.Admit(ctx, raw, egress.Rules{IPHosts: ipHosts})
			return canonical, nil, err
		}})
	if err != nil {
		t.Fatal(err)
	}
	handler, err := paysway.New(paysway.Options{Service: h.service, Log: quiet, Limit: limit})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, pattern := range paysway.Patterns() {
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

func (h *testAPI) do(method, path, auth, contentType, body string) answer {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), method, h.url+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	if auth != "" {
		r.Header.Set("Authorization", auth)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
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

// api makes a call with a token.
func (h *testAPI) api(method, path, token, body string) answer {
	h.t.Helper()
	kind := ""
	if body != "" {
		kind = "application/json"
	}
	return h.do(method, path, "Bearer "+token, kind, body)
}

func (h *testAPI) form(auth string, pairs ...string) answer {
	h.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return h.do("POST", "/oauth2/token", auth, "application/x-www-form-urlencoded", form.Encode())
}

func (h *testAPI) token(k app.NewKey) string {
	h.t.Helper()
	got := h.form("", "grant_type", "client_credentials", "client_id", k.ID.String(), "client_secret", k.Text)
	h.has(got, 200, "access_token", "expires_in", "token_type")
	return got.object(h.t)["access_token"].(string)
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

// refused checks an error's status, exact members, code, and part of its message.
func (h *testAPI) refused(what string, a answer, status int, code, part string) {
	h.t.Helper()
	v := h.has(a, status, "code", "message")
	if message, _ := v["message"].(string); v["code"] != code || !strings.Contains(message, part) || message == "" {
		h.t.Errorf("%s: %d %s; want %d %s with %q", what, a.status, a.text, status, code, part)
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
