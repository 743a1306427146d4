package store

import (
	"encoding/json"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/pgtest"
)

// Whichever node sees a failure or the success, and however old its memory is: a transition
// is one alert, and digests of all nodes come once.
func TestAlertsOverTwoNodes(t *testing.T) {
	url := pgtest.Database(t)
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	pass := func(d time.Duration) { ahead.Add(int64(d)) }
	a, b := newPeer(t, url, 0, now), newPeer(t, url, 0, now)
	e := a.endpoint()
	operator := hook.Scope{Tenant: hook.OperatorTenant, Mode: hook.Live}
	_, _, err := a.CreateEndpoint(t.Context(), hook.Endpoint{Scope: operator, URL: "https://ops.example.com", Types: hook.Filter{"*"}, Operational: true}, nil)
	a.must(err)
	trip := hook.Trip{Count: hook.TripDuration, For: 10 * time.Hour}
	attempt := func(p *peer, status int) {
		t.Helper()
		p.take()
		p.publish()
		for _, j := range p.take() {
			if j.Target.ID != e.ID {
				continue
			}
			_, err := p.Settle(t.Context(), []hook.Settlement{{Job: j, Outcome: hook.Outcome{StartedAt: now(), Status: status, Success: status == 200,
				Enablings: j.Target.Enablings, Policy: &hook.Policy{Retry: hook.Retry{Steps: []time.Duration{time.Hour}, Repeat: true}, Trip: trip}}}})
			p.must(err)
			return
		}
		t.Fatal("no job")
	}
	seen := func(want ...string) {
		t.Helper()
		list, _, err := b.Events(t.Context(), hook.EventQuery{Scope: operator})
		b.must(err)
		var got []string
		for i := range list {
			got = append([]string{list[i].Type}, got...)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("alerts %v, want %v", got, want)
		}
	}
	for range 3 {
		attempt(a, 500)
		attempt(b, 500)
	}
	seen()
	pass(6 * time.Minute)
	attempt(a, 500)
	attempt(b, 500)
	seen(hook.AlertEndpointFailing)
	pass(5 * time.Hour)
	attempt(b, 500)
	attempt(a, 500)
	seen(hook.AlertEndpointFailing, hook.AlertEndpointWarned)
	attempt(b, 200)
	attempt(a, 200)
	seen(hook.AlertEndpointFailing, hook.AlertEndpointWarned, hook.AlertEndpointRecovered)
	// unit.Sums of both nodes are one digest, whoever publishes it.
	for _, p := range []*peer{a, b} {
		for range hook.AlertsPerWindow + 5 {
			_, _, err := p.CreateEndpoint(t.Context(), hook.Endpoint{Scope: acme, URL: "https://example.com", Types: hook.Filter{}}, nil)
			p.must(err)
		}
	}
	done := make(chan error, 2)
	for _, p := range []*peer{a, b} {
		go func() { _, err := p.Digest(t.Context()); done <- err }()
	}
	a.must(<-done)
	a.must(<-done)
	list, _, err := a.Events(t.Context(), hook.EventQuery{Scope: operator, Type: hook.AlertDigest})
	a.must(err)
	if len(list) != 1 {
		t.Fatalf("%d digests", len(list))
	}
	one, err := a.Event(t.Context(), operator, list[0].ID)
	a.must(err)
	singly, _, err := a.Events(t.Context(), hook.EventQuery{Scope: operator, Type: hook.AlertEndpointCreated})
	a.must(err)
	var digest hook.DigestAlert
	made := int64(2 * (hook.AlertsPerWindow + 5))
	if err := json.Unmarshal(one.Data, &digest); err != nil || digest.Total+int64(len(singly)) != made || len(singly) > 2*hook.AlertsPerWindow {
		t.Errorf("%d endpoints, %d alerts one by one, and %s %v", made, len(singly), one.Data, err)
	}
}
