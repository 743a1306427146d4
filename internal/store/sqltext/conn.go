package sqltext

import (
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// Conn is a connection that writes, one transaction at a time, from one goroutine. It
// is all that a database engine offers to what runs inside a transaction.
type Conn interface {
	// Querier reads inside the transaction.
	Querier
	// Exec runs a statement given as shared text and returns the number of rows it
	// changed. Arguments are int64, float64, string, []byte or nil.
	Exec(query string, args ...any) (int64, error)
	// Insert adds a row. The database may judge it later, at the latest with the commit.
	Insert(into *Table, args ...any) error
	// Move changes a delivery's row if it still is as before says. It may promise that it
	// will; then the commit fails, to be tried again, if it was not so.
	Move(before, after *hook.Delivery) (bool, error)
	// Claim gives due deliveries to an owner, of each share the earliest.
	Claim(shares []Share, owner int64, now time.Time) (*Claimed, error)
	// Lookup reads at once what the writes of a batch will ask for. Nil: reading it one
	// by one costs nothing.
	Lookup(keys []OnceKey, ids []GivenID) (*Known, error)
	// Savepoint marks the place to which Undo goes back, and Undo goes there.
	Savepoint() error
	Undo() error
	// Usable reports whether the transaction can go on after a statement that failed.
	Usable() bool
	// Check makes the database judge what was inserted and moved.
	Check() error
}

// Ending is what a commit carries beside the rows.
type Ending struct {
	// Bytes is about how much was written.
	Bytes int
	// At is the time of the transaction.
	At time.Time
	// Config says that something changed which nodes keep in memory.
	Config bool
	// Changes are for the other nodes to read.
	Changes []Change
	// Holds are endpoints whose hold needs a bound in the order of events over all nodes.
	Holds []hook.ID
	// Clean are endpoints that answered well: their records of failures end.
	Clean []hook.ID
}

// The kinds of changes that nodes tell each other. The numbers are stored.
const (
	ChangedScope      = 1 // an endpoint; without one, the tenant, or all endpoints of the scope
	ChangedKeys       = 2 // a key
	DroppedJob        = 3 // a waiting job must not be attempted any more
	ChangedProfiles   = 4 // a profile's text was kept
	WorkDue           = 5 // the table has work of an endpoint that others can do, or have a part in
	ChangedEventTypes = 6 // an entry of the catalogue whose schema is or was enforced
)

// Change is one line of what nodes tell each other.
type Change struct {
	Node  int64 // its epoch
	Kind  int64
	Scope hook.Scope
	Ref   hook.Ref
}

// Changes are what other nodes changed since this one looked last.
type Changes struct {
	Lines []Change
	// All says that lines are missing: everything in memory is to be read again.
	All bool
	// Floor is below every id that may still be given.
	Floor hook.ID
}

// Share is how many due deliveries of an endpoint are asked for.
type Share struct {
	Endpoint hook.ID
	Limit    int
}

// Claimed is what a claim found.
type Claimed struct {
	Deliveries []hook.Delivery // with their new owner and fence, the earliest due first
	Left       []Waiting       // the earliest that is left of each share
}

// Waiting is the earliest work of an endpoint in the table.
type Waiting struct {
	Scope    hook.Scope
	Endpoint hook.ID
	Due      time.Time
}

// EarliestDue finds when the first unowned work of an endpoint is due, which is given
// twice; 0: there is none.
const EarliestDue = `SELECT coalesce(min(w.due), 0) FROM (
	SELECT d.due FROM (SELECT due FROM deliveries WHERE state = 0 AND owner = 0 AND endpoint = ? ORDER BY due LIMIT 1) d UNION ALL
	SELECT o.due FROM (SELECT requested_at AS due FROM oneshots WHERE owner = 0 AND endpoint = ? ORDER BY requested_at LIMIT 1) o) w`

// OnceKey is an idempotency key with all it is valid for.
type OnceKey struct {
	Scope      hook.Scope
	Route, Key string
}

// OnceRow is a key that was used.
type OnceRow struct {
	Hash, Sealed []byte
	Status       int
	Created      int64
}

// GivenID is an id that a platform gave to an event.
type GivenID struct {
	Scope hook.Scope
	ID    hook.ID
}

// GivenRow is such an id that was used.
type GivenRow struct{ Event, Hash []byte }

// Known is what was looked up for a batch: of each key and id asked for its row, nil if
// it was not used before.
type Known struct {
	Once map[OnceKey]*OnceRow
	IDs  map[GivenID]*GivenRow
}

// Abandoned is work of a process that has ended: conditions on owner for its rows.
type Abandoned struct {
	Epoch int64  // of that process
	Rows  string // deliveries that it held
	Tests string // test events that nobody else would send
	Shots string // single attempts that were asked for
}
