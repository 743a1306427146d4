package store

import (
	"context"
	"database/sql"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/pgtest"
	"github.com/posthorn/posthorn/internal/store/postgres"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

const testRetention = 30 * 24 * time.Hour

// aging is a store with its own clock and one endpoint.
type aging struct {
	*faulty
	scope hook.Scope
	now   time.Time
}

func newAging(t *testing.T, o Options) *aging {
	a := &aging{scope: hook.Scope{Tenant: "acme", Mode: hook.Live}, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	o.Retention, o.Now = testRetention, func() time.Time { return a.now }
	a.faulty = newFaultyOn(t, o)
	if _, _, err := a.CreateTenant(t.Context(), hook.Tenant{ID: a.scope.Tenant}, nil); err == nil {
		a.another(a.scope)
	}
	return a
}

// publish stores events and returns their jobs.
func (a *aging) publish(n int) []hook.Job {
	a.t.Helper()
	a.jobs = nil
	a.say(a.scope, n)
	return a.jobs
}

func (a *aging) succeed(jobs ...hook.Job) {
	a.t.Helper()
	for _, j := range jobs {
		s := hook.Settlement{Job: j, Outcome: hook.Outcome{StartedAt: a.now, Status: 200, Success: true, Policy: &hook.Policy{}}}
		if _, err := a.Settle(a.t.Context(), []hook.Settlement{s}); err != nil {
			a.t.Fatal(err)
		}
	}
}

func (a *aging) keepHouse() {
	a.t.Helper()
	if err := a.Housekeep(a.t.Context()); err != nil {
		a.t.Fatal(err)
	}
}

func (a *aging) there(j hook.Job) bool {
	a.t.Helper()
	_, err := a.Event(a.t.Context(), a.scope, j.Delivery.Event)
	if err != nil && hook.CodeOf(err) != hook.CodeNotFound {
		a.t.Fatal(err)
	}
	return err == nil
}

func (a *aging) count(query string, args ...any) (n int) {
	a.t.Helper()
	if err := a.core.Read.QueryRowContext(a.t.Context(), query, args...).Scan(&n); err != nil {
		a.t.Fatal(err)
	}
	return n
}

func (a *aging) conn() *sql.Conn {
	a.t.Helper()
	conn, err := node(a.Store).Control().Conn(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// oldDay returns a store one retention after its first day.
func (a *aging) oldDay() *postgres.OldDay {
	day := a.now.Truncate(postgres.Span)
	a.now = a.now.Add(testRetention + 2*postgres.Span)
	return postgres.NewOldDay(a.conn(), day, a.now.Add(-testRetention))
}

// An old day is dropped, except for what is still to be delivered. The control drops the
// whole partition, as a script might, and loses the delivery. This shows that the test can
// detect a loss.
func TestADayIsDroppedWithoutWhatIsNeeded(t *testing.T) {
	scripted := func(a *aging, d *postgres.OldDay) error {
		for _, statement := range []string{"ALTER TABLE attempts DETACH PARTITION {attempts}", "ALTER TABLE deliveries DETACH PARTITION {deliveries}",
			"ALTER TABLE events DETACH PARTITION {events}", "DROP TABLE {events}, {deliveries}, {attempts}"} {
			if _, err := a.core.Read.DB.ExecContext(t.Context(), d.Text(statement)); err != nil {
				return err
			}
		}
		return nil
	}
	for name, c := range map[string]struct {
		drop func(*aging, *postgres.OldDay) error
		kept bool
	}{
		"carried over": {func(_ *aging, d *postgres.OldDay) error { _, err := d.Drop(t.Context()); return err }, true},
		"control":      {scripted, false},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAging(t, Options{Postgres: pgtest.Database(t)})
			jobs := a.publish(7)
			a.succeed(jobs[:4]...)
			a.succeed(jobs[5])
			if _, _, err := a.RetryDelivery(t.Context(), a.scope, jobs[5].Delivery.ID, nil); err != nil {
				t.Fatal(err)
			}
			if _, err := node(a.Store).Control().ExecContext(t.Context(), "UPDATE deliveries SET state = 1 WHERE event = $1", idBytes(jobs[6].Delivery.Event)); err != nil {
				t.Fatal(err)
			}
			if err := c.drop(a, a.oldDay()); err != nil {
				t.Fatal(err)
			}
			if n := a.count("SELECT count(*) FROM events"); n != map[bool]int{true: 3}[c.kept] {
				t.Errorf("%d events are left", n)
			}
			a.succeed(jobs[4]) // the attempt was in progress all the time
			d, attempts, err := a.Delivery(t.Context(), a.scope, jobs[4].Delivery.ID)
			if c.kept && (err != nil || d.State != hook.Succeeded || len(attempts) != 1) {
				t.Errorf("%+v, %d attempts, %v", d, len(attempts), err)
			}
			if !c.kept && hook.CodeOf(err) != hook.CodeNotFound {
				t.Errorf("the control run lost nothing: %v", err)
			}
		})
	}
}

// A drop yields to a transaction that holds the tables, such as a backup, and no write
// waits long behind it.
func TestADropGivesWay(t *testing.T) {
	a := newAging(t, Options{Postgres: pgtest.Database(t)})
	a.succeed(a.publish(1)...)
	d := a.oldDay()
	backup, err := a.core.Read.DB.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = backup.Rollback() }()
	if _, err := backup.ExecContext(t.Context(), "LOCK TABLE deliveries IN ACCESS SHARE MODE"); err != nil {
		t.Fatal(err)
	}
	dropped := make(chan error, 1)
	go func() { _, err := d.Drop(t.Context()); dropped <- err }()
	began := time.Now()
	var dropErr error
	for done := false; !done; {
		a.publish(1)
		select {
		case dropErr = <-dropped:
			done = true
		case <-time.After(5 * time.Millisecond):
		}
	}
	if took := time.Since(began); postgres.State(dropErr) != "55P03" || took > 5*time.Second {
		t.Fatalf("dropped beside a reader: %v, after %v", dropErr, took)
	}
	if err := backup.Rollback(); err != nil {
		t.Fatal(err)
	}

	// The drop waits for a vacuum, and no write waits meanwhile.
	vacuum, err := a.core.Read.DB.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = vacuum.Rollback() }()
	if _, err := vacuum.ExecContext(t.Context(), d.Text("LOCK TABLE {deliveries} IN SHARE UPDATE EXCLUSIVE MODE")); err != nil {
		t.Fatal(err)
	}
	gone := false
	var dropping sync.WaitGroup
	dropping.Go(func() { gone, dropErr = d.Drop(t.Context()) })
	a.untilLocked()
	for began := time.Now(); time.Since(began) < 400*time.Millisecond; {
		a.publish(1)
	}
	if err := vacuum.Rollback(); err != nil {
		t.Fatal(err)
	}
	if dropping.Wait(); !gone || dropErr != nil {
		t.Fatalf("dropped: %v, %v", gone, dropErr)
	}
}

// Several nodes do housekeeping at the same time. One drops, the others find nothing to
// do, and all continue with the statements that they have prepared.
func TestNodesDropOnce(t *testing.T) {
	url := pgtest.Database(t)
	nodes := []*aging{newAging(t, Options{Postgres: url})}
	for range 2 {
		nodes = append(nodes, newAging(t, Options{Postgres: url}))
	}
	var waiting []hook.Job
	for _, a := range nodes {
		jobs := a.publish(3)
		a.succeed(jobs[:2]...)
		waiting = append(waiting, jobs[2])
	}
	for range 3 {
		var all sync.WaitGroup
		for _, a := range nodes {
			a.now = a.now.Add(testRetention / 2)
			all.Go(func() {
				if err := a.Housekeep(context.Background()); err != nil {
					t.Error(err)
				}
			})
			all.Go(func() { a.publish(20) })
		}
		all.Wait()
	}
	for i, a := range nodes {
		if !a.there(waiting[i]) {
			t.Fatal("an event was dropped whose delivery waits")
		}
		a.succeed(waiting[i])
		a.succeed(a.publish(1)...)
	}
	first := nodes[0]
	first.keepHouse() // does what each node left to the others
	if n := first.count("SELECT count(*) FROM events WHERE id < $1", idBytes(sqltext.FirstID(first.now.Add(-testRetention-postgres.Span)))); n != 3 {
		t.Errorf("%d old events, want the 3 that waited", n)
	}
	if n := first.count("SELECT count(*) FROM pg_inherits WHERE inhparent = 'events'::regclass"); n < postgres.Ahead+2 {
		t.Errorf("%d partitions", n)
	}
}

func idBytes(id hook.ID) []byte { return id[:] }

// After weeks without new partitions the default partition contains rows of today. The day
// stays in it, and the following days get partitions.
func TestAGapLeavesADayToTheDefaultPartition(t *testing.T) {
	a := newAging(t, Options{Postgres: pgtest.Database(t)})
	a.now = a.now.Add(20 * 24 * time.Hour)
	late := a.publish(1)
	a.succeed(late...)
	a.keepHouse()
	today := a.now.Truncate(postgres.Span)
	for days, want := range map[int]int{0: 0, 1: 1, postgres.Ahead: 1} {
		name := postgres.PartitionName("deliveries", today.Add(time.Duration(days)*postgres.Span))
		if n := a.count("SELECT count(*) FROM pg_class WHERE relname = $1", name); n != want {
			t.Errorf("%s is there %d times, want %d", name, n, want)
		}
	}
	a.now = a.now.Add(24 * time.Hour)
	next := a.publish(1)
	a.succeed(next...)
	if n := a.count("SELECT count(*) FROM events_default"); n != 1 {
		t.Errorf("%d events are in the default partition", n)
	}
	a.now = a.now.Add(testRetention)
	a.keepHouse()
	if a.there(late[0]) || !a.there(next[0]) {
		t.Error("the default partition is not cleaned by age")
	}
}

// If too much of a day is still needed to be moved, the day stays for a while. Then the
// rest is dropped page by page.
func TestADayOfWhichMuchIsNeededStays(t *testing.T) {
	a := newAging(t, Options{Postgres: pgtest.Database(t)})
	jobs := a.publish(3)
	a.succeed(jobs[:2]...)
	day := a.now.Truncate(postgres.Span)
	if _, err := node(a.Store).Control().ExecContext(t.Context(), `INSERT INTO attempts SELECT event, endpoint, n, mode, tenant, 1, 1, 500, '', '', 0, NULL, NULL, 0
		FROM deliveries, generate_series(10, $1::int) n WHERE state = 0`, postgres.CarriedMost+10); err != nil {
		t.Fatal(err)
	}
	there := func() int {
		return a.count("SELECT count(*) FROM pg_class WHERE relname = $1", postgres.PartitionName("events", day))
	}
	a.now = a.now.Add(testRetention + 2*postgres.Span)
	a.keepHouse()
	if there() != 1 || !a.there(jobs[0]) {
		t.Error("the day went at once")
	}
	a.now = a.now.Add(postgres.DropLate)
	a.keepHouse()
	if there() != 1 || a.there(jobs[0]) || !a.there(jobs[2]) {
		t.Errorf("partition %d, settled %v, needed %v", there(), a.there(jobs[0]), a.there(jobs[2]))
	}
	if n := a.count("SELECT count(*) FROM attempts"); n < postgres.CarriedMost {
		t.Errorf("%d attempts are left", n)
	}
}

// A clock that jumps costs at most a few hours of events. The control follows the
// clock.
func TestAJumpOfTheClockDropsNothing(t *testing.T) {
	places := map[string]func(*testing.T) Options{
		"SQLite":     func(t *testing.T) Options { return Options{Dir: t.TempDir()} },
		"PostgreSQL": func(t *testing.T) Options { return Options{Postgres: pgtest.Database(t)} },
	}
	for name, place := range places {
		for _, watched := range []bool{true, false} {
			t.Run(name+map[bool]string{false: " control"}[watched], func(t *testing.T) {
				a := newAging(t, place(t))
				a.now = time.Now()
				if watched {
					a.upkeep.Distrust(time.Now())
				}
				old := a.publish(1)
				a.succeed(old...)
				a.keepHouse()
				a.now = a.now.Add(3 * 365 * 24 * time.Hour)
				a.keepHouse()
				a.succeed(a.publish(1)...) // with ids of that time
				if watched {
					a.upkeep.Distrust(time.Now().Add(-time.Hour))
				}
				a.keepHouse()
				if a.there(old[0]) != watched {
					t.Errorf("there: %v", a.there(old[0]))
				}
			})
		}
	}
}

// The clock of retention catches up after a jump, but not at once. It survives a restart
// and does not go back.
func TestTheClockOfRetentionCatchesUp(t *testing.T) {
	a := newAging(t, Options{Dir: t.TempDir()})
	start := a.now
	trusted := func(open time.Duration) time.Duration {
		t.Helper()
		a.upkeep.Distrust(time.Now().Add(-open)) // as after a restart
		now, err := a.upkeep.TrustedNow(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return now.Sub(start).Round(time.Minute)
	}
	for i, c := range []struct{ clock, open, want time.Duration }{
		{0, 0, 0},
		{time.Hour, time.Hour, time.Hour},
		{72 * time.Hour, time.Hour, 5 * time.Hour},
		{72 * time.Hour, 0, 5 * time.Hour},
		{-time.Hour, time.Hour, -time.Hour},
		{73 * time.Hour, time.Hour, 9 * time.Hour},
		{74 * time.Hour, 100 * time.Hour, 74 * time.Hour},
	} {
		a.now = start.Add(c.clock)
		if got := trusted(c.open); got != c.want {
			t.Errorf("%d: %v, want %v", i, got, c.want)
		}
	}
}

// Housekeeping deletes changes that no node needs any more, and nodes whose work has been
// taken over.
func TestNewsAndNodesAreForgotten(t *testing.T) {
	a := newAging(t, Options{Postgres: pgtest.Database(t)})
	for _, statement := range []string{"UPDATE config SET news = 5000",
		"INSERT INTO news SELECT n, 1, 1, 1, 'acme', '', '', 1 FROM generate_series(100, 5000) n",
		"INSERT INTO nodes (epoch, name, version, started_at, seen_at, lease, gone, taker, done) SELECT n, 'x', '', now(), now() - n * interval '20 hours', '1 second', true, 1, n < 1002 FROM generate_series(1000, 1002) n",
		"INSERT INTO node_writes (epoch, lane, number) SELECT n, 0, 9 FROM generate_series(1000, 1002) n"} {
		if _, err := node(a.Store).Control().ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	a.keepHouse()
	if changes, nodes := a.count("SELECT count(*) FROM news WHERE seq >= 100"), a.count("SELECT count(*) FROM nodes"); changes != 1000 || nodes != 2 {
		t.Errorf("%d changes, want the newest 1000; %d nodes, want this one and the one whose work is not taken over", changes, nodes)
	}
	if writes := a.count("SELECT count(*) FROM node_writes WHERE epoch >= 1000"); writes != 1 {
		t.Errorf("the last writes of %d nodes are known", writes)
	}
	node(a.Store).Forget(false)
	a.succeed(a.publish(1)...) // after a gap
}

// An event is dropped with all its rows.
func TestNothingIsLeftOfAnEvent(t *testing.T) {
	for name, o := range map[string]Options{"SQLite": {Dir: t.TempDir()}, "PostgreSQL": {Postgres: pgtest.Database(t)}} {
		t.Run(name, func(t *testing.T) {
			a := newAging(t, o)
			for days := range 2 { // the second day has no partition on PostgreSQL
				event := hook.NewEvent{Scope: a.scope, PublicID: hook.ID{9, byte(days)}, Type: "a", Data: []byte("{}"), Tags: hook.Tags{{Name: "a", Value: "1"}}}
				if _, _, err := a.Publish(t.Context(), []hook.NewEvent{event}, noProfile, nil); err != nil {
					t.Fatal(err)
				}
				a.succeed(a.jobs[len(a.jobs)-1])
				a.now = a.now.Add(20 * postgres.Span)
			}
			tables := []string{"events", "event_ids", "event_tags", "deliveries", "attempts"}
			for _, table := range tables {
				if n := a.count("SELECT count(*) FROM " + table); n != 2 {
					t.Errorf("%d %s, want 2", n, table)
				}
			}
			a.now = a.now.Add(testRetention)
			a.keepHouse()
			for _, table := range tables {
				if n := a.count("SELECT count(*) FROM " + table); n != 0 {
					t.Errorf("%d %s are left", n, table)
				}
			}
		})
	}
}

// On PostgreSQL another node may resend an old event that this one is about to drop.
// Either the event stays, or it was dropped before.
func TestAnEventThatIsAskedForAgainStays(t *testing.T) {
	url := pgtest.Database(t)
	a, other := newAging(t, Options{Postgres: url}), newAging(t, Options{Postgres: url})
	a.now = a.now.Add(20 * postgres.Span) // no partition, so it is dropped row by row
	jobs := a.publish(1)
	a.succeed(jobs...)
	event := jobs[0].Delivery.Event
	a.now = a.now.Add(testRetention - postgres.Span)
	a.keepHouse() // so that no day has to be dropped later
	a.now = a.now.Add(2 * postgres.Span)
	if err := node(a.Store).Housekeep(t.Context()); err != nil {
		t.Fatal(err)
	}
	asked, err := other.core.Read.DB.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = asked.Rollback() }()
	for _, statement := range []string{"SELECT 1 FROM deliveries WHERE event = $1 FOR UPDATE", "INSERT INTO oneshots SELECT event, endpoint, mode, tenant, 2, 1, 1 FROM deliveries WHERE event = $1"} {
		if _, err := asked.ExecContext(t.Context(), statement, event[:]); err != nil {
			t.Fatal(err)
		}
	}
	var dropping sync.WaitGroup
	dropping.Go(func() {
		if err := a.Housekeep(context.Background()); err != nil {
			t.Error(err)
		}
	})
	other.untilLocked()
	if err := asked.Commit(); err != nil {
		t.Fatal(err)
	}
	dropping.Wait()
	if !a.there(jobs[0]) {
		t.Fatal("the event is gone, and an attempt of it was promised")
	}

	// Now the other order: the drop has begun.
	if _, err := node(a.Store).Control().ExecContext(t.Context(), "DELETE FROM oneshots"); err != nil {
		t.Fatal(err)
	}
	begun, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	for _, conn := range node(a.Store).Writers() {
		conn.Fault = func(query string) error {
			if strings.HasPrefix(query, "DELETE FROM attempts") {
				once.Do(func() { close(begun); <-goOn })
			}
			return nil
		}
	}
	dropping.Go(func() {
		if err := a.Housekeep(context.Background()); err != nil {
			t.Error(err)
		}
	})
	<-begun
	var resent sync.WaitGroup
	resent.Go(func() {
		_, _, err := other.Resend(context.Background(), a.scope, event, hook.ID{}, noProfile, nil)
		if hook.CodeOf(err) != hook.CodeNotFound {
			t.Errorf("an event that is being dropped was sent again: %v", err)
		}
	})
	other.untilLocked()
	close(goOn)
	dropping.Wait()
	resent.Wait()
	if n := a.count("SELECT count(*) FROM deliveries") + a.count("SELECT count(*) FROM oneshots"); n != 0 {
		t.Errorf("%d deliveries without their event", n)
	}
}

// untilLocked waits until a transaction waits for a row.
func (a *aging) untilLocked() {
	a.t.Helper()
	for range 1000 {
		if a.count("SELECT count(*) FROM pg_locks WHERE NOT granted") > 0 {
			return
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-a.t.Context().Done():
		}
	}
	a.t.Fatal("no transaction waits for a row")
}

// An hourly task that fails is reported and keeps no other from its work: the tasks of other
// packages run before retention.
func TestHousekeepingGoesOn(t *testing.T) {
	a := newAging(t, Options{Dir: t.TempDir(), Reserve: -1})
	jobs := a.publish(1)
	a.succeed(jobs...)
	a.now = a.now.Add(testRetention + time.Hour)
	for _, statement := range []string{"DROP TABLE web_sessions", "DROP TABLE disk_samples"} { // one before retention, one after it
		if err := a.maintain(t.Context(), "test", 0, func(t *tx) error {
			_, err := t.Exec("drop", statement)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	err := a.Housekeep(t.Context())
	if err == nil || !strings.Contains(err.Error(), "web_sessions") || !strings.Contains(err.Error(), "disk_samples") {
		t.Errorf("the faults are not reported: %v", err)
	}
	if a.there(jobs[0]) {
		t.Error("retention did not run")
	}
}
