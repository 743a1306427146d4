package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store/directory"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// background is the writer's context: nothing cancels its statements.
var background = context.Background()

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// Effects: what a transaction changes in memory, and how that is undone.
//
// An operation changes rows through tx, and memory only through tx.effects. The effects
// are invisible to everyone else before the commit. After it, tx.committed applies them to
// the directory, the counters and the dispatcher.
//
// An operation that is refused is undone by [tx.Undo]; the others of its batch stay. Guard
// copies the effects, and the first write after it sets a savepoint. Undo rolls back to
// both. A transaction that is rolled back is dropped with its effects, and the writer may
// run its operations again. So an operation may run more than once and must assign its
// results anew each time.
//
// The fields of Store under "Used by the writer goroutine only" may be used only inside an
// operation or in committed, which run on that goroutine. Operations write some of these
// directly: announced, lastSwept, countedAt, and sinceCount at the start of a count. Undo
// does not restore those. It need not, because they only decide when work is done next.

// tx is one transaction of the writer, together with its effects. It implements batch.Tx.
type tx struct {
	s          *Store
	c          sqltext.Conn
	now        time.Time
	prefetched prefetched
	actor      *hook.Actor             // of the running operation; nil means none
	heads      map[hook.Mode]auditHead // of the audit log, see audit.go
	effects

	guard guard
	kept  effects // at the guard
}

// effects is what a transaction changes besides rows: snapshots, health records, jobs and
// changes for the dispatcher, and changes for other nodes.
type effects struct {
	rows  int // written so far
	bytes int

	accepted time.Time // time of acceptance of the last event

	scopes map[hook.Scope]*directory.Scope // loaded or changed here
	health map[hook.ID]*healthEntry
	room   map[hook.ID]int // left for an endpoint's jobs in memory

	open    map[hook.Scope]int // change of the number of open deliveries
	backlog map[hook.Scope]int // open deliveries before this transaction, if it sets the count
	recount []hook.Scope       // scopes whose count is old

	jobs      []hook.Job
	due       map[hook.ID]hook.Due
	changed   []*hook.Endpoint
	dropped   []hook.Ref
	returned  []*hook.Endpoint
	keys      bool        // keys changed
	profiles  bool        // another node stored texts of profiles
	catalogue bool        // another node changed which schemas are enforced
	seals     *seal.KeyID // this master key seals from now on
	sweeps    bool        // a sweep was ordered
	replays   map[hook.ID]replayCounts
	run       []hook.ReplayRef // replays that this process runs from now on
	erasures  []hook.ErasureRef
	stats     Stats
	audits    []hook.AuditEntry // to be written on commit
	samples   []sample          // of the statistics
	alerts    []alert           // to be published on commit, see alerts.go
	summed    bool              // alerts were left to a digest
	// staleSettles counts outcomes of jobs whose row had changed hands to another node.
	staleSettles int64
	logs         []func() // log lines, written after the commit

	// For other nodes.
	config  bool             // something changed that nodes keep in memory
	changes []sqltext.Change // entries for the change log
	told    map[hook.ID]bool // endpoints whose due work is in changes
	holds   []hook.ID        // endpoints whose hold needs a bound across all nodes
	clean   []hook.ID        // endpoints that succeeded and are not in health
}

// clone copies what an operation may change in place. Lists only grow, so copying their
// length is enough.
func (e *effects) clone() effects {
	next := *e
	next.scopes, next.room, next.open = maps.Clone(e.scopes), maps.Clone(e.room), maps.Clone(e.open)
	next.backlog, next.due, next.told = maps.Clone(e.backlog), maps.Clone(e.due), maps.Clone(e.told)
	next.clean, next.replays = slices.Clone(e.clean), maps.Clone(e.replays)
	next.health = make(map[hook.ID]*healthEntry, len(e.health))
	for id, h := range e.health {
		entry := *h
		next.health[id] = &entry
	}
	return next
}

// guard is the state of the savepoint of an operation.
type guard int

const (
	unguarded  guard = iota
	guardLater       // the savepoint is set before the first write
	guarded          // the savepoint is set
)

func newTx(s *Store, c sqltext.Conn) *tx {
	return &tx{s: s, c: c, now: s.now(), effects: effects{accepted: s.accepted, scopes: map[hook.Scope]*directory.Scope{}}}
}

// Written returns how much the transaction has written. closed reports that it ordered a
// hold: no other operation may follow it in the same transaction (see sweep.go).
func (t *tx) Written() (rows, bytes int, closed bool) { return t.rows, t.bytes, len(t.holds) > 0 }

// Guard marks the place to which Undo goes back. The savepoint is set now, or before the
// next write.
func (t *tx) Guard(now bool) error {
	t.kept, t.guard = t.effects.clone(), guardLater
	if now {
		return t.mark()
	}
	return nil
}

// Unguard means that Undo does not roll back what follows.
func (t *tx) Unguard() { t.kept, t.guard = effects{}, unguarded }

// mark sets the savepoint before the first write after Guard.
func (t *tx) mark() error {
	if t.guard != guardLater {
		return nil
	}
	if err := t.c.Savepoint(); err != nil {
		return fmt.Errorf("mark savepoint: %w", err)
	}
	t.guard = guarded
	return nil
}

var errUnusable = errors.New("the transaction can no longer be used")

// Undo rolls back the writes and effects since Guard.
func (t *tx) Undo() error {
	switch {
	case t.guard == guarded:
		if err := t.c.Undo(); err != nil {
			return err
		}
	case !t.c.Usable():
		return errUnusable
	}
	if t.guard != unguarded {
		t.effects = t.kept
	}
	return nil
}

// Check makes the database validate what was written.
func (t *tx) Check() error { return t.c.Check() }

// exec runs a statement inside the transaction and returns the number of rows that it
// changed.
func (t *tx) exec(act, query string, args ...any) (int64, error) {
	if err := t.mark(); err != nil {
		return 0, err
	}
	n, err := t.c.Exec(query, args...)
	if err != nil {
		t.rows++ // it may have written an unknown number of rows
		return 0, fmt.Errorf("%s: %w", act, err)
	}
	t.rows += int(n)
	return n, nil
}

// insert adds a row to one of the tables of the hot path.
func (t *tx) insert(act string, into *sqltext.Table, args ...any) error {
	if err := t.mark(); err != nil {
		return err
	}
	t.rows++
	return sqltext.Wrap(act, t.c.Insert(into, args...))
}

// returning runs a statement that changes rows, and scans what it returns for each.
func returning[T any](t *tx, scan func(sqltext.Scanner) (T, error), query string, args ...any) ([]T, error) {
	if err := t.mark(); err != nil {
		return nil, err
	}
	all, err := sqltext.Collect(background, t.c, scan, query, args...)
	t.rows += len(all)
	if err != nil {
		t.rows++ // as in exec
	}
	return all, err
}

// claimRows claims due deliveries for this process.
func (t *tx) claimRows(shares []sqltext.Share, now time.Time) (*sqltext.Claimed, error) {
	if err := t.mark(); err != nil {
		return nil, err
	}
	claimed, err := t.c.Claim(shares, t.s.Epoch(), now)
	if err != nil {
		t.rows++ // as in exec
		return nil, sqltext.Wrap("claim deliveries", err)
	}
	t.rows += len(claimed.Deliveries)
	return claimed, nil
}

// row reads one row inside the transaction. ok is false if there is none.
func (t *tx) row(act, query string, args []any, dest ...any) (ok bool, err error) {
	ok, err = sqltext.ReadRow(background, t.c, query, args, dest...)
	return ok, sqltext.Wrap(act, err)
}

// tellNodes leaves a change for the other nodes, on commit.
func (t *tx) tellNodes(kind int64, scope hook.Scope, ref hook.Ref) {
	if kind == sqltext.ChangedScope || kind == sqltext.ChangedKeys {
		t.config = true
	}
	t.changes = append(t.changes, sqltext.Change{Kind: kind, Scope: scope, Ref: ref})
}

// keysChanged makes every node clear its cache of keys.
func (t *tx) keysChanged() {
	t.keys = true
	t.tellNodes(sqltext.ChangedKeys, hook.Scope{}, hook.Ref{})
}

// Room before the commit: whether a new delivery is handed over or waits.
//
// Memory for jobs is bounded, and a delivery that does not fit waits in the table,
// unowned, until a claim takes it. This is decided before the insert, because deciding it
// after the commit would cost a second write for each such row. roomFor calls Options.Room
// once for each endpoint and transaction, and counts down from its result. Only the writer
// hands over new jobs, so the result still holds at the commit. A row is inserted as owned
// if and only if its job is handed over on commit.

// txJobs bounds the jobs that one transaction hands over. The rest wait in the table.
const txJobs = 4096

// roomFor takes one place in memory for a job of the endpoint and reports whether there
// was one.
func (t *tx) roomFor(target *hook.Endpoint) bool {
	if t.s.opts.Room == nil || t.s.opts.Committed == nil {
		return false
	}
	if len(t.jobs) >= txJobs { // Room bounds one endpoint at a time, not their sum
		return false
	}
	left, ok := t.room[target.ID]
	if !ok {
		left = t.s.opts.Room(target)
		if t.room == nil {
			t.room = map[hook.ID]int{}
		}
	}
	t.room[target.ID] = left - 1
	return left > 0
}

// noteDueHere tells this process's dispatcher, on commit, when work of the endpoint in the
// table is due. See noteDue for work that another node may have to do.
func (t *tx) noteDueHere(target *hook.Endpoint, at time.Time) {
	if t.due == nil {
		t.due = map[hook.ID]hook.Due{}
	}
	if old, ok := t.due[target.ID]; !ok || at.Before(old.At) {
		t.due[target.ID] = hook.Due{Target: target, At: at}
	}
}

// Flush writes the rows that are written once for each transaction. It is not part of the
// commit, so losing the connection here loses no result of a commit.
func (t *tx) Flush() error {
	t.guard = unguarded
	for id, h := range t.health {
		if !h.dirty {
			continue
		}
		if err := t.writeHealth(id, h); err != nil {
			return err
		}
	}
	if err := t.writeReplayCounts(); err != nil {
		return err
	}
	if err := t.flushAlerts(); err != nil {
		return err
	}
	if err := t.flushAudit(); err != nil {
		return err
	}
	return t.logSamples()
}

// committed applies the effects. It runs after the commit and before any caller is
// answered, so that no job depends on a caller that has gone. If the process crashes in
// between, Recover finds the work.
func (t *tx) committed() {
	s := t.s
	if len(t.audits) > 0 {
		s.heads, s.auditing = t.heads, false
	}
	s.dir.Merge(t.scopes, len(t.changed) > 0)
	s.mergeHealth(t.health)
	s.mergeBacklog(t)
	if t.keys {
		s.known.Clear()
	}
	if t.seals != nil {
		s.sealsNow(*t.seals)
	}
	if t.profiles && s.opts.ProfilesKept != nil {
		s.opts.ProfilesKept()
	}
	if t.catalogue && s.opts.CatalogueChanged != nil {
		s.opts.CatalogueChanged()
	}
	s.stats.events.Add(t.stats.Events)
	s.stats.deliveries.Add(t.stats.Deliveries)
	s.stats.attempts.Add(t.stats.Attempts)
	s.stats.staleSettles.Add(t.staleSettles)
	commit := hook.Commit{Jobs: t.jobs, Changed: t.changed, Dropped: t.dropped, Returned: t.returned, Replays: t.run, Erasures: t.erasures}
	for _, d := range t.due {
		commit.Due = append(commit.Due, d)
	}
	if s.opts.Committed != nil && len(commit.Jobs)+len(commit.Due)+len(commit.Changed)+len(commit.Dropped)+len(commit.Returned)+len(commit.Replays)+len(commit.Erasures) > 0 {
		s.opts.Committed(commit)
	}
	for _, report := range t.logs {
		report()
	}
	if t.sweeps {
		s.wakeSweeper()
	}
	if len(t.samples) > 0 {
		wake(s.counted)
	}
	if t.summed {
		wake(s.digests)
	}
}

func (s *Store) wakeSweeper() { wake(s.sweeps) }

// wake makes the goroutine that receives from c run once more. It never blocks.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
