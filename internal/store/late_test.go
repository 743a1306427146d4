package store

import (
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/cluster"
	"github.com/posthorn/posthorn/internal/store/pgtest"
	"github.com/posthorn/posthorn/internal/store/postgres"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// A write that was found not to be committed can no longer be committed, however late its
// server process wakes up. The control is the same write before the node looked for it.
func TestALateWriteIsRefused(t *testing.T) {
	a := newPeer(t, pgtest.Database(t), 0, nil)
	a.endpoint()
	guarded := func(number int64) error {
		tx, err := node(a.Store).Control().BeginTx(t.Context(), nil)
		a.must(err)
		defer func() { _ = tx.Rollback() }()
		_, err = tx.ExecContext(t.Context(), "SELECT posthorn_guard($1, 1, $2, $3, false, true)", a.Epoch(), number, node(a.Store).Version())
		return err
	}
	if err := guarded(1000); err != nil {
		t.Fatalf("control: %v", err)
	}
	for range 2 { // the node may look twice
		var number int64
		a.must(node(a.Store).Control().QueryRowContext(t.Context(), cluster.GiveUp, a.Epoch(), 1, 1000).Scan(&number))
		if number != 1001 {
			t.Fatalf("the answer is %d", number)
		}
	}
	if err := guarded(1000); postgres.State(err) != postgres.GivenUp {
		t.Errorf("a write that was given up: %v", err)
	}
	if err := guarded(1002); err != nil {
		t.Errorf("the next write: %v", err)
	}
}

// If the lease turns out to have expired while a write is in progress, the node looks for
// the write under the epoch with which it was made. It is stored once, or it is not
// acknowledged.
func TestLeaseOverWhileAWriteIsOnItsWay(t *testing.T) {
	server := pgtest.Start(t, nil)
	url := server.Database(t)
	cut := pgtest.NewCut(t, server)
	a := newPeer(t, cut.URL(t, url), 0, nil)
	a.endpoint()
	type answer struct {
		hook.Published
		err error
	}
	for i := range 6 { // without ids of the platform, which would be looked up first
		within(t, 5*time.Second, "nothing to read", func() bool {
			_, err := a.send(hook.ID{})
			return err == nil && node(a.Store).UpToDate()
		})
		answers := make(chan answer, 2)
		old := a.Epoch()
		if i%2 == 0 {
			cut.Hold() // the write never reaches the server
		} else {
			cut.After(0, pgtest.ToClient) // its answer is lost
		}
		go func() { p, err := a.send(hook.ID{}); answers <- answer{p, err} }()
		within(t, time.Second, "sent", func() bool {
			return node(a.Store).Waiting() || i%2 == 1
		})
		node(a.Store).Forget(true)
		go func() { p, err := a.send(hook.ID{}); answers <- answer{p, err} }()
		if i%2 == 0 {
			cut.CutAll()
			cut.Pass()
		}
		for range 2 {
			if got := <-answers; got.err != nil && hook.CodeOf(got.err) != hook.CodeStorageDown {
				t.Fatal(got.err)
			}
		}
		within(t, 10*time.Second, "registered again", func() bool { _, err := a.send(hook.ID{}); return err == nil && a.Epoch() > old })
	}
	cut.Pass()
	stored, _, err := a.Events(t.Context(), hook.EventQuery{Scope: acme, Page: hook.Page{Limit: 250}})
	a.must(err)
	handed := map[hook.ID]int{}
	for _, j := range a.take() {
		handed[j.Event.ID]++
	}
	for _, e := range stored {
		if handed[e.ID] != 1 {
			t.Errorf("an event is stored and was handed over %d times", handed[e.ID])
		}
		delete(handed, e.ID)
	}
	if len(handed) != 0 || len(stored) < 6 {
		t.Errorf("%d events stored; handed over and not stored: %v", len(stored), handed)
	}
}

// If another node disabled and enabled an endpoint between two refreshes of a node, the
// node's dispatcher learns of both, because the hold in between took the rows of its jobs.
func TestDisabledAndEnabledBetweenTwoLooks(t *testing.T) {
	url := pgtest.Database(t)
	a := newPeer(t, url, 0, nil)
	e := a.endpoint()
	a.publish()
	job := a.take()[0]
	b := newPeer(t, url, 0, nil)
	a.die() // without its heartbeat it does not refresh in the background
	b.status(e, hook.Disabled, false)
	within(t, 5*time.Second, "held", func() bool { return b.row(job).State == hook.Held })
	b.status(e, hook.Enabled, false)
	within(t, 5*time.Second, "released", func() bool { return b.row(job).State == hook.Pending })
	a.mu.Lock()
	a.changed = nil
	a.mu.Unlock()
	a.publish() // a write refreshes first
	a.mu.Lock()
	defer a.mu.Unlock()
	var statuses []hook.Status
	for _, c := range a.changed {
		if c.ID == e.ID {
			statuses = append(statuses, c.Status)
		}
	}
	if len(statuses) != 2 || statuses[0] != hook.Disabled || statuses[1] != hook.Enabled {
		t.Errorf("told of %v, want disabled and then enabled", statuses)
	}
}

// A damaged endpoint of one tenant does not keep nodes from writing for other tenants.
func TestDamageOfOneTenantStopsNobody(t *testing.T) {
	url := pgtest.Database(t)
	a := newPeer(t, url, 0, nil)
	a.endpoint()
	b := newPeer(t, url, 0, nil)
	b.publish()
	_, _, err := a.CreateTenant(t.Context(), hook.Tenant{ID: "other"}, nil)
	a.must(err)
	bad, _, err := a.CreateEndpoint(t.Context(), hook.Endpoint{Scope: hook.Scope{Tenant: "other", Mode: hook.Live}, URL: "https://example.com",
		Types: hook.Filter{"*"}, Secrets: []hook.Secret{{Text: "s"}}}, nil)
	a.must(err)
	a.must(a.do(t.Context(), "test", 1, func(x *tx) error {
		x.TellNodes(sqltext.ChangedScope, bad.Scope, hook.Ref{Endpoint: bad.ID})
		_, err := x.Exec("damage", "UPDATE secrets SET sealed = ? WHERE endpoint = ?", []byte{0}, bad.ID[:])
		return err
	}))
	b.publish()
	if e, err := b.Endpoint(t.Context(), bad.Scope, bad.ID); err != nil || e.Damage == 0 {
		t.Errorf("control: the damaged endpoint reads as %+v, %v", e, err)
	}
}
