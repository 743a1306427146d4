package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/client"
)

// script answers the requests of a test in order, without a network.
type script struct {
	steps []func(*http.Request) (*http.Response, error)
	keys  []string
	at    []time.Time
}

// RoundTrip performs the next step. The last step repeats indefinitely.
func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	s.keys, s.at = append(s.keys, r.Header.Get("Idempotency-Key")), append(s.at, time.Now())
	return s.steps[min(len(s.keys), len(s.steps))-1](r)
}

func answer(status int, body string, header ...string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) {
		h := http.Header{}
		for i := 0; i+1 < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{StatusCode: status, Status: http.StatusText(status), Header: h, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

func broken(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }

const (
	busy = `{"code":"server_busy","detail":"d","status":503}`
	slow = `{"code":"rate_limited","detail":"d","status":429}`
	done = `{"id":"1","delivery_count":1}`
)

func TestCallsAreRepeated(t *testing.T) {
	publish := func(ctx context.Context, c *client.Client) error {
		_, err := c.Publish(ctx, client.NewEvent{Type: "a", Data: json.RawMessage(`{}`)}, client.PublishOptions{})
		return err
	}
	read := func(ctx context.Context, c *client.Client) error { _, err := c.Tenant(ctx, "acme"); return err }
	remove := func(ctx context.Context, c *client.Client) error { return c.DeleteTenant(ctx, "acme") }
	cancel := func(ctx context.Context, c *client.Client) error { _, err := c.CancelDelivery(ctx, "1"); return err }
	type step = func(*http.Request) (*http.Response, error)
	for name, c := range map[string]struct {
		call     func(context.Context, *client.Client) error
		attempts int
		steps    []step
		calls    int
		code     string // of the error; "-" means another error
		atLeast  time.Duration
		keyed    bool
	}{
		"a lost connection":                {publish, 0, []step{broken, answer(202, done)}, 2, "", 0, true},
		"a lost connection of a read":      {read, 0, []step{broken, broken, answer(200, `{}`)}, 3, "", 0, false},
		"busy, then done":                  {publish, 0, []step{answer(503, busy, "Retry-After", "2"), answer(429, slow, "Retry-After", "3"), answer(202, done)}, 3, "", 5 * time.Second, true},
		"busy for ever":                    {publish, 0, []step{answer(503, busy)}, 4, "server_busy", 0, true},
		"lost for ever":                    {publish, 3, []step{broken}, 3, "-", 0, true},
		"a wait beyond the bound":          {publish, 0, []step{answer(429, slow, "Retry-After", "3600")}, 1, "rate_limited", 0, true},
		"refused":                          {publish, 0, []step{answer(422, `{"code":"invalid_request","detail":"d"}`)}, 1, "invalid_request", 0, true},
		"once":                             {publish, 1, []step{answer(503, busy)}, 1, "server_busy", 0, false},
		"a deletion that was perhaps done": {remove, 0, []step{broken, answer(204, "")}, 1, "-", 0, false},
		"a deletion that was not done":     {remove, 0, []step{answer(503, busy), answer(204, "")}, 2, "", 0, false},
		"a cancellation":                   {cancel, 0, []step{broken, answer(200, `{}`)}, 1, "-", 0, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{steps: c.steps}
			began := time.Now()
			err := c.call(t.Context(), &client.Client{URL: "https://hooks.example.com", Key: "k", Attempts: c.attempts, HTTP: &http.Client{Transport: s}})
			code := ""
			if p, ok := errors.AsType[*client.Problem](err); ok {
				code = p.Code
			} else if err != nil {
				code = "-"
			}
			if took := time.Since(began); len(s.keys) != c.calls || code != c.code || took < c.atLeast || took > c.atLeast+10*time.Second {
				t.Errorf("%s: %d calls in %v, %v; want %d calls and %q", name, len(s.keys), took, err, c.calls, c.code)
			}
			for _, key := range s.keys { // always the same key, and none where none is accepted or wanted
				if key != s.keys[0] || (key != "") != c.keyed {
					t.Errorf("%s: keys %q", name, s.keys)
				}
			}
		})
	}
}

// The context limits the retries: a wait that would outlast it does not start.
func TestRepeatsEndWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []func(*http.Request) (*http.Response, error){answer(503, busy, "Retry-After", "5")}}
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		began := time.Now()
		_, err := (&client.Client{URL: "https://hooks.example.com", HTTP: &http.Client{Transport: s}}).Tenant(ctx, "acme")
		if p, ok := errors.AsType[*client.Problem](err); !ok || p.Code != client.CodeServerBusy || len(s.keys) != 2 || time.Since(began) > 6*time.Second {
			t.Errorf("%d calls in %v: %v", len(s.keys), time.Since(began), err)
		}
	})
}

func TestKeysStayOffPlainHTTP(t *testing.T) {
	for url, sent := range map[string]bool{
		"http://hooks.example.com": false, "http://10.0.0.1:8080": false, "http://localhost.example.com": false, "http://[2001:db8::1]": false, "http://127.0.0.1.example.com": false,
		"https://hooks.example.com": true, "http://127.0.0.1:8080": true, "http://localhost": true, "http://LOCALHOST.": true, "http://[::1]:1": true, "http://a.localhost": true,
	} {
		s := &script{steps: []func(*http.Request) (*http.Response, error){answer(200, `{}`)}}
		c := &client.Client{URL: url, Key: "k", HTTP: &http.Client{Transport: s}}
		if _, err := c.Tenant(t.Context(), "acme"); (err == nil) != sent || sent == errors.Is(err, client.ErrPlainHTTP) || (len(s.keys) == 1) != sent {
			t.Errorf("%s: %v, %d calls", url, err, len(s.keys))
		}
		_, err := c.Listen(t.Context(), client.ListenOptions{Name: "dev"})
		if sent == errors.Is(err, client.ErrPlainHTTP) {
			t.Errorf("%s: listen: %v", url, err)
		}
		c.AllowPlainHTTP = true // the control
		if _, err := c.Tenant(t.Context(), "acme"); err != nil {
			t.Errorf("%s: allowed, and %v", url, err)
		}
		c.AllowPlainHTTP, c.Key = false, "" // nothing to protect
		if _, err := c.Tenant(t.Context(), "acme"); err != nil {
			t.Errorf("%s: without a key, %v", url, err)
		}
	}
}

func TestIteratorsWalkAllPages(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RawQuery+" "+r.Header.Get("User-Agent"))
		switch r.URL.Query().Get("cursor") {
		case "":
			_, _ = io.WriteString(w, `{"data":[{"id":"1"},{"id":"2"}],"next_cursor":"c2"}`)
		case "c2":
			_, _ = io.WriteString(w, `{"data":[],"next_cursor":"c3"}`)
		case "c3":
			_, _ = io.WriteString(w, `{"data":[{"id":"3"}],"next_cursor":null}`)
		default:
			w.WriteHeader(422)
		}
	}))
	defer server.Close()
	c := &client.Client{URL: server.URL}
	walk := c.AllDeliveries(t.Context(), client.DeliveryQuery{Tenant: "acme", State: client.StateFailed, After: time.Unix(0, 5000)})
	for range 2 { // an iterator starts over each time
		asked = nil
		var ids []string
		for d, err := range walk {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, d.ID)
		}
		if strings.Join(ids, "") != "123" || len(asked) != 3 || asked[0] != "after=1970-01-01T00%3A00%3A00.000005Z&state=failed&tenant=acme posthorn-go" {
			t.Errorf("%v %q", ids, asked)
		}
	}
	asked = nil
	for range walk {
		break // no more pages are requested than are needed
	}
	if len(asked) != 1 {
		t.Errorf("%q", asked)
	}
	yes, errs := false, 0
	for _, err := range c.AllEndpoints(t.Context(), client.EndpointQuery{Enabled: &yes, ListOptions: client.ListOptions{Cursor: "bad"}}) {
		if err == nil {
			t.Error("a row of a list that was refused")
		}
		errs++
	}
	if errs != 1 || !strings.HasPrefix(asked[1], "cursor=bad&enabled=false ") {
		t.Errorf("%d errors, %q", errs, asked)
	}
}

// listed walks a whole list and returns how many rows it has.
func listed[T any](t *testing.T, rows iter.Seq2[T, error]) (n int) {
	t.Helper()
	for _, err := range rows {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// Each list has an iterator over all its pages, at its own route.
func TestEachListHasAnIterator(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		if r.URL.Query().Get("cursor") == "" {
			_, _ = io.WriteString(w, `{"data":[{},{}],"next_cursor":"2"}`)
			return
		}
		_, _ = io.WriteString(w, `{"data":[{}],"next_cursor":null}`)
	}))
	defer server.Close()
	c, ctx := &client.Client{URL: server.URL}, t.Context()
	for path, walk := range map[string]func() int{
		"/v1/tenants":         func() int { return listed(t, c.AllTenants(ctx, client.TenantQuery{})) },
		"/v1/keys":            func() int { return listed(t, c.AllKeys(ctx, client.KeyQuery{})) },
		"/v1/endpoints":       func() int { return listed(t, c.AllEndpoints(ctx, client.EndpointQuery{})) },
		"/v1/events":          func() int { return listed(t, c.AllEvents(ctx, client.EventQuery{})) },
		"/v1/deliveries":      func() int { return listed(t, c.AllDeliveries(ctx, client.DeliveryQuery{})) },
		"/v1/replays":         func() int { return listed(t, c.AllReplays(ctx, client.ReplayQuery{})) },
		"/v1/portal/sessions": func() int { return listed(t, c.AllPortalSessions(ctx, client.PortalSessionQuery{})) },
		"/v1/partner-users":   func() int { return listed(t, c.AllPartnerUsers(ctx, client.PartnerUserQuery{})) },
		"/v1/event-types":     func() int { return listed(t, c.AllEventTypes(ctx, client.EventTypeQuery{})) },
	} {
		asked = nil
		if n := walk(); n != 3 || len(asked) != 2 || asked[0] != path || asked[1] != path {
			t.Errorf("%s: %d rows from %q", path, n, asked)
		}
	}
}
