package dispatch

import (
	"net/http"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// longestPause bounds how long a receiver's Retry-After holds up its whole
// endpoint; the row itself waits as long as the policy says.
const longestPause = time.Minute

// queue is what memory knows of one endpoint: the jobs that wait, how many may be
// under way, and when the table has more.
type queue struct {
	id     hook.ID
	target *hook.Endpoint // the newest snapshot seen
	tenant *tenant

	fresh   fifo[hook.Job] // just committed
	backlog fifo[hook.Job] // from the table, oldest first
	second  bool           // whose turn it is when both lanes wait

	inFlight  int
	cap       int
	slow      bool      // known to keep us waiting
	notBefore time.Time // rate limit, or asked to pause
	closed    int64     // revision that stopped the endpoint last

	listed   bool
	due      time.Time // earliest work in the table, zero: none known
	claiming bool
	wakeAt   time.Time
	heap     int // place in Dispatcher.wakes plus one, 0: not there
}

func (q *queue) jobs() int { return q.fresh.len() + q.backlog.len() }

func (q *queue) lane() int {
	if q.slow {
		return slow
	}
	return fast
}

// pop takes the next job. While a backlog drains, fresh jobs keep every second turn.
func (q *queue) pop() hook.Job {
	fromBacklog := q.backlog.len() > 0 && (q.fresh.len() == 0 || q.second)
	q.second = !q.second
	if fromBacklog {
		return q.backlog.pop()
	}
	return q.fresh.pop()
}

// idle reports whether nothing would be lost by forgetting the queue.
func (q *queue) idle() bool {
	return q.jobs() == 0 && q.inFlight == 0 && q.due.IsZero() && !q.claiming && !q.listed && q.heap == 0
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

// learn adapts the cap: one more for each good answer while the cap is what holds
// the endpoint back, which doubles it each round trip; half after an answer or a
// broken connection that asks for less; one after a timeout.
func (q *queue) learn(o hook.Outcome, full bool, now time.Time, opts *Options) {
	limit := q.limit(opts)
	q.slow = o.Duration >= opts.SlowAfter || o.Class.Slow()
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

// fifo is a queue in a ring that grows by doubling and gives its memory back when
// it runs empty.
type fifo[T any] struct {
	ring       []T
	head, size int
}

func (f *fifo[T]) len() int { return f.size }

func (f *fifo[T]) push(v T) {
	if f.size == len(f.ring) {
		grown := make([]T, max(4, 2*f.size))
		n := copy(grown, f.ring[f.head:])
		copy(grown[n:], f.ring[:f.head])
		f.ring, f.head = grown, 0
	}
	f.ring[(f.head+f.size)%len(f.ring)] = v
	f.size++
}

// pop panics on an empty queue.
func (f *fifo[T]) pop() T {
	if f.size == 0 {
		panic("dispatch: pop of an empty queue")
	}
	var zero T
	v := f.ring[f.head]
	f.ring[f.head] = zero
	f.head = (f.head + 1) % len(f.ring)
	f.size--
	if f.size == 0 && len(f.ring) > 64 {
		f.ring, f.head = nil, 0
	}
	return v
}

// filter keeps the values for which keep is true, in order.
func (f *fifo[T]) filter(keep func(T) bool) {
	for n := f.size; n > 0; n-- {
		if v := f.pop(); keep(v) {
			f.push(v)
		}
	}
}
