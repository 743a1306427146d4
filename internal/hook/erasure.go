package hook

import (
	"slices"
	"time"
)

// ErasureState is the state of an erasure. The numbers are stored.
type ErasureState uint8

// The states of an erasure. It cannot be stopped once it was asked for.
const (
	ErasureRunning ErasureState = 0
	ErasureDone    ErasureState = 1
)

var erasureStateNames = [...]string{"running", "done"}

// String returns the word that the API uses.
func (s ErasureState) String() string {
	if int(s) < len(erasureStateNames) {
		return erasureStateNames[s]
	}
	return "unknown"
}

// ParseErasureState parses the word that the API uses.
func ParseErasureState(word string) (ErasureState, bool) {
	i := slices.Index(erasureStateNames[:], word)
	return ErasureState(max(i, 0)), i >= 0
}

// MaxErasures bounds the erasures that run at once.
const MaxErasures = 100

// NewErasure is a request to erase a tenant of both modes, or one event.
type NewErasure struct {
	Mode     Mode   // of the event, and of who asks
	Tenant   string // empty with PublicID: any tenant of the mode
	PublicID ID     // the event as receivers see it; zero: the whole tenant
}

// Erasure is a job that erases, and its receipt. The receipt is the only place, besides
// backups, that still has the id of an erased tenant.
type Erasure struct {
	ID       ID
	Mode     Mode
	Tenant   string
	Event    ID // our id; zero: the whole tenant
	PublicID ID
	State    ErasureState
	Step     string           // what it works on; empty: it is done
	Cursor   []byte           // how far that step got
	Counts   map[string]int64 // rows removed, by table
	By       Actor            // who asked for it: kind and id
	Owner    int64
	Fence    int64

	CreatedAt, UpdatedAt time.Time
	EndedAt              time.Time // zero: it runs
}

// Whole reports whether the erasure is of a whole tenant.
func (e *Erasure) Whole() bool { return e.Event.IsZero() }

// Rows returns how many rows were removed.
func (e *Erasure) Rows() (n int64) {
	for _, rows := range e.Counts {
		n += rows
	}
	return n
}

// ErasureQuery selects erasures of a mode.
type ErasureQuery struct {
	Mode   Mode
	Tenant string        // empty: of all tenants
	State  *ErasureState // nil: all
	Page
}

// ErasureRef identifies an erasure that a process runs while its fence is Fence.
type ErasureRef struct {
	ID    ID
	Fence int64
}

// Reclaimed is the result of one call for space to be given back to the file system.
type Reclaimed struct {
	Freed int64 // bytes given back by this call
	Left  int64 // bytes that another call would give back
	Size  int64 // bytes of the database now
	// Kept says why free space stays in the database. Empty: it does not.
	Kept string
}
