package dispatch

import (
	"container/heap"
	"context"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

const (
	longestSleep = 30 * time.Second // then the timer looks whether the clock was set
	clockStep    = time.Second      // the wall clock was set if it moved this far from the monotonic one
	claimShare   = 256              // most jobs of one endpoint taken from the table at once
	claimQueues  = 64               // most endpoints in one claim
	claimPause   = time.Second      // after a claim that failed
)

// Everything here is scheduled by the monotonic clock, which nobody sets. The table
// keeps times of the wall clock; they are converted where they come in, because
// times of the two kinds have no common order once the wall clock was set.

// timetable is a heap of queues by wakeAt.
type timetable []*queue

func (w timetable) Len() int           { return len(w) }
func (w timetable) Less(i, j int) bool { return w[i].wakeAt.Before(w[j].wakeAt) }
func (w timetable) Swap(i, j int) {
	w[i], w[j] = w[j], w[i]
	w[i].heap, w[j].heap = i+1, j+1
}

// Push is for container/heap.
func (w *timetable) Push(x any) {
	q := x.(*queue)
	*w = append(*w, q)
	q.heap = len(*w)
}

// Pop is for container/heap.
func (w *timetable) Pop() any {
	old := *w
	q := old[len(old)-1]
	old[len(old)-1] = nil
	*w = old[:len(old)-1]
	q.heap = 0
	return q
}

// schedule makes the timer look at the queue when its next job may start or it wants
// work from the table, whichever comes first.
func (d *Dispatcher) schedule(q *queue, now time.Time) {
	at := d.claimAt(q, now)
	if q.jobs() > 0 && !q.inTurn && q.inFlight < q.cap && (at.IsZero() || q.notBefore.Before(at)) {
		at = q.notBefore
	}
	switch {
	case at.IsZero():
		if q.heap > 0 {
			heap.Remove(&d.timetable, q.heap-1)
		}
		return
	case q.heap > 0:
		q.wakeAt = at
		heap.Fix(&d.timetable, q.heap-1)
	default:
		q.wakeAt = at
		heap.Push(&d.timetable, q)
	}
	d.sleepUntil(at)
}

// sleepUntil makes sure that the timer wakes no later than at.
func (d *Dispatcher) sleepUntil(at time.Time) {
	if d.wakeAt.IsZero() || at.Before(d.wakeAt) {
		d.wakeAt = at
		wake(d.earlier)
	}
}

// timer is the one timer: it sleeps until the earliest time anything is due.
func (d *Dispatcher) timer(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-d.earlier:
		}
		timer.Reset(min(max(d.look(), 0), longestSleep))
	}
}

// look does what is due and returns how long there is nothing to do.
func (d *Dispatcher) look() time.Duration {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.followClock(now)
	d.leaveFast(now)
	for len(d.timetable) > 0 && !d.timetable[0].wakeAt.After(now) {
		q := heap.Pop(&d.timetable).(*queue)
		d.lineUp(q, now)
		d.want(q, now)
	}
	d.start(now)
	var next time.Time
	if d.began || d.open.head != nil {
		// Attempts come and go faster than the timer needs to know: one look a
		// SlowAfter is enough to find those that stay.
		next = now.Add(d.opts.SlowAfter)
		if d.open.head != nil {
			next = later(d.open.head.since.Add(d.opts.SlowAfter), now.Add(d.opts.SlowAfter/10))
		}
	}
	d.began = false
	if len(d.timetable) > 0 && (next.IsZero() || d.timetable[0].wakeAt.Before(next)) {
		next = d.timetable[0].wakeAt
	}
	d.wakeAt = next
	if next.IsZero() {
		return longestSleep
	}
	return next.Sub(now)
}

// wall reads the clock that the table's times are of.
func (d *Dispatcher) wall() time.Time { return d.opts.Now().Round(0) }

// followClock notices that the wall clock was set and schedules anew what the table
// has planned. What waits for a rate limit or a pause is not concerned.
func (d *Dispatcher) followClock(now time.Time) {
	wall := d.wall()
	moved := wall.Sub(d.wallBase) - now.Sub(d.base)
	if moved.Abs() <= clockStep {
		return
	}
	d.base, d.wallBase = now, wall
	for _, q := range d.queues {
		if !q.due.IsZero() {
			q.due = now.Add(q.planned.Sub(wall))
			d.schedule(q, now)
		}
	}
}

// learnDue notes work in the table.
func (d *Dispatcher) learnDue(due []hook.Due, now time.Time) {
	wall := d.wall()
	for _, w := range due {
		q := d.of(w.Target)
		if q.target.Status != hook.Enabled {
			continue
		}
		if at := now.Add(w.At.Sub(wall)); q.due.IsZero() || at.Before(q.due) {
			q.due, q.planned = at, w.At
		}
		d.want(q, now)
	}
}

// want asks the claimer for work when it is time for that; otherwise it sees to it that
// the timer looks again.
func (d *Dispatcher) want(q *queue, now time.Time) {
	at := d.claimAt(q, now)
	if at.IsZero() {
		return
	}
	if at.After(now) {
		d.schedule(q, now)
		return
	}
	q.claiming = true
	d.wanted = append(d.wanted, q)
	wake(d.claims)
}

// claimAt returns when the queue should be given work from the table; zero: not before
// an attempt begins or ends, which asks again.
func (d *Dispatcher) claimAt(q *queue, now time.Time) time.Time {
	switch {
	case q.due.IsZero() || q.claiming || d.stopping:
		return time.Time{}
	case d.full(q):
		// One job for an endpoint that has none, so that nobody stands still.
		if q.jobs() > 0 || q.inFlight >= q.cap {
			return time.Time{}
		}
		return later(q.due, q.notBefore)
	case q.backlog.len() > d.share(q, now)/2:
		return time.Time{}
	}
	return q.due
}

// full reports whether memory has no room for jobs of the queue's tenant.
func (d *Dispatcher) full(q *queue) bool {
	return d.free() <= 0 || d.tenantFree(q.target.Scope) <= 0
}

// share is how many jobs of the endpoint are taken from the table at once: a few
// rounds of its cap, and just enough to go on when memory is full. Fresh jobs do not
// count: those in the table are older.
func (d *Dispatcher) share(q *queue, now time.Time) int {
	share := max(16, 8*q.cap)
	switch {
	case d.full(q):
		share = 1
	case q.slow:
		share = max(fewWaiting, 2*q.cap)
	}
	return min(claimShare, share, d.reach(q, now))
}

// claimer takes work from the table for the queues that want some.
func (d *Dispatcher) claimer(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.claims:
		}
		for d.claim(ctx) {
		}
	}
}

// claim serves up to claimQueues queues and reports whether more wait.
func (d *Dispatcher) claim(ctx context.Context) bool {
	now := time.Now()
	d.mu.Lock()
	n := min(len(d.wanted), claimQueues)
	served := append([]*queue(nil), d.wanted[:n]...)
	d.wanted = append(d.wanted[:0], d.wanted[n:]...)
	shares := make([]hook.Share, n)
	for i, q := range served {
		shares[i] = hook.Share{Scope: q.target.Scope, Endpoint: q.id, Limit: d.share(q, now)}
		q.due = time.Time{} // the answer says what is left; what comes meanwhile is merged
	}
	d.mu.Unlock()
	if n == 0 {
		return false
	}
	got, err := d.queue.Claim(ctx, hook.Claim{Now: d.opts.Now(), Shares: shares})
	now = time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, q := range served {
		q.claiming = false
		if err != nil && q.target.Status == hook.Enabled {
			q.due, q.planned = now.Add(claimPause), d.wall().Add(claimPause)
		}
	}
	if err != nil {
		d.opts.Log.Error("claim deliveries", "error", err, "retry_in", claimPause)
	}
	for i := range got.Jobs {
		d.enqueue(got.Jobs[i], true, now)
	}
	d.learnDue(got.Due, now)
	for _, q := range served {
		d.want(q, now)
	}
	d.start(now)
	return len(d.wanted) > 0
}
