package store

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/pgtest"
	"github.com/posthorn/posthorn/internal/store/sqlite"
	"github.com/posthorn/posthorn/internal/store/unit"
)

// knownBacklog returns the writer's count, and whether it has one.
func (a *aging) knownBacklog() (n int, known bool) {
	a.t.Helper()
	if err := a.do(a.t.Context(), "test", 1, func(t *tx) error {
		n, known = t.Backlog(a.scope)
		return nil
	}); err != nil {
		a.t.Fatal(err)
	}
	return n, known
}

// The writer does not count: it refuses a write that needs a missing count. A count
// outside the writer is exact, however much is published and settled meanwhile.
func TestABacklogIsCountedBesideTheWriter(t *testing.T) {
	o := Options{Dir: t.TempDir(), TenantBacklog: 100_000}
	a := newAging(t, o)
	a.opts.Room = nil
	for range 5 {
		a.say(a.scope, 1000)
	}
	for round := range 5 {
		if err := a.do(t.Context(), "test", 1, func(*tx) error { a.core.ForgetBacklogs(); return nil }); err != nil {
			t.Fatal(err)
		}
		err := a.do(t.Context(), "test", 1, func(t *tx) error { _, err := t.BacklogFull(a.scope, 1); return err })
		if _, ok := errors.AsType[*unit.Uncounted](err); !ok {
			t.Fatalf("the writer judged without a count: %v", err)
		}
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 20 {
					if _, _, err := a.Publish(t.Context(), []hook.NewEvent{{Scope: a.scope, Type: "a", Data: []byte("{}")}}, noProfile, nil); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Go(func() {
			list, _, err := a.Deliveries(t.Context(), hook.DeliveryQuery{Scope: a.scope, Page: hook.Page{Limit: 50}})
			if err != nil {
				t.Error(err)
			}
			for _, d := range list {
				_, _ = a.CancelDelivery(t.Context(), a.scope, d.ID) // some of the previous round are cancelled already
			}
		})
		all.Wait()
		n, known := a.knownBacklog()
		if rows := a.count("SELECT count(*) FROM deliveries WHERE state IN (0, 1)"); !known || n != rows {
			t.Fatalf("round %d: %d open rows, counted %d (known: %v)", round, rows, n, known)
		}
	}
}

// A few open deliveries the writer counts itself, where no other operation changed them.
// Whatever publishes and settles at the same time, the count is that of the rows.
func TestTheWriterCountsAFew(t *testing.T) {
	a := newAging(t, Options{Dir: t.TempDir(), TenantBacklog: 10})
	a.opts.Room = nil
	a.say(a.scope, 3)
	forget := func(t *tx) { t.s.core.ForgetBacklogs() }
	judge := func(before func(*tx)) (refused *hook.Error, err error) {
		err = a.do(t.Context(), "test", 1, func(t *tx) (err error) {
			forget(t)
			before(t)
			refused, err = t.BacklogFull(a.scope, 7)
			return err
		})
		return refused, err
	}
	if refused, err := judge(func(*tx) {}); err != nil || refused != nil {
		t.Fatalf("three are open, and seven more: %v, %v", refused, err)
	}
	if n, known := a.knownBacklog(); n != 3 || !known {
		t.Fatalf("the writer counted %d (%v), want 3", n, known)
	}
	_, err := judge(func(t *tx) { t.AddOpen(a.scope, 0) })
	if _, ok := errors.AsType[*unit.Uncounted](err); !ok {
		t.Fatalf("control: counted in a transaction that changes the number: %v", err)
	}
	a.say(a.scope, 1)
	if refused, err := judge(func(*tx) {}); err != nil || refused == nil || refused.Code != hook.CodeBacklogFull {
		t.Fatalf("four are open, and seven more than ten may be: %v, %v", refused, err)
	}
	for round := range 20 { // beside counts of other tenants and of this one outside the writer
		if err := a.do(t.Context(), "test", 1, func(t *tx) error { forget(t); return nil }); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		all.Go(func() { _ = a.core.CountBacklog(t.Context(), a.scope) })
		for range 4 {
			all.Go(func() {
				out, _, err := a.Publish(t.Context(), []hook.NewEvent{{Scope: a.scope, Type: "a", Data: []byte("{}")}}, noProfile, nil)
				if err != nil || out[0].Err != nil && hook.CodeOf(out[0].Err) != hook.CodeBacklogFull {
					t.Error(out, err)
				}
			})
		}
		all.Go(func() {
			list, _, err := a.Deliveries(t.Context(), hook.DeliveryQuery{Scope: a.scope, Page: hook.Page{Limit: 3}})
			if err != nil {
				t.Error(err)
			}
			for _, d := range list {
				_, _ = a.CancelDelivery(t.Context(), a.scope, d.ID)
			}
		})
		all.Wait()
		n, known := a.knownBacklog()
		if rows := a.count("SELECT count(*) FROM deliveries WHERE state IN (0, 1)"); !known || n != rows {
			t.Fatalf("round %d: %d open rows, counted %d (known: %v)", round, rows, n, known)
		}
	}
}

// On PostgreSQL an old count is used until the next one ends. The next one includes what
// other nodes added.
func TestABacklogIsCountedAgainForWhatOtherNodesDo(t *testing.T) {
	url := pgtest.Database(t)
	a := newAging(t, Options{Postgres: url, TenantBacklog: 100_000})
	a.core.Begin() // the store's own context ended with the sweeper, which this test stops
	a.say(a.scope, 3)
	b := newAging(t, Options{Postgres: url})
	b.say(a.scope, 4)
	if n, known := a.knownBacklog(); n != 3 || !known {
		t.Fatalf("control: knows of %d (%v) before it counts again, want 3", n, known)
	}
	a.now = a.now.Add(2 * unit.RecountAfter)
	a.say(a.scope, 1)
	within(t, 5*time.Second, "counted again", func() bool { n, _ := a.knownBacklog(); return n == 8 })
}

// BenchmarkFirstPublish publishes to a tenant that has 400,000 waiting deliveries and is
// not counted yet. It reports how long the writes of another tenant take meanwhile.
func BenchmarkFirstPublish(b *testing.B) {
	for name, options := range map[string]func(testing.TB) Options{
		"sqlite":   func(t testing.TB) Options { return Options{Dir: t.TempDir(), Reserve: -1} },
		"postgres": func(t testing.TB) Options { return Options{Postgres: pgtest.Database(t)} },
	} {
		b.Run(name, func(b *testing.B) {
			s := benchStore(b, options(b))
			s.core.TenantBacklog = 1_000_000
			scope, _ := waitingFor(b, s, "busy", 400_000)
			other, _ := waitingFor(b, s, "other", 1)
			one := func(scope hook.Scope) time.Duration {
				began := time.Now()
				if _, _, err := s.Publish(b.Context(), []hook.NewEvent{{Scope: scope, Type: "a.b", Data: []byte("{}")}}, profileZero, nil); err != nil {
					b.Error(err)
				}
				return time.Since(began)
			}
			var first, worst time.Duration
			for b.Loop() {
				if err := s.do(b.Context(), "test", 1, func(*tx) error { s.core.ForgetBacklogs(); return nil }); err != nil {
					b.Fatal(err)
				}
				one(other)
				done := make(chan time.Duration)
				go func() { done <- one(scope) }()
				for counting := true; counting; {
					worst = max(worst, one(other))
					select {
					case took := <-done:
						first, counting = max(first, took), false
					default:
					}
				}
			}
			b.ReportMetric(float64(first.Microseconds())/1000, "ms/first-publish")
			b.ReportMetric(float64(worst.Microseconds())/1000, "ms/worst-other-write")
		})
	}
}

// A count that fails after it took its snapshot still ends: it keeps no connection, and
// callers that wait for it continue.
func TestACountThatFailsEnds(t *testing.T) {
	f := newFaultyOn(t, Options{Dir: t.TempDir(), TenantBacklog: 10})
	running, hold := make(chan struct{}), make(chan struct{})
	go func() {
		_ = f.do(context.Background(), "block", 0, func(*tx) error { close(running); <-hold; return nil })
	}()
	<-running
	// Both are in one batch. Its commit fails, and so does the store.
	queued := func(n int) { within(t, 5*time.Second, "queued", func() bool { return f.Stats().Queued == n }) }
	go func() {
		_ = f.do(context.Background(), "test", 1, func(t *tx) error {
			_, err := t.Exec("test", "INSERT INTO meta (key, value) VALUES ('test', '')")
			return err
		})
	}()
	queued(1)
	counted := make(chan error, 1)
	go func() {
		counted <- f.core.CountBacklog(context.Background(), hook.Scope{Tenant: "acme", Mode: hook.Live})
	}()
	queued(2)
	db := f.core.Engine.(*sqlite.DB)
	db.Conn().Fault = func(query string) error { // blocks the writer
		if query == "COMMIT" {
			f.writer.Stop(errInjected)
			return errInjected
		}
		return nil
	}
	close(hold)
	select {
	case err := <-counted:
		if !errors.Is(err, errInjected) {
			t.Errorf("control: the count got %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the count does not end")
	}
}
