package store

import (
	"context"
	"errors"
	"sync"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

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
