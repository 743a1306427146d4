package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// maxBacklogs bounds the scopes whose counts are in memory. When it is reached, all counts
// are cleared, and each is taken again when needed.
const maxBacklogs = 100_000

// recountAfter is how long a count is used while several nodes change it. Until the next
// count, each node sees only its own changes, so the bound may be exceeded by what the
// other nodes accept in that time.
const recountAfter = 10 * time.Second

// backlogPause is the Retry-After of a full backlog. A backlog drains at the pace of its
// receivers, so an immediate retry does not help.
const backlogPause = 30 * time.Second

// countOpen counts the open deliveries and single shots of a scope, by the indexes over
// open work. It includes deleted endpoints whose work is still being cancelled.
const countOpen = `SELECT coalesce(sum(
	(SELECT count(*) FROM deliveries d WHERE d.state = 0 AND {anybody} AND d.endpoint = e.id) +
	(SELECT count(*) FROM deliveries d WHERE d.state = 1 AND d.endpoint = e.id) +
	(SELECT count(*) FROM oneshots o WHERE o.endpoint = e.id)), 0)
	FROM endpoints e WHERE e.mode = ? AND e.tenant = ? AND (e.status <> 3 OR e.sweep <> '')`

// addOpen adds n to the number of open deliveries of a scope. Every statement that changes
// that number is accompanied by a call of addOpen.
func (t *tx) addOpen(scope hook.Scope, n int) {
	if t.s.opts.TenantBacklog == 0 {
		return
	}
	if t.open == nil {
		t.open = map[hook.Scope]int{}
	}
	t.open[scope] += n
}

// errUncounted means that the open deliveries of a scope must be counted before a write
// can be accepted or refused. Nothing was written.
type errUncounted struct{ scope hook.Scope }

func (e *errUncounted) Error() string { return "the deliveries of the tenant are not counted yet" }

// backlogFull returns an error for the caller if more deliveries would exceed the bound of
// a scope. It only uses memory, and fails with errUncounted if the scope's count is
// missing.
func (t *tx) backlogFull(scope hook.Scope, more int) (*hook.Error, error) {
	limit := t.s.opts.TenantBacklog
	if limit == 0 || more == 0 {
		return nil, nil
	}
	before, err := t.backlogOf(scope)
	if err != nil {
		return nil, err
	}
	if now := before + t.open[scope]; now+more > limit {
		return &hook.Error{Code: hook.CodeBacklogFull, RetryAfter: backlogPause, Message: fmt.Sprintf(
			"The tenant has %d deliveries waiting; at most %d are allowed. Nothing was stored.", now, limit)}, nil
	}
	return nil, nil
}

// backlogOf returns how many deliveries of a scope were open before this transaction.
func (t *tx) backlogOf(scope hook.Scope) (int, error) {
	if n, ok := t.backlog[scope]; ok {
		return n, nil
	}
	n, ok := t.s.backlog[scope]
	if !ok {
		return 0, &errUncounted{scope}
	}
	if t.s.peers.Shared() && t.now.Sub(t.s.countedAt[scope]) > recountAfter {
		t.s.countedAt[scope] = t.now // other nodes may have changed it too
		t.recount = append(t.recount, scope)
	}
	return n, nil
}

// backlogsKnown fails with errUncounted, before anything is written, if the count of a
// scope of the events is missing.
func (t *tx) backlogsKnown(events []hook.NewEvent) error {
	if t.s.opts.TenantBacklog == 0 {
		return nil
	}
	for i := range events {
		if _, err := t.backlogOf(events[i].Scope); err != nil {
			return err
		}
	}
	return nil
}

// mergeBacklog updates the counts after the commit.
func (s *Store) mergeBacklog(t *tx) {
	for scope, n := range t.backlog {
		if len(s.backlog) >= maxBacklogs {
			clear(s.backlog)
			clear(s.countedAt)
		}
		s.backlog[scope] = n
		delete(s.sinceCount, scope)
	}
	for scope, n := range t.open {
		if _, known := s.backlog[scope]; known {
			s.backlog[scope] += n
		}
		if _, counting := s.sinceCount[scope]; counting {
			s.sinceCount[scope] += n
		}
	}
	for _, scope := range t.recount {
		s.sweeper.Go(func() {
			if err := s.countBacklog(s.life, scope); err != nil && s.life.Err() == nil {
				s.log.Warn("could not count the open deliveries of a tenant, will try again", "tenant", scope.Tenant, "error", err)
			}
		})
	}
}

// counting holds the scopes whose open deliveries are being counted.
type counting struct {
	mu   sync.Mutex
	busy map[hook.Scope]chan struct{}
}

// writeCounted is write for an operation that may add to the backlog of a tenant. If the
// count is missing, the caller's goroutine counts first, because the writer never counts.
func (s *Store) writeCounted(ctx context.Context, o op) error {
	for {
		again := o
		err := s.write(ctx, &again)
		uncounted, ok := errors.AsType[*errUncounted](err)
		if !ok {
			return err
		}
		if err := s.countBacklog(ctx, uncounted.scope); err != nil {
			return err
		}
	}
}

// countBacklog counts the open deliveries of a scope and passes the count to the writer.
// If the scope is already being counted, countBacklog waits for that count.
func (s *Store) countBacklog(ctx context.Context, scope hook.Scope) error {
	c := &s.counting
	c.mu.Lock()
	if others := c.busy[scope]; others != nil {
		c.mu.Unlock()
		select {
		case <-others:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if c.busy == nil {
		c.busy = map[hook.Scope]chan struct{}{}
	}
	done := make(chan struct{})
	c.busy[scope] = done
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.busy, scope)
		close(done)
	}()
	return s.countOpen(ctx, scope)
}

// countOpen counts outside the writer. Meanwhile the writer adds up its changes in
// Store.sinceCount. On SQLite the count is exact, because the writer takes the snapshot
// between two commits, at the moment when it starts adding up. On PostgreSQL a commit may
// be in progress at that moment, and the count may miss its changes until the next count.
func (s *Store) countOpen(ctx context.Context, scope hook.Scope) error {
	conn, err := s.read.DB.Conn(ctx) // the writer must not wait for a connection
	if err != nil {
		return s.readError("count open deliveries", err)
	}
	defer func() { _ = conn.Close() }()
	var snapshot *sqltext.View
	defer func() { // even if the operation failed later: the connection cannot be closed before
		if snapshot != nil {
			snapshot.Done()
		}
	}()
	var failed error
	take := func() {
		if snapshot != nil { // the operation may run again
			snapshot.Done()
		}
		snapshot, failed = s.read.Snapshot(ctx, conn)
	}
	err = s.maintain(ctx, "begin count of backlog", 0, func(t *tx) error {
		t.s.sinceCount[scope] = 0
		if !t.s.peers.Shared() {
			take()
		}
		return nil
	})
	if err != nil {
		return err
	}
	if s.peers.Shared() {
		take()
	}
	if failed != nil {
		return s.readError("count open deliveries", failed)
	}
	n := 0
	if _, err := sqltext.ReadRow(ctx, snapshot, countOpen, []any{scope.Mode, scope.Tenant}, &n); err != nil {
		return s.readError("count open deliveries", err)
	}
	return s.maintain(ctx, "end count of backlog", 0, func(t *tx) error {
		if t.backlog == nil {
			t.backlog = map[hook.Scope]int{}
		}
		t.backlog[scope] = n + t.s.sinceCount[scope]
		t.s.countedAt[scope] = t.now
		return nil
	})
}
