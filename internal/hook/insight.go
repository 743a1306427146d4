package hook

import (
	"slices"
	"time"
)

// The types in this file tell callers what happened and why.

// Revision is the state of an endpoint from a given time until its next revision.
type Revision struct {
	Number   int64
	At       time.Time
	URL      string // for display; the values of its query may be masked
	Types    Filter
	Channels Channels
	Status   Status
}

// History is what is known of one endpoint around the time when an event was accepted. A
// deleted endpoint is included until its retention ends.
type History struct {
	Endpoint    ID
	Operational bool
	CreatedAt   time.Time
	// Then are the revisions that may have been in force at that time, oldest first:
	// usually one, none if the endpoint was created later. There are more if the endpoint
	// was changed in the same microsecond in which the event was accepted.
	Then []Revision
	Now  Status
}

// Resent is the result of resending an event. Deliveries are the rows as they were when
// the attempts were requested.
type Resent struct {
	Event      ID // its internal key
	Deliveries []Delivery
	Created    int // how many of Deliveries did not exist before
	Skipped    int // endpoints that match the event but are disabled by failures
}

// Latency is the median and the 95th percentile of the duration of attempts.
type Latency struct{ P50, P95 time.Duration }

// EndpointStats are statistics of one endpoint, without test events. Recent deliveries
// and attempts are those of a bounded number of the latest deliveries.
type EndpointStats struct {
	Pending, Held, Failed int       // now; each at most StatsCap
	OldestPending         time.Time // when the oldest pending one's event was accepted; zero: none

	Since     time.Time     // acceptance of the oldest recent delivery; zero: none
	ByState   map[State]int // recent deliveries
	ByClass   map[Class]int // recent attempts that failed
	Attempts  int           // recent attempts
	Successes int           // how many of these succeeded
	Latency   Latency       // of the recent attempts

	Buckets Stats // over the requested time

	Pace *Pace // now, on the node that answers; nil: the endpoint is not in memory there
}

// StatsCap bounds the counts of EndpointStats. A count that equals it means "or more".
const StatsCap = 100_000

// FewCap bounds the counts of pages in the same way.
const FewCap = 10_000

// Enforce is what happens to published data that does not match the schema of its type.
// The numbers are stored.
type Enforce int64

// The values of Enforce.
const (
	EnforceOff    Enforce = 0 // the data is not checked
	EnforceWarn   Enforce = 1 // the event is accepted, and the response has a warning
	EnforceReject Enforce = 2 // the event is refused
)

var enforceNames = []string{"off", "warn", "reject"}

// String returns off, warn or reject.
func (e Enforce) String() string { return enforceNames[min(max(int(e), 0), len(enforceNames)-1)] }

// ParseEnforce parses off, warn or reject.
func ParseEnforce(text string) (Enforce, bool) {
	i := slices.Index(enforceNames, text)
	return Enforce(max(i, 0)), i >= 0
}

// Mismatch describes data that does not match the schema of its type.
type Mismatch struct {
	Field   string // the field at fault, such as "data/amount/value"
	Message string // a sentence
	Refused bool   // by EnforceReject
}
