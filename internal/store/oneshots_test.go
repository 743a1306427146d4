package store

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/dispatch"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/pgtest"
)

// Requests for many attempts at an endpoint with a low limit fill the table, not memory.
func TestManySingleShotsKeepTheBoundOfMemory(t *testing.T) {
	f, scope, e := oneEndpoint(t)
	if _, err := f.UpdateEndpoint(t.Context(), scope, e.ID, func(e hook.Endpoint) (hook.Endpoint, error) { e.RateLimit = 0.001; return e, nil }, false); err != nil {
		t.Fatal(err)
	}
	const many = 300
	f.opts.Room = func(*hook.Endpoint) int { return many }
	f.say(scope, many)
	gone := make([]hook.Settlement, len(f.jobs))
	for i, j := range f.jobs {
		gone[i] = hook.Settlement{Job: j, Outcome: hook.Outcome{Status: 410, Class: hook.ClassGone, Policy: &hook.Policy{}}}
	}
	if _, err := f.Settle(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	d := dispatch.New(dispatch.Options{})
	f.opts.Room, f.opts.Committed = d.Room, d.Committed
	for _, j := range gone {
		if _, _, err := f.RetryDelivery(t.Context(), scope, j.Job.Delivery.ID, nil); err != nil {
			t.Fatal(err)
		}
	}
	waiting := d.Stats().Waiting
	if waiting == 0 || waiting > 8 {
		t.Errorf("%d of %d single shots wait in memory for an endpoint that takes one in 17 minutes", waiting, many)
	}
	var unowned int
	if err := f.core.Read.QueryRowContext(t.Context(), "SELECT count(*) FROM oneshots WHERE owner = 0").Scan(&unowned); err != nil {
		t.Fatal(err)
	}
	if unowned != many-waiting {
		t.Errorf("%d wait in the table and %d in memory, %d were asked for", unowned, waiting, many)
	}
}

// single makes n deliveries that have succeeded and requests a single shot of each.
func (p *peer) single(n int) {
	p.t.Helper()
	for range n {
		p.publish()
	}
	for _, j := range p.take() {
		p.settled(j, 200)
		_, _, err := p.RetryDelivery(p.t.Context(), acme, j.Delivery.ID, nil)
		p.must(err)
	}
}

func TestSingleShotsOfADeadNodeAreClaimed(t *testing.T) {
	url := pgtest.Database(t)
	a, b := newPeer(t, url, time.Second, nil), newPeer(t, url, time.Minute, nil)
	e := a.endpoint()
	a.single(3)
	a.die()
	within(t, 20*time.Second, "the survivor is told of them", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return slices.ContainsFunc(b.due, func(d hook.Due) bool { return d.Target.ID == e.ID })
	})
	got, err := b.Claim(t.Context(), hook.Claim{Now: time.Now(), Shares: []hook.Share{{Scope: acme, Endpoint: e.ID, Limit: 10}}})
	if err != nil || len(got.Jobs) != 3 {
		t.Fatalf("claimed %d, %v; want the 3 single shots", len(got.Jobs), err)
	}
	for _, j := range got.Jobs {
		if j.Trigger != hook.ByHand || j.Holder != b.Epoch() {
			t.Errorf("claimed %v for %d", j.Trigger, j.Holder)
		}
	}
}

func TestTwoNodesClaimASingleShotOnce(t *testing.T) {
	url := pgtest.Database(t)
	a, b := newPeer(t, url, time.Minute, nil), newPeer(t, url, time.Minute, nil)
	e := a.endpoint()
	a.opts.Room = nil
	const many = 40
	for range many {
		a.publish()
	}
	claim := func(p *peer, limit int) []hook.Job {
		got, err := p.Claim(t.Context(), hook.Claim{Now: time.Now(), Shares: []hook.Share{{Scope: acme, Endpoint: e.ID, Limit: limit}}})
		if err != nil {
			t.Error(err)
		}
		return got.Jobs
	}
	for _, j := range claim(a, many) {
		a.settled(j, 200)
		_, _, err := a.RetryDelivery(t.Context(), acme, j.Delivery.ID, nil)
		a.must(err)
	}
	seen := make(chan hook.Job, 2*many)
	var both sync.WaitGroup
	for _, p := range []*peer{a, b} {
		both.Go(func() {
			for range 20 {
				for _, j := range claim(p, 6) {
					seen <- j
				}
			}
		})
	}
	both.Wait()
	close(seen)
	times := map[hook.ID]int{}
	for j := range seen {
		times[j.Delivery.ID]++
	}
	for id, n := range times {
		if n != 1 {
			t.Errorf("%s was claimed %d times", id, n)
		}
	}
	if len(times) != many {
		t.Errorf("%d of %d single shots were claimed", len(times), many)
	}
}
