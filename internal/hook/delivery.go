package hook

import (
	"net/netip"
	"time"
)

// State is the state of a delivery. docs/states.md describes the transitions. The numbers
// are stored.
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

// String returns the word that the API uses.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}

// ParseState parses the word that the API uses.
func ParseState(word string) (State, bool) {
	for i, name := range stateNames {
		if name == word {
			return State(i), true
		}
	}
	return 0, false
}

// Open reports whether the schedule may still attempt the delivery, now or when it is
// released.
func (s State) Open() bool { return s == Pending || s == Held }

// Trigger is why an attempt is made. The numbers are stored.
type Trigger uint8

// The triggers of an attempt.
const (
	BySchedule Trigger = 0
	ByHand     Trigger = 1 // single shot: a failure does not change the delivery's state or schedule
	ByTest     Trigger = 2
	ByReplay   Trigger = 3 // single shot, like ByHand
	Anyway     Trigger = 4 // single shot by hand, even if disabled; not counted for health
)

var triggerNames = [...]string{"schedule", "manual", "test", "replay", "manual"}

// String returns the word that the API uses.
func (t Trigger) String() string {
	if int(t) < len(triggerNames) {
		return triggerNames[t]
	}
	return "unknown"
}

// OneShot reports whether the attempt is a single shot, outside the delivery's schedule.
// If it fails, the state and schedule do not change.
func (t Trigger) OneShot() bool { return t == ByHand || t == ByReplay || t == Anyway }

// Passes reports whether the job is attempted even if its endpoint is disabled.
func (j *Job) Passes() bool { return j.Delivery.Kind == TestEvent || j.Trigger == Anyway }

// Delivery is one event to one endpoint: a row.
type Delivery struct {
	ID        ID
	Event     ID // the event's internal key
	Endpoint  ID
	Scope     Scope
	EventType string
	Kind      EventKind
	Profile   ProfileHash // the profile text with which every attempt renders

	State      State
	Reason     Reason    // why it is held, failed or cancelled
	Attempts   int       // made so far
	Scheduled  int       // of these, the attempts made by the schedule
	Due        time.Time // of the next attempt, or the time before which a held one gets none; zero if there is none
	LastStatus int
	LastError  Class
	CreatedAt  time.Time
	SettledAt  time.Time // zero while open

	Owner int64 // epoch of the process that has it in memory; 0: none
	Fence int64 // raised by each claim and each change that takes it away from its owner
}

// Reason is a stable word for why a delivery is held, failed or cancelled.
type Reason string

// The reasons.
const (
	ReasonNone            Reason = ""
	ReasonPolicyEnded     Reason = "policy_ended"        // failed: no more attempts in the policy
	ReasonGone            Reason = "endpoint_gone"       // failed or held: 410
	ReasonHeldExpired     Reason = "held_expired"        // failed: held longer than its retention
	ReasonDisabled        Reason = "endpoint_disabled"   // held: disabled by hand
	ReasonTripped         Reason = "endpoint_failing"    // held: disabled by failures
	ReasonAway            Reason = "listener_away"       // held: the receiver is not connected
	ReasonUnverified      Reason = "endpoint_unverified" // held: the endpoint is not verified yet
	ReasonByHand          Reason = "cancelled_by_hand"
	ReasonEndpointDeleted Reason = "endpoint_deleted" // cancelled
	ReasonDiscarded       Reason = "discarded"        // cancelled: backlog discarded when enabled
	ReasonTestFailed      Reason = "test_failed"      // failed: a test event gets one attempt
)

// Job is a delivery in memory that is to be attempted.
type Job struct {
	Delivery Delivery  // the row as it was committed
	Event    *Event    // nil: read from the store for the attempt
	Target   *Endpoint // snapshot when the job was created; the attempt uses the current one
	Trigger  Trigger
	Holder   int64 // epoch of the process that has the job
}

// Outcome is the result of one attempt.
type Outcome struct {
	// Skipped reports that no attempt was made, for instance because the endpoint
	// stopped receiving in the meantime. The row goes back to the table unchanged and
	// without an owner. All other members are meaningless, except for a Class for which
	// Ours is true: it is why the attempt is put off.
	Skipped bool

	StartedAt       time.Time
	Duration        time.Duration
	Success         bool
	Status          int   // 0: no response
	Class           Class // empty on success, unless the body was truncated
	Message         string
	ResponseHeaders []byte
	ResponseBody    []byte
	Truncated       bool
	Repeated        bool          // sent twice, because a kept connection closed without a response
	Address         netip.Addr    // of the connection, or dialled for it; zero: none
	Timing          Timing        // of the last request, if it was sent twice
	RetryAfter      time.Duration // as the receiver sent it, not clamped; 0: none
	Policy          *Policy       // in force at the time of the attempt
	DeliverAt       time.Time     // of the event; the age of the delivery counts from it
	Enablings       int64         // of the endpoint at the time of the attempt
}

// Settlement is the outcome of a job, to be recorded.
type Settlement struct {
	Job     Job
	Outcome Outcome
}

// Due is when the table has work for an endpoint. The work has no owner.
type Due struct {
	Target *Endpoint
	At     time.Time // due time of the earliest row
}

// Share is the most work of one endpoint that a claim may take.
type Share struct {
	Scope    Scope
	Endpoint ID
	Limit    int
}

// Claim requests due work, a share for each endpoint, so that no endpoint's backlog
// displaces the work of others.
type Claim struct {
	Now    time.Time
	Shares []Share
}

// Claimed is the result of a Claim: the jobs, now owned by the claiming process, and the
// earliest due time of each endpoint that still has work in the table.
type Claimed struct {
	Jobs []Job
	Due  []Due
}

// Commit is what a transaction of the store means for the dispatcher. The store passes it
// on after the commit and before any caller gets its answer, so a caller that disconnects
// does not strand work. If the process crashes in between, recovery at the next start
// finds the work.
type Commit struct {
	Jobs []Job // to be attempted now, owned by this process
	Due  []Due // work that stays in the table
	// Changed are new snapshots. If one is not enabled, its rows are swept, so its jobs
	// may be deleted from memory.
	Changed []*Endpoint
	Dropped []Ref // waiting jobs that must no longer be attempted
	// Returned are endpoints that this process can no longer read. No sweep covers their
	// rows, so the jobs that wait in memory go back to the table.
	Returned []*Endpoint
	Replays  []ReplayRef  // replays that this process runs from now on; the dispatcher ignores them
	Erasures []ErasureRef // the same for erasures
}

// Ref names a delivery by its key.
type Ref struct {
	Event    ID
	Endpoint ID
	// Scheduled limits it to the attempt of the schedule. A waiting single shot is still
	// made.
	Scheduled bool
}
