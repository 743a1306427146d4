// Package store owns the data that Posthorn must not lose. It defines what an event, a
// settlement and a sweep mean, as operations inside a transaction. The packages below it
// contain the operations of accounts, alerts, replays and upkeep, the transaction itself (unit), the
// engines, the writer, and the snapshots of endpoints.
//
// It guarantees that an acknowledged write is on disk (with the default
// [Options].Synchronous), that an event and its deliveries are one transaction, that every
// statement stays within its scope (S-09), and that secrets reach the disk only sealed
// (S-11). It makes no decisions about retries: [hook.Next] makes them, inside the settling
// transaction.
//
// It never waits for a receiver and never starts an attempt. It calls back into the
// packages that use it only through [Options], whose functions must not block.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store/accounts"
	"github.com/posthorn/posthorn/internal/store/alerts"
	"github.com/posthorn/posthorn/internal/store/batch"
	"github.com/posthorn/posthorn/internal/store/cluster"
	"github.com/posthorn/posthorn/internal/store/directory"
	"github.com/posthorn/posthorn/internal/store/read"
	"github.com/posthorn/posthorn/internal/store/replays"
	"github.com/posthorn/posthorn/internal/store/sqlite"
	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/unit"
	"github.com/posthorn/posthorn/internal/store/upkeep"
)

// KeySource is where the master keys of a process are stored.
type KeySource = upkeep.KeySource

// Options say how a store is opened and which callbacks it uses. Keys is required, and one
// of Dir, Path and Postgres.
type Options struct {
	// Postgres is the URL of a PostgreSQL database that holds the store. Path is ignored then.
	Postgres string
	// Lease is how long after its last heartbeat a node on PostgreSQL counts as dead. Default
	// 10 s.
	Lease time.Duration
	// Version is the release that this node runs. Operators of several nodes see it.
	Version string
	// ProfilesKept is called when another node stored texts of profiles. It runs on the writer
	// under the contract of Committed. It may be nil.
	ProfilesKept func()
	// CatalogueChanged is called when another node changed which schemas of event types are
	// enforced. It runs on the writer and must not block.
	CatalogueChanged func()
	// Dir is the data directory. It is created if absent. Unless Path is set, the database is
	// the file posthorn.db in it.
	Dir string
	// Path is the database file. The lock file and the reserve are in the same directory.
	Path string
	// Keys seals secrets, header values and stored answers.
	Keys *seal.Keyring
	// KeySource is where the keys come from. Without it the master key cannot be rotated.
	KeySource KeySource
	// Now is the clock; default time.Now. Times have microsecond precision.
	Now func() time.Time
	// Log is for operators; default slog.Default. The store logs no secrets.
	Log *slog.Logger
	// Committed is called with the effects of a transaction that concern the dispatcher, after
	// the commit and before any caller is answered. It runs on the writer: it must not block and
	// must not call the store. It may be nil.
	Committed func(hook.Commit)
	// Room returns how many more jobs of an endpoint may wait in memory. It runs on the
	// writer under the same contract as Committed. If it is nil, no job is handed over:
	// all deliveries wait in the table until they are claimed.
	Room func(target *hook.Endpoint) int
	// Fatal is called once, on the writer or another goroutine, when the disk can no longer be
	// trusted: after a failed sync, an I/O error, or damage. No write that begins afterwards
	// is acknowledged, and the process must end. Fatal must not block and must not call
	// Close.
	Fatal func(error)
	// Synchronous is "full" (default), "normal" or "off". Only full survives a power failure:
	// normal loses the last acknowledged commits, and off may lose the database. Use the other
	// two only for tests and for data that may be lost.
	Synchronous string
	// MaxFanOut bounds the deliveries of one event; default 1,000.
	MaxFanOut int
	// MaxRequestFanOut bounds the deliveries that the events of one request make together,
	// because they are one transaction; default 10,000. Events that would exceed it are
	// refused.
	MaxRequestFanOut int
	// Jitter returns a number from 0 to 1; default random.
	Jitter func() float64
	// HeldFor is how long a delivery may be held; default 30 days.
	HeldFor time.Duration
	// Retention is how long an event is kept after it was accepted and its last delivery was
	// settled. An event with a pending or held delivery is kept. Default 0: events are kept
	// forever. If Now is nil, retention follows a jump of the machine's clock slowly.
	Retention time.Duration
	// RetentionPayloads is how long the data of an event is kept after its last delivery was
	// settled, and RetentionAnswers how long the answer of a receiver is kept after its
	// attempt. Default 0: as long as the event.
	RetentionPayloads time.Duration
	RetentionAnswers  time.Duration
	// DiskBudget is the size in bytes from which on publishing is refused with
	// CodeStorageFull, until the store is smaller again. Default 0: no bound.
	DiskBudget hook.DiskBudget
	// AuditRetention is how long entries of the audit log are kept. Default 0: forever.
	AuditRetention time.Duration
	// ProfileOf returns the text of the profile with which alerts to an operational endpoint
	// are rendered. It runs on the writer under the contract of Committed. If it is nil, no
	// alerts are published.
	ProfileOf func(*hook.Endpoint) hook.ProfileHash
	// EndpointsADay bounds the endpoints that a tenant makes in one mode within 24 hours,
	// deleted ones included. Default 5,000.
	EndpointsADay int
	// CommitTook is called after each commit with how long it took. It must not block. It
	// may be nil.
	CommitTook func(time.Duration)
	// TenantBacklog bounds the pending and held deliveries of one tenant in one mode.
	// Beyond it publishing is refused with CodeBacklogFull. Default 0: no bound.
	TenantBacklog int
	// Reserve is the size in bytes of a file that is deleted when the disk is full, so that
	// outcomes can still be recorded. Default 16 MiB; -1 means none.
	Reserve int64
}

// Store is an open database. Its methods are safe for concurrent use. Writes go through
// one writer, which groups them. Reads see the last commit.
//
// A context bounds only how long its caller waits. A write that was submitted to the
// writer is carried out even if its caller has gone.
type Store struct {
	*read.Lists
	*upkeep.Keeper
	*accounts.Accounts
	*alerts.Alerts
	*replays.Replayer
	opts     Options
	machine  bool // the clock is that of the machine
	core     *unit.Core
	upkeep   upkeep.Duties
	accounts accounts.Duties
	alerts   alerts.Duties
	replays  replays.Duties
	writer   *batch.Writer[*tx]
	stats    counters

	logLength func() int64

	// Used by the writer's goroutine only, see package unit.
	lastSwept hook.ID // the endpoint that was swept last

	sweeps chan struct{}
}

// Stats holds counters since the store was opened, and the current state.
type Stats struct {
	Commits    int64 // transactions committed
	Events     int64 // events stored
	Deliveries int64 // delivery rows inserted
	Attempts   int64 // attempts logged
	Queued     int   // writes that wait now
	// Long counts, by name, the operations that held the writer for longer than batch.Hold.
	// The name "batch" counts whole transactions that did.
	Long map[string]int64
	// LogLength is the current size of SQLite's log in bytes; 0 on PostgreSQL.
	LogLength int64
}

type counters struct {
	events, deliveries, attempts       atomic.Int64
	staleSettles, takeovers, takenOver atomic.Int64
}

// Open opens the database, creates or migrates it if needed, and starts its writer. Errors
// wrap ErrLocked, ErrNewerSchema, ErrMasterKeyMismatch, ErrCorrupt, ErrPostgres or
// ErrPostgresURL if one of these is the reason. The caller must call Recover next.
func Open(ctx context.Context, opts Options) (*Store, error) {
	machine := opts.Now == nil
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{
		opts: opts, machine: machine,
		core: &unit.Core{Clock: opts.Now, Log: opts.Log, Keys: opts.Keys, IDs: hook.NewIDs(opts.Now),
			Directory: directory.New(opts.Keys, opts.Log), KnownKeys: directory.NewKeyCache(), TenantBacklog: opts.TenantBacklog},
		sweeps: make(chan struct{}, 1),
	}
	s.core.Begin()
	if opts.Postgres != "" {
		err = s.openPostgres(ctx)
	} else {
		err = s.openSQLite(ctx)
	}
	if err == nil {
		if err = errors.Join(s.core.Directory.ReadBound(ctx, s.core.Read), s.upkeep.Begin(ctx)); err != nil {
			s.writer.Close()
			err = errors.Join(err, s.core.Engine.Close())
		}
	}
	if err != nil {
		s.core.Stop()
		return nil, fmt.Errorf("open store: %w", err)
	}
	s.core.Go(s.sweep)
	s.accounts.Begin()
	s.alerts.Begin()
	return s, nil
}

// openSQLite opens a file. This process is its only writer.
func (s *Store) openSQLite(ctx context.Context) error {
	o := &s.opts
	if o.Synchronous != "full" {
		s.core.Log.Warn("the store may lose acknowledged events at a power cut", "synchronous", o.Synchronous)
	}
	db, err := sqlite.Open(ctx, sqlite.Options{Path: o.Path, Synchronous: o.Synchronous, Keys: o.Keys, Log: s.core.Log,
		Fatal: func(err error) { s.writer.Stop(err) }})
	if err != nil {
		return err
	}
	// Ids are in the order of acceptance, and sweeps rely on it. A clock that was set back
	// while no process ran must not break this.
	last, err := db.LastEvent(ctx)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	s.core.IDs.Above(last)
	s.core.Engine, s.core.Peers, s.core.Read, s.logLength = db, unit.Solo(db.Epoch()), db.Reader(), db.LogLength
	reserve := batch.NewReserve(sqlite.ReservePath(o.Path), o.Reserve)
	db.Full = reserve.Spent
	s.start(0, reserve)
	return nil
}

// callerWaits bounds how long a caller waits for a write on PostgreSQL, where the
// answer may be lost.
const callerWaits = 3500 * time.Millisecond

// openPostgres registers this process as a node of a database.
func (s *Store) openPostgres(ctx context.Context) error {
	o := &s.opts
	if o.Synchronous != "full" {
		s.core.Log.Warn("the store may lose acknowledged events at a power cut", "synchronous", o.Synchronous)
	}
	c, err := cluster.Open(ctx, cluster.Options{URL: o.Postgres, Dir: o.Dir, Lease: o.Lease, Version: o.Version,
		Durable: o.Synchronous == "full", Keys: o.Keys, Now: s.core.Now, Machine: func() bool { return s.machine }, Log: s.core.Log})
	if err != nil {
		return err
	}
	s.core.IDs.Above(c.Floor())
	s.core.Engine, s.core.Peers, s.core.Read, s.logLength = c, c, c.Reader(), func() int64 { return 0 }
	s.start(callerWaits, nil)
	c.Run(cluster.Hooks{Changed: s.learnChanges, TakeOver: s.takeOverNodes, Writer: s.writer})
	return nil
}

// start prepares the lists and starts the writer.
func (s *Store) start(callerWaits time.Duration, reserve *batch.Reserve) {
	s.Lists = read.New(read.Options{Reader: s.core.Read, Directory: s.core.Directory, Keys: s.core.KnownKeys, Shared: s.core.Peers.Shared(), Now: s.core.Now, Log: s.core.Log, Fail: s.core.ReadError})
	s.Alerts, s.alerts = alerts.New(alerts.Options{Core: s.core, Wanted: s.opts.ProfileOf != nil, Targets: targetsOf, Publish: s.publishAlert})
	s.Replayer, s.replays = replays.New(replays.Options{Core: s.core, Lists: s.Lists, Ended: s.alerts.ReplaysEnded,
		Deliver: func(t *unit.Tx, e *hook.Event, target *hook.Endpoint, profile hook.ProfileHash) error {
			_, err := (&tx{t, s}).deliverLater(e, target, profile)
			return err
		}})
	deleteEndpoint := func(t *unit.Tx, e *hook.Endpoint) error { return (&tx{t, s}).deleteEndpoint(e) }
	s.Accounts, s.accounts = accounts.New(s.core, deleteEndpoint)
	s.Keeper, s.upkeep = upkeep.New(upkeep.Options{Core: s.core, Lists: s.Lists,
		Retention: s.opts.Retention, RetentionPayloads: s.opts.RetentionPayloads, RetentionAnswers: s.opts.RetentionAnswers, AuditRetention: s.opts.AuditRetention,
		DiskBudget: s.opts.DiskBudget, KeySource: s.opts.KeySource, MachineClock: s.machine, Fatal: s.opts.Fatal,
		DeleteEndpoint: deleteEndpoint, Hourly: append(s.accounts.Hourly(), s.replays.DropOld, s.expireOldHeld)})
	s.core.Submit, s.core.Closed = s.submit, func() bool { return s.writer.Closed() }
	s.writer = batch.New(batch.Options[*tx]{Engine: transactions{s}, Log: s.core.Log, Reserve: reserve, Fatal: s.opts.Fatal, CallerWaits: callerWaits, Took: s.opts.CommitTook})
}

// Close runs the accepted writes and closes the database. Later calls are refused with
// CodeShuttingDown.
func (s *Store) Close() error {
	if s.writer.Closed() {
		return nil
	}
	s.core.Stop()
	s.upkeep.End()
	s.writer.Close()
	s.core.Wait()
	return sqltext.Wrap("close store", s.core.Engine.Close())
}

// Ready returns an error if the store does not accept writes: it is closed, it stopped
// after an I/O error, the disk is full, or the database does not respond.
func (s *Store) Ready(ctx context.Context) error {
	if err := s.writer.Ready(); err != nil {
		return unit.Answer(err)
	}
	var one int
	if err := s.core.Read.QueryRowContext(ctx, "SELECT 1 FROM meta LIMIT 1").Scan(&one); err != nil {
		return s.core.ReadError("check database", err)
	}
	return nil
}

// Epoch returns the number of this opening. It is the owner of the deliveries in this
// process's memory.
func (s *Store) Epoch() int64 { return s.core.Peers.Epoch() }

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
	if o.EndpointsADay == 0 {
		o.EndpointsADay = 5000
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

// ClusterStats holds the numbers of one node of several. All but Nodes are 0 on SQLite.
type ClusterStats struct {
	Nodes           int           // nodes alive now
	Takeovers       int64         // dead nodes whose work this node took over
	TakenDeliveries int64         // deliveries that those nodes had in memory
	StaleSettles    int64         // outcomes of jobs that no longer belonged to this node
	ClockAhead      time.Duration // of the database's clock, when it was last compared
}

// ClusterStats returns the numbers since the store was opened.
func (s *Store) ClusterStats() ClusterStats {
	return ClusterStats{Nodes: s.core.Peers.Nodes(), ClockAhead: s.core.Peers.ClockAhead(), Takeovers: s.stats.takeovers.Load(), TakenDeliveries: s.stats.takenOver.Load(), StaleSettles: s.stats.staleSettles.Load()}
}

// Nodes returns how many nodes share the database now, at least 1.
func (s *Store) Nodes() int { return s.core.Peers.Nodes() }

// Holds reports whether a job may still be attempted: the lease under which it was handed
// over has not expired. Otherwise the caller settles the job as skipped.
func (s *Store) Holds(j *hook.Job) bool { return s.core.Peers.Holds(j.Holder) }
