package systemtest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/api/paywise"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
)

// paywiseDay is a paywise customer in virtual time: an endpoint, created and observed over
// paywise's own API, and events published to it.
type paywiseDay struct {
	*world
	api     http.Handler
	key     string
	service *app.Service
	id      string
}

func newPaywiseDay(t *testing.T, defaultProfile string, answer func(n int) int, more ...*profile.Profile) *paywiseDay {
	t.Helper()
	d := &paywiseDay{world: newWorld(t, answer)}
	for _, p := range more {
		if err := d.profiles.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	const operator = "an-operator-key-of-at-least-32-characters"
	var err error
	d.service, err = app.New(app.Options{Store: d.store, Profiles: d.profiles, Profile: defaultProfile, OperatorKey: operator, CheckHeaders: egress.CheckHeaders,
		Admit: func(ctx context.Context, raw string, ipHosts bool) (string, []app.Warning, error) {
			canonical, _, err := d.client.Admit(ctx, raw, egress.Rules{IPHosts: ipHosts})
			return canonical, nil, err
		}})
	if err != nil {
		t.Fatal(err)
	}
	caller := app.Caller{Kind: hook.Operator, Mode: hook.Live}
	if _, _, err := d.service.CreateTenant(t.Context(), caller, "acme", "", nil); err != nil {
		t.Fatal(err)
	}
	k, _, err := d.service.CreateKey(t.Context(), caller, hook.Key{Kind: hook.TenantKey, Tenant: "acme"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	d.key = k.Text
	if d.api, err = paywise.New(paywise.Options{Service: d.service, Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	made := d.call(201, "POST", "/v1/webhooks/", `{"url":"http://hooks.example.com/in","events":["mandate.created"]}`)
	d.id, _ = made["id"].(string)
	return d
}

func (d *paywiseDay) call(status int, method, path, body string) map[string]any {
	d.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+d.key)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	d.api.ServeHTTP(w, r)
	text, _ := io.ReadAll(w.Body)
	var v map[string]any
	if err := json.Unmarshal(text, &v); w.Code != status || err != nil {
		d.t.Fatalf("%s %s: %d %s", method, path, w.Code, text)
	}
	return v
}

func (d *paywiseDay) endpoint() map[string]any {
	d.t.Helper()
	return d.call(200, "GET", "/v1/webhooks/"+d.id+"/", "")
}

func (d *paywiseDay) count(status string) int {
	d.t.Helper()
	n, _ := d.call(200, "GET", "/v1/webhooks/"+d.id+"/deliveries/?limit=1&status="+status, "")["count"].(float64)
	return int(n)
}

func (d *paywiseDay) publish() {
	d.t.Helper()
	got, _, err := d.service.Publish(d.t.Context(), app.Caller{Kind: hook.Operator, Mode: hook.Live},
		app.Event{Tenant: "acme", Type: "mandate.created", Data: []byte(`{"id":"m"}`)}, nil)
	if err != nil || got.Deliveries != 1 {
		d.t.Fatalf("%+v %v", got, err)
	}
}

// health checks the endpoint as the customer sees it.
func (d *paywiseDay) health(when string, enabled bool, failures int) {
	d.t.Helper()
	if e := d.endpoint(); e["enabled"] != enabled || fmt.Sprint(e["consecutive_failures"]) != fmt.Sprint(failures) || (e["last_failure_at"] == nil) != (failures == 0) {
		d.t.Fatalf("%s: %v; want enabled %v with %d failures", when, e, enabled, failures)
	}
}

// A day of a paywise endpoint: it works, it fails fifty times in a row and is disabled,
// further deliveries are held, the customer enables it, all held deliveries are sent, and
// its failure record is empty.
func TestPaywiseEndpointsDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := http.StatusOK
		d := newPaywiseDay(t, "paywise", func(int) int { return status })
		defer d.close()
		d.publish()
		time.Sleep(time.Minute)
		d.health("a success", true, 0)

		d.mu.Lock()
		status = http.StatusInternalServerError
		d.mu.Unlock()
		d.publish()
		time.Sleep(10 * time.Second)
		d.health("one failure", true, 1)
		d.mu.Lock()
		status = http.StatusOK
		d.mu.Unlock()
		time.Sleep(2 * time.Minute)
		d.health("its retry went well", true, 0)

		d.mu.Lock()
		status = http.StatusInternalServerError
		d.mu.Unlock()
		quiet := len(d.arrivals())
		for range 12 { // four attempts each: 48
			d.publish()
			time.Sleep(time.Hour)
		}
		d.health("48 failures", true, 48)
		if n := d.count("failed"); n != 12 {
			t.Fatalf("%d deliveries failed for good, want 12", n)
		}
		for range 2 {
			d.publish()
			time.Sleep(5 * time.Second) // the retries of these two follow the fiftieth failure
		}
		d.health("the fiftieth failure", false, 50)
		if n := len(d.arrivals()) - quiet; n != 50 {
			t.Fatalf("%d attempts failed, want 50", n)
		}
		for range 5 {
			d.publish()
		}
		time.Sleep(6 * time.Hour)
		d.health("disabled for six hours", false, 50)
		if n := len(d.arrivals()) - quiet; n != 50 {
			t.Fatalf("%d attempts while it was disabled", n-50)
		}
		if n := d.count("pending"); n != 7 {
			t.Fatalf("%d deliveries are held, want the 2 that were waiting and 5 that came", n)
		}

		d.mu.Lock()
		status = http.StatusNoContent
		d.mu.Unlock()
		time.Sleep(24 * time.Hour)
		d.health("never by itself", false, 50)
		d.call(200, "PATCH", "/v1/webhooks/"+d.id+"/", `{"enabled":true}`)
		d.health("enabled", true, 0)
		time.Sleep(time.Minute)
		if n, held := len(d.arrivals())-quiet-50, d.count("pending"); n != 7 || held != 0 {
			t.Errorf("%d of the backlog of 7 went out, %d are still held", n, held)
		}
		d.health("drained", true, 0)
		if success, failed := d.count("success"), d.count("failed"); success != 2+7 || failed != 12 {
			t.Errorf("%d successes and %d failures in the list", success, failed)
		}
	})
}

// The profile determines what counts as a failure. Here it is a delivery that has failed
// permanently, so fifty failures take two hundred attempts.
func TestPaywiseCountsDeliveriesWhereTheProfileSaysSo(t *testing.T) {
	builtin, _ := profile.Builtin().Get("paywise")
	text := strings.NewReplacer("name: paywise\n", "name: paywise-patient\n", "attempts: 50", "deliveries: 50").Replace(string(builtin.Text()))
	patient, err := profile.Load("paywise-patient.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		d := newPaywiseDay(t, "paywise-patient", func(int) int { return http.StatusInternalServerError }, patient)
		defer d.close()
		for range 49 {
			d.publish()
			time.Sleep(time.Hour)
		}
		d.health("49 deliveries failed", true, 49)
		if n := len(d.arrivals()); n != 4*49 {
			t.Fatalf("%d attempts", n)
		}
		d.publish()
		time.Sleep(time.Hour)
		d.health("the fiftieth", false, 50)
	})
}

// A PaySway receiver answers one event with 204 for a week. The event is retried all week,
// at most an hour apart, and delays nothing else.
func TestPaySwayWeekOf204(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w *world
		old := func(body []byte) bool { return strings.Contains(string(body), `"RECIPIENT.DELETED"`) }
		w = newWorld(t, func(n int) int {
			if old(w.got[n-1].Body) { // the receiver holds the lock
				return http.StatusNoContent
			}
			return http.StatusOK
		})
		defer w.close()
		e, _ := w.endpoint("paysway")
		began := time.Now()
		w.publish(e.Scope, "RECIPIENT.DELETED")
		const fresh = 7 * 24
		var published []time.Time
		for range fresh {
			time.Sleep(time.Hour)
			published = append(published, time.Now())
			w.publish(e.Scope, "RECIPIENT.CREATED")
		}
		time.Sleep(time.Minute)

		var tries, arrived []time.Time
		for _, a := range w.arrivals() {
			if old(a.Body) {
				tries = append(tries, a.At)
			} else {
				arrived = append(arrived, a.At)
			}
		}
		week := 7 * 24 * time.Hour
		longest := 66*time.Minute + time.Second // the cap of one hour plus its jitter of one tenth
		for i, at := range tries {
			if i > 0 && at.Sub(tries[i-1]) > longest {
				t.Errorf("retry %d came %v after the one before", i, at.Sub(tries[i-1]))
			}
		}
		if len(tries) < int(week/longest) || began.Add(week).Sub(tries[len(tries)-1]) > longest {
			t.Errorf("%d tries, the last %v after the first", len(tries), tries[len(tries)-1].Sub(began))
		}
		if len(arrived) != fresh {
			t.Fatalf("%d of %d fresh events arrived, each is to come once", len(arrived), fresh)
		}
		for i, at := range arrived {
			if late := at.Sub(published[i]); late > time.Second {
				t.Errorf("fresh event %d came %v late", i, late)
			}
		}
		pending := hook.Pending
		rows, _, err := w.store.Deliveries(t.Context(), hook.DeliveryQuery{Scope: e.Scope, State: &pending})
		if err != nil || len(rows) != 1 || rows[0].LastStatus != http.StatusNoContent || rows[0].Attempts != len(tries) {
			t.Errorf("%+v %v: an operator must see the last status of what is still tried", rows, err)
		}
	})
}
