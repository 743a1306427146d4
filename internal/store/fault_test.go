package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/pgtest"
	"github.com/posthorn/posthorn/internal/store/sqlite"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

var errInjected = errors.New("injected")

// faulty is a store whose statements can be made to fail. It has no sweeper, so that
// nothing changes in the background.
type faulty struct {
	*Store
	t       *testing.T
	commits int

	mu    sync.Mutex
	left  int
	fired bool

	jobs []hook.Job
}

func newFaulty(t *testing.T) *faulty { return newFaultyOn(t, Options{Dir: t.TempDir()}) }

// newFaultyOn is newFaulty on the database that the options name.
func newFaultyOn(t *testing.T, o Options) *faulty {
	f := &faulty{t: t}
	o.Keys, o.Reserve, o.Room = testKeys(t), -1, func(*hook.Endpoint) int { return 10 }
	o.Committed = func(c hook.Commit) { f.commits++; f.jobs = append(f.jobs, c.Jobs...) }
	var err error
	if f.Store, err = Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	f.core.Stop()
	f.core.Wait()
	// The writer has no operation yet, so the test may change its connections.
	if db, ok := f.core.Engine.(*sqlite.DB); ok {
		db.Conn().Fault = f.fault
	} else {
		node(f.Store).Halt()
		for _, conn := range node(f.Store).Writers() {
			conn.Fault = f.fault
		}
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// failAt makes the n-th statement from now on and all after it fail, except ROLLBACK.
// Later ones must fail too, because a failed batch is run again. 0 lets all succeed.
func (f *faulty) failAt(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left, f.fired = n, false
}

func (f *faulty) fault(query string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left == 0 || query == "ROLLBACK" {
		return nil
	}
	if f.left > 1 {
		f.left--
		return nil
	}
	f.fired = true
	return errInjected
}

// digest returns a hash of every row of every table.
func (f *faulty) digest() string {
	f.t.Helper()
	ctx := context.Background()
	name := func(row sqltext.Scanner) (s string, err error) { err = row.Scan(&s); return s, err }
	list := "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
	if f.core.Peers.Shared() { // a node's row changes with its lease
		list = "SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace AND relname <> 'nodes' ORDER BY relname"
	}
	tables, err := sqltext.Collect(ctx, f.core.Read, name, list)
	if err != nil {
		f.t.Fatal(err)
	}
	h := sha256.New()
	for _, table := range tables {
		rows, err := f.core.Read.QueryContext(ctx, "SELECT * FROM "+table+" ORDER BY 1, 2")
		if table == "config" || table == "goose_db_version" || table == "meta" {
			_ = rows.Close() // one row, or a row of the release
			rows, err = f.core.Read.QueryContext(ctx, "SELECT * FROM "+table+" ORDER BY 1")
		}
		if err != nil {
			f.t.Fatal(err)
		}
		columns, _ := rows.Columns()
		for rows.Next() {
			values := make([]any, len(columns))
			for i := range values {
				values[i] = new(any)
			}
			if err := rows.Scan(values...); err != nil {
				f.t.Fatal(err)
			}
			for _, v := range values {
				fmt.Fprintf(h, "%v|", *v.(*any))
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			f.t.Fatal(err)
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// Each write is run once for each of its statements, with that statement failing. The
// write then returns an error, stores nothing and hands nothing over. Without a fault it
// succeeds.
func TestEveryWriteIsAllOrNothing(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) { everyWriteIsAllOrNothing(t, newFaulty(t)) })
	t.Run("PostgreSQL", func(t *testing.T) { everyWriteIsAllOrNothing(t, newFaultyOn(t, Options{Postgres: pgtest.Database(t)})) })
}

func everyWriteIsAllOrNothing(t *testing.T, f *faulty) {
	ctx := t.Context()
	scope := hook.Scope{Tenant: "acme", Mode: hook.Live}
	var e *hook.Endpoint
	var job hook.Job
	profile := func(*hook.Endpoint) hook.ProfileHash { return hook.ProfileHash{} }
	publish := func(id hook.ID, once *hook.Once) error {
		_, _, err := f.Publish(ctx, []hook.NewEvent{{Scope: scope, PublicID: id, Type: "a", Data: []byte("{}")}}, profile, once)
		return err
	}
	once := &hook.Once{Route: "r", Key: "k", Scope: scope, Answer: func(any) (int, []byte) { return 202, nil }}
	settle := func(status int, trip hook.Trip) error {
		_, err := f.Settle(ctx, []hook.Settlement{{Job: job, Outcome: hook.Outcome{StartedAt: time.Now(), Status: status, Enablings: 1,
			Policy: &hook.Policy{Retry: hook.Retry{Steps: []time.Duration{time.Nanosecond}, Repeat: true}, Trip: trip}}}})
		return err
	}
	enable := func(status hook.Status) error {
		_, err := f.UpdateEndpoint(ctx, scope, e.ID, func(old hook.Endpoint) (hook.Endpoint, error) { old.Status = status; return old, nil }, false)
		return err
	}
	writes := []struct {
		name string
		run  func() error
	}{
		{"CreateTenant", func() error { _, _, err := f.CreateTenant(ctx, hook.Tenant{ID: "acme"}, nil); return err }},
		{"UpdateTenant", func() error {
			_, err := f.UpdateTenant(ctx, "acme", func(n hook.Tenant) (hook.Tenant, error) { n.Name += "x"; return n, nil })
			return err
		}},
		{"CreateKey", func() error {
			_, _, err := f.CreateKey(ctx, hook.Key{Kind: hook.TenantKey, Mode: hook.Live, Tenant: "acme"}, nil)
			return err
		}},
		{"CreateEndpoint", func() (err error) {
			e, _, err = f.CreateEndpoint(ctx, hook.Endpoint{Scope: scope, Types: hook.Filter{"*"}, Secrets: []hook.Secret{{Text: "s"}}}, nil)
			return err
		}},
		{"RotateSecret", func() error {
			_, _, err := f.RotateSecret(ctx, scope, e.ID, hook.Secret{Text: "t"}, time.Hour, nil)
			return err
		}},
		{"Publish", func() error { return publish(hook.ID{}, nil) }},
		{"Publish with id and key", func() error { return publish(hook.ID{5}, once) }},
		{"PublishTest", func() error {
			_, _, _, err := f.PublishTest(ctx, scope, e.ID, "t", []byte("{}"), hook.ProfileHash{}, nil)
			return err
		}},
		{"Settle", func() error { job = f.jobs[0]; return settle(500, hook.Trip{}) }},
		{"Recover", func() error { _, _, err := f.Recover(ctx); return err }},
		{"Claim", func() error {
			got, err := f.Claim(ctx, hook.Claim{Now: time.Now().Add(time.Hour), Shares: []hook.Share{{Scope: scope, Endpoint: e.ID, Limit: 5}}})
			if err == nil {
				job = got.Jobs[0]
			}
			return err
		}},
		{"RetryDelivery", func() error { _, _, err := f.RetryDelivery(ctx, scope, job.Delivery.ID, nil); return err }},
		{"Settle trips", func() error { return settle(500, hook.Trip{Count: hook.TripAttempts, N: 1}) }},
		{"enable", func() error { return enable(hook.Enabled) }},
		{"CancelDelivery", func() error { _, err := f.CancelDelivery(ctx, scope, job.Delivery.ID); return err }},
		{"disable", func() error { return enable(hook.Disabled) }},
		{"KeepProfile", func() error { return f.KeepProfile(ctx, hook.ProfileHash{9}, "n", "t") }},
		{"sweep", func() error {
			return f.do(ctx, "test", 1, func(t *tx) error { _, err := t.sweepOnce(); return err })
		}},
		{"DeleteEndpoint", func() error { return f.DeleteEndpoint(ctx, scope, e.ID) }},
		{"RevokeKey", func() error {
			keys, _, err := f.Keys(ctx, hook.KeyQuery{Scope: scope})
			if err != nil {
				return err
			}
			return f.RevokeKey(ctx, scope, keys[0].ID)
		}},
		{"DeleteTenant", func() error { return f.DeleteTenant(ctx, "acme") }},
	}
	faults := 0
	for _, w := range writes {
		faults += f.failEachStep(w.name, w.run)
	}
	t.Logf("%d faults in %d kinds of write", faults, len(writes))
	if faults < 80 {
		t.Errorf("only %d faults: the statements are not reached", faults)
	}
}

// failEachStep returns how many faults were injected before the write succeeded.
func (f *faulty) failEachStep(name string, run func() error) int {
	f.t.Helper()
	for n := 1; ; n++ {
		before, told := f.digest(), f.commits
		f.failAt(n)
		err := run()
		fired := f.fired
		f.failAt(0)
		if !fired {
			if err != nil {
				f.t.Fatalf("%s: %v", name, err)
			}
			if n == 1 && !(name == "Recover" && f.core.Peers.Shared()) { // no node is dead
				f.t.Fatalf("%s made no statement", name)
			}
			return n - 1
		}
		if !errors.Is(err, errInjected) {
			f.t.Errorf("%s with statement %d failing: %v", name, n, err)
		}
		if f.digest() != before {
			f.t.Errorf("%s with statement %d failing: part of it was stored", name, n)
		}
		if f.commits != told {
			f.t.Errorf("%s with statement %d failing: the dispatcher was told", name, n)
		}
	}
}
