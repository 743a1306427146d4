package store

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/pgtest"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// onBoth runs a test with a store on each database.
func onBoth(t *testing.T, test func(t *testing.T, open func() *peer)) {
	t.Run("SQLite", func(t *testing.T) {
		dir := t.TempDir()
		test(t, func() *peer { return openPeer(t, Options{Dir: dir, Reserve: -1}) })
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		url := pgtest.Database(t)
		test(t, func() *peer { return openPeer(t, Options{Postgres: url}) })
	})
}

func openPeer(t *testing.T, o Options) *peer {
	t.Helper()
	if o.Keys == nil {
		o.Keys = testKeys(t)
	}
	p := &peer{t: t}
	o.Log = slog.New(slog.DiscardHandler)
	o.Room, o.Jitter = func(*hook.Endpoint) int { return 1000 }, func() float64 { return 0 }
	o.Committed = func(c hook.Commit) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.jobs, p.due, p.changed = append(p.jobs, c.Jobs...), append(p.due, c.Due...), append(p.changed, c.Changed...)
	}
	var err error
	if p.Store, err = Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// signing makes an endpoint with a header, a query and two secrets.
func (p *peer) signing(url string) *hook.Endpoint {
	p.t.Helper()
	if _, err := p.Tenant(p.t.Context(), acme.Tenant); err != nil {
		_, _, err := p.CreateTenant(p.t.Context(), hook.Tenant{ID: acme.Tenant}, nil)
		p.must(err)
	}
	e, _, err := p.CreateEndpoint(p.t.Context(), hook.Endpoint{Scope: acme, URL: url, Types: hook.Filter{"*"}, Headers: []hook.Header{{Name: "X-Token", Value: "v"}},
		Secrets: []hook.Secret{{Text: "whsec_new", Encoding: hook.EncodingWhsec}, {Text: "whsec_old", Encoding: hook.EncodingWhsec}}}, nil)
	p.must(err)
	return e
}

// queryCount counts the queries of a view.
type queryCount struct {
	sqltext.Querier
	n int
}

func (c *queryCount) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	c.n++
	return c.Querier.QueryContext(ctx, query, args...)
}

// A scope is read with a fixed number of queries, and each endpoint gets its own secrets.
func TestScopeIsReadWithThreeQueries(t *testing.T) {
	onBoth(t, func(t *testing.T, open func() *peer) {
		p := open()
		var made []*hook.Endpoint
		for i := range 20 {
			made = append(made, p.signing(fmt.Sprintf("https://example.com/%d?token=%d", i, i)))
		}
		_, _, err := p.CreateEndpoint(t.Context(), hook.Endpoint{Scope: hook.Scope{Tenant: "acme", Mode: hook.Test}, URL: "https://example.com", Types: hook.Filter{"*"},
			Secrets: []hook.Secret{{Text: "whsec_test", Encoding: hook.EncodingWhsec}}}, nil)
		p.must(err)
		p.must(p.DeleteEndpoint(t.Context(), acme, made[7].ID))
		made = slices.Delete(made, 7, 8)
		view, err := p.core.Read.View(t.Context())
		p.must(err)
		defer view.Done()
		c := &queryCount{Querier: view}
		entry, err := p.core.Directory.Load(t.Context(), c, acme)
		p.must(err)
		if c.n != 3 || len(entry.Endpoints) != len(made) {
			t.Fatalf("%d queries for %d endpoints, want 3 for %d", c.n, len(entry.Endpoints), len(made))
		}
		for i, e := range entry.Endpoints {
			if e.ID != made[i].ID || e.URL != made[i].URL || len(e.Headers) != 1 || len(e.Secrets) != 2 ||
				e.Secrets[0].Text != "whsec_new" || e.Secrets[1].Text != "whsec_old" || e.Secrets[0].Version <= e.Secrets[1].Version {
				t.Errorf("endpoint %d: %+v with %d secrets, want %+v", i, e, len(e.Secrets), made[i])
			}
		}
	})
}

// After a change on another node, this one reads only the changed endpoint.
func TestChangeOfAnotherNodeRereadsOneEndpoint(t *testing.T) {
	url := pgtest.Database(t)
	a, b := newPeer(t, url, 10*time.Second, nil), newPeer(t, url, 10*time.Second, nil)
	var ids []hook.ID
	for range 5 {
		ids = append(ids, a.endpoint().ID)
	}
	changed := func() map[hook.ID]*hook.Endpoint {
		b.publish() // every commit refreshes first
		b.mu.Lock()
		defer b.mu.Unlock()
		got := map[hook.ID]*hook.Endpoint{}
		for _, e := range b.changed {
			got[e.ID] = e
		}
		b.changed = nil
		return got
	}
	changed()
	a.status(&hook.Endpoint{ID: ids[2]}, hook.Disabled, false)
	if got := changed(); len(got) != 1 || got[ids[2]] == nil || got[ids[2]].Status != hook.Disabled {
		t.Errorf("after disabling one: %v", got)
	}
	if e, err := b.Endpoint(t.Context(), acme, ids[2]); err != nil || e.Status != hook.Disabled {
		t.Errorf("%+v %v", e, err)
	}
	a.must(a.DeleteEndpoint(t.Context(), acme, ids[3]))
	if got := changed(); len(got) != 1 || got[ids[3]] == nil || got[ids[3]].Status != hook.Deleted {
		t.Errorf("after deleting one: %v", got)
	}
	if _, err := b.Endpoint(t.Context(), acme, ids[3]); hook.CodeOf(err) != hook.CodeNotFound {
		t.Errorf("a deleted endpoint is still known: %v", err)
	}
	made := a.endpoint()
	if got := changed(); len(got) != 1 || got[made.ID] == nil {
		t.Errorf("after making one: %v", got)
	}
	if out := b.publish(); out.Deliveries != 4 { // one of six is disabled, one is deleted
		t.Errorf("%d deliveries, want 4", out.Deliveries)
	}
	// A change without an endpoint, as earlier releases write it, stands for all endpoints.
	a.must(a.do(t.Context(), "test", 1, func(x *tx) error {
		x.TellNodes(sqltext.ChangedScope, acme, hook.Ref{})
		_, err := x.Exec("touch tenant", "UPDATE tenants SET name = name WHERE id = ?", acme.Tenant)
		return err
	}))
	if got := changed(); len(got) != 5 {
		t.Errorf("after a change without an endpoint: %v", got)
	}
}

func TestManyChangesReadTheWholeScope(t *testing.T) {
	c, other := changedScopes{}, hook.Scope{Tenant: "other", Mode: hook.Live}
	for i := range rereadSingly {
		c.note(acme, hook.ID{byte(i + 1)})
		c.note(acme, hook.ID{byte(i + 1)})
	}
	c.note(other, hook.ID{1})
	c.note(other, hook.ID{})
	c.note(other, hook.ID{2})
	if ids, ok := c[other]; len(c[acme]) != rereadSingly || !ok || ids != nil {
		t.Errorf("%v", c)
	}
	if c.note(acme, hook.ID{99}); c[acme] != nil {
		t.Errorf("more than %d endpoints are read one by one: %v", rereadSingly, c[acme])
	}
}
