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
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store/batch"
	"github.com/posthorn/posthorn/internal/store/cluster"
	"github.com/posthorn/posthorn/internal/store/directory"
	"github.com/posthorn/posthorn/internal/store/read"
	"github.com/posthorn/posthorn/internal/store/sqlite"
	"github.com/posthorn/posthorn/internal/store/sqltext"
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
	Room func(target *hook.Endpoint) int
	// Fatal is called once, on the writer or beside it, when the disk can no longer
	// be trusted (a failed sync, an I/O error, damage). The process must end: no
	// write that begins afterwards is acknowledged. It must not block, nor
	// call Close itself.
	Fatal func(error)
	// Synchronous is "full" (default), "normal" or "off". Only full survives a
	// power cut; normal loses the last acknowledged commits, off may lose the
	// database. It exists for tests and for those who know.
	Synchronous string
	// MaxFanOut bounds the deliveries of one event; default 1,000.
	MaxFanOut int
	// MaxRequestFanOut bounds the deliveries that the events of one request make
	// together, which are one transaction; default 10,000. The events that would pass it
	// are refused one by one.
	MaxRequestFanOut int
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
	*read.Lists
	opts   Options
	log    *slog.Logger
	keys   *seal.Keyring
	ids    *hook.IDs
	engine engine
	peers  peers
	writer *batch.Writer[*tx]
	read   *sqltext.Reader
	dir    *directory.Directory
	known  *directory.KeyCache
	stats  counters

	logLength func() int64
	counting  counting

	// The writer goroutine's own.
	backlog   map[hook.Scope]int       // open deliveries
	counted   map[hook.Scope]time.Time // when
	changed   map[hook.Scope]int       // what the writer changed of those since it is counted
	offered   map[hook.ID]time.Time    // when others were told of work they may share
	accepted  time.Time                // of the last event
	lastSwept hook.ID                  // of the turns among sweeps

	sweeps  chan struct{}
	sweeper sync.WaitGroup
	life    context.Context // until Close
	stop    context.CancelFunc

	scanBound int             // rows a page of a list looks at
	retention *retentionClock // nil: the clock was given and is believed
}

// Stats are counters since the store was opened, and what is so now.
type Stats struct {
	Commits    int64 // transactions committed
	Events     int64 // events stored
	Deliveries int64 // delivery rows inserted
	Attempts   int64 // attempts logged
	Queued     int   // writes that wait now
	// Long are the operations that held the writer for longer than batch.Hold, by name, and
	// under "batch" whole transactions that did.
	Long map[string]int64
	// LogLength is how many bytes SQLite's log has now; 0 on PostgreSQL.
	LogLength int64
}

type counters struct {
	events, deliveries, attempts       atomic.Int64
	staleSettles, takeovers, takenOver atomic.Int64
}

// Open opens the database, making or migrating it as needed, and starts its
// writer. Errors wrap ErrLocked, ErrNewerSchema, ErrMasterKeyMismatch, ErrCorrupt,
// ErrPostgres or ErrPostgresURL where these are the reason. The caller calls Recover
// next.
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
		opts: opts, log: opts.Log, keys: opts.Keys, ids: hook.NewIDs(opts.Now),
		dir: directory.New(opts.Keys, opts.Log), known: directory.NewKeyCache(), backlog: map[hook.Scope]int{}, counted: map[hook.Scope]time.Time{}, changed: map[hook.Scope]int{}, offered: map[hook.ID]time.Time{},
		sweeps:    make(chan struct{}, 1),
		retention: watch,
	}
	s.life, s.stop = context.WithCancel(context.Background())
	if opts.Postgres != "" {
		err = s.openPostgres(ctx)
	} else {
		err = s.openSQLite(ctx)
	}
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("open store: %w", err)
	}
	s.sweeper.Go(func() { s.sweep(s.life) })
	return s, nil
}

// openSQLite opens a file, of which this process is the only writer.
func (s *Store) openSQLite(ctx context.Context) error {
	o := &s.opts
	if o.Synchronous != "full" {
		s.log.Warn("the store may lose acknowledged events at a power cut", "synchronous", o.Synchronous)
	}
	db, err := sqlite.Open(ctx, sqlite.Options{Path: o.Path, Synchronous: o.Synchronous, Keys: o.Keys, Log: s.log,
		Fatal: func(err error) { s.writer.Stop(err) }})
	if err != nil {
		return err
	}
	// The order of ids is the order of acceptance, and sweeps rely on it: a clock
	// that was set back while we were down must not break it.
	last, err := db.LastEvent(ctx)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	s.ids.Above(last)
	s.engine, s.peers, s.read, s.logLength = db, solo{db.Epoch()}, db.Reader(), db.LogLength
	s.start(0, batch.NewReserve(sqlite.ReservePath(o.Path), o.Reserve))
	return nil
}

// callerWaits bounds how long a caller waits for a write on PostgreSQL, where the
// answer may be lost.
const callerWaits = 3500 * time.Millisecond

// openPostgres makes this process one of the nodes on a database.
func (s *Store) openPostgres(ctx context.Context) error {
	o := &s.opts
	if o.Synchronous != "full" {
		s.log.Warn("the store may lose acknowledged events at a power cut", "synchronous", o.Synchronous)
	}
	c, err := cluster.Open(ctx, cluster.Options{URL: o.Postgres, Dir: o.Dir, Lease: o.Lease, Version: o.Version,
		Durable: o.Synchronous == "full", Keys: o.Keys, Now: s.now, Machine: func() bool { return s.retention != nil }, Log: s.log})
	if err != nil {
		return err
	}
	s.ids.Above(c.Floor())
	s.engine, s.peers, s.read, s.logLength = c, c, c.Reader(), func() int64 { return 0 }
	s.start(callerWaits, nil)
	c.Run(cluster.Hooks{Changed: s.learnChanges, TakeOver: s.takeOverNodes, Writer: s.writer})
	return nil
}

// start makes what is there ready to be asked, and starts the writer.
func (s *Store) start(callerWaits time.Duration, reserve *batch.Reserve) {
	s.Lists = read.New(read.Options{Reader: s.read, Directory: s.dir, Keys: s.known, Shared: s.peers.Shared(), Now: s.now, Log: s.log, Fail: s.readError})
	s.writer = batch.New(batch.Options[*tx]{Engine: transactions{s}, Log: s.log, Reserve: reserve, Fatal: s.opts.Fatal, CallerWaits: callerWaits})
}

// Close carries out the writes that were accepted, then closes the database. Later
// calls are refused with CodeShuttingDown.
func (s *Store) Close() error {
	if s.writer.Closed() {
		return nil
	}
	s.stop()
	s.writer.Close()
	s.sweeper.Wait()
	return sqltext.Wrap("close store", s.engine.Close())
}

// Ready reports why the store would not accept a write: it is closed, it stopped
// after an I/O error, the disk is full, or the database does not answer.
func (s *Store) Ready(ctx context.Context) error {
	if err := s.writer.Ready(); err != nil {
		return answer(err)
	}
	var one int
	if err := s.read.QueryRowContext(ctx, "SELECT 1 FROM meta LIMIT 1").Scan(&one); err != nil {
		return s.readError("check database", err)
	}
	return nil
}

// Epoch returns the number of this opening; it is the owner of the deliveries
// this process holds in memory.
func (s *Store) Epoch() int64 { return s.peers.Epoch() }

// Stats returns the counters.
func (s *Store) Stats() Stats {
	return Stats{
		Commits:    s.writer.Commits(),
		Events:     s.stats.events.Load(),
		Deliveries: s.stats.deliveries.Load(),
		Attempts:   s.stats.attempts.Load(),
		Queued:     s.writer.Queued(),
		Long:       s.writer.Long(),
		LogLength:  s.logLength(),
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
	if !slices.Contains([]string{"full", "normal", "off"}, o.Synchronous) {
		return o, fmt.Errorf("synchronous must be full, normal or off, not %q", o.Synchronous)
	}
	if o.Lease == 0 {
		o.Lease = 10 * time.Second
	}
	if o.MaxFanOut == 0 {
		o.MaxFanOut = 1000
	}
	if o.MaxRequestFanOut == 0 {
		o.MaxRequestFanOut = 10_000
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

// now returns the time as the database will give it back.
func (s *Store) now() time.Time { return s.opts.Now().UTC().Truncate(time.Microsecond) }

// ClusterStats are numbers of a node among others. All but Nodes are 0 on SQLite.
type ClusterStats struct {
	Nodes           int   // alive now
	Takeovers       int64 // of dead nodes, by this one
	TakenDeliveries int64 // that these had in memory
	StaleSettles    int64 // outcomes of jobs that were no longer this node's
}

// ClusterStats returns the numbers since the store was opened.
func (s *Store) ClusterStats() ClusterStats {
	return ClusterStats{Nodes: s.peers.Nodes(), Takeovers: s.stats.takeovers.Load(), TakenDeliveries: s.stats.takenOver.Load(), StaleSettles: s.stats.staleSettles.Load()}
}

// Nodes returns how many nodes share the database now, at least 1.
func (s *Store) Nodes() int { return s.peers.Nodes() }

// Holds reports whether a job that was handed over may be attempted: the lease under
// which it was handed over is not over. An attempt that is not made for that reason
// is to be settled as skipped.
func (s *Store) Holds(j *hook.Job) bool { return s.peers.Holds(j.Holder) }
