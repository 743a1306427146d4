package hook

import (
	"net/netip"
	"time"
)

// State is where a delivery stands. docs/states.md draws the transitions. The
// numbers are stored.
type State uint8

// The states of a delivery.
const (
	Pending   State = 0
	Held      State = 1
	Succeeded State = 2
	Failed    State = 3
	Cancelled State = 4
)

var stateNames = [...]string{"pending", "held", "succeeded", "failed", "cancelled"}

// String returns the word the API uses.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}

// ParseState reads the word the API uses.
func ParseState(word string) (State, bool) {
	for i, name := range stateNames {
		if name == word {
			return State(i), true
		}
	}
	return 0, false
}

// Open reports whether the delivery may still be offered by itself.
func (s State) Open() bool { return s == Pending || s == Held }

// Trigger says why an attempt is made. The numbers are stored.
type Trigger uint8

// The triggers of an attempt.
const (
	BySchedule Trigger = 0
	ByHand     Trigger = 1 // one shot: a failure leaves the delivery's state and schedule
	ByTest     Trigger = 2
	ByReplay   Trigger = 3 // one shot, like ByHand
	Anyway     Trigger = 4 // one shot by hand although the endpoint is disabled: says nothing of its health
)

var triggerNames = [...]string{"schedule", "manual", "test", "replay", "manual"}

// String returns the word the API uses.
func (t Trigger) String() string {
	if int(t) < len(triggerNames) {
		return triggerNames[t]
	}
	return "unknown"
}

// OneShot reports whether the attempt stands beside the delivery's schedule: a
// failure of it leaves state and schedule as they are.
func (t Trigger) OneShot() bool { return t == ByHand || t == ByReplay || t == Anyway }

// Passes reports whether the job is attempted although its endpoint is disabled.
func (j *Job) Passes() bool { return j.Delivery.Kind == TestEvent || j.Trigger == Anyway }

// Delivery is one event to one endpoint: a row.
type Delivery struct {
	ID        ID
	Event     ID // our key of the event
	Endpoint  ID
	Scope     Scope
	EventType string
	Kind      EventKind
	Profile   ProfileHash // the profile text every attempt renders with

	State      State
	Reason     Reason    // why it is held, failed or cancelled
	Attempts   int       // made so far
	Scheduled  int       // of these, the ones that the schedule made: how far it has come
	Due        time.Time // of the next attempt; zero when none is planned
	LastStatus int
	LastError  Class
	CreatedAt  time.Time
	SettledAt  time.Time // zero while open

	Owner int64 // epoch of the process that holds it in memory, 0: none
	Fence int64 // raised at each claim and each change that takes it away from its holder
}

// Reason is a stable word for why a delivery left the straight way.
type Reason string

// The reasons.
const (
	ReasonNone            Reason = ""
	ReasonPolicyEnded     Reason = "policy_ended"        // failed: the retry policy is used up
	ReasonGone            Reason = "endpoint_gone"       // failed or held: 410
	ReasonHeldExpired     Reason = "held_expired"        // failed: held longer than its retention
	ReasonDisabled        Reason = "endpoint_disabled"   // held: disabled by hand
	ReasonTripped         Reason = "endpoint_failing"    // held: disabled by failures
	ReasonAway            Reason = "listener_away"       // held: nobody is connected to the listener
	ReasonUnverified      Reason = "endpoint_unverified" // held: its receiver has not agreed yet
	ReasonByHand          Reason = "cancelled_by_hand"
	ReasonEndpointDeleted Reason = "endpoint_deleted" // cancelled
	ReasonDiscarded       Reason = "discarded"        // cancelled: backlog discarded on enabling
	ReasonTestFailed      Reason = "test_failed"      // failed: a test event has one attempt
)

// Job is a delivery to be attempted now, handed over in memory.
type Job struct {
	Delivery Delivery  // the row as it was committed
	Event    *Event    // nil: to be read from the store when its turn comes
	Target   *Endpoint // snapshot at hand-over; the attempt uses the one then in force
	Trigger  Trigger
	Holder   int64 // epoch of the process that it was handed to
}

// Outcome is what one attempt came to.
type Outcome struct {
	// Skipped says that no attempt was made (the endpoint stopped receiving in
	// the meantime): the row goes back to the table unchanged, owned by nobody,
	// and all other members are meaningless, but for a Class that is Ours: it says
	// why the attempt is put off.
	Skipped bool

	StartedAt       time.Time
	Duration        time.Duration
	Success         bool
	Status          int   // 0: no answer
	Class           Class // empty on a plain success
	Message         string
	ResponseHeaders []byte
	ResponseBody    []byte
	Truncated       bool
	Repeated        bool          // the request was sent twice: a kept connection was closed without an answer
	Address         netip.Addr    // that was dialled for the attempt or its connection; zero: none
	RetryAfter      time.Duration // as the receiver asked, not clamped; 0: did not ask
	Policy          *Policy       // in force at the moment of the attempt
	Enablings       int64         // of the endpoint at the moment of the attempt
}

// Settlement is an attempt that was made and is to be recorded.
type Settlement struct {
	Job     Job
	Outcome Outcome
}

// Due says that the table holds work for an endpoint that nobody has in memory.
type Due struct {
	Target *Endpoint
	At     time.Time // of the earliest
}

// Share is how much work of one endpoint a claim may take.
type Share struct {
	Scope    Scope
	Endpoint ID
	Limit    int
}

// Claim asks for due work, a share per endpoint, so that no endpoint's backlog
// fills the page of another.
type Claim struct {
	Now    time.Time
	Shares []Share
}

// Claimed answers a Claim: the jobs, now owned by the claiming process, and for
// each endpoint that still has work in the table the time of its earliest.
type Claimed struct {
	Jobs []Job
	Due  []Due
}

// Commit is what a transaction of the store means for the dispatcher. It is
// handed over after the commit and before anybody is told, so a caller that went
// away strands nothing: a crash in between is healed by recovery at start.
type Commit struct {
	Jobs    []Job       // to be attempted now, owned by this process
	Due     []Due       // work that stays in the table
	Changed []*Endpoint // new snapshots; the rows of one that is not enabled are swept, so its jobs may be forgotten
	Dropped []Ref       // waiting jobs that must not be attempted any more
	// Returned are endpoints that this process cannot read any more. Nothing sweeps
	// their rows: what waits in memory goes back to the table.
	Returned []*Endpoint
	Replays  []ReplayRef // that this process runs from now on; the dispatcher passes over them
}

// Ref names a delivery by its key.
type Ref struct {
	Event    ID
	Endpoint ID
	// Scheduled says that only the schedule's attempt is off: a single shot that
	// waits is still to be made.
	Scheduled bool
}
