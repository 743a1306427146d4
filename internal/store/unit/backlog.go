package unit

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// maxBacklogs bounds the scopes whose counts are in memory. When it is reached, all counts
// are cleared, and each is taken again when needed.
const maxBacklogs = 100_000

// RecountAfter is how long a count is used while several nodes change it. Until the next
// count, each node sees only its own changes, so the bound may be exceeded by what the
// other nodes accept in that time.
const RecountAfter = 10 * time.Second

// backlogPause is the Retry-After of a full backlog. A backlog drains at the pace of its
// receivers, so an immediate retry does not help.
const backlogPause = 30 * time.Second

// AddOpen adds n to the number of open deliveries of a scope. Every statement that changes
// that number is accompanied by a call of addOpen.
func (t *Tx) AddOpen(scope hook.Scope, n int) {
	if t.core.TenantBacklog == 0 {
		return
	}
	if t.open == nil {
		t.open = map[hook.Scope]int{}
	}
	t.open[scope] += n
}

// Uncounted means that the open deliveries of a scope must be counted before a write
// can be accepted or refused. Nothing was written.
type Uncounted struct{ Scope hook.Scope }

// Error says so.
func (e *Uncounted) Error() string { return "the deliveries of the tenant are not counted yet" }

// BacklogFull returns an error for the caller if more deliveries would exceed the bound of
// a scope. If the scope's count is missing, it counts a few, or fails with Uncounted.
func (t *Tx) BacklogFull(scope hook.Scope, more int) (*hook.Error, error) {
	limit := t.core.TenantBacklog
	if limit == 0 || more == 0 {
		return nil, nil
	}
	now, err := t.backlogOf(scope)
	if err != nil {
		return nil, err
	}
	if now+more > limit {
		return &hook.Error{Code: hook.CodeBacklogFull, RetryAfter: backlogPause, Message: fmt.Sprintf(
			"The tenant has %d deliveries waiting; at most %d are allowed. Nothing was stored.", now, limit)}, nil
	}
	return nil, nil
}

// backlogs are the counts that are in memory. Only the writer's goroutine uses them.
type backlogs struct {
	open    map[hook.Scope]int       // open deliveries
	taken   map[hook.Scope]time.Time // when each count was taken
	changes map[hook.Scope]int       // of the number of open deliveries, since a count began
}

func newBacklogs() backlogs {
	return backlogs{open: map[hook.Scope]int{}, taken: map[hook.Scope]time.Time{}, changes: map[hook.Scope]int{}}
}

// Backlog returns how many deliveries of a scope are open, with the changes of this
// transaction. known is false if they are not counted.
func (t *Tx) Backlog(scope hook.Scope) (n int, known bool) {
	if n, known = t.backlog[scope]; !known {
		n, known = t.core.backlogs.open[scope]
	}
	return n + t.open[scope], known
}

// backlogOf is Backlog, but it counts a few deliveries or fails with Uncounted if the count is
// missing, and orders another one if it is old.
func (t *Tx) backlogOf(scope hook.Scope) (int, error) {
	n, known := t.Backlog(scope)
	if !known {
		few, err := t.countFew(scope)
		if err != nil || few {
			return t.backlog[scope], err
		}
		return 0, &Uncounted{scope}
	}
	b := &t.core.backlogs
	if _, fresh := t.backlog[scope]; !fresh && t.core.Peers.Shared() && t.Now.Sub(b.taken[scope]) > RecountAfter {
		b.taken[scope] = t.Now // other nodes may have changed it too
		t.recount = append(t.recount, scope)
	}
	return n, nil
}

// fewOpen is how many open deliveries the writer counts by itself. Three looks at an index take
// it some ten microseconds, and a count beside it two operations and a connection that waits
// for a commit, for each tenant that something is published to for the first time.
const fewOpen = 1000

// countFew counts the open deliveries of a scope within the transaction and reports whether it
// did. It does so only where that is quick and exact: not if there are many, not if other
// nodes change them, and neither if this transaction has changed them nor while they are
// being counted beside the writer.
func (t *Tx) countFew(scope hook.Scope) (counted bool, err error) {
	_, counting := t.core.backlogs.changes[scope]
	if _, changed := t.open[scope]; changed || counting || t.core.Peers.Shared() {
		return false, nil
	}
	n := 0
	args := []any{scope.Mode, scope.Tenant, fewOpen, scope.Mode, scope.Tenant, fewOpen, scope.Mode, scope.Tenant, fewOpen}
	if _, err := sqltext.ReadRow(background, t.Conn, sqltext.CountFewOpen, args, &n); err != nil {
		return false, fmt.Errorf("count open deliveries: %w", err)
	}
	if n >= fewOpen {
		return false, nil
	}
	if t.backlog == nil {
		t.backlog = map[hook.Scope]int{}
	}
	t.backlog[scope] = n
	return true, nil
}

// ForgetBacklogs drops all counts; each is taken again when it is needed. It belongs to the
// writer's goroutine.
func (c *Core) ForgetBacklogs() {
	clear(c.backlogs.open)
	clear(c.backlogs.taken)
}

// BacklogsKnown fails with Uncounted, before anything is written, if the count of a
// scope of the events is missing.
func (t *Tx) BacklogsKnown(events []hook.NewEvent) error {
	if t.core.TenantBacklog == 0 {
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
func (c *Core) mergeBacklog(t *Tx) {
	b := &c.backlogs
	for scope, n := range t.backlog {
		if len(b.open) >= maxBacklogs {
			c.ForgetBacklogs()
		}
		b.open[scope] = n
		delete(b.changes, scope)
	}
	for scope, n := range t.open {
		if _, known := b.open[scope]; known {
			b.open[scope] += n
		}
		if _, counting := b.changes[scope]; counting {
			b.changes[scope] += n
		}
	}
	for _, scope := range t.recount {
		c.Go(func(ctx context.Context) {
			if err := c.CountBacklog(ctx, scope); err != nil && ctx.Err() == nil {
				c.Log.Warn("could not count the open deliveries of a tenant, will try again", "tenant", scope.Tenant, "error", err)
			}
		})
	}
}

// counting holds the scopes whose open deliveries are being counted.
type counting struct {
	mu   sync.Mutex
	busy map[hook.Scope]chan struct{}
}

// CountBacklog counts the open deliveries of a scope and passes the count to the writer.
// If the scope is already being counted, CountBacklog waits for that count.
func (c *Core) CountBacklog(ctx context.Context, scope hook.Scope) error {
	n := &c.counting
	n.mu.Lock()
	if others := n.busy[scope]; others != nil {
		n.mu.Unlock()
		select {
		case <-others:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if n.busy == nil {
		n.busy = map[hook.Scope]chan struct{}{}
	}
	done := make(chan struct{})
	n.busy[scope] = done
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.busy, scope)
		close(done)
	}()
	return c.countOpen(ctx, scope)
}

// countOpen counts outside the writer, however many there are. Meanwhile the writer adds up its changes in
// backlogs.changes. On SQLite the count is exact, because the writer takes the snapshot
// between two commits, at the moment when it starts adding up. On PostgreSQL a commit may
// be in progress at that moment, and the count may miss its changes until the next count.
func (c *Core) countOpen(ctx context.Context, scope hook.Scope) error {
	conn, err := c.Read.DB.Conn(ctx) // the writer must not wait for a connection
	if err != nil {
		return c.ReadError("count open deliveries", err)
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
		snapshot, failed = c.Read.Snapshot(ctx, conn)
	}
	err = c.Maintain(ctx, "begin count of backlog", 0, func(t *Tx) error {
		t.core.backlogs.changes[scope] = 0
		delete(t.backlog, scope) // of countFew: the count that begins here is the one that is awaited
		if !t.core.Peers.Shared() {
			take()
		}
		return nil
	})
	if err != nil {
		return err
	}
	if c.Peers.Shared() {
		take()
	}
	if failed != nil {
		return c.ReadError("count open deliveries", failed)
	}
	n := 0
	if _, err := sqltext.ReadRow(ctx, snapshot, sqltext.CountOpen, []any{scope.Mode, scope.Tenant}, &n); err != nil {
		return c.ReadError("count open deliveries", err)
	}
	return c.Maintain(ctx, "end count of backlog", 0, func(t *Tx) error {
		if t.backlog == nil {
			t.backlog = map[hook.Scope]int{}
		}
		t.backlog[scope] = n + t.core.backlogs.changes[scope]
		t.core.backlogs.taken[scope] = t.Now
		return nil
	})
}
