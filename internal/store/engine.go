package store

import (
	"context"
	"errors"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/batch"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// engine is a database as the writer uses it. Everything above it is the same for all
// databases.
type engine interface {
	// Connections is how many transactions may be open at once.
	Connections() int
	// Begin opens a transaction. It returns batch.ErrDrain if the commits in progress must end
	// first.
	Begin() (sqltext.Conn, error)
	// Commit commits a transaction, see batch.Engine.
	Commit(c sqltext.Conn, with sqltext.Ending, later func(answer func() error)) (sent bool, err error)
	Rollback(c sqltext.Conn)
	// Class classifies an error. It may be called from any goroutine.
	Class(err error) batch.Class
	// Mend and Find are those of batch.Engine.
	Mend(err error, pause batch.Pause) bool
	Find(c sqltext.Conn, lost error, pause batch.Pause) (committed bool, err error)
	files
	// Reader returns the connections for reading.
	Reader() *sqltext.Reader
	Close() error
}

// files is the space that a database takes, and what an engine does with its files.
type files interface {
	// MakeRoom is that of batch.Engine.
	MakeRoom() bool
	// Size returns the size of the store, Parts that of some of its tables.
	Size(ctx context.Context) (sqltext.DiskSize, error)
	Parts(ctx context.Context) (sqltext.DiskParts, error)
	// Scrub removes what the files still have of rows that were deleted from the tables, as
	// far as the database can. It may have write run parts of the work in transactions; if
	// write is nil, it does only what takes no time, such as cutting a log. done is false if
	// another process is in the way for now.
	Scrub(ctx context.Context, tables []string, write func(rows int, do func(sqltext.Conn) error) error) (done bool, err error)
	// Shrink gives a step's worth of free space back to the file system, inside a
	// transaction.
	Shrink(c sqltext.Conn) (hook.Reclaimed, error)
}

// peers are the other processes that work or have worked on the same rows: the other nodes
// of a PostgreSQL database, or earlier processes of a file (solo).
type peers interface {
	company
	// Epoch is the number of this process, which is the owner of the deliveries in its memory.
	Epoch() int64
	// Shared reports whether other processes change rows while this one works.
	Shared() bool
	// Holds reports whether jobs handed over under the epoch may still be attempted.
	Holds(epoch int64) bool
	// Abandoned lists the work of processes that have ended.
	Abandoned(ctx context.Context) ([]sqltext.Abandoned, error)
	// TakeOver begins the takeover of an ended process inside a transaction, and reports
	// whether it is this process's to do. Done ends takeovers.
	TakeOver(c sqltext.Conn, epoch int64) (name string, mine bool, err error)
	Done(c sqltext.Conn, epochs []int64) error
	// Housekeep does the housekeeping that the nodes share.
	Housekeep(ctx context.Context) error
	// DropDays drops whole partitions of days before until. It returns the event tables from
	// which the rest is to be dropped page by page, or none if that is not to be done now.
	DropDays(ctx context.Context, until time.Time) (tables []string, err error)
}

// company is what a process knows of the live nodes.
type company interface {
	// Nodes is how many nodes share the work now, at least 1.
	Nodes() int
	// Alike reports whether all live nodes run the release of this one.
	Alike(ctx context.Context) (bool, error)
	// Lacking names those that do not have a master key. If lock is true, none enters until
	// the transaction of q ends. ToldKeys tells the others which keys this one has.
	Lacking(ctx context.Context, q sqltext.Querier, key string, lock bool) ([]string, error)
	ToldKeys(ctx context.Context) error
	// ClockAhead is how far this machine's clock is ahead of that of the database.
	ClockAhead() time.Duration
}

// solo are the peers of the only process on a file. All earlier processes have ended.
type solo struct{ epoch int64 }

func (p solo) Epoch() int64                        { return p.epoch }
func (p solo) Shared() bool                        { return false }
func (p solo) Nodes() int                          { return 1 }
func (p solo) Holds(int64) bool                    { return true }
func (p solo) Alike(context.Context) (bool, error) { return true, nil }
func (p solo) Housekeep(context.Context) error     { return nil }

func (p solo) ClockAhead() time.Duration      { return 0 }
func (p solo) ToldKeys(context.Context) error { return nil }

func (p solo) Lacking(context.Context, sqltext.Querier, string, bool) ([]string, error) {
	return nil, nil
}

func (p solo) Abandoned(context.Context) ([]sqltext.Abandoned, error) {
	return []sqltext.Abandoned{{
		Rows:  "owner > 0 AND owner < " + itoa(p.epoch),
		Tests: "owner >= 0 AND owner < " + itoa(p.epoch),
		Shots: "owner >= 0",
	}}, nil
}

func (p solo) TakeOver(sqltext.Conn, int64) (string, bool, error) { return "", true, nil }
func (p solo) Done(sqltext.Conn, []int64) error                   { return nil }

func (p solo) DropDays(context.Context, time.Time) ([]string, error) { return []string{"events"}, nil }

// op is an operation of the writer. Its Detail may be lookups.
type op = batch.Op[*tx]

// lookups are the rows that an operation will look up, so that a batch can read those of
// all its operations in one query.
type lookups struct {
	once   *hook.Once
	events []hook.NewEvent
	audits bool // it may write to the audit log
}

// transactions adapts the store to batch.Engine.
type transactions struct{ *Store }

func (s transactions) Connections() int                       { return s.engine.Connections() }
func (s transactions) Class(err error) batch.Class            { return s.engine.Class(err) }
func (s transactions) MakeRoom() bool                         { return s.engine.MakeRoom() }
func (s transactions) Committed(t *tx)                        { t.committed() }
func (s transactions) Mend(err error, pause batch.Pause) bool { return s.engine.Mend(err, pause) }

func (s transactions) Find(t *tx, lost error, pause batch.Pause) (bool, error) {
	return s.engine.Find(t.c, lost, pause)
}

func (s transactions) Rollback(t *tx) {
	s.engine.Rollback(t.c)
	if len(t.audits) > 0 { // the commit may have been in progress and may have succeeded
		s.heads, s.auditing = nil, false
	}
}

func (s transactions) Begin(ops []*op) (*tx, error) {
	if err := s.beginAudit(ops); err != nil {
		return nil, err
	}
	conn, err := s.engine.Begin()
	if err != nil {
		return nil, err
	}
	t := newTx(s.Store, conn)
	if err := t.lookup(ops); err != nil {
		s.engine.Rollback(conn)
		return nil, err
	}
	return t, nil
}

func (s transactions) Commit(t *tx, later func(func() error)) (sent bool, err error) {
	s.accepted = t.accepted // later batches must use later times
	s.auditing = s.auditing || len(t.audits) > 0
	return s.engine.Commit(t.c, sqltext.Ending{Bytes: t.bytes, At: t.now, Config: t.config, Changes: t.changes, Holds: t.holds, Clean: t.clean}, later)
}

// write submits an operation to the writer and maps its error to a hook.Error. The
// operation runs as the actor of the context.
func (s *Store) write(ctx context.Context, o *op) error {
	if actor := hook.ActorOf(ctx); actor != nil {
		asks, _ := o.Detail.(*lookups)
		if asks == nil {
			asks = &lookups{}
		}
		next := *asks
		next.audits = true
		o.Detail, o.Apply = &next, as(actor, o.Apply)
	}
	return answer(s.writer.Do(ctx, o))
}

// do writes for a caller. If ctx ends, do returns, and the write is still carried out.
func (s *Store) do(ctx context.Context, name string, rows int, apply func(*tx) error) error {
	return s.write(ctx, &op{Name: name, Key: administration, Rows: rows, Apply: apply})
}

// doFor is do for a tenant. The writer serves tenants round-robin. A scope without a
// tenant is an operator's.
func (s *Store) doFor(ctx context.Context, scope hook.Scope, name string, rows int, apply func(*tx) error) error {
	return s.write(ctx, &op{Name: name, Key: scope, Rows: rows, Apply: apply})
}

// administration is the key (batch.Op.Key) of operations that belong to no scope.
const administration = "administration"

// maintain writes for the store itself. It waits for the result even if ctx ends, because
// nobody else would use it.
func (s *Store) maintain(ctx context.Context, name string, rows int, apply func(*tx) error) error {
	return s.write(ctx, &op{Name: name, Rows: rows, Apply: apply, Stays: true, Hot: true})
}

// recover is maintain for writes that must also succeed on a full disk.
func (s *Store) recover(ctx context.Context, name string, rows int, apply func(*tx) error) error {
	return s.write(ctx, &op{Name: name, Rows: rows, Apply: apply, Stays: true, Hot: true, Outcome: true})
}

// answer maps an error of the writer to a hook.Error.
func answer(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if known, ok := errors.AsType[*hook.Error](err); ok {
		return known
	}
	switch {
	case errors.Is(err, batch.ErrClosed):
		return errShuttingDown()
	case errors.Is(err, batch.ErrBusy):
		return &hook.Error{Code: hook.CodeServerBusy, Message: "More events wait for the disk than the server has memory for. Nothing was stored. Send the request again later."}
	case errors.Is(err, batch.ErrFull):
		return errStorageFull(err)
	case errors.Is(err, batch.ErrUnavailable), errors.Is(err, batch.ErrStopped):
		return errStorageDown(err)
	}
	return errInternal(err)
}
