package dispatch

import (
	"net/http"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// longestPause bounds how long a Retry-After pauses the whole endpoint. The delivery
// itself waits as long as the policy says.
const longestPause = time.Minute

// How long attempts are put off after a fault of this machine. The longest time is short
// enough that the results still show whether most hosts fail.
const (
	firstPutOff   = time.Second
	longestPutOff = 16 * time.Second
)

// longestHung bounds how often consecutive timeouts double the time until a probe.
const longestHung = 10

// queue is the state of one endpoint in memory: its waiting jobs, its cap, and when its
// next work in the table is due.
type queue struct {
	id     hook.ID
	target *hook.Endpoint // the newest snapshot seen
	tenant *tenant
	host   *site // nil: the endpoint has no host, or hosts are not bounded
	parked *site // the site that the queue waits for; nil: none

	tests       jobList // test events and others that pass; first, even if it is disabled
	fresh       jobList // just committed
	claimed     jobList // claimed from the table, oldest first
	replayed    jobList // jobs of replays, claimed from the table
	claimedNext bool    // if both wait, the next job comes from claimed and not from fresh
	passed      int     // jobs taken ahead of waiting replayed ones since the last replayed one
	arrived     uint64  // counts the jobs that were ever added
	dropped     map[hook.ID]dropMark

	inFlight      int
	cap           int
	slow          bool          // its attempts start in the slow budget
	duration      time.Duration // moving average over all attempts; zero: none has ended yet
	usual         time.Duration // moving average over attempts that were answered
	hung          int           // timeouts since the last answer
	lowered       hook.Class    // why cap last fell; empty: not, or it is at its limit again
	loweredStatus int           // the status that made it fall; 0: there was no answer
	pausedUntil   time.Time     // a Retry-After forbids attempts before this
	moved         time.Time     // when an attempt last began or ended
	notBefore     time.Time     // no attempt before this: rate limit, Retry-After or fault
	putOff        time.Duration // how long attempts were last put off; zero: the last one was made
	resume        time.Time     // when attempts that were put off are made again
	stoppedAt     int64         // revision with which the endpoint last stopped receiving

	inTurn   bool      // in line for an attempt
	due      time.Time // when the earliest work in the table is due; zero: none is known
	planned  time.Time // the same by the wall clock, as in the table
	claiming bool      // in Dispatcher.claimNext or in a claim in progress
	alarm    alarm     // when the timer handles the queue
}

func (q *queue) jobs() int { return q.tests.len() + q.fresh.len() + q.claimed.len() + q.replayed.len() }

func (q *queue) budget() int {
	if q.slow {
		return slow
	}
	return fast
}

// replayShare is how many other jobs are taken before each job of a replay, while both
// wait. Many fresh events slow a replay down but do not stop it.
const replayShare = 16

// next returns the list to take the next job from. Test events and others that pass go
// first. While claimed and fresh jobs wait, they alternate. Jobs of replays are taken
// when nothing else waits, or after replayShare other jobs.
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

// idle reports whether the queue can be deleted without losing work.
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

// fault records that an attempt failed because of this machine. The endpoint waits, each
// time longer, and then makes one attempt to find out whether the fault is over.
func (q *queue) fault(class hook.Class, now time.Time) {
	if now.Before(q.resume) {
		return // counted already: the attempts began together
	}
	q.putOff = min(max(2*q.putOff, firstPutOff), longestPutOff)
	q.resume = now.Add(q.putOff)
	q.notBefore, q.cap = later(q.notBefore, q.resume), 1
	q.lowered, q.loweredStatus = class, 0
}

// mayBegin reports whether the cap allows an attempt, or a probe is due.
func (q *queue) mayBegin(now time.Time, o *Options) bool {
	if q.inFlight < q.cap {
		return true
	}
	at := q.probeAt(o)
	return !at.IsZero() && !at.After(now)
}

// probeAt returns when one attempt more than the cap may begin, although those in
// progress have not ended. Zero means not before one ends. An endpoint that has answered
// before may hang on one request and answer the next; a probe finds out. It begins when
// no attempt has begun or ended for twice the usual response time and at least
// SlowAfter. Each further consecutive timeout doubles this time, up to longestHung times.
// There is one probe at a time, and the attempts never exceed maxCap.
func (q *queue) probeAt(o *Options) time.Time {
	if q.usual == 0 || q.inFlight != q.cap || q.cap >= q.maxCap(o) {
		return time.Time{}
	}
	wait := max(o.SlowAfter, 2*q.usual) << min(max(q.hung-1, 0), longestHung)
	return q.moved.Add(wait)
}

// adapt adjusts the cap to an outcome. A success raises it by one if the cap was
// reached, which doubles the cap each round trip. A 429, 502, 503 or 504, or an attempt
// without an answer, halves it. A timeout sets it to one.
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

// average adds a value to a moving average with a weight of a quarter. Zero means that
// there is no average yet.
func average(d *time.Duration, value time.Duration) {
	if *d > 0 {
		value = (3**d + value) / 4
	}
	*d = value
}
