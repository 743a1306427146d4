package systemtest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/cli"
	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/server/servertest"
)

// flood does everything that a tenant's key permits against a host that never agreed to
// deliveries: many endpoints there, an event for each, resent, tested and retried. It
// returns the requests that reached the host by the time all first attempts are finished.
func flood(t *testing.T, args ...string) (l *live, got []servertest.Arrival) {
	t.Helper()
	const endpoints = 10
	l = startLive(t, append([]string{"--dev"}, args...)...)
	l.Answers(servertest.Always(http.StatusNotFound))
	operator, mine := l.API, &client.Client{URL: l.API.URL, Key: l.tenantKey().Key}
	l.API = mine
	var made []client.Endpoint
	for range endpoints {
		made = append(made, l.Endpoint(client.NewEndpoint{}))
	}
	l.API = operator
	event := l.Publish("a.b", `{"big":"`+strings.Repeat("x", 1000)+`"}`)
	for range 3 {
		_, _ = mine.ResendEvent(t.Context(), event.ID, "", client.Resend{}) // may be refused, which is what the test is about
	}
	for _, e := range made {
		_, _ = mine.TestEndpoint(t.Context(), e.ID, client.TestRequest{})
	}
	rows, err := mine.Deliveries(t.Context(), client.DeliveryQuery{Event: event.ID})
	if err != nil || len(rows.Data) != endpoints {
		t.Fatalf("%d deliveries, %v", len(rows.Data), err)
	}
	for _, d := range rows.Data {
		_, _ = mine.RetryDelivery(t.Context(), d.ID)
	}
	return l, l.Await(endpoints)
}

// typeOf returns the event type of a request in the standard format.
func typeOf(t *testing.T, a servertest.Arrival) string {
	t.Helper()
	var body struct{ Type string }
	if err := json.Unmarshal(a.Body, &body); err != nil {
		t.Fatal(err)
	}
	return body.Type
}

// A host that never agreed gets one challenge for each endpoint, and nothing else.
func TestFloodReachesOnlyTheWilling(t *testing.T) {
	l, _ := flood(t, "--verify-endpoints")
	l.Until("every challenge is answered", func() bool {
		page, err := l.API.Endpoints(t.Context(), client.EndpointQuery{Tenant: "acme", DisabledReason: client.DisabledUnverified})
		failed := 0
		for _, e := range page.Data {
			if e.Verification.State == client.VerificationFailed && *e.Verification.Reason == "The endpoint answered 404." {
				failed++
			}
		}
		return err == nil && failed == 10
	})
	got := l.Arrivals()
	for _, a := range got {
		if typeOf(t, a) != app.ChallengeType || a.Header.Get("Webhook-Signature") == "" || len(a.Body) > 300 {
			t.Errorf("%s %v", a.Body, a.Header)
		}
	}
	held, err := l.API.Deliveries(t.Context(), client.DeliveryQuery{Tenant: "acme", State: client.StateHeld})
	if len(got) != 10 || err != nil || len(held.Data) != 10 {
		t.Errorf("%d requests, %d held, %v", len(got), len(held.Data), err)
	}
}

// The control: without the option, everything reaches the host.
func TestFloodReachesTheUnwilling(t *testing.T) {
	l, _ := flood(t)
	for _, a := range l.Await(30) {
		if typeOf(t, a) == app.ChallengeType {
			t.Error("a challenge without the option")
		}
	}
}

// A receiver that agrees gets the deliveries held until then. When the endpoint moves, the
// next host is challenged in turn, and gets nothing that was intended for the first one.
func TestVerifiedEndpointReceives(t *testing.T) {
	l := startLive(t, "--dev", "--verify-endpoints")
	l.Answers(servertest.Always(http.StatusServiceUnavailable))
	e := l.Endpoint(client.NewEndpoint{RateLimit: 1000})
	first := l.Await(1)[0]
	if typeOf(t, first) != app.ChallengeType {
		t.Fatalf("%s", first.Body)
	}
	l.Publish("one", `{}`)
	state := func(want string) func() bool {
		return func() bool {
			now, err := l.API.Endpoint(t.Context(), e.ID)
			return err == nil && now.Verification.State == want
		}
	}
	l.Until("it failed", state(client.VerificationFailed))
	l.Answers(nil)
	run := func(args ...string) string {
		t.Helper()
		out, errOut, code := servertest.Run(t, cli.Root(), "", args...)
		if code != exit.OK {
			t.Fatalf("%v: %d %s", args, code, errOut)
		}
		return out + errOut
	}
	t.Setenv("POSTHORN_URL", l.API.URL)
	t.Setenv("POSTHORN_KEY", l.API.Key)
	if out := run("endpoint", "list", "--tenant", "acme", "--wide"); !strings.Contains(out, "VERIFICATION.STATE") || !strings.Contains(out, "failed") {
		t.Error(out)
	}
	if out := run("endpoint", "verify", e.ID); !strings.Contains(out, "posthorn endpoint get "+e.ID) {
		t.Error(out)
	}
	got := l.Await(3)
	if typeOf(t, got[1]) != app.ChallengeType || typeOf(t, got[2]) != "one" || bytes.Equal(got[0].Body, got[1].Body) {
		t.Errorf("%s, then %s", got[1].Body, got[2].Body)
	}

	second := &live{&servertest.Live{T: t, Log: l.Log}}
	second.Answers(servertest.Always(http.StatusNotFound))
	second.Receiver = httptest.NewServer(second)
	t.Cleanup(second.Receiver.Close)
	url := strings.Replace(second.Receiver.URL, "127.0.0.1", "localhost", 1)
	if _, err := l.API.UpdateEndpoint(t.Context(), e.ID, client.EndpointPatch{URL: client.Set(url)}); err != nil {
		t.Fatal(err)
	}
	l.Publish("two", `{}`)
	l.Until("the second host said no", state(client.VerificationFailed))
	if there := second.Arrivals(); len(there) != 1 || typeOf(t, there[0]) != app.ChallengeType {
		t.Errorf("%d requests at the second host", len(there))
	}
	run("endpoint", "verify", e.ID, "--trust")
	if last := second.Await(2); typeOf(t, last[1]) != "two" {
		t.Errorf("%s", last[1].Body)
	}
}
