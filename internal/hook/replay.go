package hook

import (
	"slices"
	"time"
)

// ReplayState is where a replay stands. The numbers are stored.
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

// String returns the word the API uses.
func (s ReplayState) String() string {
	if int(s) < len(replayStateNames) {
		return replayStateNames[s]
	}
	return "unknown"
}

// ParseReplayState reads the word the API uses.
func ParseReplayState(word string) (ReplayState, bool) {
	i := slices.Index(replayStateNames[:], word)
	return ReplayState(max(i, 0)), i >= 0
}

// Ended reports whether nothing of the replay is made any more.
func (s ReplayState) Ended() bool { return s >= ReplayDone }

// ReplaySource says which events a replay looks at.
type ReplaySource string

// The sources.
const (
	FromFailed  ReplaySource = "failed"  // deliveries that failed
	FromAll     ReplaySource = "all"     // deliveries in any state
	FromMissing ReplaySource = "missing" // events that the endpoint wants now and never got a delivery of
)

// Known reports whether there is such a source.
func (s ReplaySource) Known() bool { return s == FromFailed || s == FromAll || s == FromMissing }

// Reasons of a replay that paused or failed by itself.
const (
	ReplayEndpointDisabled Reason = "endpoint_disabled" // paused
	ReplayEndpointDeleted  Reason = "endpoint_deleted"  // failed
)

// Bounds of replays.
const (
	MinReplayRate, MaxReplayRate = 0.1, 1000.0 // a second
	// MaxTenantReplays and MaxReplays bound the replays that run or are paused, of one
	// tenant in one mode and of all.
	MaxTenantReplays, MaxReplays = 4, 256
	// ReplayCount bounds the matches that are counted before a replay, ReplayScan the rows
	// that are looked at for it, and ReplaySample the matches that are shown.
	ReplayCount, ReplayScan, ReplaySample = 100_000, 200_000, 10
	// ReplayPending bounds the attempts of replays that wait at one endpoint.
	ReplayPending = 128
)

// ReplayFilter narrows what a replay sends. Zero members do not.
type ReplayFilter struct {
	Types       Filter    `json:"types,omitempty"`
	State       *State    `json:"state,omitempty"`
	StatusClass int       `json:"status_class,omitempty"` // of the last answer, 1 to 5
	Error       Class     `json:"error,omitempty"`        // of the last attempt
	After       time.Time `json:"after,omitzero"`         // accepted at or after
	Before      time.Time `json:"before,omitzero"`        // accepted before
}

// ReplayMatch is an event as a replay sees it: with its delivery to the endpoint, if
// there is one.
type ReplayMatch struct {
	Event      ID // our key
	PublicID   ID
	Type       string
	Kind       EventKind
	AcceptedAt time.Time
	Exists     bool // there is a delivery
	State      State
	LastStatus int
	LastError  Class
}

// NewReplay asks for a replay.
type NewReplay struct {
	Scope    Scope // an empty tenant means all of the mode: the endpoint tells
	Endpoint ID
	Source   ReplaySource
	Filter   ReplayFilter
	Newest   bool    // the newest first
	Rate     float64 // a second
	Hold     bool    // waits while the endpoint is disabled
}

// ReplayPreview is what a replay would send, without sending it.
type ReplayPreview struct {
	Matched int
	Scanned int  // rows looked at
	Exact   bool // false: the count stopped at its bound, and there may be more
	Sample  []ReplayMatch
}

// ReplayJob is a replay as it is stored. Every match becomes one of Requested, Created
// and Skipped; every requested attempt one of Delivered, Failed and Dropped.
type ReplayJob struct {
	ID ID
	NewReplay
	State     ReplayState
	Reason    Reason
	Low, High ID // the events that are left: from Low to below High
	Exhausted bool
	Total     int // matches when it was made
	Exact     bool
	Requested int // attempts asked for
	Created   int // deliveries made
	Skipped   int // matches that did not match any more, or had an attempt asked for already
	Delivered int
	Failed    int
	Dropped   int // attempts that were not made: the delivery was cancelled, or the replay
	Owner     int64
	Fence     int64
	CreatedAt time.Time
	UpdatedAt time.Time
	EndedAt   time.Time // zero: it has not
}

// Done returns how many matches were dealt with.
func (j *ReplayJob) Done() int { return j.Requested + j.Created + j.Skipped }

// Pending returns how many attempts were asked for and not made yet.
func (j *ReplayJob) Pending() int { return j.Requested - j.Delivered - j.Failed - j.Dropped }

// Matches reports whether the replay sends the event to the endpoint as it is now.
func (n *NewReplay) Matches(m *ReplayMatch, target *Endpoint) bool {
	f := &n.Filter
	switch {
	case m.Kind == TestEvent:
		return false
	case len(f.Types) > 0 && !f.Types.Match(m.Type):
		return false
	case !f.After.IsZero() && m.AcceptedAt.Before(f.After), !f.Before.IsZero() && !m.AcceptedAt.Before(f.Before):
		return false
	case n.Source == FromMissing:
		return !m.Exists && target.Types.Match(m.Type)
	}
	return m.Exists && (n.Source != FromFailed || m.State == Failed) && (f.State == nil || m.State == *f.State) &&
		(f.StatusClass == 0 || m.LastStatus/100 == f.StatusClass) && (f.Error == "" || m.LastError == f.Error)
}

// ReplayQuery asks for replays. An empty Scope.Tenant means all of the mode.
type ReplayQuery struct {
	Scope    Scope
	Endpoint ID           // zero: all
	State    *ReplayState // nil: all
	Page
}

// ReplayRef names a replay that a process runs, as long as its fence is this.
type ReplayRef struct {
	ID    ID
	Fence int64
	Rate  float64 // a second
}

// ReplayStep is what one step of a replay came to.
type ReplayStep struct {
	Done    int  // matches that it dealt with
	Over    bool // this process has no more to do for it
	Waiting bool // the endpoint is disabled, or has enough waiting: nothing was done
}

// After returns the part of the range that is left after an event of it.
func (n *NewReplay) After(last, low, high ID) (ID, ID) {
	if n.Newest {
		return low, last
	}
	return last.Above(), high
}
