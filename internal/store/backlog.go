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

// maxBacklogs bounds the scopes whose count is in memory. One beyond it is counted
// again when it is needed.
const maxBacklogs = 100_000

// recountAfter is how long a count is believed while several nodes change it. In
// between each knows of its own changes only, so the bound may be passed by what the
// others accept in that time.
const recountAfter = 10 * time.Second

// backlogPause is the Retry-After of a full backlog: it drains at the pace of the
// receivers, so that coming back at once is of no use.
const backlogPause = 30 * time.Second

// countOpen counts what is open of a scope by the indexes over open work: deliveries and
// single shots, also of
// deleted endpoints whose work is still being cancelled.
const countOpen = `SELECT coalesce(sum(
	(SELECT count(*) FROM deliveries d WHERE d.state = 0 AND {anybody} AND d.endpoint = e.id) +
	(SELECT count(*) FROM deliveries d WHERE d.state = 1 AND d.endpoint = e.id) +
	(SELECT count(*) FROM oneshots o WHERE o.endpoint = e.id)), 0)
	FROM endpoints e WHERE e.mode = ? AND e.tenant = ? AND (e.status <> 3 OR e.sweep <> '')`

// opened notes that so many more deliveries of a scope are open, fewer if n is
// negative. Every statement that changes that is beside a call of it.
func (t *tx) opened(scope hook.Scope, n int) {
	if t.s.opts.TenantBacklog == 0 {
		return
	}
	if t.open == nil {
		t.open = map[hook.Scope]int{}
	}
	t.open[scope] += n
}

// errUncounted says that the open deliveries of a scope have to be counted before a write
// can be judged. Nothing was written.
type errUncounted struct{ scope hook.Scope }

func (e *errUncounted) Error() string { return "the deliveries of the tenant are not counted yet" }

// backlogFull refuses deliveries that would lift a scope over its bound. It costs a
// lookup in memory; a scope that is not known there gives errUncounted.
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
	if t.s.peers.Shared() && t.now.Sub(t.s.counted[scope]) > recountAfter {
		t.s.counted[scope] = t.now // other nodes have added to it and taken from it
		t.recount = append(t.recount, scope)
	}
	return n, nil
}

// backlogsKnown makes sure, before anything is written, that all scopes of the events are
// counted.
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

// mergeBacklog makes the counts those after the commit.
func (s *Store) mergeBacklog(t *tx) {
	for scope, n := range t.backlog {
		if len(s.backlog) >= maxBacklogs {
			clear(s.backlog)
			clear(s.counted)
		}
		s.backlog[scope] = n
		delete(s.changed, scope)
	}
	for scope, n := range t.open {
		if _, known := s.backlog[scope]; known {
			s.backlog[scope] += n
		}
		if _, counting := s.changed[scope]; counting {
			s.changed[scope] += n
		}
	}
	for _, scope := range t.recount {
		s.sweeper.Go(func() {
			if err := s.countBacklog(s.life, scope); err != nil && s.life.Err() == nil {
				s.log.Warn("the deliveries of a tenant could not be counted; it will be tried again", "tenant", scope.Tenant, "error", err)
			}
		})
	}
}

// counting are the scopes whose open deliveries somebody counts right now.
type counting struct {
	mu   sync.Mutex
	busy map[hook.Scope]chan struct{}
}

// writeCounted is write for an operation that may add to the backlog of a tenant. Where
// the count is not known it is taken first, by the caller: the writer never counts.
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

// countBacklog counts the open deliveries of a scope and makes the count known to the
// writer. Whoever asks while somebody counts waits for that.
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

// countOpen counts beside the writer, which goes on meanwhile and adds up what it changes
// in Store.changed. On SQLite the count is of the very moment from which it adds up, for
// the snapshot is taken by the writer between two commits. On PostgreSQL, where a commit
// may be on its way at that moment, it may be off by what that one changes, until the
// next count.
func (s *Store) countOpen(ctx context.Context, scope hook.Scope) error {
	conn, err := s.read.DB.Conn(ctx) // the writer must not wait for a connection
	if err != nil {
		return s.readError("count open deliveries", err)
	}
	defer func() { _ = conn.Close() }()
	var snapshot *sqltext.View
	defer func() { // also if the write failed after it was taken: the connection cannot be closed before
		if snapshot != nil {
			snapshot.Done()
		}
	}()
	var failed error
	take := func() {
		if snapshot != nil { // the write is run again
			snapshot.Done()
		}
		snapshot, failed = s.read.Snapshot(ctx, conn)
	}
	err = s.maintain(ctx, "begin to count the backlog", 0, func(t *tx) error {
		t.s.changed[scope] = 0
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
	return s.maintain(ctx, "note the backlog", 0, func(t *tx) error {
		if t.backlog == nil {
			t.backlog = map[hook.Scope]int{}
		}
		t.backlog[scope] = n + t.s.changed[scope]
		t.s.counted[scope] = t.now
		return nil
	})
}
