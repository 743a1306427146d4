package sqltext

import (
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// Conn is a connection that writes, one transaction at a time, from one goroutine. It is
// everything that an engine offers to operations inside a transaction.
type Conn interface {
	// Querier runs queries inside the transaction.
	Querier
	// Exec executes a statement given as shared text and returns the number of rows that it
	// changed. Arguments are int64, float64, string, []byte or nil.
	Exec(query string, args ...any) (int64, error)
	Inserter
	// Move changes a delivery's row if it is still as in before, and reports whether it
	// did. An engine may return true before it knows. If the row then is not as expected,
	// the commit fails and is retried.
	Move(before, after *hook.Delivery) (bool, error)
	// Claim assigns due deliveries to an owner, the earliest of each share.
	Claim(shares []Share, owner int64, now time.Time) (*Claimed, error)
	// Lookup reads what the writes of a batch will look up, before the first of them.
	Lookup(keys []OnceKey, ids []GivenID) (*Known, error)
	// Savepoint sets the savepoint to which Undo rolls back.
	Savepoint() error
	Undo() error
	// Usable reports whether the transaction can continue after a failed statement.
	Usable() bool
	// Check makes the database check the inserted and moved rows.
	Check() error
}

// Inserter inserts rows into the tables of the hot path.
type Inserter interface {
	// Insert inserts a row. The database may check it later, at the latest with the commit.
	Insert(into *Table, args ...any) error
}

// Ending is what a commit carries besides rows.
type Ending struct {
	// Bytes is the approximate number of bytes written.
	Bytes int
	// At is the time of the transaction.
	At time.Time
	// Config means that something changed that nodes have in memory.
	Config bool
	// Changes are published to the other nodes.
	Changes []Change
	// Holds are endpoints whose hold needs a bound in the order of events across all nodes.
	Holds []hook.ID
	// Clean are endpoints that responded well, whose health records are deleted.
	Clean []hook.ID
}

// The kinds of changes between nodes. The numbers are stored.
const (
	ChangedScope      = 1  // an endpoint; without one, the tenant, or all endpoints of the scope
	ChangedKeys       = 2  // a key
	DroppedJob        = 3  // a waiting job must no longer be attempted
	ChangedProfiles   = 4  // a profile's text was stored
	WorkDue           = 5  // an endpoint has work in the table that other nodes may do
	ChangedEventTypes = 6  // an entry of the catalogue whose schema is or was enforced
	ChangedMasterKey  = 12 // the master key that seals
)

// Change is an entry in the change log between nodes.
type Change struct {
	Node  int64 // its epoch
	Kind  int64
	Scope hook.Scope
	Ref   hook.Ref
}

// Changes are the changes of other nodes since this node last read them.
type Changes struct {
	Lines []Change
	// All means that lines are missing, so everything in memory must be read again.
	All bool
	// Floor is below every id that may still be created.
	Floor hook.ID
}

// Share is the largest number of due deliveries to claim for an endpoint.
type Share struct {
	Endpoint hook.ID
	Limit    int
}

// Claimed is the result of a claim.
type Claimed struct {
	Deliveries []hook.Delivery // with the new owner and fence, earliest due first
	Left       []Waiting       // the earliest remaining work of each share's endpoint
}

// Waiting describes the earliest work of an endpoint in the table.
type Waiting struct {
	Scope    hook.Scope
	Endpoint hook.ID
	Due      time.Time
}

// EarliestDue finds when the first unowned work of an endpoint is due, 0 if there is none.
// The endpoint is passed twice.
const EarliestDue = `SELECT coalesce(min(w.due), 0) FROM (
	SELECT d.due FROM (SELECT due FROM deliveries WHERE state = 0 AND owner = 0 AND endpoint = ? ORDER BY due LIMIT 1) d UNION ALL
	SELECT o.due FROM (SELECT requested_at AS due FROM oneshots WHERE owner = 0 AND endpoint = ? ORDER BY requested_at LIMIT 1) o) w`

// OnceKey is an idempotency key with everything that it is unique within.
type OnceKey struct {
	Scope      hook.Scope
	Route, Key string
}

// OnceRow is the stored row of a used key.
type OnceRow struct {
	Hash, Sealed []byte
	Status       int
	Created      int64
}

// OnceIs is the condition for the row of an idempotency key, FindOnce reads it.
const (
	OnceIs   = " WHERE mode = ? AND tenant = ? AND route = ? AND key = ?"
	FindOnce = "SELECT body_hash, status, answer, created_at FROM idempotency" + OnceIs
)

// FindGiven reads the row of an id that a platform gave.
const FindGiven = "SELECT event, hash FROM event_ids WHERE mode = ? AND public_id = ? AND tenant = ?"

// GivenID is an id that a platform gave to an event.
type GivenID struct {
	Scope hook.Scope
	ID    hook.ID
}

// GivenRow is the stored row of such an id.
type GivenRow struct{ Event, Hash []byte }

// Known is the result of a lookup for a batch. It has an entry for each key and id, nil if
// it was not used before.
type Known struct {
	Once map[OnceKey]*OnceRow
	IDs  map[GivenID]*GivenRow
}

// Abandoned describes the work of a process that has ended, with SQL conditions on owner
// for its rows.
type Abandoned struct {
	Epoch int64  // epoch of the process
	Rows  string // deliveries that it had in memory
	Tests string // test events that nobody else would send
	Shots string // single shots that were requested
}
