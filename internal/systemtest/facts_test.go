package systemtest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/server/servertest"
	"github.com/posthorn/posthorn/webhook"
)

// Facts about PaySway and paywise that a receiver sees on the wire, tested on requests sent
// by a complete node. The pages in docs/conformance refer to the tests by name.

var seeds = []string{"paysway", "paywise"}

// exchange makes an API call with the given credential and body.
func (l *live) exchange(method, path, key, contentType, body string) (int, []byte) {
	l.T.Helper()
	r, err := http.NewRequestWithContext(l.T.Context(), method, l.API.URL+path, strings.NewReader(body))
	if err != nil {
		l.T.Fatal(err)
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	if body != "" {
		r.Header.Set("Content-Type", contentType)
	}
	got, err := http.DefaultTransport.RoundTrip(r) // follows no redirects
	if err != nil {
		l.T.Fatal(err)
	}
	defer func() { _ = got.Body.Close() }()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		l.T.Fatal(err)
	}
	return got.StatusCode, text
}

// seed calls the management API of PaySway or paywise as the customer "acme", and returns
// the decoded object.
func (l *live) seed(status int, method, path, key, body string) map[string]any {
	l.T.Helper()
	got, text := l.exchange(method, path, key, "application/json", body)
	var object map[string]any
	if err := json.Unmarshal(text, &object); got != status || err != nil && status != 204 {
		l.T.Fatalf("%s %s: %d %s, want %d", method, path, got, text, status)
	}
	return object
}

// payswayToken returns a token for a new key of the tenant.
func (l *live) payswayToken() string {
	l.T.Helper()
	key := l.tenantKey()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {key.ID}, "client_secret": {key.Key}}
	_, text := l.exchange("POST", "/oauth2/token", "", "application/x-www-form-urlencoded", form.Encode())
	token := member(string(text), "access_token")
	if token == "" {
		l.T.Fatalf("token: %s", text)
	}
	return token
}

// at returns the receiver's URL with a host name and the path.
func (l *live) at(path string) string {
	return strings.Replace(l.Receiver.URL, "127.0.0.1", "localhost", 1) + path
}

// PaySway accepts exactly 200, and paywise every 2xx. Neither follows redirects, and a 410
// is an ordinary failure.
func TestSeedsSuccess(t *testing.T) {
	for _, name := range seeds {
		t.Run(name, func(t *testing.T) {
			l := startLive(t, "--dev", "--profile", name)
			l.Answers(func(w http.ResponseWriter, r *http.Request) {
				status, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
				w.Header().Set("Location", l.at("/200"))
				w.WriteHeader(status)
			})
			want := map[string]string{}
			for _, status := range []int{200, 201, 202, 204, 299, 300, 301, 302, 303, 307, 308, 400, 401, 404, 410, 500, 503} {
				e := l.Endpoint(client.NewEndpoint{URL: l.at("/" + strconv.Itoa(status)), Retry: &client.Retry{Steps: []string{"1h"}}})
				success := status == 200 || name == "paywise" && status < 300
				want[e.ID] = map[bool]string{true: "succeeded", false: "pending"}[success]
			}
			l.Publish("mandate.created", `{}`)
			var rows []client.Delivery
			l.Until("every answer is recorded", func() bool {
				page, err := l.API.Deliveries(t.Context(), client.DeliveryQuery{})
				rows = page.Data
				for _, d := range rows {
					if d.Attempts == 0 {
						return false
					}
				}
				return err == nil && len(rows) == len(want)
			})
			for _, d := range rows {
				if d.State != want[d.Endpoint] || d.Attempts != 1 {
					t.Errorf("answered %d: %s after %d attempts, want %s", *d.LastStatus, d.State, d.Attempts, want[d.Endpoint])
				}
			}
			if n := len(l.Arrivals()); n != len(want) {
				t.Errorf("%d requests for %d endpoints: a redirect was followed", n, len(want))
			}
		})
	}
}

// A receiver has thirty seconds to respond.
func TestSeedsTimeout(t *testing.T) {
	for _, name := range seeds {
		t.Run(name, func(t *testing.T) {
			for took, attempts := range map[time.Duration]int{29 * time.Second: 1, 31 * time.Second: 2} {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, func(int) int { return http.StatusOK })
					defer w.close()
					var asked atomic.Int64
					w.server.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
						if asked.Add(1) == 1 {
							<-time.After(took)
						}
						w.ServeHTTP(rw, r)
					})
					e, _ := w.endpoint(name)
					w.publish(e.Scope, "mandate.created")
					time.Sleep(2 * time.Minute)
					d, log := w.delivery(e.Scope)
					if d.State != hook.Succeeded || len(log) != attempts || attempts == 2 && (log[0].Class != hook.ClassTimeout || log[0].Duration != 30*time.Second) {
						t.Errorf("an answer after %v: %v, %+v", took, d.State, log)
					}
				})
			}
		})
	}
}

// paywise retries 1, 5 and 15 minutes after the end of the previous attempt, with the same
// bytes, and then gives up.
func TestPaywiseSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const took = 7 * time.Second
		w := newWorld(t, func(int) int { return http.StatusUnauthorized })
		defer w.close()
		w.server.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			<-time.After(took)
			w.ServeHTTP(rw, r) // records the time after the wait
		})
		e, _ := w.endpoint("paywise")
		w.publish(e.Scope, "mandate.created")
		time.Sleep(30 * 24 * time.Hour)
		got := w.arrivals()
		steps := []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute}
		if len(got) != len(steps)+1 {
			t.Fatalf("%d attempts, want 4", len(got))
		}
		for i, step := range steps {
			pause := got[i+1].At.Sub(got[i].At) - took
			if pause < step || pause > step+5*time.Millisecond {
				t.Errorf("retry %d began %v after the failure before, want %v", i+1, pause, step)
			}
			for _, name := range []string{"X-Paywise-Delivery-ID", "X-Paywise-Signature", "X-Paywise-Event", "User-Agent"} {
				if was, now := got[0].Header.Get(name), got[i+1].Header.Get(name); was != now || was == "" {
					t.Errorf("retry %d: %s is %q, was %q", i+1, name, now, was)
				}
			}
			if !bytes.Equal(got[i+1].Body, got[0].Body) {
				t.Errorf("retry %d sent another body", i+1)
			}
		}
		if d, _ := w.delivery(e.Scope); d.State != hook.Failed || d.Reason != hook.ReasonPolicyEnded {
			t.Errorf("%v, %q", d.State, d.Reason)
		}
	})
}

// A pending delivery is sent to the URL and signed with the secret that are current at the
// time of the attempt.
func TestRetriesUseTheEndpointAsItIs(t *testing.T) {
	for name, spec := range map[string]webhook.Spec{"paysway": webhook.PaySway(), "paywise": webhook.Paywise()} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, func(n int) int { return map[bool]int{true: 500, false: 200}[n == 1] })
				defer w.close()
				var mu sync.Mutex
				var paths []string
				w.server.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					mu.Lock()
					paths = append(paths, r.URL.Path)
					mu.Unlock()
					w.ServeHTTP(rw, r)
				})
				e, old := w.endpoint(name)
				w.publish(e.Scope, "mandate.created")
				time.Sleep(time.Second)
				p, _ := w.profiles.Get(name)
				text, encoding, err := p.NewSecret()
				if err != nil {
					t.Fatal(err)
				}
				if _, err := w.store.UpdateEndpoint(t.Context(), e.Scope, e.ID, func(row hook.Endpoint) (hook.Endpoint, error) {
					row.URL = "http://hooks.example.com/moved"
					return row, nil
				}, false); err != nil {
					t.Fatal(err)
				}
				if _, _, err := w.store.RotateSecret(t.Context(), e.Scope, e.ID, hook.Secret{Text: text, Encoding: encoding}, 0, nil); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Minute)
				got := w.arrivals()
				if len(got) != 2 || paths[0] != "/in" || paths[1] != "/moved" {
					t.Fatalf("%d requests to %v", len(got), paths)
				}
				for i, secrets := range [][2]string{{old, text}, {text, old}} {
					for k, secret := range secrets {
						v, err := webhook.NewVerifier(spec, secret)
						if err != nil {
							t.Fatal(err)
						}
						v.Now = func() time.Time { return got[i].At }
						if err := v.Verify(got[i].Header, got[i].Body); (err == nil) != (k == 0) {
							t.Errorf("request %d, secret %d: %v", i+1, k, err)
						}
					}
				}
			})
		})
	}
}

// Subscriptions created over PaySway's API: each has its own URL, filter and secret, and
// each event is a request of its own. A disabled subscription gets nothing, neither at that
// time nor later.
func TestPaySwaySubscriptionsOnTheWire(t *testing.T) {
	l := startLive(t, "--dev", "--profile", "paysway")
	token := l.payswayToken()
	const path = "/webhooks/subscriptions"
	subscribe := func(hookPath, events string) map[string]any {
		return l.seed(201, "POST", path, token, `{"title":"t","url":"`+l.at(hookPath)+`","events":`+events+`}`)
	}
	both := subscribe("/both", `["RECIPIENT.CREATED","RECIPIENT.DELETED"]`)
	one := subscribe("/one", `["RECIPIENT.CREATED"]`)
	subscribe("/none", `[]`)

	publish := func(eventType, id string, deliveries int) {
		if made := l.Publish(eventType, `{"id": "`+id+`"}`); made.DeliveryCount != deliveries {
			t.Errorf("%s: %d deliveries, want %d", id, made.DeliveryCount, deliveries)
		}
	}
	publish("RECIPIENT.CREATED", "first", 2)
	publish("RECIPIENT.DELETED", "second", 1)
	publish("RECIPIENT.UPDATED", "third", 0)
	l.Await(3)
	l.seed(200, "PATCH", path+"/"+one["id"].(string), token, `{"enabled":false}`)
	publish("RECIPIENT.CREATED", "fourth", 1)
	l.Await(4)
	l.seed(200, "PATCH", path+"/"+one["id"].(string), token, `{"enabled":true}`)
	publish("RECIPIENT.CREATED", "fifth", 2)

	seen := map[string]bool{}
	for _, a := range l.Await(6) {
		var body struct{ ID, EventType, CreatedAt, Object json.RawMessage }
		if err := json.Unmarshal(a.Body, &body); err != nil {
			t.Fatal(err)
		}
		id := member(strings.ReplaceAll(string(body.Object), `": "`, `":"`), "id")
		seen[a.Header.Get(":path")+" "+id] = true
		mine, other := both["secret"].(string), one["secret"].(string)
		if a.Header.Get(":path") == "/one" {
			mine, other = other, mine
		}
		for _, secret := range []string{mine, other} {
			v, err := webhook.NewVerifier(webhook.PaySway(), secret)
			if err != nil {
				t.Fatal(err)
			}
			if err := v.Verify(a.Header, a.Body); (err == nil) != (secret == mine) {
				t.Errorf("%s %s: %v", a.Header.Get(":path"), id, err)
			}
		}
		if a.Header.Get(":method") != "POST" || a.Header.Get("Content-Type") != "application/json" || a.Header.Get("User-Agent") != "Posthorn/1" ||
			!regexp.MustCompile(`^t=\d{10},v1=[0-9a-f]{64}$`).MatchString(a.Header.Get("X-PaySway-Signature")) {
			t.Errorf("%v", a.Header)
		}
	}
	for _, want := range []string{"/both first", "/one first", "/both second", "/both fourth", "/both fifth", "/one fifth"} {
		if !seen[want] {
			t.Errorf("%s did not come", want)
		}
	}
	if len(seen) != 6 || len(l.Arrivals()) != 6 {
		t.Errorf("%d requests, want 6 different: %v", len(l.Arrivals()), seen)
	}
}

// When the server cannot handle a request, its error has PaySway's format.
func TestPaySwayServerErrors(t *testing.T) {
	l := startLive(t, "--dev", "--profile", "paysway")
	token := l.payswayToken()
	l.seed(200, "GET", "/webhooks/subscriptions", token, "") // the control: it works
	if err := l.Node.Store().Close(); err != nil {
		t.Fatal(err)
	}
	got := l.seed(503, "POST", "/webhooks/subscriptions", token, `{"title":"t","url":"`+l.at("/")+`","events":[]}`)
	if message, _ := got["message"].(string); got["code"] != "UNEXPECTED_ERROR" || message == "" || len(got) != 2 {
		t.Errorf("%v", got)
	}
}

// A paywise test event has real headers and a real signature, whatever the subscription. It
// is one attempt, logged as a delivery, not counted, and of the key's own mode.
func TestPaywiseTestEventOnTheWire(t *testing.T) {
	for mode, access := range map[string]string{"live": "production", "test": "test"} {
		t.Run(mode, func(t *testing.T) {
			l := startLive(t, "--dev", "--profile", "paywise")
			if mode == "test" {
				l.API.Key = l.Config.OperatorTestKey
			}
			key := l.tenantKey().Key
			l.Answers(servertest.Always(http.StatusInternalServerError))
			made := l.seed(201, "POST", "/v1/webhooks/", key, `{"url":"`+l.at("/hook")+`","events":["claim.updated"],"max_consecutive_failures":1}`)
			one := "/v1/webhooks/" + made["id"].(string) + "/"
			sent := l.seed(202, "POST", one+"test/", key, "")
			a := l.Await(1)[0]
			var body struct {
				Event, Timestamp string
				Data             map[string]any
			}
			if err := json.Unmarshal(a.Body, &body); err != nil {
				t.Fatal(err)
			}
			if body.Event != "webhook.test" || a.Header.Get("X-Paywise-Event") != body.Event || body.Data["company_id"] != "acme" ||
				body.Data["access_mode"] != access || body.Data["test"] != true || made["access_mode"] != access {
				t.Errorf("%s", a.Body)
			}
			if a.Header.Get("X-Paywise-Delivery-ID") != sent["id"] || a.Header.Get("User-Agent") != "paywise-webhooks/1.0" || a.Header.Get(":method") != "POST" {
				t.Errorf("%v, delivery %v", a.Header, sent)
			}
			v, err := webhook.NewVerifier(webhook.Paywise(), made["secret_key"].(string))
			if err != nil {
				t.Fatal(err)
			}
			if err := v.Verify(a.Header, a.Body); err != nil {
				t.Error(err)
			}
			l.Until("the failure is final", func() bool {
				return l.seed(200, "GET", one+"deliveries/?status=failed", key, "")["count"] == 1.0
			})
			if now := l.seed(200, "GET", one, key, ""); now["consecutive_failures"] != 0.0 || now["enabled"] != true {
				t.Errorf("a failed test event counts: %v", now)
			}
			// The control: a real event that fails counts, disables the endpoint, and is logged.
			l.Publish("claim.updated", `{}`)
			l.Until("the endpoint is disabled", func() bool { return l.seed(200, "GET", one, key, "")["enabled"] == false })
			l.Until("the log says so", func() bool {
				return strings.Contains(l.Log.String(), "endpoint disabled: only failures") && strings.Contains(l.Log.String(), made["id"].(string))
			})
			if n := len(l.Arrivals()); n != 2 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// paywise has no call that handles many webhooks at once.
func TestPaywiseHasNoBulkCalls(t *testing.T) {
	l := startLive(t, "--dev", "--profile", "paywise")
	key := l.tenantKey().Key
	for _, method := range []string{"PUT", "PATCH", "DELETE"} {
		l.seed(405, method, "/v1/webhooks/", key, `[]`)
	}
	l.seed(400, "POST", "/v1/webhooks/", key, `[{"url":"`+l.at("/")+`","events":["claim.updated"]}]`)
}
