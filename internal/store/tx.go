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
	"github.com/posthorn/posthorn/internal/store/directory"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// background is for the writer: its statements are not interrupted.
var background = context.Background()

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// tx is one transaction of the writer together with what it will mean once it is
// committed. It implements batch.Tx.
type tx struct {
	s   *Store
	c   sqltext.Conn
	now time.Time
	pre prefetched
	effects

	guard guard
	kept  effects // as of the guard
}

// effects is what a transaction will mean: new snapshots, records of health, news for
// the dispatcher and the other nodes. All of it is thrown away with a rollback.
type effects struct {
	rows  int // written
	bytes int

	accepted time.Time // of the last event

	scopes map[hook.Scope]*directory.Scope // loaded or changed here
	health map[hook.ID]*healthEntry
	room   map[hook.ID]int // left for an endpoint's jobs in memory

	open    map[hook.Scope]int // open deliveries more (or less) than before
	backlog map[hook.Scope]int // how many there were before, where the count is just made known
	recount []hook.Scope       // whose count is old

	jobs     []hook.Job
	due      map[hook.ID]hook.Due
	changed  []*hook.Endpoint
	dropped  []hook.Ref
	returned []*hook.Endpoint
	keys     bool // keys changed
	profiles bool // texts of profiles were kept, by another node
	sweeps   bool // a sweep was ordered
	counted  Stats
	// staleSettles are outcomes of jobs whose row was somebody else's by then.
	staleSettles int64
	reported     []func() // lines for the log

	// For the other nodes.
	config  bool             // what nodes keep in memory changed
	changes []sqltext.Change // what they are told
	told    map[hook.ID]bool // endpoints whose work they were told of
	holds   []hook.ID        // endpoints whose hold needs a bound over all nodes
	clean   []hook.ID        // endpoints that answered well and are not in health
}

// clone copies what an operation may change in place. Lists only grow, so that their
// length is enough.
func (e *effects) clone() effects {
	next := *e
	next.scopes, next.room, next.open = maps.Clone(e.scopes), maps.Clone(e.room), maps.Clone(e.open)
	next.backlog, next.due, next.told = maps.Clone(e.backlog), maps.Clone(e.due), maps.Clone(e.told)
	next.clean = slices.Clone(e.clean)
	next.health = make(map[hook.ID]*healthEntry, len(e.health))
	for id, h := range e.health {
		entry := *h
		next.health[id] = &entry
	}
	return next
}

// guard says whether an operation can be taken back.
type guard int

const (
	unguarded  guard = iota
	guardLater       // before its first write
	guarded
)

func newTx(s *Store, c sqltext.Conn) *tx {
	return &tx{s: s, c: c, now: s.now(), effects: effects{accepted: s.accepted, scopes: map[hook.Scope]*directory.Scope{}}}
}

// Written returns what the transaction holds. The bound of a hold is known with its
// commit, and only then are ids given to what is published after it: nothing follows it
// in the same transaction.
func (t *tx) Written() (rows, bytes int, closed bool) { return t.rows, t.bytes, len(t.holds) > 0 }

// Guard marks the place to which Undo goes back.
func (t *tx) Guard(now bool) error {
	t.kept, t.guard = t.effects.clone(), guardLater
	if now {
		return t.mark()
	}
	return nil
}

// Unguard says that what follows cannot be taken back.
func (t *tx) Unguard() { t.kept, t.guard = effects{}, unguarded }

// mark makes the place in the database before the first write after Guard.
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

var errUnusable = errors.New("the transaction cannot be used any more")

// Undo takes back everything since Guard.
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

// Check makes the database judge what was written.
func (t *tx) Check() error { return t.c.Check() }

// exec runs a kept statement inside the transaction and returns the number of
// rows it changed.
func (t *tx) exec(act, query string, args ...any) (int64, error) {
	if err := t.mark(); err != nil {
		return 0, err
	}
	n, err := t.c.Exec(query, args...)
	if err != nil {
		t.rows++ // it may have written: nobody knows how much
		return 0, fmt.Errorf("%s: %w", act, err)
	}
	t.rows += int(n)
	return n, nil
}

// insert adds a row to a table of the hot path.
func (t *tx) insert(act string, into *sqltext.Table, args ...any) error {
	if err := t.mark(); err != nil {
		return err
	}
	t.rows++
	return sqltext.Wrap(act, t.c.Insert(into, args...))
}

// returning runs a statement that changes rows and returns something of each.
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

// claimRows gives due deliveries to this node.
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

// row reads one row inside the transaction; ok is false if there is none.
func (t *tx) row(act, query string, args []any, dest ...any) (ok bool, err error) {
	ok, err = sqltext.ReadRow(background, t.c, query, args, dest...)
	return ok, sqltext.Wrap(act, err)
}

// tell leaves a line for the other nodes, with the commit.
func (t *tx) tell(kind int64, scope hook.Scope, ref hook.Ref) {
	if kind == sqltext.ChangedScope || kind == sqltext.ChangedKeys {
		t.config = true
	}
	t.changes = append(t.changes, sqltext.Change{Kind: kind, Scope: scope, Ref: ref})
}

// keysChanged makes every node forget the keys it knows.
func (t *tx) keysChanged() {
	t.keys = true
	t.tell(sqltext.ChangedKeys, hook.Scope{}, hook.Ref{})
}

// txJobs bounds the jobs that one transaction hands over; the rest waits in the table.
const txJobs = 4096

// roomFor takes one place in memory for a job of the endpoint, if there is one.
func (t *tx) roomFor(target *hook.Endpoint) bool {
	if t.s.opts.Room == nil || t.s.opts.Committed == nil {
		return false
	}
	if len(t.jobs) >= txJobs { // Room knows of one endpoint at a time only
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

// waits notes that the table holds work for the endpoint.
func (t *tx) waits(target *hook.Endpoint, at time.Time) {
	if t.due == nil {
		t.due = map[hook.ID]hook.Due{}
	}
	if old, ok := t.due[target.ID]; !ok || at.Before(old.At) {
		t.due[target.ID] = hook.Due{Target: target, At: at}
	}
}

// Flush writes what is written once a transaction. It is no part of the commit: a
// connection that is lost here loses no answer to one.
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
	return nil
}

// committed makes known what the transaction meant. It runs after the commit and
// before any caller is answered, so a caller that has gone strands nothing; a
// crash in between is healed by Recover.
func (t *tx) committed() {
	s := t.s
	s.dir.Merge(t.scopes, len(t.changed) > 0)
	s.mergeHealth(t.health)
	s.mergeBacklog(t)
	if t.keys {
		s.known.Clear()
	}
	if t.profiles && s.opts.ProfilesKept != nil {
		s.opts.ProfilesKept()
	}
	s.stats.events.Add(t.counted.Events)
	s.stats.deliveries.Add(t.counted.Deliveries)
	s.stats.attempts.Add(t.counted.Attempts)
	s.stats.staleSettles.Add(t.staleSettles)
	commit := hook.Commit{Jobs: t.jobs, Changed: t.changed, Dropped: t.dropped, Returned: t.returned}
	for _, d := range t.due {
		commit.Due = append(commit.Due, d)
	}
	if s.opts.Committed != nil && len(commit.Jobs)+len(commit.Due)+len(commit.Changed)+len(commit.Dropped)+len(commit.Returned) > 0 {
		s.opts.Committed(commit)
	}
	for _, report := range t.reported {
		report()
	}
	if t.sweeps {
		s.wakeSweeper()
	}
}

func (s *Store) wakeSweeper() {
	select {
	case s.sweeps <- struct{}{}:
	default:
	}
}
