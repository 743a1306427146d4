package dispatch

import (
	"container/heap"
	"context"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

const (
	longestSleep = 30 * time.Second // of the timer, which also checks whether the wall clock was set
	clockStep    = time.Second      // if the clocks differ by more, the wall clock was set
	claimShare   = 256              // the most jobs of one endpoint in one claim
	claimQueues  = 64               // the most endpoints in one claim
	claimRetry   = time.Second      // until the next claim after a failed one
)

// The dispatcher schedules by the monotonic clock, which nobody can set. The table holds
// wall clock times. The two cannot be compared once the wall clock has been set, so due
// times are converted as soon as they arrive (noteDue), and again after the wall clock
// was set (checkClock).

// alarm is the time when the timer handles a queue or a site.
type alarm struct {
	at    time.Time
	index int    // in Dispatcher.timetable plus one; 0: not in it
	queue *queue // the queue to handle, or
	site  *site  // the site
}

// timetable is a heap of alarms, ordered by time.
type timetable []*alarm

func (w timetable) Len() int           { return len(w) }
func (w timetable) Less(i, j int) bool { return w[i].at.Before(w[j].at) }
func (w timetable) Swap(i, j int) {
	w[i], w[j] = w[j], w[i]
	w[i].index, w[j].index = i+1, j+1
}

// Push implements heap.Interface.
func (w *timetable) Push(x any) {
	a := x.(*alarm)
	*w = append(*w, a)
	a.index = len(*w)
}

// Pop implements heap.Interface.
func (w *timetable) Pop() any {
	old := *w
	a := old[len(old)-1]
	old[len(old)-1] = nil
	*w = old[:len(old)-1]
	a.index = 0
	return a
}

// schedule sets the queue's alarm: when its next job may start or when it needs work
// from the table, whichever comes first.
func (d *Dispatcher) schedule(q *queue, now time.Time) {
	at := d.claimAt(q, now)
	if q.jobs() > 0 && !q.inTurn && q.parked == nil {
		begin := q.notBefore
		if q.inFlight >= q.cap {
			if begin = q.probeAt(&d.opts); !begin.IsZero() {
				begin = later(begin, q.notBefore)
			}
		}
		if (q.inFlight < q.cap || !begin.IsZero()) && (at.IsZero() || begin.Before(at)) {
			at = begin
		}
	}
	d.setAlarm(&q.alarm, at)
}

// setAlarm sets the time of an alarm. The zero time removes it.
func (d *Dispatcher) setAlarm(a *alarm, at time.Time) {
	switch {
	case at.IsZero():
		if a.index > 0 {
			heap.Remove(&d.timetable, a.index-1)
		}
		return
	case a.index > 0:
		a.at = at
		heap.Fix(&d.timetable, a.index-1)
	default:
		a.at = at
		heap.Push(&d.timetable, a)
	}
	d.sleepUntil(at)
}

// sleepUntil ensures that the timer fires no later than at.
func (d *Dispatcher) sleepUntil(at time.Time) {
	if d.wakeAt.IsZero() || at.Before(d.wakeAt) {
		d.wakeAt = at
		wake(d.wakeTimer)
	}
}

// timer runs the one timer of the dispatcher. It sleeps until something is due.
func (d *Dispatcher) timer(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-d.wakeTimer:
		}
		timer.Reset(min(max(d.runDue(), 0), longestSleep))
	}
}

// runDue starts what is due and returns how long the timer may sleep.
func (d *Dispatcher) runDue() time.Duration {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.checkClock(now)
	d.moveToSlow(now)
	for len(d.timetable) > 0 && !d.timetable[0].at.After(now) {
		a := heap.Pop(&d.timetable).(*alarm)
		if a.site != nil {
			d.callSite(a.site, now)
			continue
		}
		d.lineUp(a.queue, now)
		d.requestClaim(a.queue, now)
	}
	d.start(now)
	var next time.Time
	if d.began || d.open.head != nil {
		// Most attempts end long before SlowAfter. Checking once per SlowAfter is enough
		// to find those that stay open.
		next = now.Add(d.opts.SlowAfter)
		if d.open.head != nil {
			next = later(d.open.head.since.Add(d.opts.SlowAfter), now.Add(d.opts.SlowAfter/10))
		}
	}
	d.began = false
	if len(d.timetable) > 0 && (next.IsZero() || d.timetable[0].at.Before(next)) {
		next = d.timetable[0].at
	}
	d.wakeAt = next
	if next.IsZero() {
		return longestSleep
	}
	return next.Sub(now)
}

// wall returns the time by the wall clock, without its monotonic part.
func (d *Dispatcher) wall() time.Time { return d.opts.Now().Round(0) }

// checkClock detects that the wall clock was set and reschedules the work in the table.
// Queues that wait for a rate limit or a pause are not affected.
func (d *Dispatcher) checkClock(now time.Time) {
	wall := d.wall()
	moved := wall.Sub(d.wallBase) - now.Sub(d.base)
	if moved.Abs() <= clockStep {
		return
	}
	d.base, d.wallBase = now, wall
	d.clockSteps++
	for _, q := range d.queues {
		if !q.due.IsZero() {
			q.due = now.Add(q.planned.Sub(wall))
			d.schedule(q, now)
		}
	}
}

// noteDue records when work in the table is due.
func (d *Dispatcher) noteDue(due []hook.Due, now time.Time) {
	wall := d.wall()
	for _, w := range due {
		q := d.queueOf(w.Target)
		if q.target.Status != hook.Enabled {
			continue
		}
		if at := now.Add(w.At.Sub(wall)); q.due.IsZero() || at.Before(q.due) {
			q.due, q.planned = at, w.At
		}
		d.requestClaim(q, now)
	}
}

// requestClaim passes the queue to the claimer if it needs work now. If it needs work
// later, requestClaim schedules the queue.
func (d *Dispatcher) requestClaim(q *queue, now time.Time) {
	at := d.claimAt(q, now)
	if at.IsZero() {
		return
	}
	if at.After(now) {
		d.schedule(q, now)
		return
	}
	q.claiming = true
	d.claimNext = append(d.claimNext, q)
	wake(d.claims)
}

// claimAt returns when work for the queue should be claimed. Zero means not before the
// next attempt begins or ends; requestClaim is called again then.
func (d *Dispatcher) claimAt(q *queue, now time.Time) time.Time {
	switch {
	case q.due.IsZero() || q.claiming || d.stopping:
		return time.Time{}
	case d.full(q):
		// An endpoint without jobs still gets one, so that it makes progress.
		if q.jobs() > 0 || q.inFlight >= q.cap {
			return time.Time{}
		}
		return later(q.due, q.notBefore)
	case q.claimed.len()+q.replayed.len() > d.share(q, now)/2:
		return time.Time{}
	}
	return q.due
}

// full reports whether memory has no room for more jobs of the queue's tenant.
func (d *Dispatcher) full(q *queue) bool {
	return d.free() <= 0 || d.tenantFree(q.target.Scope) <= 0
}

// share returns how many jobs of the endpoint one claim takes: a few times its cap, or
// one if memory is full. Fresh jobs do not reduce the share, because the jobs in the
// table are older.
func (d *Dispatcher) share(q *queue, now time.Time) int {
	share := max(16, 8*q.cap)
	switch {
	case d.full(q):
		share = 1
	case q.slow:
		share = max(minJobs, 2*q.cap)
	}
	return min(claimShare, share, d.jobLimit(q, now))
}

// claimer claims work for the queues in claimNext.
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

// claim claims work for up to claimQueues queues and reports whether more wait.
func (d *Dispatcher) claim(ctx context.Context) bool {
	now := time.Now()
	d.mu.Lock()
	n := min(len(d.claimNext), claimQueues)
	served := append([]*queue(nil), d.claimNext[:n]...)
	d.claimNext = append(d.claimNext[:0], d.claimNext[n:]...)
	shares := make([]hook.Share, n)
	for i, q := range served {
		limit := max(1, min(d.share(q, now), d.free(), d.tenantFree(q.target.Scope)))
		shares[i] = hook.Share{Scope: q.target.Scope, Endpoint: q.id, Limit: limit}
		d.reserve(q, limit)
		q.due = time.Time{} // the claim returns what is left; noteDue merges what arrives meanwhile
	}
	d.mu.Unlock()
	if n == 0 {
		return false
	}
	got, err := d.queue.Claim(ctx, hook.Claim{Now: d.opts.Now(), Shares: shares})
	now = time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, q := range served {
		d.reserve(q, -shares[i].Limit)
		q.claiming = false
		if err != nil && q.target.Status == hook.Enabled {
			q.due, q.planned = now.Add(claimRetry), d.wall().Add(claimRetry)
		}
	}
	if err != nil {
		d.opts.Log.Error("claim deliveries", "error", err, "retry_in", claimRetry)
	}
	for i := range got.Jobs {
		d.enqueue(got.Jobs[i], true, now)
	}
	d.noteDue(got.Due, now)
	for _, q := range served {
		d.requestClaim(q, now)
	}
	d.start(now)
	return len(d.claimNext) > 0
}
