package hook

import (
	"slices"
	"time"
)

// The types in this file are what callers are told about what happened and why.

// Revision is what an endpoint was from a moment on, until its next revision.
type Revision struct {
	Number int64
	At     time.Time
	URL    string // for display: the values of its query may be masked
	Types  Filter
	Status Status
}

// History is what is known of one endpoint around the moment an event was
// accepted. An endpoint that is deleted now is among them until retention.
type History struct {
	Endpoint  ID
	CreatedAt time.Time
	// Then are the revisions that may have been in force at the moment, oldest
	// first: usually one, none if the endpoint was made later. There are more if
	// the endpoint was changed in the very microsecond of acceptance.
	Then []Revision
	Now  Status
}

// Resent is what became of resending an event. Deliveries are the rows as they
// were when the attempts were asked for.
type Resent struct {
	Event      ID // our key
	Deliveries []Delivery
	Created    int // of Deliveries, those that did not exist before
	Skipped    int // endpoints that want it and are disabled by failures
}

// Latency is how long attempts took: half of them, and 95 of a hundred, at most.
type Latency struct{ P50, P95 time.Duration }

// EndpointStats are numbers about one endpoint. Test events are not in them. The
// recent ones cover a bounded number of the latest deliveries.
type EndpointStats struct {
	Pending, Held, Failed int       // now; each at most StatsCap
	OldestPending         time.Time // when the oldest pending one's event was accepted; zero: none

	Since     time.Time     // acceptance of the oldest delivery looked at; zero: none
	ByState   map[State]int // recent deliveries
	ByClass   map[Class]int // recent attempts that failed
	Attempts  int           // recent attempts
	Successes int           // of them, those that succeeded
	Latency   Latency       // of the recent attempts

	Buckets Stats // over the time that was asked for

	Pace *Pace // now, on the node that was asked; nil: nothing of it is in memory there
}

// StatsCap bounds every count of EndpointStats: a number as large means "or more".
const StatsCap = 100_000

// Enforce says what becomes of published data that is not what the schema of its
// type asks for. The numbers are stored.
type Enforce int64

// What becomes of it.
const (
	EnforceOff    Enforce = 0 // nothing is checked
	EnforceWarn   Enforce = 1 // it is accepted, and the answer has a warning
	EnforceReject Enforce = 2 // it is refused
)

var enforceNames = []string{"off", "warn", "reject"}

// String returns off, warn or reject.
func (e Enforce) String() string { return enforceNames[min(max(int(e), 0), len(enforceNames)-1)] }

// ParseEnforce reads off, warn or reject.
func ParseEnforce(text string) (Enforce, bool) {
	i := slices.Index(enforceNames, text)
	return Enforce(max(i, 0)), i >= 0
}

// Mismatch is data that is not what the schema of its type asks for.
type Mismatch struct {
	Field   string // the member to blame, "data/amount/value"
	Message string // a sentence
	Refused bool   // by EnforceReject
}

// EventType is an entry of the catalogue of one mode. The catalogue does not restrict
// which types may be published, but it may restrict the data of those it has.
type EventType struct {
	Mode        Mode
	Name        string
	Description string
	Schema      []byte // JSON Schema of the data, an object; nil: none
	Example     []byte // data of an event, an object; nil: none
	Enforce     Enforce
	CreatedAt   time.Time
	UpdatedAt   time.Time
}
