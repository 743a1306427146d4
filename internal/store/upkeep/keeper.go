// Package upkeep is the work on a store that no request waits for: what is removed when its
// time is over (retention), removed for good when somebody asks (erasure), sealed again
// under another master key (rotation), added up (statistics), and what all of it takes on
// disk.
//
// Every task reads outside the writer and writes in pages: operations with a bounded number
// of rows and a pause after each, so that publishing never waits for it. A process that ends
// in the middle leaves nothing half done; the next run goes on. Several nodes may run a task
// at the same time.
//
// It never decides what becomes of a delivery that is open, and never removes what one still
// needs.
package upkeep

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/read"
	"github.com/posthorn/posthorn/internal/store/unit"
)

// Options say what a Keeper keeps and for how long. Core and Lists are required. Those that
// package store has too are described there.
type Options struct {
	Core  *unit.Core
	Lists *read.Lists

	Retention, RetentionPayloads, RetentionAnswers, AuditRetention time.Duration
	DiskBudget                                                     hook.DiskBudget
	KeySource                                                      KeySource

	// MachineClock means that the store follows the machine's clock, which may jump.
	MachineClock bool
	// Fatal is called on the writer when another node made a master key seal that this
	// process does not have. It may be nil.
	Fatal func(error)
	// DeleteEndpoint deletes an endpoint inside a transaction, and orders that its deliveries
	// are cancelled.
	DeleteEndpoint func(*unit.Tx, *hook.Endpoint) error
	// Hourly is what other packages want done by each Housekeep, in pages like its own tasks.
	Hourly []func(context.Context) error
}

// Keeper is what callers of a store can ask for. Its methods are safe for concurrent use.
type Keeper struct {
	opts  Options
	core  *unit.Core
	lists *read.Lists

	scrubs  scrubs
	disk    *diskMeter
	kept    atomic.Pointer[keptLimits]
	dueSoon chan struct{} // retention must look at something soon
	counted chan struct{} // a transaction counted something

	rotations rotations       // of the master key
	retention *retentionClock // nil: retention follows the clock that the store was given
}

// New returns a Keeper, and what the other operations of the store ask of it. The Keeper does
// nothing before [Duties.Begin].
func New(o Options) (*Keeper, Duties) {
	s := &Keeper{
		opts: o, core: o.Core, lists: o.Lists,
		scrubs:    scrubs{turn: make(chan struct{}, 1)},
		disk:      newDiskMeter(),
		dueSoon:   make(chan struct{}, 1),
		counted:   make(chan struct{}, 1),
		rotations: rotations{wake: make(chan struct{}, 1)},
	}
	if o.MachineClock {
		s.duties().Distrust(time.Now())
	}
	s.kept.Store(&keptLimits{server: s.serverRetention()})
	o.Core.Applied = append(o.Core.Applied, s.applied)
	return s, s.duties()
}

// background is the context of statements on the writer: nothing cancels them.
var background = context.Background()

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// applied takes what a committed transaction left for upkeep.
func (s *Keeper) applied(t *unit.Tx) {
	if t.Seals != nil {
		s.sealsNow(*t.Seals)
	}
	s.disk.add(t.Growth)
	s.disk.poke()
	if t.DueSoon {
		s.wakeRetention()
	}
	if len(t.Samples) > 0 {
		unit.Wake(s.counted)
	}
}

// tx is the view of a transaction, see package unit.
type tx struct {
	*unit.Tx
	s *Keeper
}

func (s *Keeper) on(apply func(*tx) error) func(*unit.Tx) error {
	return func(t *unit.Tx) error { return apply(&tx{t, s}) }
}

// do and maintain are those of unit.Core.
func (s *Keeper) do(ctx context.Context, name string, rows int, apply func(*tx) error) error {
	return s.core.Do(ctx, name, rows, s.on(apply))
}

func (s *Keeper) maintain(ctx context.Context, name string, rows int, apply func(*tx) error) error {
	return s.core.Maintain(ctx, name, rows, s.on(apply))
}

// Duties are what the other operations of a store ask of its Keeper, and its tasks, for
// whoever wants one done at once. They are not part of what a store offers.
type Duties struct{ keeper *Keeper }

func (s *Keeper) duties() Duties { return Duties{s} }

// Begin reads what the Keeper needs to know of the database, and starts its tasks.
func (d Duties) Begin(ctx context.Context) error {
	s := d.keeper
	if err := s.beginKeys(ctx); err != nil {
		return err
	}
	if err := s.loadRetention(ctx); err != nil {
		return err
	}
	s.duties().CheckBudget(ctx)
	s.core.Go(s.watchStats)
	s.core.Go(s.watchDisk)
	s.core.Go(func(ctx context.Context) { s.disk.shown.run(ctx, s.measure) })
	s.core.Go(s.watchRetention)
	s.core.Go(s.watchRotation)
	return nil
}

// End writes what was gathered, unless that takes long.
func (d Duties) End() { d.keeper.closeDisk() }

// WithinBudget returns an error while the disk budget is used up.
func (d Duties) WithinBudget() error { return d.keeper.withinBudget() }

// Kept returns the retention in force for a scope.
func (d Duties) Kept(scope hook.Scope) hook.Retention { return d.keeper.kept.Load().of(scope) }

// Distrust makes retention follow the clock no faster than clockPace times the monotonic
// clock, which it reads from checked on. It is called before the first Housekeep.
func (d Duties) Distrust(checked time.Time) { d.keeper.retention = &retentionClock{checked: checked} }

// Resealing is held while values are being sealed again.
func (d Duties) Resealing() sync.Locker { return &d.keeper.rotations.walking }

// WakeReseal makes the Keeper look whether there is something to seal again.
func (d Duties) WakeReseal() { d.keeper.wakeReseal() }

// Statements returns the statements whose plans depend on an index, by name.
func Statements() map[string]string {
	return map[string]string{
		"old page": tablesOf("events", oldPage), "old rows": tablesOf("events", oldDeliveries), "old ids": tablesOf("events", dropIDs),
		"old tags": oldTags, "drop tags": tablesOf("events", dropTags), "forget days": forgetDays, "drop log": dropLog,
	}
}
