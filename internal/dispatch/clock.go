package dispatch

import (
	"container/heap"
	"context"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

const (
	longestSleep = 30 * time.Second // then the clock is read again, for it may have been set
	claimShare   = 256              // most jobs of one endpoint taken from the table at once
	claimQueues  = 64               // most endpoints in one claim
	claimPause   = time.Second      // after a claim that failed
)

// wakes is a heap of queues by wakeAt.
type wakes []*queue

func (w wakes) Len() int           { return len(w) }
func (w wakes) Less(i, j int) bool { return w[i].wakeAt.Before(w[j].wakeAt) }
func (w wakes) Swap(i, j int) {
	w[i], w[j] = w[j], w[i]
	w[i].heap, w[j].heap = i+1, j+1
}

// Push is for container/heap.
func (w *wakes) Push(x any) {
	q := x.(*queue)
	*w = append(*w, q)
	q.heap = len(*w)
}

// Pop is for container/heap.
func (w *wakes) Pop() any {
	old := *w
	q := old[len(old)-1]
	old[len(old)-1] = nil
	*w = old[:len(old)-1]
	q.heap = 0
	return q
}

// wake makes the clock look at the queue when its next job may start or its next
// work in the table is due, whichever comes first.
func (d *Dispatcher) wake(q *queue) {
	var at time.Time
	// Work that want would not claim now must not wake the clock: begin and drop
	// ask again.
	if !q.due.IsZero() && !q.claiming && !d.stopping && q.backlog.len() <= d.share(q)/2 {
		at = q.due
	}
	if q.jobs() > 0 && !q.listed && q.inFlight < q.cap && (at.IsZero() || q.notBefore.Before(at)) {
		at = q.notBefore
	}
	switch {
	case at.IsZero():
		if q.heap > 0 {
			heap.Remove(&d.wakes, q.heap-1)
		}
		return
	case q.heap > 0:
		q.wakeAt = at
		heap.Fix(&d.wakes, q.heap-1)
	default:
		q.wakeAt = at
		heap.Push(&d.wakes, q)
	}
	d.sleepUntil(at)
}

// sleepUntil makes sure that the clock wakes no later than at.
func (d *Dispatcher) sleepUntil(at time.Time) {
	if d.wakeAt.IsZero() || at.Before(d.wakeAt) {
		d.wakeAt = at
		poke(d.nudge)
	}
}

// clock is the one timer: it sleeps until the earliest time anything is due.
func (d *Dispatcher) clock(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-d.nudge:
		}
		timer.Reset(min(max(d.look(), 0), longestSleep))
	}
}

// look does what is due and returns how long there is nothing to do.
func (d *Dispatcher) look() time.Duration {
	now := d.opts.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.leaveFast(now)
	for len(d.wakes) > 0 && !d.wakes[0].wakeAt.After(now) {
		q := heap.Pop(&d.wakes).(*queue)
		d.enlist(q, now)
		d.want(q, now)
	}
	d.start(now)
	var next time.Time
	if d.began || d.open.head != nil {
		// Attempts come and go faster than the clock needs to know: one look a
		// SlowAfter is enough to find those that stay.
		next = now.Add(d.opts.SlowAfter)
		if d.open.head != nil {
			next = later(d.open.head.since.Add(d.opts.SlowAfter), now.Add(d.opts.SlowAfter/10))
		}
	}
	d.began = false
	if len(d.wakes) > 0 && (next.IsZero() || d.wakes[0].wakeAt.Before(next)) {
		next = d.wakes[0].wakeAt
	}
	d.wakeAt = next
	if next.IsZero() {
		return longestSleep
	}
	return next.Sub(now)
}

// learnDue notes work in the table.
func (d *Dispatcher) learnDue(due []hook.Due, now time.Time) {
	for _, w := range due {
		q := d.of(w.Target)
		if q.target.Status != hook.Enabled {
			continue
		}
		if q.due.IsZero() || w.At.Before(q.due) {
			q.due = w.At
		}
		d.want(q, now)
	}
}

// want asks the claimer for work when the table has some that is due and the
// backlog in memory runs low; otherwise it sees to it that the clock looks again.
func (d *Dispatcher) want(q *queue, now time.Time) {
	if q.claiming || q.due.IsZero() || d.stopping {
		return
	}
	if q.due.After(now) {
		d.wake(q)
		return
	}
	// While this much waits in memory there is no hurry; begin asks again.
	if q.backlog.len() > d.share(q)/2 {
		return
	}
	q.claiming = true
	d.wanted = append(d.wanted, q)
	poke(d.claims)
}

// share is how many jobs of the endpoint are taken from the table at once: a few
// rounds of its cap, and just enough to go on when memory is full.
func (d *Dispatcher) share(q *queue) int {
	if q.slow || d.waiting >= d.opts.Waiting {
		return min(max(4, 2*q.cap), d.part(q))
	}
	return min(claimShare, max(16, 8*q.cap), d.part(q))
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
	now := d.opts.Now()
	d.mu.Lock()
	n := min(len(d.wanted), claimQueues)
	served := append([]*queue(nil), d.wanted[:n]...)
	d.wanted = append(d.wanted[:0], d.wanted[n:]...)
	shares := make([]hook.Share, n)
	for i, q := range served {
		shares[i] = hook.Share{Scope: q.target.Scope, Endpoint: q.id, Limit: d.share(q)}
		q.due = time.Time{} // the answer says what is left; what comes meanwhile is merged
	}
	d.mu.Unlock()
	if n == 0 {
		return false
	}
	got, err := d.queue.Claim(ctx, hook.Claim{Now: now, Shares: shares})
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, q := range served {
		q.claiming = false
		if err != nil && q.target.Status == hook.Enabled {
			q.due = now.Add(claimPause)
		}
	}
	if err != nil {
		d.opts.Log.Error("claim deliveries", "error", err, "retry_in", claimPause)
	}
	now = d.opts.Now()
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
