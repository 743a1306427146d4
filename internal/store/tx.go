package store

import (
	"fmt"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// tx is one transaction of the writer together with what it will mean once it is
// committed: new snapshots, health records, news for the dispatcher. All of that
// is thrown away with a rollback.
type tx struct {
	s      *Store
	e      engine
	now    time.Time
	writes int // statements that may have changed something
	bytes  int

	accepted time.Time // of the last event

	scopes map[hook.Scope]*scopeEntry // loaded or changed here
	health map[hook.ID]*healthEntry
	room   map[hook.ID]int // left for an endpoint's jobs in memory

	open    map[hook.Scope]int // open deliveries more (or less) than before
	backlog map[hook.Scope]int // how many there were before, where it was counted here

	jobs     []hook.Job
	due      map[hook.ID]hook.Due
	changed  []*hook.Endpoint
	dropped  []hook.Ref
	keys     bool // keys changed
	profiles bool // texts of profiles were kept, by another node
	sweeps   bool // a sweep was ordered
	counted  Stats
	// staleSettles are outcomes of jobs whose row was somebody else's by then.
	staleSettles int64
	reported     []func() // lines for the log

	pre *prefetched

	// For the other nodes on PostgreSQL.
	config bool             // what nodes keep in memory changed
	news   *columns         // what they are told
	told   map[hook.ID]bool // endpoints whose work they were told of
	holds  []hook.ID        // endpoints whose hold needs a bound over all nodes
	clean  []hook.ID        // endpoints that answered well and are not in health
}

func newTx(s *Store, e engine) *tx {
	return &tx{s: s, e: e, now: s.now(), accepted: s.accepted, scopes: map[hook.Scope]*scopeEntry{}}
}

// exec runs a kept statement inside the transaction and returns the number of
// rows it changed.
func (t *tx) exec(act, query string, args ...any) (int64, error) {
	t.writes++
	n, err := t.e.exec(query, args...)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", act, err)
	}
	return n, nil
}

// insert adds a row to a table of the hot path.
func (t *tx) insert(act string, into *table, args ...any) error {
	t.writes++
	return wrap(act, t.e.insert(into, args...))
}

// row reads one row inside the transaction; ok is false if there is none.
func (t *tx) row(act, query string, args []any, dest ...any) (ok bool, err error) {
	ok, err = readRow(background, t.q(), query, args, dest...)
	return ok, wrap(act, err)
}

// q gives reads inside the transaction.
func (t *tx) q() querier { return t.e }

// txJobs bounds the jobs that one transaction hands over; the rest waits in the table.
const txJobs = 4096

// roomFor takes one place in memory for a job of the endpoint, if there is one.
func (t *tx) roomFor(endpoint hook.ID) bool {
	if t.s.opts.Room == nil || t.s.opts.Committed == nil {
		return false
	}
	if len(t.jobs) >= txJobs { // Room knows of one endpoint at a time only
		return false
	}
	left, ok := t.room[endpoint]
	if !ok {
		left = t.s.opts.Room(endpoint)
		if t.room == nil {
			t.room = map[hook.ID]int{}
		}
	}
	t.room[endpoint] = left - 1
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

// flush writes what is written once a batch.
func (t *tx) flush() error {
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
	if t.accepted.After(s.accepted) || s.cluster == nil { // commits on their way may land in another order
		s.accepted = t.accepted
	}
	s.dir.merge(t.scopes, len(t.changed) > 0)
	s.dir.mergeHealth(t.health)
	s.mergeBacklog(t)
	if t.keys {
		s.known.clear()
	}
	if t.profiles && s.opts.ProfilesKept != nil {
		s.opts.ProfilesKept()
	}
	if len(t.holds) > 0 && s.cluster != nil {
		s.cluster.stale.Store(true) // the floor of ids rose
	}
	s.stats.events.Add(t.counted.Events)
	s.stats.deliveries.Add(t.counted.Deliveries)
	s.stats.attempts.Add(t.counted.Attempts)
	if s.cluster != nil {
		s.cluster.staleSettles.Add(t.staleSettles)
	}
	commit := hook.Commit{Jobs: t.jobs, Changed: t.changed, Dropped: t.dropped}
	for _, d := range t.due {
		commit.Due = append(commit.Due, d)
	}
	if s.opts.Committed != nil && len(commit.Jobs)+len(commit.Due)+len(commit.Changed)+len(commit.Dropped) > 0 {
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
