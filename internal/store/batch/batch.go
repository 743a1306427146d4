// Package batch is the writer: one goroutine that collects the writes of many callers into
// transactions and commits each transaction once (group commit).
//
// It knows neither tables nor databases. An [Engine] begins, commits and rolls back
// transactions. An [Op] is what one caller writes within one.
//
// The package guarantees that
//   - a caller gets its answer after its write is on disk, or gets the reason why it is
//     not;
//   - [Engine].Committed learns of a commit before the caller does;
//   - an operation that is refused rolls back its own writes and no others, and the rest
//     of its batch is still committed;
//   - a batch ends at a budget of rows, bytes and time, and operations beyond it wait
//     for their next turn;
//   - keys ([Op].Key) are served round-robin: an operation waits for the batch in
//     progress, and then for at most one operation of each other key at a time;
//   - a failed batch is retried a bounded number of times, and one that times out twice
//     is halved until the operation that takes too long is alone and is answered with
//     the error;
//   - a batch whose commit may have taken place is not run again before that is known,
//     and not at all if it cannot be known;
//   - an operation that held the writer for longer than [Hold] is logged and counted.
//
// The writer never waits for a caller, never runs two operations at once, and never
// commits again after the engine reported damage.
//
// # The life of a batch
//
//	                 .------------ tried again, halved, continued -------------.
//	                 v                                                         |
//	queued ---> gathered ---> applied ---> sent ------------------------> failed
//	              |              |           |        the database          |
//	              |              |           |        did not store it      | no way to go on
//	              |              |           v                              |
//	              |              `------> committed                         |
//	              | refused                  | Engine.Committed             |
//	              v                          v                              v
//	           answered <---------------------------------------------------'
//
// gathered: taken from the queue, or pushed back to be run next. applied: the operations
// have run in a transaction that is still open. sent: the commit is in progress, and the
// writer continues with the next batch on another connection. Only engines with several
// connections have this state; with the others a batch goes from applied to committed or
// failed. A failed batch is never rerun while its failure is being handled. It is pushed
// onto the writer's stack of batches to run next, which is the only way back to gathered.
package batch

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// The budget of one batch. A batch ends with the operation that reaches one of the limits.
const (
	MaxRows  = 512
	MaxBytes = 4 << 20
	// Hold is how long operations may run before the batch ends. A single operation that takes
	// longer is logged.
	Hold = 100 * time.Millisecond
)

// Errors that [Writer].Do returns in addition to those of the operation. They wrap the
// cause, if there is one.
var (
	// ErrClosed means that the writer accepts no more operations.
	ErrClosed = errors.New("the writer is closed")
	// ErrFull means that the disk is full and nothing was stored.
	ErrFull = errors.New("the disk is full")
	// ErrUnavailable means that the database did not store the operation now, or, after a
	// timeout, that it is not yet known whether it will.
	ErrUnavailable = errors.New("the database is not available")
	// ErrBusy means that more bytes are queued than the writer accepts.
	ErrBusy = errors.New("too much waits for the writer")
	// ErrStopped means that the disk can no longer be trusted.
	ErrStopped = errors.New("the writer stopped")
)

// Tx is a transaction as operations see it, together with the changes in memory that take
// effect when it is committed.
type Tx interface {
	// Written returns what the transaction holds so far. closed reports that no further
	// operation may follow in it.
	Written() (rows, bytes int, closed bool)
	// Guard marks the place to which Undo goes back: at once, or with the first write
	// that follows.
	Guard(now bool) error
	// Unguard declares that Undo cannot roll back what follows.
	Unguard()
	// Check makes the database validate what was written since Guard, unless it already has.
	Check() error
	// Undo rolls back everything since Guard, in the database and in memory. An error means
	// that it cannot, so the whole transaction must be rolled back.
	Undo() error
	// Flush writes what is deferred to the end of the transaction. It runs after the last
	// operation, and nothing is written after it.
	Flush() error
}

// Pause waits between two attempts to reach the database and answers callers that have
// waited too long. It returns false if the writer is closing.
type Pause func(d time.Duration, cause error) bool

// Engine is the database under a writer. All its methods are called by the writer's
// goroutine only.
type Engine[T Tx] interface {
	// Connections returns how many transactions may be open at once, at least 1.
	Connections() int
	// Begin opens a transaction for the operations, which it must not run. If it returns
	// ErrDrain, it is called again once no commit is in progress.
	Begin(ops []*Op[T]) (T, error)
	// Commit commits a transaction. If sent is true, the commit is in progress, and Commit
	// calls later once, from any goroutine, with a function that the writer then calls for the
	// result. An error of class [Lost] means that the commit was sent and may have taken
	// place; the writer then calls Find.
	Commit(t T, later func(answer func() error)) (sent bool, err error)
	// Rollback ends a transaction that was not committed.
	Rollback(t T)
	// Committed publishes the effects of a transaction. It must not block.
	Committed(t T)
	// Class classifies an error.
	Class(err error) Class
	// Mend prepares for a retry of a batch that failed with an error of class [Again] or
	// [Lost]. It returns false if a retry is pointless.
	Mend(err error, pause Pause) bool
	// Find reports whether a commit whose answer was lost took place, and ensures that it will
	// not take place later. An error means that this can no longer be determined; the batch is
	// then not run again.
	Find(t T, lost error, pause Pause) (committed bool, err error)
	// MakeRoom frees space on a full disk and reports whether a batch that did not fit
	// may fit now.
	MakeRoom() bool
}

// Class says how the writer must treat an error of the database.
type Class int

// The classes of errors.
const (
	NoError     Class = iota
	OwnFault          // caused by the operation: refused, or a value that the database does not accept
	Full              // the disk is full: nothing was stored, and writes resume when there is space
	Unavailable       // the database does not accept writes now
	Fatal             // the disk or the file can no longer be trusted
	Again             // a conflict with other transactions: a retry may succeed
	Lost              // the connection is lost, and with it the transaction or the answer to its commit
)

// ErrDrain is returned by Begin if the commits in progress must end first.
var ErrDrain = errors.New("commits are on their way")

// errNotCommitted means that a commit whose answer was lost did not take place.
var errNotCommitted = errors.New("the write was not committed")

// timedOut marks an error as a timeout of the database.
type timedOut struct{ error }

func (e timedOut) Unwrap() error { return e.error }

// TimedOut marks err as caused by a database that did not answer in time. The batch itself
// may be the cause.
func TimedOut(err error) error { return timedOut{err} }

// Op is one write. An Op must not be reused.
type Op[T Tx] struct {
	// Name identifies the operation in the log and in the counts of long operations.
	Name string
	// Key is whose operation it is. The writer serves keys round-robin. Key must be
	// comparable; nil is a key like any other.
	Key any
	// Rows and Bytes estimate what it will write.
	Rows, Bytes int
	// Hot means that the operation is not refused after it wrote, except for damage, so it
	// needs no guard of its own.
	Hot bool
	// Outcome means that what the operation records cannot be reproduced. It may use the
	// reserve when the disk is full.
	Outcome bool
	// Stays means that the caller waits for the end in every case, because nobody else would
	// use the result. Such an operation is kept while the database is away.
	Stays bool
	// Apply runs inside a transaction, on the writer's goroutine, and may run more than once.
	// It must assign its results anew each time, not add to them.
	Apply func(T) error
	// Detail belongs to the engine, which uses it to prepare a batch.
	Detail any

	ctx      context.Context
	queued   *atomic.Int64 // counts its bytes until it is answered; nil: not counted
	force    bool          // commit even if nothing was written
	err      error
	done     chan struct{}
	answered bool
}

// answer sends the caller the result. Only the writer calls it once the operation is
// queued.
func (o *Op[T]) answer(err error) {
	if !o.answered {
		o.answered, o.err = true, err
		if o.queued != nil {
			o.queued.Add(-int64(o.Bytes))
		}
		close(o.done)
	}
}

// A batch is a list of operations that share a transaction.
type batch[T Tx] struct {
	ops      []*Op[T]
	guarded  bool // each operation can be undone alone
	tries    int  // failed attempts
	timeouts int  // of those, the ones that timed out
	roomMade bool // MakeRoom already freed space for it on a full disk
}

// maxTries bounds how often a batch is run while it conflicts with others.
const maxTries = 10

// call runs an operation and turns a panic in one of its callbacks into an error, because
// one bad request must not end the process.
func call[T Tx](o *Op[T], t T) (panicked bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			panicked, err = true, fmt.Errorf("%s panicked: %v", o.Name, p)
		}
	}()
	return false, o.Apply(t)
}
