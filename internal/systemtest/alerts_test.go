package systemtest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/mail/mailtest"
	"github.com/posthorn/posthorn/internal/server/servertest"
	"github.com/posthorn/posthorn/webhook"
)

// gone answers 410 on one path and 200 on the others.
func gone(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/gone" {
		w.WriteHeader(http.StatusGone)
	}
}

func (l *live) on(path string) (found []servertest.Arrival) {
	for _, a := range l.Arrivals() {
		if a.Header.Get(":path") == path {
			found = append(found, a)
		}
	}
	return found
}

func (l *live) url(path string) string {
	return strings.Replace(l.Receiver.URL, "127.0.0.1", "localhost", 1) + path
}

func (l *live) operational(tenant, path, profile string, types ...string) client.Endpoint {
	l.T.Helper()
	e, err := l.API.CreateEndpoint(l.T.Context(), client.NewEndpoint{Tenant: tenant, URL: l.url(path), EventTypes: types, Profile: profile, Operational: true})
	if err != nil {
		l.T.Fatal(err)
	}
	return e
}

// An endpoint is disabled: the operator learns of it by a signed webhook, in its chat and by
// mail, the tenant by its own webhook, and another tenant not at all.
func TestOperationalEventsArrive(t *testing.T) {
	smtp := mailtest.New()
	smtp.NoTLS = true
	smtp.Start(t)
	l := startLive(t, "--dev", "--smtp-url", "smtp://ph:secret@"+smtp.Addr+"?tls=none", "--smtp-from", "posthorn@example.org", "--smtp-to", "ops@example.com", "--smtp-to", "second@example.com")
	l.Answers(gone)
	if _, err := l.API.CreateTenant(t.Context(), client.NewTenant{ID: "other"}); err != nil {
		t.Fatal(err)
	}
	ops := l.operational("@operator", "/ops", "", hook.AlertEndpointDisabled)
	l.operational("@operator", "/slack", "slack", hook.AlertEndpointDisabled)
	l.operational("acme", "/own", "", hook.AlertEndpointDisabled)
	l.operational("other", "/other", "", "*")
	made := l.Endpoint(client.NewEndpoint{URL: l.url("/gone")})
	l.Publish("invoice.paid", `{}`)
	l.Until("the operational events arrive", func() bool { return len(l.on("/ops")) == 1 && len(l.on("/own")) == 1 && len(l.on("/slack")) == 1 })
	for _, path := range []string{"/ops", "/own"} {
		var body struct {
			Type string             `json:"type"`
			Data hook.EndpointAlert `json:"data"`
		}
		if err := json.Unmarshal(l.on(path)[0].Body, &body); err != nil || body.Type != hook.AlertEndpointDisabled || body.Data.Endpoint != made.ID || body.Data.Reason != "gone" {
			t.Errorf("%s got %s, %v", path, l.on(path)[0].Body, err)
		}
	}
	v, err := webhook.NewVerifier(webhook.Standard(), ops.Secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Verify(l.on("/ops")[0].Header, l.on("/ops")[0].Body); err != nil {
		t.Errorf("the signature: %v", err)
	}
	if text := string(l.on("/slack")[0].Body); !strings.HasPrefix(text, `{"text":"Endpoint `+made.ID) {
		t.Errorf("the chat shows %s", text)
	}
	// All of live mode: created, exhausted, disabled, to two addresses.
	var subjects []string
	for range 6 {
		got := <-smtp.Mails()
		_, after, _ := strings.Cut(got.Text, "Subject: ")
		subject, _, _ := strings.Cut(after, "\r\n")
		subjects = append(subjects, got.To+" "+subject)
	}
	for _, to := range []string{"ops", "second"} {
		for _, what := range []string{"endpoint created", "endpoint disabled", "delivery exhausted"} {
			if !slices.Contains(subjects, "TO:<"+to+"@example.com> [Posthorn live] "+what+": acme") {
				t.Errorf("%s got no mail %q: %v", to, what, subjects)
			}
		}
	}
	if len(l.on("/other")) != 0 {
		t.Errorf("another tenant got %s", l.on("/other")[0].Body)
	}
	if strings.Contains(l.Log.String(), "secret@") {
		t.Error("the password is in the log")
	}
	// The addresses follow the option at the next start.
	l.Stop()
	l.Config.Alerts.SMTPTo = []string{"second@example.com"}
	l.Start()
	list, err := l.API.Endpoints(t.Context(), client.EndpointQuery{Tenant: "@operator"})
	if err != nil {
		t.Fatal(err)
	}
	var urls []string
	for _, e := range list.Data {
		urls = append(urls, e.URL)
	}
	slices.Sort(urls)
	if len(urls) != 3 || urls[2] != "mailto:second@example.com" {
		t.Errorf("the operator has %v", urls)
	}
}

// A mail server that hangs holds up nobody: webhooks go out, and the API answers.
func TestMailServerThatHangs(t *testing.T) {
	smtp := mailtest.New()
	smtp.Hang = "CONNECT"
	smtp.Start(t)
	l := startLive(t, "--dev", "--smtp-url", "smtp://"+smtp.Addr, "--smtp-from", "posthorn@example.org", "--smtp-to", "ops@example.com")
	l.Answers(gone)
	for range 5 {
		l.Endpoint(client.NewEndpoint{URL: l.url("/gone")})
	}
	l.Endpoint(client.NewEndpoint{URL: l.url("/fine")})
	l.operational("@operator", "/ops", "", hook.AlertEndpointDisabled)
	l.Publish("invoice.paid", `{}`)
	l.Until("the webhooks arrive", func() bool { return len(l.on("/ops")) == 5 && len(l.on("/fine")) == 1 })
	list, err := l.API.Deliveries(t.Context(), client.DeliveryQuery{Tenant: "@operator", State: "pending"})
	if err != nil || len(list.Data) == 0 {
		t.Errorf("control: no mail waits: %v %v", list, err)
	}
	smtp.Close() // the end of the test need not wait for it
}

// An address of --smtp-to that failures disabled gets mail again after the next start: no
// operational event tells anybody that it gets none. Control: one that was disabled by hand
// stays so.
func TestMailGoesOnAfterAStart(t *testing.T) {
	l := startLive(t, "--dev", "--smtp-url", "smtp://127.0.0.1:1", "--smtp-from", "posthorn@example.org", "--smtp-to", "ops@example.com,second@example.com")
	addresses := func() (all [2]client.Endpoint) {
		t.Helper()
		list, err := l.API.Endpoints(t.Context(), client.EndpointQuery{Tenant: "@operator"})
		if err != nil || len(list.Data) != 2 {
			t.Fatalf("%+v, %v", list, err)
		}
		slices.SortFunc(list.Data, func(a, b client.Endpoint) int { return strings.Compare(a.URL, b.URL) })
		return [2]client.Endpoint(list.Data)
	}
	made := addresses()
	for i, change := range []client.EndpointPatch{{MaxConsecutiveFailures: client.Set(1)}, {Enabled: client.Set(false)}} {
		if _, err := l.API.UpdateEndpoint(t.Context(), made[i].ID, change); err != nil {
			t.Fatal(err)
		}
	}
	l.Endpoint(client.NewEndpoint{URL: l.url("/fine")})
	l.Until("the address is disabled", func() bool { return !addresses()[0].Enabled })
	l.Stop()
	l.Start()
	for i, want := range []int{1, 0} {
		acts, err := l.API.AuditEntries(t.Context(), client.AuditQuery{Act: "endpoint.enabled", ObjectID: made[i].ID})
		if err != nil || len(acts.Data) != want {
			t.Errorf("%s was enabled %d times, want %d, %v", made[i].URL, len(acts.Data), want, err)
		}
	}
}

// A figure of the node over its threshold is an operational event of both modes.
func TestThresholdsAreAnnounced(t *testing.T) {
	l := startLive(t, "--dev")
	l.operational("@operator", "/ops", "", "posthorn.threshold.*")
	if err := l.Node.Store().Announce(t.Context(), hook.AlertExceeded, hook.NewThresholdAlert("disk", 93.4, 90, time.Now(), false, 7)); err != nil {
		t.Fatal(err)
	}
	l.Until("the operational event arrives", func() bool { return len(l.on("/ops")) == 1 })
	if text := string(l.on("/ops")[0].Body); member(text, "figure") != "disk" || !strings.Contains(text, "93.4 % full") {
		t.Errorf("%s", text)
	}
}
