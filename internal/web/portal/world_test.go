package portal_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/hook"
	rules "github.com/posthorn/posthorn/internal/portal"
	"github.com/posthorn/posthorn/internal/profile"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/web/portal"
)

const liveKey, testKey = "live-key-0123456789abcdefghijklmnop", "test-key-0123456789abcdefghijklmnop"

var start = time.Date(2026, 11, 27, 14, 35, 0, 0, time.UTC)

// lockedLog collects log lines.
type lockedLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// world is the portal over a real store, with a clock that tests move. Two tenants have the
// same things, in both modes.
type world struct {
	*testing.T
	ctx     context.Context
	dir     string
	store   *store.Store
	app     *app.Service
	handler *portal.Handler
	log     lockedLog
	mu      sync.Mutex
	passed  time.Duration
	admins  map[hook.Mode]app.Caller
	of      map[hook.Scope]*things
}

// things are the ids of a tenant's things in one mode.
type things struct {
	endpoint, other, delivery, event, replay hook.ID
}

var nordlicht = hook.Scope{Tenant: "nordlicht", Mode: hook.Live}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return start.Add(w.passed)
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.passed += d
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// newWorld makes the world. words is what tenants and the platform may choose.
func newWorld(t *testing.T, words string, change ...func(*app.Options, *portal.Options)) *world {
	t.Helper()
	w := &world{T: t, of: map[hook.Scope]*things{}, admins: map[hook.Mode]app.Caller{hook.Live: {Kind: hook.Operator, Mode: hook.Live}, hook.Test: {Kind: hook.Operator, Mode: hook.Test}}}
	w.ctx, w.dir = t.Context(), t.TempDir()
	key := make([]byte, 32)
	rand.Read(key)
	ring, err := seal.New(key)
	w.must(err)
	log := slog.New(slog.NewTextHandler(&w.log, nil))
	w.store, err = store.Open(w.ctx, store.Options{Dir: w.dir, Keys: ring, Log: log, Reserve: -1, Now: w.now, Fatal: func(err error) { t.Errorf("fatal: %v", err) }})
	w.must(err)
	t.Cleanup(func() { _ = w.store.Close() })
	ao := app.Options{Store: w.store, Log: log, Profiles: profile.Builtin(), OperatorKey: liveKey, OperatorTestKey: testKey, CheckHeaders: egress.CheckHeaders, AllowReveal: true, Now: w.now,
		Pages: app.Pages{UI: "https://posthorn.example", Portal: "https://webhooks.example"},
		Admit: func(_ context.Context, raw string, _ bool) (string, []app.Warning, error) {
			if !strings.HasPrefix(raw, "https://") {
				return "", nil, &hook.Error{Code: hook.CodeURLScheme, Field: "url", Message: "The URL must begin with https."}
			}
			return raw, nil, nil
		}}
	po := portal.Options{Log: log, Now: w.now, Style: []byte("/* style */"), Icons: []byte("<svg/>")}
	for _, f := range change {
		f(&ao, &po)
	}
	w.app, err = app.New(ao)
	w.must(err)
	po.Service = w.app
	w.handler, err = portal.New(po)
	w.must(err)
	for _, tenant := range []string{"nordlicht", "harbour"} {
		_, _, err := w.app.CreateTenant(w.ctx, w.admins[hook.Live], tenant, tenant, nil)
		w.must(err)
		for _, mode := range []hook.Mode{hook.Live, hook.Test} {
			w.fill(hook.Scope{Tenant: tenant, Mode: mode}, words)
		}
	}
	return w
}

func (w *world) fill(scope hook.Scope, words string) {
	w.Helper()
	c, it := w.admins[scope.Mode], &things{}
	payload := words // anything; other texts may have no characters that change direction
	words = strings.NewReplacer("\u202e", "", "\u2066", "").Replace(words)
	if scope.Tenant == "nordlicht" {
		shape := hook.TypeVersion{Version: 1, Example: []byte(`{"note":` + quoted(words) + `}`), Schema: []byte(`{"type":"object","description":` + quoted(words) + `}`)}
		_, _, err := w.app.CreateEventType(w.ctx, c, hook.EventType{Name: "payment.settled", Description: "A payment arrived." + words, TypeVersion: shape}, nil)
		w.must(err)
		_, _, err = w.app.CreateEventType(w.ctx, c, hook.EventType{Name: "internal.hidden", Hidden: true, TypeVersion: hook.TypeVersion{Version: 1}}, nil)
		w.must(err)
	}
	make := func(url, title string) hook.ID {
		e, _, err := w.app.CreateEndpoint(w.ctx, c, app.NewEndpoint{Tenant: scope.Tenant, URL: url, Types: []string{"payment.*"}, Title: title, Description: "Our books." + words,
			Headers: []hook.Header{{Name: "X-Token", Value: "header-secret"}}}, nil)
		w.must(err)
		return e.ID
	}
	it.endpoint = make("https://hooks."+scope.Tenant+".example/posthorn?token=query-secret", "Payments to ERP"+words)
	it.other = make("https://audit."+scope.Tenant+".example/in", "Audit")
	published, _, err := w.app.Publish(w.ctx, c, app.Event{Tenant: scope.Tenant, Type: "payment.settled", Data: []byte(`{"note":` + quoted(payload) + `,"of":"` + scope.Tenant + scope.Mode.String() + `"}`)}, nil)
	w.must(err)
	it.event = published.PublicID
	rows, _, err := w.app.Deliveries(w.ctx, c, hook.DeliveryQuery{Scope: scope})
	w.must(err)
	for _, row := range rows {
		o := hook.Outcome{StartedAt: w.now(), Duration: 20 * time.Millisecond, Status: 204, Success: true, ResponseHeaders: []byte("Server: x\n"), Policy: &hook.Policy{Retry: hook.Retry{Steps: []time.Duration{time.Hour}}}}
		if row.Endpoint == it.endpoint {
			it.delivery = row.ID
			o.Success, o.Status, o.Class, o.Message, o.ResponseHeaders, o.ResponseBody = false, 503, hook.ClassStatus, "The endpoint answered 503.", []byte("Retry-After: 240\nX-Odd: "+words+"\n"), []byte("sorry "+payload)
			o.Timing, o.Address = hook.Timing{DNS: 4 * time.Millisecond, Connect: 3 * time.Millisecond, TLS: 6 * time.Millisecond, FirstByte: 5 * time.Millisecond}, netip.MustParseAddr("203.0.113.41")
		}
		target, err := w.store.Endpoint(w.ctx, row.Scope, row.Endpoint)
		w.must(err)
		o.Enablings = target.Enablings
		_, err = w.store.Settle(w.ctx, []hook.Settlement{{Job: hook.Job{Delivery: row.Delivery, Target: target}, Outcome: o}})
		w.must(err)
	}
	r, _, err := w.app.CreateReplay(w.ctx, c, hook.NewReplay{Endpoint: it.endpoint, Source: hook.FromAll}, nil, false, nil)
	w.must(err)
	it.replay = r.ID
	w.of[scope] = it
}

func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(text) + `"`
}

// all are all capabilities.
var all = []string{"manage_endpoints", "see_secret", "retry", "replay", "test"}

// wanted changes what is asked of a session.
type wanted func(*rules.Wanted)

// link returns a session and the path of its link.
func (w *world) link(scope hook.Scope, capabilities []string, change ...wanted) (app.PortalSession, string) {
	w.Helper()
	want := rules.Wanted{Capabilities: capabilities}
	for _, f := range change {
		f(&want)
	}
	s, _, err := w.app.CreatePortalSession(w.ctx, w.admins[scope.Mode], scope.Tenant, want, nil)
	w.must(err)
	u, err := url.Parse(s.URL)
	w.must(err)
	return s, u.Path
}

// browser is a browser without scripts, with the cookies that it was given.
type browser struct {
	w       *world
	sid     string
	cookies map[string]string
}

// open returns a browser in a session of its own.
func (w *world) open(scope hook.Scope, capabilities []string, change ...wanted) *browser {
	w.Helper()
	b := &browser{w: w, cookies: map[string]string{}}
	s, path := w.link(scope, capabilities, change...)
	b.sid = s.Short()
	a := b.post(path, nil)
	if a.Code != 303 || len(b.cookies) != 1 {
		w.Fatalf("the link: %d %s", a.Code, a.Body)
	}
	return b
}

func (b *browser) do(method, path string, form url.Values, marks ...func(http.Header)) *httptest.ResponseRecorder {
	b.w.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(form.Encode())).WithContext(b.w.ctx)
	if method == "POST" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		r.Header.Set("Origin", "https://webhooks.example")
	}
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	for _, mark := range marks {
		mark(r.Header)
	}
	a := httptest.NewRecorder()
	b.w.handler.ServeHTTP(a, r)
	for _, c := range a.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return a
}

// get and post request a page below the session, or one of /portal.
func (b *browser) get(path string, marks ...func(http.Header)) *httptest.ResponseRecorder {
	b.w.Helper()
	return b.do("GET", b.at(path), nil, marks...)
}

func (b *browser) post(path string, form url.Values, marks ...func(http.Header)) *httptest.ResponseRecorder {
	b.w.Helper()
	return b.do("POST", b.at(path), form, marks...)
}

func (b *browser) at(path string) string {
	if strings.HasPrefix(path, "/portal/") {
		return path
	}
	return "/portal/" + b.sid + "/" + path
}

// path returns the path of a route with the ids of things.
func (it *things) path(r portal.Route) string {
	noun, _, _ := strings.Cut(r.Path, "/")
	id := map[string]hook.ID{"endpoints": it.endpoint, "deliveries": it.delivery, "events": it.event, "replays": it.replay}[noun]
	return strings.NewReplacer("{id}", id.String(), "{name...}", "payment.settled", "{$}", "").Replace(r.Path)
}

// form returns the form with which an act of a route would succeed.
func (it *things) form(path string, tenant string) url.Values {
	switch path {
	case "endpoints/new":
		return url.Values{"url": {"https://new." + tenant + ".example/"}, "types": {"*"}, "once": {"one"}}
	case "endpoints/{id}/settings":
		return url.Values{"url": {"https://hooks." + tenant + ".example/posthorn?token=***"}, "types": {"payment.*"}, "title": {"Changed"}, "revision": {"1"}}
	case "endpoints/{id}/delete":
		return url.Values{"host": {"hooks." + tenant + ".example"}}
	case "replays/new":
		return url.Values{"endpoint": {it.endpoint.String()}, "source": {"all"}, "do": {"start"}}
	case "verify":
		return url.Values{"endpoint": {it.endpoint.String()}, "capture": {"webhook-id: a\nwebhook-timestamp: 1\nwebhook-signature: v1,AAAA\n\n{}"}}
	}
	return url.Values{}
}

// rows returns what a tenant's things are, for comparing.
func (w *world) rows(scope hook.Scope) string {
	w.Helper()
	c := w.admins[scope.Mode]
	var b strings.Builder
	endpoints, _, err := w.app.Endpoints(w.ctx, c, hook.EndpointQuery{Scope: scope})
	w.must(err)
	for _, e := range endpoints {
		fmt.Fprintln(&b, e.ID, e.URL, e.Title, e.Status, e.Revision, len(e.Secrets))
	}
	deliveries, _, err := w.app.Deliveries(w.ctx, c, hook.DeliveryQuery{Scope: scope})
	w.must(err)
	for _, d := range deliveries {
		fmt.Fprintln(&b, d.ID, d.State, d.Attempts, d.Kind)
	}
	replays, _, err := w.app.Replays(w.ctx, c, hook.ReplayQuery{Scope: scope})
	w.must(err)
	for _, r := range replays {
		fmt.Fprintln(&b, r.ID, r.State)
	}
	var shots int
	sessions, _, err := w.app.PortalSessions(w.ctx, c, hook.WebSessionQuery{Scope: scope})
	w.must(err)
	for _, s := range sessions {
		if !s.EndedAt.IsZero() {
			shots++
		}
	}
	fmt.Fprintln(&b, shots)
	return b.String()
}
