// Package apitest has the application over a real store that the tests of the HTTP adapters call.
package apitest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

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

// Admit returns an [app.Options.Admit] with the rules of a server. Every name has a public address.
func Admit(log *slog.Logger) func(context.Context, string, bool) (string, []app.Warning, error) {
	guard := egress.New(egress.Options{Resolver: oneAddress{}, Log: log})
	return func(ctx context.Context, raw string, ipHosts bool) (string, []app.Warning, error) {
		canonical, warnings, err := guard.Admit(ctx, raw, egress.Rules{IPHosts: ipHosts})
		var out []app.Warning
		for _, w := range warnings {
			out = append(out, app.Warning(w))
		}
		return canonical, out, err
	}
}

// World is an application over a store of its own. Nothing sends deliveries.
type World struct {
	Store    *store.Store
	Service  *app.Service
	DB       *sql.DB // reads File
	File     string
	Operator app.Caller   // in live mode
	Ahead    atomic.Int64 // how far the clock is set forward
}

// New opens a store in a directory of its own and an application over it.
func New(t testing.TB, ao app.Options, so store.Options) *World {
	t.Helper()
	w := &World{Operator: app.Caller{Kind: hook.Operator, Mode: hook.Live}}
	key := make([]byte, seal.KeySize)
	rand.Read(key)
	ring, err := seal.New(key)
	if err != nil {
		t.Fatal(err)
	}
	so.Dir, so.Keys, so.Log, so.Reserve, so.Now = t.TempDir(), ring, slog.New(slog.DiscardHandler), -1, w.now
	if w.Store, err = store.Open(t.Context(), so); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Store.Close() })
	w.File = filepath.Join(so.Dir, "posthorn.db")
	if w.DB, err = sql.Open("sqlite", "file:"+w.File+"?mode=ro"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.DB.Close() })
	w.Service = w.Over(t, ao)
	return w
}

func (w *World) now() time.Time { return time.Now().Add(time.Duration(w.Ahead.Load())) }

// Over returns another application over the store.
func (w *World) Over(t testing.TB, o app.Options) *app.Service {
	t.Helper()
	o.Store, o.CheckHeaders = w.Store, egress.CheckHeaders
	if o.Now == nil {
		o.Now = w.now
	}
	o.Admit = Admit(slog.New(slog.DiscardHandler))
	if o.Profiles == nil {
		o.Profiles = profile.Builtin()
	}
	service, err := app.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return service
}

// Tenant creates a tenant if there is none, and one of its keys.
func (w *World) Tenant(t testing.TB, id string, mode hook.Mode) app.NewKey {
	t.Helper()
	if _, err := w.Service.Tenant(t.Context(), w.Operator, id); err != nil {
		if _, _, err := w.Service.CreateTenant(t.Context(), w.Operator, id, "", nil); err != nil {
			t.Fatal(err)
		}
	}
	k, _, err := w.Service.CreateKey(t.Context(), app.Caller{Kind: hook.Operator, Mode: mode}, hook.Key{Kind: hook.TenantKey, Tenant: id}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Rows returns a hash over every row that a caller of a partner's API could have changed.
func (w *World) Rows(t testing.TB) string {
	t.Helper()
	sum := sha256.New()
	for _, table := range []string{"tenants", "keys", "endpoints", "secrets", "endpoint_revisions", "health", "events", "deliveries", "oauth_tokens", "partner_users"} {
		rows, err := w.DB.QueryContext(t.Context(), "SELECT * FROM "+table)
		if err != nil {
			t.Fatal(err)
		}
		columns, _ := rows.Columns()
		for rows.Next() {
			values := make([]any, len(columns))
			for i := range values {
				values[i] = &values[i]
			}
			if err := rows.Scan(values...); err != nil {
				t.Fatal(err)
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
			t.Fatal(err)
		}
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

// Serve serves a handler until the test ends. The client of the server does not follow redirects.
func Serve(t testing.TB, handler http.Handler) *httptest.Server {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	server.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return server
}

// Mount returns a handler that serves the patterns only.
func Mount(handler http.Handler, patterns []string) http.Handler {
	mux := http.NewServeMux()
	for _, pattern := range patterns {
		mux.Handle(pattern, handler)
	}
	return mux
}

// Do makes a request to a server of [Serve] and returns the answer.
func Do(t testing.TB, server *httptest.Server, method, path string, header map[string]string, body string) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		r.Header.Set(name, value)
	}
	got, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = got.Body.Close() }()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	return got.StatusCode, got.Header, string(text)
}
