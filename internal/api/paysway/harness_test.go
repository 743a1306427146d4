package paysway_test

import (
	"database/sql"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/posthorn/posthorn/internal/api/apitest"
	"github.com/posthorn/posthorn/internal/api/paysway"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
	"github.com/posthorn/posthorn/internal/store"
)

// testAPI is PaySway's API over a real store, called over plain HTTP.
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

func newTestAPI(t *testing.T, defaultProfile string, limit int, more ...*profile.Profile) *testAPI {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	profiles := profile.Builtin()
	for _, p := range more {
		if err := profiles.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	w := apitest.New(t, app.Options{Profiles: profiles, Profile: defaultProfile}, store.Options{})
	h := &testAPI{t: t, world: w, service: w.Service, store: w.Store, db: w.DB, operator: w.Operator, ahead: &w.Ahead}
	handler, err := paysway.New(paysway.Options{Service: h.service, Log: quiet, Limit: limit})
	if err != nil {
		t.Fatal(err)
	}
	h.handler = apitest.Mount(handler, paysway.Patterns())
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

func (h *testAPI) do(method, path, auth, contentType, body string) answer {
	h.t.Helper()
	header := map[string]string{}
	if auth != "" {
		header["Authorization"] = auth
	}
	if contentType != "" {
		header["Content-Type"] = contentType
	}
	status, got, text := apitest.Do(h.t, h.server, method, path, header, body)
	return answer{status, got, text}
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
	return h.world.Rows(h.t)
}
