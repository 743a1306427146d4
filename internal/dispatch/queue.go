package dispatch

import (
	"net/http"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// longestPause bounds how long a receiver's Retry-After holds up its whole
// endpoint; the row itself waits as long as the policy says.
const longestPause = time.Minute

// How long attempts are put off for a fault of this machine. The longest is short
// enough for the results to tell whether most hosts fail.
const (
	firstPutOff   = time.Second
	longestPutOff = 16 * time.Second
)

// queue is what memory knows of one endpoint: the jobs that wait, how many may be
// under way, and when the table has more.
type queue struct {
	id     hook.ID
	target *hook.Endpoint // the newest snapshot seen
	tenant *tenant

	tests   jobList // of test events: they pass what else waits, and a disabled endpoint
	fresh   jobList // just committed
	backlog jobList // from the table, oldest first
	second  bool    // whose turn it is when fresh ones and a backlog wait
	arrived uint64  // jobs that ever came
	dropped map[hook.ID]drop

	inFlight  int
	cap       int
	slow      bool          // known to keep us waiting
	took      time.Duration // what an attempt lasts of late, zero: none was made
	notBefore time.Time     // rate limit, or asked to pause
	putOff    time.Duration // how long attempts were put off last, zero: the last one was made
	resume    time.Time     // when they are made again
	closed    int64         // revision that stopped the endpoint last

	inTurn   bool      // lined up for a turn
	due      time.Time // when the earliest work in the table is due, zero: none known
	planned  time.Time // the same as the table says it, by the wall clock
	claiming bool
	wakeAt   time.Time
	heap     int // place in Dispatcher.timetable plus one, 0: not there
}

func (q *queue) jobs() int { return q.tests.len() + q.fresh.len() + q.backlog.len() }

func (q *queue) budget() int {
	if q.slow {
		return slow
	}
	return fast
}

// next returns the list whose turn it is. While a backlog drains, fresh jobs keep
// every second turn.
func (q *queue) next() *jobList {
	if q.tests.len() > 0 {
		return &q.tests
	}
	fromBacklog := q.backlog.len() > 0 && (q.fresh.len() == 0 || q.second)
	q.second = !q.second
	if fromBacklog {
		return &q.backlog
	}
	return &q.fresh
}

// idle reports whether nothing would be lost by forgetting the queue.
func (q *queue) idle() bool {
	return q.jobs() == 0 && q.inFlight == 0 && q.due.IsZero() && !q.claiming && !q.inTurn && q.heap == 0
}

// limit is the most attempts the endpoint may ever have under way here: what it may
// have, divided by the nodes, and at least one.
func (q *queue) limit(o *Options) int {
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

// learn adapts the cap: one more for each good answer while the cap is what holds
// the endpoint back, which doubles it each round trip; half after an answer or a
// broken connection that asks for less; one after a timeout.
func (q *queue) learn(o hook.Outcome, full bool, now time.Time, opts *Options) {
	limit := q.limit(opts)
	q.putOff = 0
	q.slow = o.Duration >= opts.SlowAfter || o.Class.Slow()
	took := max(o.Duration, time.Microsecond)
	if q.took > 0 {
		took = (3*q.took + took) / 4
	}
	q.took = took
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
