package store

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/alerts"
)

// A storm of alerts costs a digest few rows, however many transactions it has, and all
// audiences get theirs in one round.
func TestManyAlertsAreFewRows(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	p := openPeer(t, Options{Dir: t.TempDir(), Reserve: -1, Now: func() time.Time { return now },
		ProfileOf: func(*hook.Endpoint) hook.ProfileHash { return hook.ProfileHash{} }})
	operator := hook.Scope{Tenant: hook.OperatorTenant, Mode: hook.Live}
	_, _, err := p.CreateEndpoint(t.Context(), hook.Endpoint{Scope: operator, URL: "https://ops.example.com", Types: hook.Filter{"*"}, Operational: true}, nil)
	p.must(err)
	const left = 30
	storm := func() {
		for range hook.AlertsPerWindow + left {
			p.must(p.Announce(t.Context(), hook.AlertExceeded, &hook.ThresholdAlert{}))
			now = now.Add(time.Millisecond)
		}
	}
	digest := func(want int64, lasts time.Duration) {
		t.Helper()
		more, err := p.Digest(t.Context())
		p.must(err)
		list, _, err := p.Events(t.Context(), hook.EventQuery{Scope: operator, Type: hook.AlertDigest})
		p.must(err)
		e, err := p.Event(t.Context(), operator, list[0].ID)
		p.must(err)
		var d hook.DigestAlert
		p.must(json.Unmarshal(e.Data, &d))
		since, _ := time.Parse(time.RFC3339, d.Since)
		until, _ := time.Parse(time.RFC3339, d.Until)
		if more || d.Total != want || until.Sub(since) != lasts || p.count("SELECT count(*) FROM alert_sums") != 0 {
			t.Errorf("the digest is %+v, more %v", d, more)
		}
	}
	storm()
	if n := p.count("SELECT count(*) FROM alert_sums"); n != 2 {
		t.Errorf("%d rows for %d transactions", n, left)
	}
	digest(left, (left-1)*time.Millisecond)
	storm() // in the same window: the rows that it added to are gone
	digest(hook.AlertsPerWindow+left, (hook.AlertsPerWindow+left-1)*time.Millisecond)

	singly := func() int {
		list, _, err := p.Events(t.Context(), hook.EventQuery{Scope: operator, Type: hook.AlertExceeded})
		p.must(err)
		return len(list)
	}
	before := singly()
	now = now.Add(-time.Hour) // the clock is set back: a window does not last until then
	p.must(p.Announce(t.Context(), hook.AlertExceeded, &hook.ThresholdAlert{}))
	if n := singly(); before != hook.AlertsPerWindow || n != before+1 {
		t.Errorf("%d alerts one by one, %d after the clock was set back", before, n)
	}

	for i := range alerts.DigestsPage + 10 {
		p.write("INSERT INTO alert_sums (id, mode, tenant, type, n, at, example) VALUES (?, 1, ?, 'posthorn.test', 1, 1, '{}')", []byte{byte(i)}, fmt.Sprint("t", i))
	}
	more, err := p.Digest(t.Context())
	if n := p.count("SELECT count(*) FROM alert_sums"); err != nil || more || n != 0 {
		t.Errorf("%d audiences wait for another round, %v %v", n, more, err)
	}
}

// One transaction publishes alerts in a bounded number of rows, however many audiences it
// concerns. What is left is in the digests.
func TestAlertsOfOneTransactionAreBounded(t *testing.T) {
	p := openPeer(t, Options{Dir: t.TempDir(), Reserve: -1, Synchronous: "off", ProfileOf: func(*hook.Endpoint) hook.ProfileHash { return hook.ProfileHash{} }})
	const tenants, targets, fit = 12, 50, 10 // fit alerts with their deliveries are RowsAtOnce rows
	scope := func(i int) hook.Scope { return hook.Scope{Tenant: fmt.Sprint("t", i), Mode: hook.Live} }
	for i := range tenants {
		_, _, err := p.CreateTenant(t.Context(), hook.Tenant{ID: scope(i).Tenant}, nil)
		p.must(err)
		for range targets {
			_, _, err := p.CreateEndpoint(t.Context(), hook.Endpoint{Scope: scope(i), URL: "https://ops.example.com", Types: hook.Filter{"*"}, Operational: true}, nil)
			p.must(err)
		}
	}
	at := func(first, last int) (published, left int) {
		events, sums := p.count("SELECT count(*) FROM events"), p.count("SELECT coalesce(sum(n), 0) FROM alert_sums")
		p.must(p.do(t.Context(), "test", 1, func(t *tx) error {
			for i := first; i < last; i++ {
				t.s.alerts.Endpoint(t.Tx, hook.AlertEndpointUpdated, &hook.Endpoint{ID: hook.ID{1}, Scope: scope(i), URL: "https://example.com"})
			}
			return nil
		}))
		return p.count("SELECT count(*) FROM events") - events, p.count("SELECT coalesce(sum(n), 0) FROM alert_sums") - sums
	}
	if published, left := at(0, fit); published != fit || left != 0 { // control
		t.Errorf("%d published, %d left of what fits", published, left)
	}
	if published, left := at(0, tenants); published != fit || left != tenants-fit || fit*(1+targets) > alerts.RowsAtOnce {
		t.Errorf("%d published, %d left", published, left)
	}
	_, err := p.Digest(t.Context())
	p.must(err)
	for i := range tenants {
		list, _, err := p.Events(t.Context(), hook.EventQuery{Scope: scope(i), Type: hook.AlertDigest})
		p.must(err)
		if want := i / fit; len(list) != want {
			t.Errorf("tenant %d has %d digests, want %d", i, len(list), want)
		}
	}
}
