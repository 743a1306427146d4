// Package store owns everything Posthorn must not forget: all SQL, the schema and
// its migrations, the one writer with its group commit, and the snapshots of
// endpoints that the rest of the house shares.
//
// It promises that what it acknowledged is on disk (with the default
// [Options].Synchronous), that an event and its deliveries are one transaction,
// that every statement stays within the scope it was given (S-09), and that
// secrets reach the disk sealed only (S-11). It decides nothing about retries:
// that is [hook.Next], which runs inside the settling transaction.
//
// It never opens a network connection, never waits for a receiver, never starts
// an attempt, and never calls back into the rooms above it while a caller's lock
// could be held: [Options].Committed is non-blocking by contract.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/seal"
)

// Errors of Open that callers branch on.
var (
	// ErrLocked says that another process has the database open.
	ErrLocked = errors.New("the database is in use by another process")
	// ErrNewerSchema says that a newer release wrote the database. Nothing was
	// changed; start that release, or restore a backup.
	ErrNewerSchema = errors.New("the database was written by a newer release")
	// ErrMasterKeyMismatch says that the secrets in the database were sealed
	// under another master key.
	ErrMasterKeyMismatch = errors.New("the master key is not the one this database was made with")
	// ErrCorrupt says that the file is not a database or is damaged.
	ErrCorrupt = errors.New("the database is damaged")
)

// Options say how a store is opened and to whom it reports. Dir or Path, and
// Keys, are required.
type Options struct {
	// Postgres is the URL of a PostgreSQL database: the store is kept there and
	// not in a file. Dir and Path have no meaning then.
	Postgres string
	// Lease is how long after its last sign of life a node on PostgreSQL counts as
	// dead; default 10 s.
	Lease time.Duration
	// Version is the release that this node runs, for operators of several.
	Version string
	// ProfilesKept is called when another node kept texts of profiles. It runs on
	// the writer under the contract of Committed. Nil: nobody is told.
	ProfilesKept func()
	// Dir is the data directory; it is made if absent. The database is
	// posthorn.db in it unless Path says otherwise.
	Dir string
	// Path is the database file. Its lock and reserve files stand beside it.
	Path string
	// Keys seals secrets, header values and stored answers.
	Keys *seal.Keyring
	// Now is the clock; default time.Now. Times are kept in microseconds.
	Now func() time.Time
	// Log takes operational lines; default slog.Default. No secret is logged.
	Log *slog.Logger
	// Committed is told what a transaction means for the dispatcher, after the
	// commit and before any caller is answered. It runs on the writer: it must
	// not block and must not call the store. Nil: nobody is told.
	Committed func(hook.Commit)
	// Room says how many more jobs of an endpoint may wait in memory. It runs on
	// the writer under the same contract as Committed. Nil: none, everything
	// stays in the table until it is claimed.
	Room func(endpoint hook.ID) int
	// Fatal is called once, on the writer, when the disk can no longer be
	// trusted (a failed sync, an I/O error, damage). The process must end:
	// nothing is acknowledged from then on. It must not block, nor call
	// Close itself.
	Fatal func(error)
	// Synchronous is "full" (default), "normal" or "off". Only full survives a
	// power cut; normal loses the last acknowledged commits, off may lose the
	// database. It exists for tests and for those who know.
	Synchronous string
	// MaxFanOut bounds the deliveries of one event; default 1,000.
	MaxFanOut int
	// Jitter returns a number from 0 to 1; default random.
	Jitter func() float64
	// HeldFor is how long a delivery may be held; default 30 days.
	HeldFor time.Duration
	// Retention is how long an event is kept after it was accepted and its last
	// delivery settled. One that is still to be delivered, held ones included, stays
	// for as long as that takes. Default 0: for ever. With a clock of the machine
	// (Now nil) a jump of that does not count at once.
	Retention time.Duration
	// TenantBacklog bounds the deliveries of one tenant in one mode that are
	// pending or held: beyond it publishing is refused with CodeBacklogFull.
	// Default 0: no bound.
	TenantBacklog int
	// Reserve is the size in bytes of a file kept to be deleted when the disk is
	// full, so that outcomes can still be recorded. Default 16 MiB,
	// -1: none.
	Reserve int64
}

// Store is one open database. Its methods are safe for concurrent use. Writes go
// through one writer and are grouped; reads see the last commit.
//
// A context bounds the waiting of its caller only: a write that was handed to the
// writer is carried out even if its caller has gone.
type Store struct {
	opts    Options
	log     *slog.Logger
	keys    *seal.Keyring
	epoch   atomic.Int64
	ids     *hook.IDs
	engine  engine
	lite    *lite    // the engine, if it is SQLite
	cluster *cluster // of the nodes on one PostgreSQL; nil: SQLite
	read    *reader
	dir     *directory
	known   *keyCache
	backlog map[hook.Scope]int       // open deliveries; the writer's alone
	counted map[hook.Scope]time.Time // when, on PostgreSQL
	offered map[hook.ID]time.Time    // when others were told of work they may share; the writer's
	stats   counters
	turns   turns

	gate    sync.RWMutex // held shared while sending to ops, so that Close can wait for senders
	closed  bool
	ops     chan *op
	writer  sync.WaitGroup
	down    atomic.Pointer[hook.Error]
	reserve *reserve

	accepted  time.Time // of the last event; the writer's
	lastSwept hook.ID   // of the writer's turns among sweeps
	sweeps    chan struct{}
	flights   chan flight // commits that were on their way
	sweeper   sync.WaitGroup
	stop      context.CancelFunc

	scanBound int             // events a page of a list looks at
	retention *retentionClock // nil: the clock was given and is believed
}

// Stats are counters since the store was opened.
type Stats struct {
	Commits    int64 // transactions committed
	Events     int64 // events stored
	Deliveries int64 // delivery rows inserted
	Attempts   int64 // attempts logged
	Queued     int   // writes that wait now
}

type counters struct{ commits, events, deliveries, attempts atomic.Int64 }

// Open opens the database, making or migrating it as needed, and starts its
// writer. Errors wrap ErrLocked, ErrNewerSchema, ErrMasterKeyMismatch or
// ErrCorrupt where these are the reason. The caller calls Recover next.
func Open(ctx context.Context, opts Options) (*Store, error) {
	var watch *retentionClock
	if opts.Now == nil {
		watch = &retentionClock{looked: time.Now()}
	}
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{
		opts: opts, log: opts.Log, keys: opts.Keys,
		dir: newDirectory(), known: newKeyCache(), backlog: map[hook.Scope]int{}, counted: map[hook.Scope]time.Time{}, offered: map[hook.ID]time.Time{},
		ops: make(chan *op, queueLength), sweeps: make(chan struct{}, 1), flights: make(chan flight, lanes), scanBound: defaultScan,
		retention: watch,
	}
	if err := s.open(ctx); err != nil {
		s.release()
		return nil, fmt.Errorf("open store: %w", err)
	}
	s.writer.Go(s.write)
	if s.cluster != nil {
		s.cluster.run()
	}
	sweeping, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.sweeper.Go(func() { s.sweep(sweeping) })
	return s, nil
}

// Close carries out the writes that were accepted, then closes the database. Later
// calls are refused with CodeShuttingDown.
func (s *Store) Close() error {
	s.gate.Lock()
	if s.closed {
		s.gate.Unlock()
		return nil
	}
	s.closed = true
	s.gate.Unlock()
	if s.cluster != nil {
		close(s.cluster.closing)
	}
	s.stop()
	close(s.ops)
	s.writer.Wait()
	s.sweeper.Wait()
	return s.release()
}

// Ready reports why the store would not accept a write: it is closed, it stopped
// after an I/O error, the disk is full, or the database does not answer.
func (s *Store) Ready(ctx context.Context) error {
	if down := s.down.Load(); down != nil {
		return down
	}
	s.gate.RLock()
	closed := s.closed
	s.gate.RUnlock()
	if closed {
		return errShuttingDown()
	}
	if s.reserve.spent() {
		return errStorageFull(nil)
	}
	if s.cluster != nil && s.cluster.outage.Load() {
		return errStorageDown(nil)
	}
	var one int
	if err := s.read.QueryRowContext(ctx, "SELECT 1 FROM meta LIMIT 1").Scan(&one); err != nil {
		return s.readError("check database", err)
	}
	return nil
}

// Epoch returns the number of this opening; it is the owner of the deliveries
// this process holds in memory.
func (s *Store) Epoch() int64 { return s.epoch.Load() }

// Stats returns the counters.
func (s *Store) Stats() Stats {
	return Stats{
		Commits:    s.stats.commits.Load(),
		Events:     s.stats.events.Load(),
		Deliveries: s.stats.deliveries.Load(),
		Attempts:   s.stats.attempts.Load(),
		Queued:     len(s.ops),
	}
}

func (o Options) withDefaults() (Options, error) {
	if o.Keys == nil {
		return o, errors.New("no master key")
	}
	if o.Path == "" && o.Dir == "" && o.Postgres == "" {
		return o, errors.New("no data directory")
	}
	if o.Path == "" {
		o.Path = filepath.Join(o.Dir, "posthorn.db")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Synchronous == "" {
		o.Synchronous = "full"
	}
	if _, ok := syncModes[o.Synchronous]; !ok {
		return o, fmt.Errorf("synchronous must be full, normal or off, not %q", o.Synchronous)
	}
	if o.Lease == 0 {
		o.Lease = 10 * time.Second
	}
	if o.MaxFanOut == 0 {
		o.MaxFanOut = 1000
	}
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	if o.HeldFor == 0 {
		o.HeldFor = 30 * 24 * time.Hour
	}
	if o.Reserve == 0 {
		o.Reserve = 16 << 20
	}
	return o, nil
}

var syncModes = map[string]string{"full": "FULL", "normal": "NORMAL", "off": "OFF"}

// now returns the time as the database will give it back.
func (s *Store) now() time.Time { return s.opts.Now().UTC().Truncate(time.Microsecond) }

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}
