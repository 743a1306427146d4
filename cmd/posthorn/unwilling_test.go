package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/app"
)

// flood does what a tenant's key can to a host that never agreed to anything: many
// endpoints there, an event for each, resent, tested and retried. It returns what reached
// the host once all of the first attempts are through.
func flood(t *testing.T, args ...string) (l *live, got []arrival) {
	t.Helper()
	const endpoints = 10
	l = startLive(t, append([]string{"--dev"}, args...)...)
	l.answers(always(http.StatusNotFound))
	operator, mine := l.api, &client.Client{URL: l.api.URL, Key: l.tenantKey().Key}
	l.api = mine
	var made []client.Endpoint
	for range endpoints {
		made = append(made, l.endpoint(client.NewEndpoint{}))
	}
	l.api = operator
	event := l.publish("a.b", `{"big":"`+strings.Repeat("x", 1000)+`"}`)
	for range 3 {
		_, _ = mine.ResendEvent(t.Context(), event.ID, "", client.Resend{}) // what is refused is the point
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
	return l, l.await(endpoints)
}

// typeOf returns the type of the event in a request of the standard format.
func typeOf(t *testing.T, a arrival) string {
	t.Helper()
	var body struct{ Type string }
	if err := json.Unmarshal(a.body, &body); err != nil {
		t.Fatal(err)
	}
	return body.Type
}

// A host that never agreed gets a challenge for each endpoint, and nothing else.
func TestFloodReachesOnlyTheWilling(t *testing.T) {
	l, _ := flood(t, "--verify-endpoints")
	l.until("every challenge is answered", func() bool {
		page, err := l.api.Endpoints(t.Context(), client.EndpointQuery{Tenant: "acme", DisabledReason: client.DisabledUnverified})
		failed := 0
		for _, e := range page.Data {
			if e.Verification.State == client.VerificationFailed && *e.Verification.Reason == "The endpoint answered 404." {
				failed++
			}
		}
		return err == nil && failed == 10
	})
	got := l.arrivals()
	for _, a := range got {
		if typeOf(t, a) != app.ChallengeType || a.header.Get("Webhook-Signature") == "" || len(a.body) > 300 {
			t.Errorf("%s %v", a.body, a.header)
		}
	}
	held, err := l.api.Deliveries(t.Context(), client.DeliveryQuery{Tenant: "acme", State: client.StateHeld})
	if len(got) != 10 || err != nil || len(held.Data) != 10 {
		t.Errorf("%d requests, %d held, %v", len(got), len(held.Data), err)
	}
}

// Control: without the option all of it goes there.
func TestFloodReachesTheUnwilling(t *testing.T) {
	l, _ := flood(t)
	for _, a := range l.await(30) {
		if typeOf(t, a) == app.ChallengeType {
			t.Error("a challenge without the option")
		}
	}
}

// A receiver that agrees gets what was held meanwhile. When the endpoint moves, the next
// host is asked in its turn, and gets nothing that the first one was to get.
func TestVerifiedEndpointReceives(t *testing.T) {
	l := startLive(t, "--dev", "--verify-endpoints")
	l.answers(always(http.StatusServiceUnavailable))
	e := l.endpoint(client.NewEndpoint{RateLimit: 1000})
	first := l.await(1)[0]
	if typeOf(t, first) != app.ChallengeType {
		t.Fatalf("%s", first.body)
	}
	l.publish("one", `{}`)
	state := func(want string) func() bool {
		return func() bool {
			now, err := l.api.Endpoint(t.Context(), e.ID)
			return err == nil && now.Verification.State == want
		}
	}
	l.until("it failed", state(client.VerificationFailed))
	l.answers(nil)
	cli := func(args ...string) string {
		t.Helper()
		out, errOut, code := invoke(t, "", args...)
		if code != exitOK {
			t.Fatalf("%v: %d %s", args, code, errOut)
		}
		return out + errOut
	}
	t.Setenv("POSTHORN_URL", l.api.URL)
	t.Setenv("POSTHORN_KEY", l.api.Key)
	if out := cli("endpoint", "list", "--tenant", "acme"); !strings.Contains(out, "VERIFICATION.STATE") || !strings.Contains(out, "failed") {
		t.Error(out)
	}
	if out := cli("endpoint", "verify", e.ID); !strings.Contains(out, "posthorn endpoint get "+e.ID) {
		t.Error(out)
	}
	got := l.await(3)
	if typeOf(t, got[1]) != app.ChallengeType || typeOf(t, got[2]) != "one" || bytes.Equal(got[0].body, got[1].body) {
		t.Errorf("%s, then %s", got[1].body, got[2].body)
	}

	second := &live{t: t, answer: always(http.StatusNotFound), log: l.log}
	second.receiver = httptest.NewServer(second)
	t.Cleanup(second.receiver.Close)
	url := strings.Replace(second.receiver.URL, "127.0.0.1", "localhost", 1)
	if _, err := l.api.UpdateEndpoint(t.Context(), e.ID, client.EndpointPatch{URL: client.Set(url)}); err != nil {
		t.Fatal(err)
	}
	l.publish("two", `{}`)
	l.until("the second host said no", state(client.VerificationFailed))
	if there := second.arrivals(); len(there) != 1 || typeOf(t, there[0]) != app.ChallengeType {
		t.Errorf("%d requests at the second host", len(there))
	}
	cli("endpoint", "verify", e.ID, "--trust")
	if last := second.await(2); typeOf(t, last[1]) != "two" {
		t.Errorf("%s", last[1].body)
	}
}
