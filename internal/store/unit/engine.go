package unit

import (
	"context"
	"strconv"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/batch"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// Engine is a database as the writer uses it. Everything above it is the same for all
// databases.
type Engine interface {
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
	Files
	// Reader returns the connections for reading.
	Reader() *sqltext.Reader
	Close() error
}

// Files is the space that a database takes, and what an engine does with its files.
type Files interface {
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

// Peers are the other processes that work or have worked on the same rows: the other nodes
// of a PostgreSQL database, or earlier processes of a file (see [Solo]).
type Peers interface {
	Company
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

// Company is what a process knows of the live nodes.
type Company interface {
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

// Solo returns the peers of the only process on a file, which started as the epoch. All
// earlier processes have ended.
func Solo(epoch int64) Peers { return solo{epoch} }

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
		Rows:  "owner > 0 AND owner < " + strconv.FormatInt(p.epoch, 10),
		Tests: "owner >= 0 AND owner < " + strconv.FormatInt(p.epoch, 10),
		Shots: "owner >= 0",
	}}, nil
}

func (p solo) TakeOver(sqltext.Conn, int64) (string, bool, error) { return "", true, nil }
func (p solo) Done(sqltext.Conn, []int64) error                   { return nil }

func (p solo) DropDays(context.Context, time.Time) ([]string, error) { return []string{"events"}, nil }

// Lookups are the rows that an operation will look up, so that a batch can read those of
// all its operations in one query.
type Lookups struct {
	Once   *hook.Once
	Events []hook.NewEvent
	Audits bool // it may write to the audit log
}
