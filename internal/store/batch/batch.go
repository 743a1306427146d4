// Package batch is the writer: one goroutine that gathers the writes of many callers
// into transactions and commits each once (group commit).
//
// It knows no table and no database. An [Engine] opens, commits and takes back
// transactions; an [Op] is what one caller writes in one.
//
// It promises that
//   - a caller is answered after its write is on disk, or told why it is not;
//   - whoever must know of a commit ([Engine].Committed) knows before the caller does;
//   - an operation that is refused takes back its own writes and nobody else's, and the
//     others of its batch are committed together all the same;
//   - a batch ends at a budget of rows, bytes and time; what does not fit waits for its
//     next turn;
//   - keys ([Op].Key) take turns: an operation waits for the batch that is under way, and
//     then for at most one operation of each other key at a time;
//   - a batch that fails is tried a bounded number of times, and one that times out
//     twice is halved until the operation that takes too long is alone, and then answered;
//   - a batch whose commit may have taken place is not run again before that is found out,
//     and not at all if it cannot be;
//   - an operation that held the writer for longer than [Hold] is logged and counted.
//
// It never waits for a caller, never runs two operations at once, and never commits
// again after the engine reported damage.
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
// gathered: taken from the queue, or pushed back to be run next. applied: its
// operations ran in a transaction that is still open. sent: the commit is on its way
// and the writer goes on with the next batch on another connection; only engines with
// several connections have that state, the others go from applied to committed or
// failed. A failed batch is never run from within its own failure: it goes on the
// writer's stack of batches to run next, which is the only way back to gathered.
package batch

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// The budget of one batch. The operation that passes it is the last one of its batch.
const (
	MaxRows  = 512
	MaxBytes = 4 << 20
	// Hold is how long operations may run before the batch ends. One that takes longer
	// by itself is logged.
	Hold = 100 * time.Millisecond
)

// Errors that callers of [Writer].Do get, beside those of their own operation. They
// wrap the cause, if there is one.
var (
	// ErrClosed says that the writer takes no more operations.
	ErrClosed = errors.New("the writer is closed")
	// ErrFull says that the disk is full and nothing was stored.
	ErrFull = errors.New("the disk is full")
	// ErrUnavailable says that the database did not store the operation now, or, after a
	// time-out, that nobody knows yet whether it will.
	ErrUnavailable = errors.New("the database is not available")
	// ErrBusy says that more bytes wait for the writer than it takes.
	ErrBusy = errors.New("too much waits for the writer")
	// ErrStopped says that the disk can no longer be trusted.
	ErrStopped = errors.New("the writer stopped")
)

// Tx is a transaction as operations see it, together with what it will mean in memory
// once it is committed.
type Tx interface {
	// Written returns what the transaction holds so far. closed says that nothing may
	// follow in it.
	Written() (rows, bytes int, closed bool)
	// Guard marks the place to which Undo goes back: at once, or with the first write
	// that follows.
	Guard(now bool) error
	// Unguard says that what follows cannot be taken back by Undo.
	Unguard()
	// Check makes the database judge what was written since Guard, if it has not yet.
	Check() error
	// Undo takes back everything since Guard, in the database and in memory. An error
	// says that it cannot, so that the whole transaction has to go.
	Undo() error
	// Flush writes what is kept for the end of the transaction. It runs after the last
	// operation, and nothing is written after it.
	Flush() error
}

// Pause waits between two attempts to reach the database, answers callers that have
// waited for long, and returns false when the writer is being closed.
type Pause func(d time.Duration, cause error) bool

// Engine is the database under a writer. All its methods are called by the writer's
// goroutine only.
type Engine[T Tx] interface {
	// Connections is how many transactions may be open at once, at least 1.
	Connections() int
	// Begin opens a transaction for the operations, which it must not run. With ErrDrain
	// it asks to be called again once nothing is on its way.
	Begin(ops []*Op[T]) (T, error)
	// Commit makes a transaction last. If it returns sent, the commit is on its way, and
	// later is called once, from any goroutine, with a function that the writer then
	// calls for the answer. An error of class [Lost] says that the commit was sent and may
	// have taken place: Find is asked then.
	Commit(t T, later func(answer func() error)) (sent bool, err error)
	// Rollback ends a transaction that was not committed.
	Rollback(t T)
	// Committed makes known what a transaction meant. It must not block.
	Committed(t T)
	// Class says what an error means.
	Class(err error) Class
	// Mend does what is needed before a batch can be tried again that failed with an
	// error of class [Again] or [Lost]. False: there is no use in it.
	Mend(err error, pause Pause) bool
	// Find tells whether a commit whose answer was lost took place, and makes sure that
	// it will not later. An error says that this cannot be found out any more; the batch is
	// then not run again.
	Find(t T, lost error, pause Pause) (committed bool, err error)
	// MakeRoom frees space on a full disk and reports whether a batch that did not fit
	// may fit now.
	MakeRoom() bool
}

// Class is what an error of the database means for a batch.
type Class int

// The classes of errors.
const (
	NoError     Class = iota
	OwnFault          // the operation's own: refused, or a value that the database does not take
	Full              // the disk is full: nothing was stored, and it heals by itself
	Unavailable       // the database does not take writes now
	Fatal             // the disk or the file cannot be trusted any more
	Again             // others were in the way: the same again may succeed
	Lost              // the connection is gone, and with it the transaction or the answer to its commit
)

// ErrDrain is what an engine returns from Begin to have the commits on their way ended
// first.
var ErrDrain = errors.New("commits are on their way")

// errNotCommitted says that a commit whose answer was lost did not take place.
var errNotCommitted = errors.New("the write was not committed")

// timedOut wraps an error with the fact that the database was too slow.
type timedOut struct{ error }

func (e timedOut) Unwrap() error { return e.error }

// TimedOut marks an error as one of a database that did not answer in time. The same
// batch may be the reason.
func TimedOut(err error) error { return timedOut{err} }

// Op is one write. It is used once.
type Op[T Tx] struct {
	// Name says what it does, for the log and the count of operations that took long.
	Name string
	// Key is whose operation it is: keys take turns. It must be comparable; nil is a key
	// like any other.
	Key any
	// Rows and Bytes are about what it will write.
	Rows, Bytes int
	// Hot says that the operation is not refused after it wrote, but for damage: it
	// needs no guard of its own.
	Hot bool
	// Outcome says that what it records cannot be had again: it may use the reserve of a
	// full disk.
	Outcome bool
	// Stays says that its caller waits for the end whatever happens: nobody else would
	// look after its result. Such an operation is kept while the database is away.
	Stays bool
	// Apply runs inside a transaction, on the writer, perhaps more than once: it must
	// set, not add to, what it hands back.
	Apply func(T) error
	// Detail is the engine's, to prepare a batch.
	Detail any

	ctx      context.Context
	queued   *atomic.Int64 // counts its bytes until it is answered; nil: not counted
	force    bool          // commit even if nothing was written
	err      error
	done     chan struct{}
	answered bool
}

// answer gives the caller the result. Only the writer calls it, once it was handed the
// operation.
func (o *Op[T]) answer(err error) {
	if !o.answered {
		o.answered, o.err = true, err
		if o.queued != nil {
			o.queued.Add(-int64(o.Bytes))
		}
		close(o.done)
	}
}

// batch is operations that share a transaction.
type batch[T Tx] struct {
	ops      []*Op[T]
	guarded  bool // each operation can be taken back alone
	tries    int  // that failed
	timeouts int  // of these
	roomMade bool // on a full disk
}

// maxTries bounds how often a batch is run while others are in the way.
const maxTries = 10

// call runs an operation and turns a panic of a callback in it into its error: one bad
// request must not end the process.
func call[T Tx](o *Op[T], t T) (panicked bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			panicked, err = true, fmt.Errorf("%s panicked: %v", o.Name, p)
		}
	}()
	return false, o.Apply(t)
}
