package listen_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/api/apitest"
	apilisten "github.com/posthorn/posthorn/internal/api/listen"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/listen"
	"github.com/posthorn/posthorn/internal/store"
)

const (
	liveKey = "live-operator-key-of-32-characters-or-more"
	testKey = "test-operator-key-of-32-characters-or-more"
)

// testAPI is the HTTP adapter over a real store, without a dispatcher: the test makes
// the attempts.
type testAPI struct {
	t     *testing.T
	store *store.Store
	app   *app.Service
	hub   *listen.Hub
	url   string
	live  app.Caller
	ahead *atomic.Int64 // how far the clock is set forward
}

func newTestAPI(t *testing.T) *testAPI {
	t.Helper()
	h := newRooms(t)
	server := httptest.NewServer(h.handler())
	t.Cleanup(func() {
		h.hub.Close()
		server.Close()
	})
	h.url = server.URL
	return h
}

func (h *testAPI) handler() http.Handler {
	return apilisten.New(apilisten.Options{Service: h.app, Hub: h.hub, Log: slog.New(slog.DiscardHandler)})
}

// newRooms returns a testAPI without a network.
func newRooms(t *testing.T) *testAPI {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	w := apitest.New(t, app.Options{OperatorKey: liveKey, OperatorTestKey: testKey, Log: quiet}, store.Options{Synchronous: "off"})
	h := &testAPI{t: t, store: w.Store, app: w.Service, ahead: &w.Ahead}
	var err error
	h.hub = listen.New(h.store, quiet)
	if h.live, err = h.app.Authenticate(t.Context(), liveKey, netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"acme", "rival"} {
		if _, _, err := h.app.CreateTenant(t.Context(), h.live, id, "", nil); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func (h *testAPI) key(kind hook.Kind, tenant string) app.NewKey {
	h.t.Helper()
	k, _, err := h.app.CreateKey(h.t.Context(), h.live, hook.Key{Kind: kind, Tenant: tenant}, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return k
}

func (h *testAPI) listen(key string, o client.ListenOptions) (*client.Listening, error) {
	c := &client.Client{URL: h.url, Key: key}
	l, err := c.Listen(h.t.Context(), o)
	if err == nil {
		h.t.Cleanup(l.Close)
	}
	return l, err
}

func (h *testAPI) must(key string, o client.ListenOptions) *client.Listening {
	h.t.Helper()
	l, err := h.listen(key, o)
	if err != nil {
		h.t.Fatal(err)
	}
	return l
}

func (h *testAPI) endpoint(l *client.Listening) *hook.Endpoint {
	h.t.Helper()
	id, err := hook.ParseID(l.Hello.Endpoint)
	if err != nil {
		h.t.Fatal(err)
	}
	e, err := h.store.Endpoint(h.t.Context(), hook.Scope{Tenant: l.Hello.Tenant, Mode: hook.Live}, id)
	if err != nil {
		h.t.Fatal(err)
	}
	return e
}

func ended(t *testing.T, l *client.Listening, code string) {
	t.Helper()
	defer time.AfterFunc(5*time.Second, l.Close).Stop()
	_, err := l.Next()
	if end, ok := errors.AsType[*client.ListenEnd](err); !ok || end.Code != code || end.Message == "" {
		t.Errorf("ended with %v, want %s", err, code)
	}
}

func code(err error) string {
	if p, ok := errors.AsType[*client.Problem](err); ok {
		return p.Code
	}
	return ""
}

func TestWhoMayListen(t *testing.T) {
	h := newTestAPI(t)
	tenant := h.key(hook.TenantKey, "acme").Text
	dev := client.ListenOptions{Name: "dev"}
	for name, c := range map[string]struct {
		key  string
		o    client.ListenOptions
		want string
	}{
		"no key":                   {"", dev, "unauthorized"},
		"a wrong key":              {tenant[:len(tenant)-1] + "_", dev, "unauthorized"},
		"a publisher":              {h.key(hook.Publisher, "").Text, dev, "forbidden"},
		"an operator for nobody":   {liveKey, dev, "invalid_request"},
		"an unknown tenant":        {liveKey, client.ListenOptions{Name: "dev", Tenant: "nobody"}, "tenant_not_found"},
		"another tenant":           {tenant, client.ListenOptions{Name: "dev", Tenant: "rival"}, "tenant_not_found"},
		"no name":                  {tenant, client.ListenOptions{}, "invalid_request"},
		"a name like a path":       {tenant, client.ListenOptions{Name: "../x"}, "invalid_request"},
		"a profile there is not":   {tenant, client.ListenOptions{Name: "dev", Profile: "nope"}, "invalid_request"},
		"a filter that is not one": {tenant, client.ListenOptions{Name: "dev", Types: []string{"a b"}}, "invalid_request"},
	} {
		if _, err := h.listen(c.key, c.o); code(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	l := h.must(tenant, client.ListenOptions{Name: "dev", Types: []string{"payment.*"}})
	if l.Hello.URL != "listen:dev" || l.Hello.Tenant != "acme" || l.Hello.Mode != "live" || !strings.HasPrefix(l.Hello.Secret, "whsec_") || !slices.Equal(l.Hello.EventTypes, []string{"payment.*"}) {
		t.Errorf("%+v", l.Hello)
	}
	if other := h.must(liveKey, client.ListenOptions{Name: "dev", Tenant: "acme"}); other.Hello.Endpoint != l.Hello.Endpoint || other.Hello.Secret != l.Hello.Secret || !slices.Equal(other.Hello.EventTypes, []string{"*"}) {
		t.Errorf("the same name is another listener: %+v", other.Hello)
	}
	if other := h.must(testKey, client.ListenOptions{Name: "dev", Tenant: "acme"}); other.Hello.Endpoint == l.Hello.Endpoint {
		t.Error("the modes share a listener")
	}
	changed := h.must(tenant, client.ListenOptions{Name: "dev", Profile: "paysway"})
	if changed.Hello.Profile != "paysway" || changed.Hello.Secret == l.Hello.Secret || changed.Hello.Endpoint != l.Hello.Endpoint {
		t.Errorf("another profile: %+v", changed.Hello)
	}
}

// Connecting a listener, which creates it and shows its secret, is recorded with its
// actor.
func TestListeningIsAudited(t *testing.T) {
	h := newTestAPI(t)
	h.must(liveKey, client.ListenOptions{Tenant: "acme", Name: "dev"})
	rows, _, err := h.app.AuditEntries(t.Context(), h.live, hook.AuditQuery{})
	if err != nil || len(rows) < 2 || rows[0].Act != hook.ActSecretRevealed || rows[1].Act != hook.ActEndpointCreated || rows[0].Actor.Address == "" {
		t.Errorf("%v %+v", err, rows)
	}
}

func TestListenersAreBounded(t *testing.T) {
	h := newTestAPI(t)
	for i := range 16 {
		h.must(liveKey, client.ListenOptions{Name: string(rune('a' + i)), Tenant: "acme"}).Close()
	}
	if _, err := h.listen(liveKey, client.ListenOptions{Name: "z", Tenant: "acme"}); code(err) != "endpoint_limit_reached" {
		t.Errorf("the seventeenth: %v", err)
	}
	h.must(liveKey, client.ListenOptions{Name: "a", Tenant: "acme"})
	h.must(liveKey, client.ListenOptions{Name: "z", Tenant: "rival"})
}

// forward makes an attempt and returns what the listener received.
func (h *testAPI) forward(l *client.Listening) (client.ListenDelivery, chan error, *egress.Response) {
	h.t.Helper()
	done, response := make(chan error, 1), &egress.Response{}
	e := h.endpoint(l)
	go func() {
		var err error
		*response, err = h.hub.Forward(context.Background(), e, &hook.Delivery{ID: hook.ID{9}, EventType: "a.b", Attempts: 2}, egress.Request{
			Headers: []hook.Header{{Name: "webhook-Id", Value: "1"}, {Name: "A", Value: "<é>"}}, Body: []byte("{\"x\":\"\xff\n\"}"), Timeout: 20 * time.Second})
		done <- err
	}()
	d, err := l.Next()
	if err != nil {
		h.t.Fatal(err)
	}
	return d, done, response
}

func TestDeliveryAndAnswer(t *testing.T) {
	h := newTestAPI(t)
	key := h.key(hook.TenantKey, "acme").Text
	l := h.must(key, client.ListenOptions{Name: "dev"})
	d, done, response := h.forward(l)
	want := []client.ListenHeader{{Name: "webhook-Id", Value: "1"}, {Name: "A", Value: "<é>"}}
	if string(d.Body) != "{\"x\":\"\xff\n\"}" || !slices.Equal(d.Headers, want) || d.Attempt != 3 || d.TimeoutMS != 20_000 || d.EventType != "a.b" {
		t.Errorf("%+v", d)
	}
	foreign := map[string]string{"another tenant": h.key(hook.TenantKey, "rival").Text, "the other mode": testKey}
	for name, other := range foreign {
		err := (&client.Client{URL: h.url, Key: other}).AnswerListen(t.Context(), client.ListenAnswer{Token: d.Token, Status: 200})
		if code(err) != "not_found" {
			t.Errorf("%s answered: %v", name, err)
		}
	}
	if err := (&client.Client{URL: h.url, Key: h.key(hook.Publisher, "").Text}).AnswerListen(t.Context(), client.ListenAnswer{Token: d.Token, Status: 200}); code(err) != "forbidden" {
		t.Errorf("a publisher answered: %v", err)
	}
	select {
	case err := <-done:
		t.Fatalf("the attempt ended: %v", err)
	default:
	}
	own := &client.Client{URL: h.url, Key: key} // control
	if err := own.AnswerListen(t.Context(), client.ListenAnswer{Token: d.Token, Status: 503, Headers: "Retry-After: 7\n", Body: []byte("no\x00"), RetryAfterMS: 7000}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || response.Status != 503 || response.RetryAfter != 7*time.Second || string(response.Body) != "no\x00" || string(response.Headers) != "Retry-After: 7\n" {
		t.Errorf("%+v, %v", response, err)
	}
}

func TestAnswersThatAreRefused(t *testing.T) {
	h := newTestAPI(t)
	l := h.must(liveKey, client.ListenOptions{Name: "dev", Tenant: "acme"})
	d, done, _ := h.forward(l)
	for body, want := range map[string]string{
		`{`:                                       "invalid_json",
		`{"token":"T","token":"T"}`:               "invalid_json",
		`{"token":"T","state":1}`:                 "unknown_field",
		`{"status":200}`:                          "invalid_request",
		`{"token":"T"}`:                           "invalid_request",
		`{"token":"T","status":99}`:               "invalid_request",
		`{"token":"T","status":"200"}`:            "invalid_request",
		`{"token":"T","error":"blocked_address"}`: "invalid_request",
		`{"token":"T","error":"connection_refused","status":200}`:                    "invalid_request",
		`{"token":"T","status":200,"headers":"A: b\u001b[2J"}`:                       "invalid_request",
		`{"token":"T","error":"connection_refused","message":"a\u0007b"}`:            "invalid_request",
		`{"token":"T","status":200,"retry_after_ms":9223372036854775807}`:            "invalid_request",
		`{"token":"T","status":200,"retry_after_ms":-1}`:                             "invalid_request",
		`{"token":"T","status":200,"body":"` + strings.Repeat("AAAA", 6000) + `"}`:   "invalid_request",
		`{"token":"T","status":200,"headers":"` + strings.Repeat("x", 70_000) + `"}`: "payload_too_large",
		`{"token":"other","status":200}`:                                             "not_found",
	} {
		text := strings.ReplaceAll(body, `"T"`, `"`+d.Token+`"`)
		err := (&client.Client{URL: h.url, Key: liveKey}).Do(t.Context(), "POST", "/v1/listen/answers", "", json.RawMessage(text), nil)
		if code(err) != want {
			t.Errorf("%.80s: %v, want %s", body, err, want)
		}
	}
	select {
	case err := <-done:
		t.Fatalf("the attempt ended: %v", err)
	default:
	}
	if err := (&client.Client{URL: h.url, Key: liveKey}).AnswerListen(t.Context(), client.ListenAnswer{Token: d.Token, Error: "connection_refused", Message: "The endpoint refused the connection."}); err != nil {
		t.Fatal(err)
	}
	if f, ok := errors.AsType[*egress.Failure](<-done); !ok || f.Class != hook.ClassRefused {
		t.Errorf("%+v", f)
	}
}

func TestRoutesAreExact(t *testing.T) {
	h := newTestAPI(t)
	for _, c := range []struct {
		method, path string
		status       int
		code         string
	}{
		{"POST", "/v1/listen?name=dev", 405, "method_not_allowed"},
		{"GET", "/v1/listen/answers", 405, "method_not_allowed"},
		{"GET", "/v1/listen?name=dev&tenant=acme&colour=red", 422, "unknown_field"},
		{"GET", "/v1/listen?name=dev&name=qa&tenant=acme", 422, "invalid_request"},
		{"GET", "/v1/listen?name=dev&tenant=acme&types=", 422, "invalid_request"},
		{"GET", "/v1/listen?name=dev&tenant=acme&types=%zz", 422, "invalid_request"},
		{"GET", "/v1/listen?name=dev&tenant=", 422, "invalid_request"},
		{"POST", "/v1/listen/answers?dry_run=true", 422, "unknown_field"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), c.method, h.url+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+liveKey)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != c.status || !strings.Contains(string(body), `"`+c.code+`"`) || resp.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s %s: %d %s", c.method, c.path, resp.StatusCode, body)
		}
	}
}

// A stream ends within a second of its cause. The stream beside it is the control and
// continues.
func TestWhatEndsAStream(t *testing.T) {
	h := newTestAPI(t)
	stays := h.must(liveKey, client.ListenOptions{Name: "stays", Tenant: "acme"})

	key := h.key(hook.TenantKey, "acme")
	l := h.must(key.Text, client.ListenOptions{Name: "revoked"})
	began := time.Now()
	if err := h.app.RevokeKey(t.Context(), h.live, key.ID); err != nil {
		t.Fatal(err)
	}
	ended(t, l, "unauthorized")
	if took := time.Since(began); took > 1500*time.Millisecond {
		t.Errorf("the stream outlived its key by %v", took)
	}

	limited, _, err := h.app.CreateKey(t.Context(), h.live, hook.Key{Kind: hook.TenantKey, Tenant: "acme",
		KeyLimits: hook.KeyLimits{ExpiresAt: time.Now().Add(time.Hour)}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	l = h.must(limited.Text, client.ListenOptions{Name: "expired"})
	h.ahead.Add(int64(2 * time.Hour))
	ended(t, l, "unauthorized")

	l = h.must(liveKey, client.ListenOptions{Name: "off", Tenant: "acme"})
	off := false
	if _, err := h.app.UpdateEndpoint(t.Context(), h.live, h.endpoint(l).ID, app.EndpointChange{Enabled: &off}); err != nil {
		t.Fatal(err)
	}
	ended(t, l, "endpoint_disabled")

	l = h.must(liveKey, client.ListenOptions{Name: "gone", Tenant: "acme"})
	if err := h.app.DeleteEndpoint(t.Context(), h.live, h.endpoint(l).ID); err != nil {
		t.Fatal(err)
	}
	ended(t, l, "endpoint_deleted")

	l = h.must(liveKey, client.ListenOptions{Name: "twice", Tenant: "acme"})
	second := h.must(liveKey, client.ListenOptions{Name: "twice", Tenant: "acme"})
	ended(t, l, "replaced")

	for _, l := range []*client.Listening{stays, second} {
		if e := h.endpoint(l); e.Status != hook.Enabled {
			t.Errorf("%s is not enabled", e.URL)
		}
	}
	h.hub.Close()
	ended(t, stays, "shutting_down")
	ended(t, second, "shutting_down")
}

// A comment every fifteen seconds keeps a quiet stream alive.
func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newRooms(t)
		ctx, leave := context.WithCancel(t.Context())
		r := httptest.NewRequestWithContext(ctx, "GET", "/v1/listen?name=dev&tenant=acme", nil)
		r.Header.Set("Authorization", "Bearer "+liveKey)
		w := httptest.NewRecorder()
		done := make(chan struct{})
		go func() { h.handler().ServeHTTP(w, r); close(done) }()
		time.Sleep(time.Minute + time.Second)
		leave()
		<-done
		if beats := strings.Count(w.Body.String(), ": still here\n\n"); beats != 4 || !w.Flushed {
			t.Errorf("%d heartbeats in a minute: %s", beats, w.Body)
		}
	})
}

// Other routes can neither create a listener nor change what defines it.
func TestListenersAreMadeByListeningOnly(t *testing.T) {
	h := newTestAPI(t)
	if _, _, err := h.app.CreateEndpoint(t.Context(), h.live, app.NewEndpoint{Tenant: "acme", URL: "listen:dev", Types: []string{"*"}}, nil); hook.CodeOf(err) != hook.CodeURLScheme {
		t.Errorf("created by hand: %v", err)
	}
	l := h.must(liveKey, client.ListenOptions{Name: "dev", Tenant: "acme"})
	id := h.endpoint(l).ID
	on, profile, url, most := true, "paywise", "https://example.com/", 4
	change := func(c app.EndpointChange) error {
		_, err := h.app.UpdateEndpoint(t.Context(), h.live, id, c)
		return err
	}
	if err := change(app.EndpointChange{URL: &url}); hook.CodeOf(err) != hook.CodeInvalidRequest {
		t.Errorf("URL: %v", err)
	}
	if err := change(app.EndpointChange{Profile: &profile}); hook.CodeOf(err) != hook.CodeInvalidRequest {
		t.Errorf("profile: %v", err)
	}
	if err := change(app.EndpointChange{MaxInFlight: &most, Enabled: &on}); err != nil {
		t.Errorf("what may be changed while it listens: %v", err)
	}
	l.Close()
	for end := time.Now().Add(5 * time.Second); h.endpoint(l).Status == hook.Enabled; {
		if time.Now().After(end) {
			t.Fatal("not away within 5 s")
		}
		<-time.After(5 * time.Millisecond)
	}
	if err := change(app.EndpointChange{Enabled: &on}); hook.CodeOf(err) != hook.CodeConflict {
		t.Errorf("enabled without listening: %v", err)
	}
}

// The PaySway and paywise management APIs contain only subscriptions with an address: a
// listener is not in their lists and does not count towards their limits. An endpoint
// in the same format that has an address is the control.
func TestListenersAreNoSubscriptions(t *testing.T) {
	h := newTestAPI(t)
	key := h.key(hook.TenantKey, "acme").Text
	h.must(key, client.ListenOptions{Name: "dev", Profile: "paysway"})
	mount, err := h.app.Mount("paysway")
	if err != nil {
		t.Fatal(err)
	}
	caller, err := h.app.Authenticate(t.Context(), key, netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	count := func() int {
		_, n, err := mount.Endpoints(t.Context(), caller, nil, hook.Window{Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := count(); n != 0 {
		t.Errorf("%d subscriptions", n)
	}
	if _, _, err := h.app.CreateEndpoint(t.Context(), caller, app.NewEndpoint{URL: "https://example.com/hook", Types: []string{"*"}, Profile: "paysway"}, nil); err != nil {
		t.Fatal(err)
	}
	if n := count(); n != 1 {
		t.Errorf("%d subscriptions, want the one with an address", n)
	}
}
