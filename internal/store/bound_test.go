package store

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/directory"
	"github.com/posthorn/posthorn/internal/store/pgtest"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// asBefore seals an endpoint's row as earlier releases did, and clears the mark that rows
// are bound. It returns the two values.
func (p *peer) asBefore(e *hook.Endpoint, query string) (sealed [2][]byte) {
	p.t.Helper()
	headers, err := json.Marshal(e.Headers)
	p.must(err)
	for i, v := range []struct {
		what string
		text []byte
	}{{"headers", headers}, {"query", []byte(query)}} {
		sealed[i], err = p.core.Keys.Seal(sqltext.Place(v.what, e.Scope, e.ID.String()), v.text)
		p.must(err)
	}
	p.write("UPDATE endpoints SET headers_sealed = ?, query_sealed = ? WHERE id = ?", sealed[0], sealed[1], e.ID[:])
	p.write("DELETE FROM meta WHERE key = 'bound_to_urls'")
	return sealed
}

func (p *peer) again(open func() *peer) *peer {
	p.t.Helper()
	p.must(p.Close())
	return open()
}

func (p *peer) read1(id hook.ID) *hook.Endpoint {
	p.t.Helper()
	e, err := p.Endpoint(p.t.Context(), acme, id)
	p.must(err)
	return e
}

const elsewhere = "https://elsewhere.example/"

// Whoever changes the URL of an endpoint in the database gets neither its headers nor its
// query: the endpoint is damaged, and nothing is sent there. Control: with the values that
// earlier releases sealed, a request is sent there with both.
func TestASealedValueStaysWithItsURL(t *testing.T) {
	onBoth(t, func(t *testing.T, open func() *peer) {
		for _, before := range []bool{true, false} {
			p := open()
			e := p.signing("https://example.com/a?token=1")
			if before {
				p.asBefore(e, "?token=1")
			}
			p.write("UPDATE endpoints SET url = ? WHERE id = ?", elsewhere, e.ID[:])
			if !before {
				p.must(p.Housekeep(t.Context()))
			}
			p = p.again(open)
			p.publish()
			jobs := p.take()
			moved := p.read1(e.ID)
			switch {
			case before && (len(jobs) != 1 || jobs[0].Target.URL != elsewhere+"?token=1" || len(jobs[0].Target.Headers) != 1):
				t.Errorf("control: %+v, jobs %+v", moved, jobs)
			case !before && (len(jobs) != 0 || moved.Damage != hook.DamagedHeaders|hook.DamagedQuery || len(moved.Headers) != 0 || moved.URL != elsewhere):
				t.Errorf("damage %d, URL %s, jobs %+v", moved.Damage, moved.URL, jobs)
			}
			if !before { // its own URL brings the headers back; the query is set with it
				mended, err := p.UpdateEndpoint(t.Context(), acme, e.ID, func(old hook.Endpoint) (hook.Endpoint, error) {
					old.URL, old.Damage = "https://example.com/a?token=1", old.Damage&^hook.DamagedQuery
					return old, nil
				}, false)
				if err != nil || !mended.Receives() || len(mended.Headers) != 1 {
					t.Errorf("mended: %+v, %v", mended, err)
				}
			}
			p.must(p.DeleteEndpoint(t.Context(), acme, e.ID))
			p.must(p.Close())
		}
	})
}

// When the URL changes, the headers stay with the endpoint.
func TestHeadersFollowAChangedURL(t *testing.T) {
	onBoth(t, func(t *testing.T, open func() *peer) {
		p := open()
		e := p.signing("https://example.com/a?token=1")
		_, err := p.UpdateEndpoint(t.Context(), acme, e.ID, func(old hook.Endpoint) (hook.Endpoint, error) { old.URL = "https://example.com/b"; return old, nil }, false)
		p.must(err)
		p = p.again(open)
		if e := p.read1(e.ID); !e.Receives() || e.URL != "https://example.com/b" || len(e.Headers) != 1 {
			t.Errorf("%+v", e)
		}
	})
}

// What an earlier release sealed is opened, then bound by housekeeping, and no longer
// opened when it is restored afterwards. Only someone who also removes the mark that all
// is bound, and waits for a start, gets it opened; ARCHITECTURE.md says so.
func TestOldRowsAreBound(t *testing.T) {
	onBoth(t, func(t *testing.T, open func() *peer) {
		p := open()
		e := p.signing("https://example.com/a?token=1")
		old := p.asBefore(e, "?token=1")
		p = p.again(open)
		sound := func(when string) {
			t.Helper()
			if got := p.read1(e.ID); !got.Receives() || got.URL != e.URL || len(got.Headers) != 1 {
				t.Errorf("%s: %+v", when, got)
			}
		}
		sound("not bound")
		p.must(p.Housekeep(t.Context()))
		p = p.again(open)
		sound("bound")
		if rows, damaged, err := directory.Examine(t.Context(), p.core.Read, p.core.Keys); err != nil || rows != 3 || len(damaged) != 0 {
			t.Errorf("examined %d, %v, %v", rows, damaged, err)
		}
		p.write("UPDATE endpoints SET headers_sealed = ?, query_sealed = ? WHERE id = ?", old[0], old[1], e.ID[:])
		p = p.again(open)
		if got := p.read1(e.ID); got.Damage != hook.DamagedHeaders|hook.DamagedQuery {
			t.Errorf("put back: %+v", got)
		}
		rows, damaged, err := directory.Examine(t.Context(), p.core.Read, p.core.Keys)
		if err != nil || rows != 3 || len(damaged) != 2 || damaged[0].Endpoint != e.ID || damaged[0].Scope != acme ||
			damaged[0].Column != "headers_sealed" || damaged[1].Column != "query_sealed" {
			t.Errorf("examined %d, %v, %v", rows, damaged, err)
		}
		p.write("DELETE FROM meta WHERE key = 'bound_to_urls'")
		p = p.again(open)
		sound("without the mark")
	})
}

// The remains of a deleted tenant cannot be found, and nothing can be done with them.
func TestADeletedTenantIsGone(t *testing.T) {
	onBoth(t, func(t *testing.T, open func() *peer) {
		p := open()
		e := p.signing("https://example.com/a")
		given := hook.ID{1}
		_, err := p.send(given)
		p.must(err)
		out := p.publish()
		jobs := p.take()
		delivery := jobs[len(jobs)-1].Delivery.ID
		shown := func(scope hook.Scope) (n int) {
			events, _, err := p.Events(t.Context(), hook.EventQuery{Scope: scope})
			p.must(err)
			n += len(events)
			for _, q := range []hook.DeliveryQuery{{Scope: scope}, {Scope: scope, Event: out.Event}, {Scope: scope, Endpoint: e.ID}} {
				rows, _, err := p.Deliveries(t.Context(), q)
				p.must(err)
				n += len(rows)
			}
			for _, find := range []func() error{
				func() error { _, err := p.Event(t.Context(), scope, out.Event); return err },
				func() error { _, err := p.EventByPublicID(t.Context(), scope, out.Event); return err },
				func() error { _, err := p.EventByPublicID(t.Context(), scope, given); return err },
				func() error { _, _, err := p.Delivery(t.Context(), scope, delivery); return err },
				func() error { _, _, err := p.RetryDelivery(t.Context(), scope, delivery, nil); return err },
				func() error { _, err := p.CancelDelivery(t.Context(), scope, delivery); return err },
			} {
				if err := find(); hook.CodeOf(err) != hook.CodeNotFound || err == nil {
					n++
				}
			}
			return n
		}
		all := hook.Scope{Mode: acme.Mode}
		if n := shown(acme) + shown(all); n != 2*13 {
			t.Fatalf("control: %d shown before", n)
		}
		p.must(p.DeleteTenant(t.Context(), acme.Tenant))
		if n := shown(acme) + shown(all); n != 0 {
			t.Errorf("%d shown", n)
		}
		within(t, 10*time.Second, "what waited is cancelled", func() bool { return p.count("SELECT count(*) FROM deliveries WHERE state <> 4") == 0 })
		if n := p.count("SELECT count(*) FROM events"); n != 2 {
			t.Errorf("control: %d events are stored", n)
		}
	})
}

// Nothing is bound while a node of another release runs, because that node could not open
// it.
func TestBindingWaitsForAllNodes(t *testing.T) {
	url := pgtest.Database(t)
	open := func() *peer { return openPeer(t, Options{Postgres: url, Version: "new"}) }
	p := open()
	p.asBefore(p.signing("https://example.com/a?token=1"), "?token=1")
	p = p.again(open)
	bound := func() int {
		t.Helper()
		p.must(p.Housekeep(t.Context()))
		return p.count("SELECT count(*) FROM meta WHERE key = 'bound_to_urls'")
	}
	p.sql(`INSERT INTO nodes (epoch, name, version, started_at, seen_at, lease)
		VALUES (1000000, 'old', 'old', clock_timestamp(), clock_timestamp(), interval '1 hour')`)
	if n := bound(); n != 0 {
		t.Errorf("%d marks beside a node of another release", n)
	}
	p.sql("DELETE FROM nodes WHERE name = 'old'")
	if n := bound(); n != 1 { // control
		t.Errorf("%d marks", n)
	}
}
