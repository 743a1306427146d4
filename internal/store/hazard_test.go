package store

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/pgtest"
	"github.com/posthorn/posthorn/internal/store/postgres"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// settledDown waits until the node has read all changes, so that its next write consists
// of nothing but a commit.
func (p *peer) settledDown() {
	p.t.Helper()
	within(p.t, 5*time.Second, "nothing to read", func() bool {
		_, err := p.send(hook.ID{})
		return err == nil && node(p.Store).UpToDate()
	})
	p.take()
}

// sql runs a statement on a connection outside the store.
func (p *peer) sql(statement string, args ...any) {
	p.t.Helper()
	_, err := p.core.Read.DB.ExecContext(p.t.Context(), statement, args...)
	p.must(err)
}

func (p *peer) count(query string, args ...any) (n int) {
	p.t.Helper()
	p.must(p.core.Read.QueryRowContext(p.t.Context(), query, args...).Scan(&n))
	return n
}

// fails makes statements of the writer fail from now on.
func (p *peer) fails(fault func(query string) error) {
	p.t.Helper()
	p.must(p.do(p.t.Context(), "test", 1, func(*tx) error { // on the writer's goroutine, which reads it
		for _, conn := range node(p.Store).Writers() {
			conn.Fault = fault
		}
		return nil
	}))
}

// A server process that stalls in the middle of a commit, and wakes up long after the node
// has continued without it, commits nothing. So no live node owns a row without its job.
func TestAServerThatStalls(t *testing.T) {
	server := pgtest.Start(t, nil)
	p := newPeer(t, server.Database(t), time.Minute, nil)
	p.endpoint()
	p.settledDown()
	owned := "SELECT count(*) FROM deliveries WHERE owner = ? AND state = 0"
	before := p.count(owned, p.Epoch())
	var pids []int
	for _, conn := range node(p.Store).Writers() {
		pids = append(pids, conn.PID())
	}
	for _, pid := range pids {
		p.must(syscall.Kill(pid, syscall.SIGSTOP))
	}
	if _, err := p.send(hook.ID{}); hook.CodeOf(err) != hook.CodeStorageDown {
		t.Errorf("publishing to a server that stalls: %v", err)
	}
	within(t, 20*time.Second, "gone on without them", func() bool { _, err := p.send(hook.ID{}); return err == nil })
	for _, pid := range pids {
		p.must(syscall.Kill(pid, syscall.SIGCONT))
	}
	within(t, 20*time.Second, "they ended what they were at", func() bool {
		return p.count("SELECT count(*) FROM pg_stat_activity WHERE pid IN (?, ?) AND state <> 'idle'", int64(pids[0]), int64(pids[1])) == 0
	})
	rows, jobs := 0, 0 // publishes that were refused may still commit, and hand over after that
	within(t, 20*time.Second, "each row that is owned was handed over", func() bool {
		jobs += len(p.take())
		rows = p.count(owned, p.Epoch()) - before
		return rows == jobs
	})
}

// A takeover that fails midway is tried again, also if only the search for waiting work
// fails.
func TestATakeoverIsTriedAgain(t *testing.T) {
	url := pgtest.Database(t)
	a := newPeer(t, url, 2*time.Second, nil)
	a.endpoint()
	a.publish()
	a.publish()
	jobs := a.take()
	a.settled(jobs[0], 500) // due in an hour, and known only to a
	b := newPeer(t, url, 2*time.Second, nil)
	b.mu.Lock()
	b.due = nil
	b.mu.Unlock()
	var failed atomic.Int64
	b.fails(func(query string) error {
		if strings.Contains(query, "UPDATE deliveries SET owner = 0") && failed.Add(1) == 1 {
			return &pgconn.PgError{Code: "53200", Message: "out of memory"}
		}
		if strings.Contains(query, "WHERE sweep <> ''") && failed.Load() > 1 && failed.Add(1) == 4 { // of waitingWork
			return &pgconn.PgError{Code: "53200", Message: "out of memory"}
		}
		return nil
	})
	a.must(a.Close())
	within(t, 10*time.Second, "taken over", func() bool { return b.ClusterStats().Takeovers == 1 })
	if failed.Load() < 2 {
		t.Errorf("control: only %d failures", failed.Load())
	}
	if n := b.count("SELECT count(*) FROM deliveries WHERE owner <> 0 AND state = 0"); n != 0 {
		t.Errorf("%d rows are still owned by the dead node", n)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.due) == 0 {
		t.Error("the dispatcher was not told of the waiting work")
	}
}

// A test event of a dead node is handed over once, however often the takeover runs.
func TestATakeoverThatRunsTwiceGivesOnce(t *testing.T) {
	url := pgtest.Database(t)
	a := newPeer(t, url, 2*time.Second, nil)
	e := a.endpoint()
	_, _, _, err := a.PublishTest(t.Context(), acme, e.ID, "a", []byte("{}"), hook.ProfileHash{}, nil)
	a.must(err)
	b := newPeer(t, url, time.Minute, nil)
	b.die()
	a.must(a.Close())
	var guards atomic.Int64
	b.fails(func(query string) error {
		if query == postgres.GuardText && guards.Add(1) == 2 {
			return &pgconn.PgError{Code: postgres.ConfigChanged}
		}
		return nil
	})
	_, jobs, err := b.Recover(t.Context())
	if err != nil || len(jobs) != 1 || guards.Load() < 3 {
		t.Errorf("%d jobs for one test event, %d commits, %v", len(jobs), guards.Load(), err)
	}
}

// A row that PostgreSQL refuses does not affect the other operations of its batch.
func TestABadRowHarmsNoNeighbour(t *testing.T) {
	p := newPeer(t, pgtest.Database(t), time.Minute, nil)
	p.endpoint()
	p.publish()
	job := p.take()[0]
	bad := []hook.Settlement{{Job: job, Outcome: hook.Outcome{StartedAt: time.Now(), Status: 200, Success: true, Message: "not UTF-8: \xff"}}}
	if _, err := p.Settle(t.Context(), bad); hook.CodeOf(err) != hook.CodeInternal {
		t.Fatalf("control: the bad row alone: %v", err)
	}
	hold, running := make(chan struct{}), make(chan struct{}, 10)
	goOn := sync.OnceFunc(func() { close(hold) })
	defer goOn()
	go func() {
		_ = p.do(context.Background(), "test", 1, func(*tx) error { running <- struct{}{}; <-hold; return nil })
	}()
	<-running
	answers := make(chan error, 3)
	for range 3 {
		go func() { _, err := p.send(hook.ID{}); answers <- err }()
	}
	go func() { _, _ = p.Settle(context.Background(), bad) }()
	within(t, 5*time.Second, "queued", func() bool { return p.Stats().Queued >= 4 })
	goOn()
	for range 3 {
		if err := <-answers; err != nil {
			t.Error("neighbour:", err)
		}
	}
}

// A node detects that the database went back in time, as after a failover to a standby
// that lacked the last writes. It does not keep rows whose jobs it had settled and
// forgotten.
func TestADatabaseThatWasSetBack(t *testing.T) {
	url := pgtest.Database(t)
	a := newPeer(t, url, 2*time.Second, nil)
	a.endpoint()
	a.publish()
	job := a.take()[0]
	a.sql("CREATE TABLE old_deliveries AS SELECT * FROM deliveries")
	a.sql("CREATE TABLE old_writes AS SELECT * FROM node_writes")
	for range 4 { // on both connections
		a.publish()
	}
	a.settled(job, 200)
	old := a.Epoch()
	a.sql(`WITH d AS (DELETE FROM deliveries), t AS (DELETE FROM attempts), w AS (DELETE FROM node_writes) SELECT 1`)
	a.sql("INSERT INTO deliveries SELECT * FROM old_deliveries")
	a.sql("INSERT INTO node_writes SELECT * FROM old_writes")
	a.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database() AND usename = current_user")
	within(t, 10*time.Second, "a new node", func() bool { _, err := a.send(hook.ID{}); return err == nil && a.Epoch() > old })
	within(t, 10*time.Second, "given back", func() bool {
		return a.count("SELECT count(*) FROM deliveries WHERE event = ? AND owner = 0 AND state = 0", job.Delivery.Event[:]) == 1
	})
}

// A connection lost before the commit was sent loses the transaction and nothing else.
// Success of the previous commit says nothing about this one.
func TestAConnectionLostBeforeTheCommit(t *testing.T) {
	p := newPeer(t, pgtest.Database(t), time.Minute, nil)
	p.endpoint()
	p.publish()
	p.settledDown()
	p.publish()
	job := p.take()[0]
	var cut atomic.Int64
	p.must(p.do(t.Context(), "test", 1, func(*tx) error { // on the writer's goroutine, which reads it
		for _, conn := range node(p.Store).Writers() {
			conn.Fault = func(query string) error {
				if strings.Contains(query, "failures = excluded.failures") && cut.Add(1) == 1 {
					_, err := p.core.Read.DB.Exec("SELECT pg_terminate_backend($1, 5000)", conn.PID())
					return err
				}
				return nil
			}
		}
		return nil
	}))
	p.settled(job, 500)
	if cut.Load() == 0 {
		t.Fatal("control: no connection was lost")
	}
	if row := p.row(job); row.Attempts != 1 || row.Owner != 0 {
		t.Errorf("an outcome that was acknowledged is not stored: %d attempts, owner %d", row.Attempts, row.Owner)
	}
}

// If a connection is lost while a write reads, the write is run again and its caller is
// not refused.
func TestAConnectionLostInTheMiddleOfRows(t *testing.T) {
	server := pgtest.Start(t, nil)
	cut := pgtest.NewCut(t, server)
	p := newPeer(t, cut.URL(t, server.Database(t)), time.Minute, nil)
	p.endpoint()
	p.settledDown()
	p.die() // nothing else passes through the cut
	runs, read := 0, 0
	err := p.do(t.Context(), "test", 1, func(tx *tx) error {
		if runs++; runs == 1 {
			cut.After(100_000, pgtest.ToClient)
		}
		number := func(row sqltext.Scanner) (n int, err error) { err = row.Scan(&n); return n, err }
		all, err := sqltext.Collect(background, tx.Conn, number, "SELECT n FROM generate_series(1, 50000) AS n")
		read = len(all)
		return err
	})
	if err != nil || read != 50_000 {
		t.Errorf("%d rows after %d runs, %v", read, runs, err)
	}
	if runs != 2 || cut.Cuts() != 1 {
		t.Errorf("control: %d runs, %d cuts", runs, cut.Cuts())
	}
}
