package hook

import (
	"slices"
	"time"
)

// ReplayState is the state of a replay. The numbers are stored.
type ReplayState uint8

// The states of a replay.
const (
	ReplayRunning   ReplayState = 0
	ReplayPaused    ReplayState = 1
	ReplayDone      ReplayState = 2
	ReplayCancelled ReplayState = 3
	ReplayFailed    ReplayState = 4
)

var replayStateNames = [...]string{"running", "paused", "done", "cancelled", "failed"}

// String returns the word that the API uses.
func (s ReplayState) String() string {
	if int(s) < len(replayStateNames) {
		return replayStateNames[s]
	}
	return "unknown"
}

// ParseReplayState parses the word that the API uses.
func ParseReplayState(word string) (ReplayState, bool) {
	i := slices.Index(replayStateNames[:], word)
	return ReplayState(max(i, 0)), i >= 0
}

// Ended reports whether the replay makes no more steps.
func (s ReplayState) Ended() bool { return s >= ReplayDone }

// ReplaySource is which events a replay considers.
type ReplaySource string

// The sources.
const (
	FromFailed  ReplaySource = "failed"  // deliveries that failed
	FromAll     ReplaySource = "all"     // deliveries in any state
	FromMissing ReplaySource = "missing" // events that match the endpoint now and have no delivery
)

// Known reports whether s is one of the sources.
func (s ReplaySource) Known() bool { return s == FromFailed || s == FromAll || s == FromMissing }

// Reasons why the store paused or failed a replay.
const (
	ReplayEndpointDisabled Reason = "endpoint_disabled" // paused
	ReplayEndpointDeleted  Reason = "endpoint_deleted"  // failed
)

// Bounds of replays.
const (
	MinReplayRate, MaxReplayRate = 0.1, 1000.0 // matches per second
	// MaxTenantReplays and MaxReplays bound the replays that run or are paused: those of
	// one tenant in one mode, and all.
	MaxTenantReplays, MaxReplays = 4, 256
	// ReplayCount bounds the matches that are counted before a replay, ReplayScan the rows
	// that are read to count them, and ReplaySample the matches that are shown.
	ReplayCount, ReplayScan, ReplaySample = 100_000, 200_000, 10
	// ReplayPending bounds the waiting attempts of replays at one endpoint.
	ReplayPending = 128
)

// ReplayFilter restricts what a replay sends. A zero field does not restrict it.
type ReplayFilter struct {
	Types       Filter    `json:"types,omitempty"`
	Channel     string    `json:"channel,omitempty"` // events that have it
	State       *State    `json:"state,omitempty"`
	StatusClass int       `json:"status_class,omitempty"` // of the last answer, 1 to 5
	Error       Class     `json:"error,omitempty"`        // of the last attempt
	After       time.Time `json:"after,omitzero"`         // accepted at or after
	Before      time.Time `json:"before,omitzero"`        // accepted before
}

// ReplayMatch is an event of a replay, with its delivery to the endpoint if there is one.
type ReplayMatch struct {
	Event      ID // internal key
	PublicID   ID
	GivenID    string
	Type       string
	Channels   Channels
	Kind       EventKind
	AcceptedAt time.Time
	// PayloadGone means that retention has removed the payload: the event is not sent.
	PayloadGone bool
	Exists      bool // whether there is a delivery
	State       State
	LastStatus  int
	LastError   Class
}

// NewReplay is a request for a replay.
type NewReplay struct {
	Scope    Scope // with an empty tenant, the endpoint may be of any tenant of the mode
	Endpoint ID
	Source   ReplaySource
	Filter   ReplayFilter
	Newest   bool    // newest events first
	Rate     float64 // matches per second
	Hold     bool    // wait while the endpoint is disabled
}

// ReplayPreview is what a replay would send, without sending it.
type ReplayPreview struct {
	Matched int
	Gone    int  // would match, but retention has removed their payload
	Scanned int  // rows read
	Exact   bool // false: the count stopped at a bound, and there may be more
	Sample  []ReplayMatch
}

// ReplayJob is a stored replay. Every match is counted in one of Requested, Created and
// Skipped, and every requested attempt that has ended in one of Delivered, Failed and
// Dropped.
type ReplayJob struct {
	ID ID
	NewReplay
	State     ReplayState
	Reason    Reason
	Low, High ID // the remaining events: from Low to below High
	Exhausted bool
	Total     int // matches when it was created
	Exact     bool
	Requested int // attempts requested
	Created   int // deliveries created
	Skipped   int // matches that no longer match, or already had an attempt requested
	Delivered int
	Failed    int
	Dropped   int // attempts not made, because the delivery or the replay was cancelled
	Owner     int64
	Fence     int64
	CreatedAt time.Time
	UpdatedAt time.Time
	EndedAt   time.Time // zero: it has not ended
	// Moved says that the call that returned the job changed its state. It is not stored.
	Moved bool
}

// Done returns how many matches were processed.
func (j *ReplayJob) Done() int { return j.Requested + j.Created + j.Skipped }

// Pending returns how many requested attempts have not ended yet.
func (j *ReplayJob) Pending() int { return j.Requested - j.Delivered - j.Failed - j.Dropped }

// Matches reports whether the replay sends the event to the endpoint, given the endpoint's
// current snapshot.
func (n *NewReplay) Matches(m *ReplayMatch, target *Endpoint) bool {
	f := &n.Filter
	switch {
	case m.Kind == TestEvent:
		return false
	case len(f.Types) > 0 && !f.Types.Match(m.Type):
		return false
	case f.Channel != "" && !slices.Contains(m.Channels, f.Channel):
		return false
	case !f.After.IsZero() && m.AcceptedAt.Before(f.After), !f.Before.IsZero() && !m.AcceptedAt.Before(f.Before):
		return false
	case n.Source == FromMissing:
		return !m.Exists && target.Wants(m.Type, m.Channels)
	}
	return m.Exists && (n.Source != FromFailed || m.State == Failed) && (f.State == nil || m.State == *f.State) &&
		(f.StatusClass == 0 || m.LastStatus/100 == f.StatusClass) && (f.Error == "" || m.LastError == f.Error)
}

// ReplayQuery selects replays. An empty Scope.Tenant means all tenants of the mode.
type ReplayQuery struct {
	Scope    Scope
	Endpoint ID           // zero: all
	State    *ReplayState // nil: all
	Page
}

// ReplayRef identifies a replay that a process runs while the replay's fence is Fence.
type ReplayRef struct {
	ID    ID
	Fence int64
	Rate  float64 // matches per second
}

// ReplayStep is the result of one step of a replay.
type ReplayStep struct {
	Done    int  // matches that it processed
	Over    bool // this process has nothing more to do for the replay
	Waiting bool // nothing was done, because the endpoint is disabled or has enough waiting
}

// After returns the remaining range after the event last of the range from low to high
// has been processed.
func (n *NewReplay) After(last, low, high ID) (ID, ID) {
	if n.Newest {
		return low, last
	}
	return last.Above(), high
}
