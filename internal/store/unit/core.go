// Package unit is the unit of work of a store: one transaction of the writer, and what it
// leaves behind. It owns the statements of a transaction with their savepoint, the effects
// in memory that wait for the commit, the records that any operation may leave (an entry of
// the audit log, a sample of the statistics, bytes written, a change for other nodes), the
// answers to idempotency keys, and the count of a tenant's open deliveries. It also defines
// what a database is to everything above it ([Engine]), and the other processes on it
// ([Peers]).
//
// It promises that an operation that is refused leaves neither rows nor effects, and that no
// effect is seen before the commit. It never decides what an event, a delivery or a setting
// means: the packages above do, in operations that get a [Tx].
package unit

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store/batch"
	"github.com/posthorn/posthorn/internal/store/directory"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// Core is what the packages of an open store share. Its exported fields are set before the
// first operation and stay as they are. Its methods are safe for concurrent use, except
// those that say that they belong to the writer's goroutine.
type Core struct {
	Clock     func() time.Time
	Log       *slog.Logger
	Keys      *seal.Keyring
	IDs       *hook.IDs
	Directory *directory.Directory
	KnownKeys *directory.KeyCache
	Engine    Engine
	Peers     Peers
	Read      *sqltext.Reader
	// Submit runs an operation on the writer, on behalf of the actor of the context, and
	// returns a [hook.Error].
	Submit func(ctx context.Context, o *Op) error
	// Closed reports whether the writer accepts no more operations.
	Closed func() bool
	// TenantBacklog bounds the open deliveries of a scope; 0 means no bound.
	TenantBacklog int
	// Applied is called with each transaction after its commit, before any caller is
	// answered. The functions run on the writer and must not block.
	Applied []func(*Tx)

	life  context.Context
	stop  context.CancelFunc
	tasks sync.WaitGroup

	counting counting

	// Used by the writer's goroutine only.
	accepted time.Time // time of acceptance of the last event
	backlogs backlogs
	heads    map[hook.Mode]AuditHead // of the audit log
	auditing bool                    // a commit with entries of the audit log is in progress
	lastStat int64                   // see StatID
	sums     Sums                    // of the transaction in progress
	// announced is when the shared work of an endpoint was last announced.
	announced map[hook.ID]time.Time
}

// Begin makes the core ready for use.
func (c *Core) Begin() {
	c.life, c.stop = context.WithCancel(context.Background())
	c.backlogs, c.announced = newBacklogs(), map[hook.ID]time.Time{}
}

// Now returns the time with the database's precision.
func (c *Core) Now() time.Time { return c.Clock().UTC().Truncate(time.Microsecond) }

// Go runs a task beside the writer. Its context ends with [Core.Stop].
func (c *Core) Go(task func(ctx context.Context)) {
	c.tasks.Go(func() { task(c.life) })
}

// Wake makes the goroutine that receives from c run once more. It never blocks.
func Wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Later calls do after first, and then a pause after each wake, so that what comes in the
// meantime is done together. do returns after which time it is to be called again; 0: at the
// next wake. Later returns when the context ends.
func Later(ctx context.Context, wake <-chan struct{}, first, pause time.Duration, do func(context.Context) (again time.Duration)) {
	timer := time.NewTimer(first)
	defer timer.Stop()
	waiting := true
	for {
		select {
		case <-ctx.Done():
			return
		case <-wake:
			if !waiting {
				timer.Reset(pause)
				waiting = true
			}
			continue
		case <-timer.C:
		}
		again := do(ctx)
		if waiting = again > 0; waiting {
			timer.Reset(again)
		}
	}
}

// Stop ends the context of the tasks, and Wait waits until they have returned.
func (c *Core) Stop() { c.stop() }

// Wait waits until all tasks have returned.
func (c *Core) Wait() { c.tasks.Wait() }

// Op is an operation of a package that needs only the unit of work.
type Op = batch.Op[*Tx]

const (
	// HousekeepPage bounds the rows of a page of background work.
	HousekeepPage = 500
	// PagePause is the least pause after a page of background work, which leaves the writer to
	// other operations.
	PagePause = 10 * time.Millisecond
)

// Administration is the key (batch.Op.Key) of operations that belong to no scope.
const Administration = "administration"

// Do writes for a caller. If ctx ends, Do returns, and the write is still carried out.
func (c *Core) Do(ctx context.Context, name string, rows int, apply func(*Tx) error) error {
	return c.Submit(ctx, &Op{Name: name, Key: Administration, Rows: rows, Apply: apply})
}

// DoFor is Do for a tenant. The writer serves tenants round-robin. A scope without a tenant
// is an operator's.
func (c *Core) DoFor(ctx context.Context, scope hook.Scope, name string, rows int, apply func(*Tx) error) error {
	return c.Submit(ctx, &Op{Name: name, Key: scope, Rows: rows, Apply: apply})
}

// Maintain writes for the store itself. It waits for the result even if ctx ends, because
// nobody else would use it.
func (c *Core) Maintain(ctx context.Context, name string, rows int, apply func(*Tx) error) error {
	return c.Submit(ctx, &Op{Name: name, Rows: rows, Apply: apply, Stays: true, Hot: true})
}

// Recover is Maintain for writes that must also succeed on a full disk.
func (c *Core) Recover(ctx context.Context, name string, rows int, apply func(*Tx) error) error {
	return c.Submit(ctx, &Op{Name: name, Rows: rows, Apply: apply, Stays: true, Hot: true, Outcome: true})
}

// Life returns the context of the tasks, which ends with [Core.Stop].
func (c *Core) Life() context.Context { return c.life }

// InPages runs a statement that changes a bounded number of rows until it changes none, and
// returns how many it changed. It also works on a full disk.
func (c *Core) InPages(ctx context.Context, act, query string, page int) (rows int64, err error) {
	for left := int64(1); left > 0; rows += left {
		err := c.Recover(ctx, act, page, func(t *Tx) (err error) {
			left, err = t.Exec(act, query, int64(page))
			return err
		})
		if err != nil {
			return rows, err
		}
	}
	return rows, nil
}

// Counted submits an operation that may add to the backlog of a tenant. If the count is
// missing, the caller's goroutine counts first, because the writer never counts.
func Counted[T batch.Tx](ctx context.Context, c *Core, o batch.Op[T], submit func(context.Context, *batch.Op[T]) error) error {
	for {
		again := o
		err := submit(ctx, &again)
		uncounted, ok := errors.AsType[*Uncounted](err)
		if !ok {
			return err
		}
		if err := c.CountBacklog(ctx, uncounted.Scope); err != nil {
			return err
		}
	}
}
