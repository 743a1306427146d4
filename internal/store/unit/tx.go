package unit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store/directory"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// background is the writer's context: nothing cancels its statements.
var background = context.Background()

// Effects: what a transaction changes in memory, and how that is undone.
//
// An operation changes rows through Tx, and memory only through its Effects. The effects
// are invisible to everyone else before the commit. After it, Apply and the packages above
// apply them to the directory, the counters and the dispatcher.
//
// An operation that is refused is undone by [Tx.Undo]; the others of its batch stay. Guard
// copies the effects, and the first write after it sets a savepoint. Undo rolls back to
// both. A transaction that is rolled back is dropped with its effects, and the writer may
// run its operations again. So an operation may run more than once and must assign its
// results anew each time.
//
// What is "used by the writer's goroutine only" may be used only inside an operation or
// while effects are applied, which happens on that goroutine. Operations write some of it
// directly, such as the time of a count. Undo does not restore that. It need not, because
// it only decides when work is done next.
//
// A package that defines operations has its own view of the transaction: a struct of the
// *Tx and of what the package itself needs. A view holds no state of the transaction.

// Tx is one transaction of the writer, together with its effects. Only the writer's
// goroutine uses it.
type Tx struct {
	Conn sqltext.Conn
	Now  time.Time
	Effects

	core       *Core
	actor      *hook.Actor // of the running operation; nil means none
	prefetched prefetched
	heads      map[hook.Mode]AuditHead // of the audit log, see audit.go
	guard      guard
	kept       Effects // at the guard
}

// Effects is what a transaction changes besides rows: snapshots, health records, jobs and
// changes for the dispatcher, and changes for other nodes.
type Effects struct {
	Rows  int // written so far
	Bytes int

	Accepted time.Time // time of acceptance of the last event

	Scopes map[hook.Scope]*directory.Scope // loaded or changed here
	Health map[hook.ID]*HealthEntry
	Room   map[hook.ID]int // left for an endpoint's jobs in memory

	open    map[hook.Scope]int // change of the number of open deliveries
	backlog map[hook.Scope]int // open deliveries before this transaction, if it sets the count
	recount []hook.Scope       // scopes whose count is old

	Jobs      []hook.Job
	Due       map[hook.ID]hook.Due
	Changed   []*hook.Endpoint
	Dropped   []hook.Ref
	Returned  []*hook.Endpoint
	Keys      bool        // keys changed
	Profiles  bool        // another node stored texts of profiles
	Catalogue bool        // another node changed which schemas are enforced
	Seals     *seal.KeyID // this master key seals from now on
	Sweeps    bool        // a sweep was ordered
	Replays   map[hook.ID]ReplayCounts
	Run       []hook.ReplayRef // replays that this process runs from now on
	Erasures  []hook.ErasureRef
	Counts    Counts
	audits    []hook.AuditEntry // to be written on commit
	Samples   []Sample          // of the statistics
	Growth    []Growth          // bytes written and removed
	DueSoon   bool              // retention must look at something soon
	Alerts    []Alert           // to be published on commit, see package alerts
	Summed    bool              // alerts were left to a digest
	// staleSettles counts outcomes of jobs whose row had changed hands to another node.
	StaleSettles int64
	Logs         []func() // log lines, written after the commit

	// For other nodes.
	Config  bool             // something changed that nodes keep in memory
	Changes []sqltext.Change // entries for the change log
	Told    map[hook.ID]bool // endpoints whose due work is in changes
	Holds   []hook.ID        // endpoints whose hold needs a bound across all nodes
	Clean   []hook.ID        // endpoints that succeeded and are not in health
}

// clone copies what an operation may change in place. Lists only grow, so copying their
// length is enough.
func (e *Effects) clone() Effects {
	next := *e
	next.Scopes, next.Room, next.open = maps.Clone(e.Scopes), maps.Clone(e.Room), maps.Clone(e.open)
	next.backlog, next.Due, next.Told = maps.Clone(e.backlog), maps.Clone(e.Due), maps.Clone(e.Told)
	next.Clean, next.Replays = slices.Clone(e.Clean), maps.Clone(e.Replays)
	next.Health = make(map[hook.ID]*HealthEntry, len(e.Health))
	for id, h := range e.Health {
		entry := *h
		next.Health[id] = &entry
	}
	return next
}

// Counts is how many rows a transaction added.
type Counts struct{ Events, Deliveries, Attempts int64 }

// guard is the state of the savepoint of an operation.
type guard int

const (
	unguarded  guard = iota
	guardLater       // the savepoint is set before the first write
	guarded          // the savepoint is set
)

// Start makes t a new transaction on a connection.
func (c *Core) Start(t *Tx, conn sqltext.Conn) {
	*t = Tx{core: c, Conn: conn, Now: c.Now(), Effects: Effects{Accepted: c.accepted, Scopes: map[hook.Scope]*directory.Scope{}}}
}

// Commit sends a transaction to the database, see [Engine].
func (c *Core) Commit(t *Tx, later func(answer func() error)) (sent bool, err error) {
	c.accepted = t.Accepted // later batches must use later times
	c.auditing = c.auditing || len(t.audits) > 0
	return c.Engine.Commit(t.Conn, sqltext.Ending{Bytes: t.Bytes, At: t.Now, Config: t.Config, Changes: t.Changes, Holds: t.Holds, Clean: t.Clean}, later)
}

// Rollback ends a transaction that was not committed.
func (c *Core) Rollback(t *Tx) {
	c.Engine.Rollback(t.Conn)
	if len(t.audits) > 0 { // the commit may have been in progress and may have succeeded
		c.heads, c.auditing = nil, false
	}
}

// Apply applies the effects of a committed transaction to what the packages share, and then
// calls [Core.Applied].
func (c *Core) Apply(t *Tx) {
	if len(t.audits) > 0 {
		c.heads, c.auditing = t.heads, false
	}
	c.Directory.Merge(t.Scopes, len(t.Changed) > 0)
	c.mergeHealth(t.Health)
	c.mergeBacklog(t)
	if t.Keys {
		c.KnownKeys.Clear()
	}
	for _, apply := range c.Applied {
		apply(t)
	}
}

// Flush writes the entries of the audit log and the statistics. Nothing that leaves any may
// be written after it.
func (t *Tx) Flush() error {
	if err := t.flushAudit(); err != nil {
		return err
	}
	return t.logSamples()
}

// Written returns how much the transaction has written. closed reports that it ordered a
// hold: no other operation may follow it in the same transaction (see package store).
func (t *Tx) Written() (rows, bytes int, closed bool) { return t.Rows, t.Bytes, len(t.Holds) > 0 }

// Guard marks the place to which Undo goes back. The savepoint is set now, or before the
// next write.
func (t *Tx) Guard(now bool) error {
	t.kept, t.guard = t.Effects.clone(), guardLater
	if now {
		return t.Mark()
	}
	return nil
}

// Unguard means that Undo does not roll back what follows.
func (t *Tx) Unguard() { t.kept, t.guard = Effects{}, unguarded }

// Mark sets the savepoint before the first write after Guard.
func (t *Tx) Mark() error {
	if t.guard != guardLater {
		return nil
	}
	if err := t.Conn.Savepoint(); err != nil {
		return fmt.Errorf("mark savepoint: %w", err)
	}
	t.guard = guarded
	return nil
}

var errUnusable = errors.New("the transaction can no longer be used")

// Undo rolls back the writes and effects since Guard.
func (t *Tx) Undo() error {
	switch {
	case t.guard == guarded:
		if err := t.Conn.Undo(); err != nil {
			return err
		}
	case !t.Conn.Usable():
		return errUnusable
	}
	if t.guard != unguarded {
		t.Effects = t.kept
	}
	return nil
}

// Check makes the database validate what was written.
func (t *Tx) Check() error { return t.Conn.Check() }

// Exec runs a statement inside the transaction and returns the number of rows that it
// changed.
func (t *Tx) Exec(act, query string, args ...any) (int64, error) {
	if err := t.Mark(); err != nil {
		return 0, err
	}
	n, err := t.Conn.Exec(query, args...)
	if err != nil {
		t.Rows++ // it may have written an unknown number of rows
		return 0, fmt.Errorf("%s: %w", act, err)
	}
	t.Rows += int(n)
	return n, nil
}

// Insert adds a row to one of the tables of the hot path.
func (t *Tx) Insert(act string, into *sqltext.Table, args ...any) error {
	if err := t.Mark(); err != nil {
		return err
	}
	t.Rows++
	return sqltext.Wrap(act, t.Conn.Insert(into, args...))
}

// Returning runs a statement that changes rows, and scans what it returns for each.
func Returning[T any](t *Tx, scan func(sqltext.Scanner) (T, error), query string, args ...any) ([]T, error) {
	if err := t.Mark(); err != nil {
		return nil, err
	}
	all, err := sqltext.Collect(background, t.Conn, scan, query, args...)
	t.Rows += len(all)
	if err != nil {
		t.Rows++ // as in Exec
	}
	return all, err
}

// Row reads one row inside the transaction. ok is false if there is none.
func (t *Tx) Row(act, query string, args []any, dest ...any) (ok bool, err error) {
	ok, err = sqltext.ReadRow(background, t.Conn, query, args, dest...)
	return ok, sqltext.Wrap(act, err)
}

// TellNodes leaves a change for the other nodes, on commit.
func (t *Tx) TellNodes(kind int64, scope hook.Scope, ref hook.Ref) {
	if kind == sqltext.ChangedScope || kind == sqltext.ChangedKeys {
		t.Config = true
	}
	t.Changes = append(t.Changes, sqltext.Change{Kind: kind, Scope: scope, Ref: ref})
}

// KeysChanged makes every node clear its cache of keys.
func (t *Tx) KeysChanged() {
	t.Keys = true
	t.TellNodes(sqltext.ChangedKeys, hook.Scope{}, hook.Ref{})
}
