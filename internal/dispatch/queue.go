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

// queue is the state of one endpoint in memory: its waiting jobs, its cap, and when the
// table has more work for it.
type queue struct {
	id     hook.ID
	target *hook.Endpoint // the newest snapshot seen
	tenant *tenant

	tests       jobList // of test events; they go first, and to a disabled endpoint too
	fresh       jobList // just committed
	claimed     jobList // claimed from the table, oldest first
	claimedNext bool    // if both wait, the next job is from claimed and not from fresh
	arrived     uint64  // counts the jobs that were ever added
	dropped     map[hook.ID]dropMark

	inFlight  int
	cap       int
	slow      bool          // its attempts start in the slow budget
	duration  time.Duration // moving average over attempts; zero: none has ended yet
	notBefore time.Time     // the rate limit or a Retry-After allows no attempt earlier
	putOff    time.Duration // how long attempts were put off last; zero: the last one was made
	resume    time.Time     // when they are made again
	stoppedAt int64         // revision with which the endpoint last stopped receiving

	inTurn    bool      // in line for an attempt
	due       time.Time // when the earliest work in the table is due; zero: none is known
	planned   time.Time // the same by the wall clock, as the table has it
	claiming  bool      // in Dispatcher.claimNext or in a claim under way
	wakeAt    time.Time // when the timer handles the queue
	heapIndex int       // index in Dispatcher.timetable plus one; 0: not in it
}

func (q *queue) jobs() int { return q.tests.len() + q.fresh.len() + q.claimed.len() }

func (q *queue) budget() int {
	if q.slow {
		return slow
	}
	return fast
}

// next returns the list to take the next job from. While claimed jobs wait, every
// second job is a fresh one.
func (q *queue) next() *jobList {
	if q.tests.len() > 0 {
		return &q.tests
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
	return q.jobs() == 0 && q.inFlight == 0 && q.due.IsZero() && !q.claiming && !q.inTurn && q.heapIndex == 0
}

// maxCap returns the upper bound of the cap on this node: the endpoint's limit divided
// by the number of nodes, at least one.
func (q *queue) maxCap(o *Options) int {
	limit := o.InFlight
	if q.target.MaxInFlight > 0 {
		limit = q.target.MaxInFlight
	}
	return max(1, limit/o.Nodes())
}

// fault notes that an attempt failed by a fault of this machine. The endpoint waits,
// each time for longer, and then makes one attempt to see whether it is over.
func (q *queue) fault(now time.Time) {
	if now.Before(q.resume) {
		return // of attempts that began together
	}
	q.putOff = min(max(2*q.putOff, firstPutOff), longestPutOff)
	q.resume = now.Add(q.putOff)
	q.notBefore, q.cap = later(q.notBefore, q.resume), 1
}

// adapt adapts the cap to an outcome. A success raises it by one if the cap was
// reached, which doubles the cap each round trip. An overload answer or a broken
// connection halves it. A timeout sets it to one.
func (q *queue) adapt(o hook.Outcome, full bool, now time.Time, opts *Options) {
	limit := q.maxCap(opts)
	q.putOff = 0
	q.slow = o.Duration >= opts.SlowAfter || o.Class.Slow()
	took := max(o.Duration, time.Microsecond)
	if q.duration > 0 {
		took = (3*q.duration + took) / 4
	}
	q.duration = took
	switch {
	case o.Class.Slow():
		q.cap = 1
	case o.Status == http.StatusTooManyRequests, o.Status == http.StatusServiceUnavailable,
		o.Status == http.StatusBadGateway, o.Status == http.StatusGatewayTimeout, o.Status == 0:
		q.cap = max(1, q.cap/2)
		if o.RetryAfter > 0 {
			q.notBefore = later(q.notBefore, now.Add(min(o.RetryAfter, longestPause)))
		}
	case o.Success && full:
		q.cap++
	}
	q.cap = min(q.cap, limit)
}
