package dispatch

import (
	"net/http"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// longestPause bounds how long a Retry-After pauses the whole endpoint. The delivery
// itself waits as long as the policy says.
const longestPause = time.Minute

// How long attempts are put off for a fault of this machine. The longest is short
// enough for the results to tell whether most hosts fail.
const (
	firstPutOff   = time.Second
	longestPutOff = 16 * time.Second
)

// longestHung bounds how often timeouts in a row double the time until a probe.
const longestHung = 10

// queue is the state of one endpoint in memory: its waiting jobs, its cap, and when the
// table has more work for it.
type queue struct {
	id     hook.ID
	target *hook.Endpoint // the newest snapshot seen
	tenant *tenant
	host   *site // nil: attempts go to no host, or none is bounded
	parked *site // in line there; nil: in none

	tests       jobList // of test events and others that pass; they go first, and to a disabled endpoint too
	fresh       jobList // just committed
	claimed     jobList // claimed from the table, oldest first
	replayed    jobList // of replays, claimed from the table
	claimedNext bool    // if both wait, the next job is from claimed and not from fresh
	passed      int     // jobs that went before those of replays since one of these went
	arrived     uint64  // counts the jobs that were ever added
	dropped     map[hook.ID]dropMark

	inFlight      int
	cap           int
	slow          bool          // its attempts start in the slow budget
	duration      time.Duration // moving average over attempts; zero: none has ended yet
	usual         time.Duration // the same over attempts that were answered
	hung          int           // timeouts since the last answer
	lowered       hook.Class    // why cap fell last; empty: it has not, or grew to its limit since
	loweredStatus int           // of the answer that made it fall; 0: none came
	pausedUntil   time.Time     // a Retry-After asked for no attempt earlier
	moved         time.Time     // when an attempt last began or ended
	notBefore     time.Time     // the rate limit or a Retry-After allows no attempt earlier
	putOff        time.Duration // how long attempts were put off last; zero: the last one was made
	resume        time.Time     // when they are made again
	stoppedAt     int64         // revision with which the endpoint last stopped receiving

	inTurn   bool      // in line for an attempt
	due      time.Time // when the earliest work in the table is due; zero: none is known
	planned  time.Time // the same by the wall clock, as the table has it
	claiming bool      // in Dispatcher.claimNext or in a claim under way
	alarm    alarm     // when the timer handles the queue
}

func (q *queue) jobs() int { return q.tests.len() + q.fresh.len() + q.claimed.len() + q.replayed.len() }

func (q *queue) budget() int {
	if q.slow {
		return slow
	}
	return fast
}

// replayShare says how often a job of a replay goes while others wait: each time that so
// many went. A replay lasts longer beside many fresh events, but it does not stop.
const replayShare = 16

// next returns the list to take the next job from. While claimed jobs wait, every
// second job is a fresh one. Jobs of replays go when nothing else waits.
func (q *queue) next() *jobList {
	if q.tests.len() > 0 {
		return &q.tests
	}
	if q.replayed.len() > 0 {
		if q.passed++; q.fresh.len()+q.claimed.len() == 0 || q.passed > replayShare {
			q.passed = 0
			return &q.replayed
		}
	}
	fromTable := q.claimed.len() > 0 && (q.fresh.len() == 0 || q.claimedNext)
	q.claimedNext = !q.claimedNext
	if fromTable {
		return &q.claimed
	}
	return &q.fresh
}

// idle reports whether the queue can be forgotten without losing work.
func (q *queue) idle() bool {
	return q.jobs() == 0 && q.inFlight == 0 && q.due.IsZero() && !q.claiming && !q.inTurn && q.parked == nil && q.alarm.index == 0
}

// maxCap returns the upper bound of the cap on this node: the endpoint's limit divided
// by the number of nodes, at least one.
func (q *queue) maxCap(o *Options) int {
	limit := o.InFlight
	if q.target.MaxInFlight > 0 {
		limit = q.target.MaxInFlight
	}
	if o.MaxInFlight > 0 {
		limit = min(limit, o.MaxInFlight)
	}
	return max(1, limit/o.Nodes())
}

// fault notes that an attempt failed by a fault of this machine. The endpoint waits,
// each time for longer, and then makes one attempt to see whether it is over.
func (q *queue) fault(class hook.Class, now time.Time) {
	if now.Before(q.resume) {
		return // of attempts that began together
	}
	q.putOff = min(max(2*q.putOff, firstPutOff), longestPutOff)
	q.resume = now.Add(q.putOff)
	q.notBefore, q.cap = later(q.notBefore, q.resume), 1
	q.lowered, q.loweredStatus = class, 0
}

// mayBegin reports whether the cap lets an attempt begin, or a probe is due.
func (q *queue) mayBegin(now time.Time, o *Options) bool {
	if q.inFlight < q.cap {
		return true
	}
	at := q.probeAt(o)
	return !at.IsZero() && !at.After(now)
}

// probeAt returns when one attempt more than the cap may begin, although those under way
// have not ended. Zero: not before one ends. An endpoint that has answered before may
// hang on one request and answer the next, so a probe finds out. It begins once nothing
// has moved for twice the usual time of an answer and at least SlowAfter; each timeout in
// a row doubles that. There is one probe at a time, and never more than maxCap.
func (q *queue) probeAt(o *Options) time.Time {
	if q.usual == 0 || q.inFlight != q.cap || q.cap >= q.maxCap(o) {
		return time.Time{}
	}
	wait := max(o.SlowAfter, 2*q.usual) << min(max(q.hung-1, 0), longestHung)
	return q.moved.Add(wait)
}

// adapt adapts the cap to an outcome. A success raises it by one if the cap was
// reached, which doubles the cap each round trip. An overload answer or a broken
// connection halves it. A timeout sets it to one.
func (q *queue) adapt(o *hook.Outcome, full bool, now time.Time, opts *Options) {
	limit := q.maxCap(opts)
	q.putOff = 0
	q.slow = o.Duration >= opts.SlowAfter || o.Class.Slow()
	took := max(o.Duration, time.Microsecond)
	average(&q.duration, took)
	if o.Class.Slow() {
		q.hung++
	} else if o.Status != 0 {
		q.hung = 0
		average(&q.usual, took)
	}
	switch {
	case o.Class.Slow():
		q.cap, q.lowered, q.loweredStatus = 1, o.Class, 0
	case o.Status == http.StatusTooManyRequests, o.Status == http.StatusServiceUnavailable,
		o.Status == http.StatusBadGateway, o.Status == http.StatusGatewayTimeout, o.Status == 0:
		q.cap, q.lowered, q.loweredStatus = max(1, q.cap/2), o.Class, o.Status
		if o.RetryAfter > 0 {
			q.pausedUntil = later(q.pausedUntil, now.Add(min(o.RetryAfter, longestPause)))
			q.notBefore = later(q.notBefore, q.pausedUntil)
		}
	case o.Success && full:
		q.cap++
	}
	if q.cap >= limit {
		q.cap, q.lowered, q.loweredStatus = limit, hook.ClassNone, 0
	}
}

// average moves a moving average towards a value. Zero means that there is none yet.
func average(d *time.Duration, value time.Duration) {
	if *d > 0 {
		value = (3**d + value) / 4
	}
	*d = value
}
