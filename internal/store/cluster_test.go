package store

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store/cluster"
	"github.com/posthorn/posthorn/internal/store/pgtest"
)

// peer is one of several stores on a PostgreSQL database, with the jobs that it handed
// over.
type peer struct {
	*Store
	t *testing.T

	mu      sync.Mutex
	jobs    []hook.Job
	dropped []hook.Ref
	due     []hook.Due
	changed []*hook.Endpoint
	schemas int // how often another node changed schemas
}

var acme = hook.Scope{Tenant: "acme", Mode: hook.Live}

// testKeys returns a keyring that is the same in every test.
func testKeys(t testing.TB) *seal.Keyring {
	t.Helper()
	keys, err := seal.New(bytes.Repeat([]byte{1}, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func newPeer(t *testing.T, url string, lease time.Duration, now func() time.Time) *peer {
	t.Helper()
	p := &peer{t: t}
	var err error
	p.Store, err = Open(t.Context(), Options{Postgres: url, Keys: testKeys(t), Lease: lease, Now: now, Room: func(*hook.Endpoint) int { return 1000 },
		Jitter: func() float64 { return 0 }, ProfileOf: func(*hook.Endpoint) hook.ProfileHash { return hook.ProfileHash{} },
		CatalogueChanged: func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.schemas++
		},
		Committed: func(c hook.Commit) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.jobs = append(p.jobs, c.Jobs...)
			p.dropped = append(p.dropped, c.Dropped...)
			p.due = append(p.due, c.Due...)
			p.changed = append(p.changed, c.Changed...)
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	if _, _, err := p.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *peer) take() []hook.Job {
	p.mu.Lock()
	defer p.mu.Unlock()
	jobs := p.jobs
	p.jobs = nil
	return jobs
}

func (p *peer) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) endpoint() *hook.Endpoint {
	p.t.Helper()
	if _, err := p.Tenant(p.t.Context(), acme.Tenant); err != nil {
		_, _, err := p.CreateTenant(p.t.Context(), hook.Tenant{ID: acme.Tenant}, nil)
		p.must(err)
	}
	e, _, err := p.CreateEndpoint(p.t.Context(), hook.Endpoint{Scope: acme, URL: "https://example.com", Types: hook.Filter{"*"}}, nil)
	p.must(err)
	return e
}

func (p *peer) send(id hook.ID) (hook.Published, error) {
	out, _, err := p.Publish(context.WithoutCancel(p.t.Context()), []hook.NewEvent{{Scope: acme, Type: "a", PublicID: id, Data: []byte("{}")}},
		func(*hook.Endpoint) hook.ProfileHash { return hook.ProfileHash{} }, nil)
	if err != nil {
		return hook.Published{}, err
	}
	return out[0], nil
}

func (p *peer) publish() hook.Published {
	p.t.Helper()
	out, err := p.send(hook.ID{})
	p.must(err)
	if out.Err != nil {
		p.t.Fatal(out.Err)
	}
	return out
}

func (p *peer) status(e *hook.Endpoint, status hook.Status, discard bool) {
	p.t.Helper()
	_, err := p.UpdateEndpoint(p.t.Context(), acme, e.ID, func(old hook.Endpoint) (hook.Endpoint, error) { old.Status = status; return old, nil }, discard)
	p.must(err)
}

func (p *peer) settled(j hook.Job, status int) {
	p.t.Helper()
	_, err := p.Settle(p.t.Context(), []hook.Settlement{{Job: j, Outcome: hook.Outcome{StartedAt: time.Now(), Status: status, Success: status == 200,
		Enablings: j.Target.Enablings, Policy: &hook.Policy{Retry: hook.Retry{Steps: []time.Duration{time.Hour}, Repeat: true}}}}})
	p.must(err)
}

func (p *peer) row(j hook.Job) hook.Delivery {
	p.t.Helper()
	row, _, err := p.Delivery(p.t.Context(), acme, j.Delivery.ID)
	p.must(err)
	return row.Delivery
}

// within waits for a condition and fails the test after the limit.
func within(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(limit)
	for !ok() {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-deadline:
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// node returns the cluster of a store.
func node(s *Store) *cluster.Cluster { return s.core.Peers.(*cluster.Cluster) }

// die ends a node's heartbeat, as a crash does. Its rows stay.
func (p *peer) die() {
	node(p.Store).Halt()
}

// An event accepted by one node is always matched with the endpoints as another node last
// changed them, with no delay.
func TestChangesHoldForTheNextEventOfAnyNode(t *testing.T) {
	url := pgtest.Database(t)
	a, b := newPeer(t, url, 0, nil), newPeer(t, url, 0, nil)
	e := a.endpoint()
	for range 20 {
		if got := b.publish().Deliveries; got != 1 {
			t.Fatalf("%d deliveries after enabling elsewhere", got)
		}
		a.status(e, hook.Disabled, false)
		if got := b.publish().Deliveries; got != 0 {
			t.Fatalf("%d deliveries to an endpoint that another node disabled", got)
		}
		a.status(e, hook.Enabled, true)
	}
	jobs := b.take()
	if len(jobs) == 0 {
		t.Fatal("nothing was handed over")
	}
	within(t, time.Second, "key revoked", func() bool {
		k, _, err := a.CreateKey(t.Context(), hook.Key{Kind: hook.TenantKey, Mode: hook.Live, Tenant: "acme", Hash: [32]byte{byte(rand.Uint32()), 1, byte(rand.Uint32())}}, nil)
		a.must(err)
		if _, err := b.KeyByHash(t.Context(), k.Hash); err != nil {
			t.Fatalf("new key: %v", err)
		}
		a.must(a.RevokeKey(t.Context(), acme, k.ID))
		within(t, time.Second, "refused", func() bool { _, err := b.KeyByHash(t.Context(), k.Hash); return hook.CodeOf(err) == hook.CodeNotFound })
		return true
	})
}

// Other nodes learn of a schema that is enforced or of searchable members, and when there
// are none any more.
func TestSchemasReachOtherNodes(t *testing.T) {
	url := pgtest.Database(t)
	a, b := newPeer(t, url, 0, nil), newPeer(t, url, 0, nil)
	told := func() int {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.schemas
	}
	set := func(enforce hook.Enforce, searchable []hook.Searchable) {
		_, err := a.UpdateEventType(t.Context(), hook.Live, "a.b", func(old hook.EventType) (hook.EventType, error) {
			old.Enforce, old.Searchable = enforce, searchable
			return old, nil
		})
		a.must(err)
	}
	_, _, err := a.CreateEventType(t.Context(), hook.EventType{Mode: hook.Live, Name: "a.b", TypeVersion: hook.TypeVersion{Version: 1, Schema: []byte(`{}`)}}, nil)
	a.must(err)
	for i, c := range []struct {
		enforce    hook.Enforce
		searchable []hook.Searchable
	}{{hook.EnforceReject, nil}, {hook.EnforceOff, nil}, {hook.EnforceOff, []hook.Searchable{{Tag: "order", Pointer: "/id"}}}, {hook.EnforceOff, nil}} {
		before := told()
		set(c.enforce, c.searchable)
		within(t, 10*time.Second, "the other node learns it", func() bool { return told() > before })
		list, err := b.CheckedEventTypes(t.Context(), 10)
		if want := 1 - i%2; err != nil || len(list) != want || want == 1 && !slices.Equal(list[0].Searchable, c.searchable) {
			t.Errorf("%+v: %+v, %v", c, list, err)
		}
	}
}

// Discarding a backlog discards nothing that was published after enabling, whatever the clocks
// of the nodes show.
func TestDiscardStopsAtEnablingWhateverTheClocks(t *testing.T) {
	url := pgtest.Database(t)
	a := newPeer(t, url, 0, func() time.Time { return time.Now().Add(-time.Minute) })
	b := newPeer(t, url, 0, func() time.Time { return time.Now().Add(time.Minute) })
	e := a.endpoint()
	for i := range 5 {
		before := b.publish() // its id is two minutes ahead of a's clock
		a.status(e, hook.Disabled, false)
		a.status(e, hook.Enabled, true)
		after := []hook.Published{a.publish(), b.publish()}
		state := func(p hook.Published) hook.State {
			rows, _, err := a.Deliveries(t.Context(), hook.DeliveryQuery{Scope: acme, Event: p.Event})
			a.must(err)
			return rows[0].State
		}
		within(t, 5*time.Second, "discarded", func() bool { return state(before) == hook.Cancelled })
		for n, p := range after {
			if got := state(p); got != hook.Pending {
				t.Errorf("round %d: event %d published after enabling is %s", i, n, got)
			}
		}
	}
}

// Another node takes over the work of a dead node within the lease plus a second. Later
// outcomes of the dead node are late, because it no longer owns the rows.
func TestDeadNodeIsTakenOver(t *testing.T) {
	const lease = time.Second
	url := pgtest.Database(t)
	a := newPeer(t, url, lease, nil)
	e := a.endpoint()
	a.publish()
	a.publish()
	jobs := a.take()
	a.settled(jobs[0], 500) // due in an hour, and known only to a
	later, _, err := a.Publish(t.Context(), []hook.NewEvent{{Scope: acme, Type: "a.b", Data: []byte("{}"), DeliverAt: time.Now().Add(3 * time.Hour)}}, noProfile, nil)
	a.must(err)
	b := newPeer(t, url, lease, nil)
	b.mu.Lock()
	b.due = nil
	b.mu.Unlock()
	a.die()
	within(t, lease+time.Second, "taken over", func() bool { return b.ClusterStats().Takeovers == 1 })
	within(t, time.Second, "told", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return len(b.due) > 0 })
	if a.Holds(&jobs[1]) {
		t.Error("the dead node would still attempt its job")
	}
	claim := hook.Claim{Now: time.Now().Add(2 * time.Hour), Shares: []hook.Share{{Scope: acme, Endpoint: e.ID, Limit: 10}}}
	got, err := b.Claim(t.Context(), claim)
	b.must(err)
	if len(got.Jobs) != 2 {
		t.Fatalf("claimed %d, want both", len(got.Jobs))
	}
	if again, err := b.Claim(t.Context(), claim); err != nil || len(again.Jobs) != 0 {
		t.Errorf("claimed twice: %v, %v", again, err)
	}
	claim.Now = time.Now().Add(4 * time.Hour)
	if asked, err := b.Claim(t.Context(), claim); err != nil || len(asked.Jobs) != 1 || asked.Jobs[0].Delivery.Event != later[0].Event {
		t.Errorf("the event that asked for a later time: %+v, %v", asked, err)
	}
	// The dead node wakes up and settles its attempt as failed.
	old := a.Epoch()
	a.settled(jobs[1], 500)
	if a.Epoch() == old || a.ClusterStats().StaleSettles != 1 {
		t.Errorf("epoch %d after %d, %d stale settles", a.Epoch(), old, a.ClusterStats().StaleSettles)
	}
	if row := b.row(jobs[1]); row.Owner != b.Epoch() || row.State != hook.Pending || row.Attempts != 1 {
		t.Errorf("the stale failure moved the row: %+v", row)
	}
	for _, j := range got.Jobs {
		b.settled(j, 200)
	}
	a.settled(jobs[1], 500)
	if row := b.row(jobs[1]); row.State != hook.Succeeded {
		t.Errorf("a final state was overwritten: %+v", row)
	}
	a.publish() // it registers as a new node
	if fresh := a.take(); len(fresh) != 1 || fresh[0].Holder != a.Epoch() {
		t.Errorf("jobs after registering again: %+v", fresh)
	}
	// Control: the stale row was refused by fence and owner alone.
	var n int
	b.must(b.core.Read.QueryRowContext(t.Context(), "SELECT count(*) FROM deliveries WHERE event = ? AND state = 2", jobs[1].Delivery.Event[:]).Scan(&n))
	if n != 1 {
		t.Error("control: an update without owner and fence would have found no row to overwrite")
	}
}

// If the answer to a commit is lost, the node determines whether it was committed. There
// is one event for each call that succeeded and at most one for each that did not, and the
// job of every delivery is handed over.
func TestUnknownCommits(t *testing.T) {
	server := pgtest.Start(t, nil)
	url := server.Database(t)
	cut := pgtest.NewCut(t, server)
	a := newPeer(t, cut.URL(t, url), 0, nil)
	a.endpoint()
	a.take()
	acked := map[hook.ID]bool{}
	for i := range 150 {
		id := hook.ID{1, byte(i), 2}
		direction, exchange := pgtest.ToServer, 1200 // bytes, approximately
		if i%2 == 1 {
			direction, exchange = pgtest.ToClient, 250
		}
		cut.After(int64(rand.IntN(exchange)), direction)
		if _, err := a.send(id); err == nil {
			acked[id] = true
		} else if hook.CodeOf(err) != hook.CodeStorageDown {
			t.Fatalf("publish %d: %v", i, err)
		}
	}
	cut.Pass()
	within(t, 10*time.Second, "back", func() bool { _, err := a.send(hook.ID{9}); return err == nil })
	handed := map[hook.ID]int{}
	for _, j := range a.take() {
		handed[j.Event.PublicID]++
	}
	stored, _, err := a.Events(t.Context(), hook.EventQuery{Scope: acme, Page: hook.Page{Limit: 250}})
	a.must(err)
	count := map[hook.ID]int{}
	for _, e := range stored {
		count[e.PublicID]++
	}
	for id := range acked {
		if count[id] != 1 {
			t.Errorf("an acknowledged event is stored %d times", count[id])
		}
	}
	for id, n := range count {
		if handed[id] != n || n != 1 {
			t.Errorf("%d rows of one event, handed over %d times", n, handed[id])
		}
	}
	t.Logf("FIGURE unknown commits: %d cuts, %d of 150 acknowledged, %d stored, each once and handed over once", cut.Cuts(), len(acked), len(stored)-1)
	if cut.Cuts() < 100 {
		t.Errorf("only %d cuts", cut.Cuts())
	}
}

// Concurrent requests with the same idempotency key on two nodes make one event.
func TestOneEventForAKeyOnTwoNodes(t *testing.T) {
	url := pgtest.Database(t)
	peers := []*peer{newPeer(t, url, 0, nil), newPeer(t, url, 0, nil)}
	peers[0].endpoint()
	for i := range 30 {
		var all sync.WaitGroup
		ids := make([]hook.ID, 8)
		for n := range ids {
			all.Go(func() {
				out, err := peers[n%2].send(hook.ID{7, byte(i)})
				if err != nil || out.Err != nil {
					t.Errorf("publish: %v, %v", err, out.Err)
				}
				ids[n] = out.Event
			})
		}
		all.Wait()
		for _, id := range ids {
			if id != ids[0] {
				t.Fatalf("two events for one id: %v", ids)
			}
		}
	}
}

// Several nodes claim the work of one endpoint concurrently, each row once.
func TestClaimsSideBySide(t *testing.T) {
	url := pgtest.Database(t)
	a := newPeer(t, url, 0, nil)
	e := a.endpoint()
	b, c := newPeer(t, url, 0, nil), newPeer(t, url, 0, nil)
	const rows = 600
	for range rows {
		a.publish()
	}
	_, err := a.disown(t.Context(), fmt.Sprintf("owner = %d", a.Epoch()), takePage)
	a.must(err)
	var mu sync.Mutex
	owners := map[hook.ID]int{}
	var all sync.WaitGroup
	for _, p := range []*peer{a, b, c} {
		all.Go(func() {
			for {
				got, err := p.Claim(t.Context(), hook.Claim{Now: time.Now(), Shares: []hook.Share{{Scope: acme, Endpoint: e.ID, Limit: 20}}})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, j := range got.Jobs {
					owners[j.Delivery.ID]++
				}
				done := len(owners) == rows
				mu.Unlock()
				if done || len(got.Jobs) == 0 && len(got.Due) == 0 {
					return
				}
			}
		})
	}
	all.Wait()
	if len(owners) != rows {
		t.Errorf("%d of %d rows claimed", len(owners), rows)
	}
	for id, n := range owners {
		if n != 1 {
			t.Errorf("%s claimed %d times", id, n)
		}
	}
}
