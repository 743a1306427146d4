package dispatch

import (
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// skippedPause is how long an endpoint rests after a single shot that could not be
// made for a reason of ours.
const skippedPause = time.Second

// The two lanes. An attempt of an endpoint known to be slow starts in the slow
// lane; any other moves there when it stays open longer than SlowAfter.
const (
	fast = 0
	slow = 1
)

// lane is a budget of attempts and the tenants waiting for a turn in it.
type lane struct {
	budget    int
	perTenant int
	used      int
	line      fifo[*tenant]
}

// tenant is one tenant's place in both lanes.
type tenant struct {
	used   [2]int
	listed [2]bool
	lines  [2]fifo[*queue]
}

// attempt is one being made. It is linked into Dispatcher.open while it holds a
// fast slot.
type attempt struct {
	job        hook.Job
	queue      *queue
	lane       int
	since      time.Time
	prev, next *attempt
	linked     bool
}

// attempts is a list of attempts in the order of their start.
type attempts struct{ head, tail *attempt }

func (l *attempts) push(a *attempt) {
	a.prev, a.next, a.linked = l.tail, nil, true
	if l.tail == nil {
		l.head = a
	} else {
		l.tail.next = a
	}
	l.tail = a
}

func (l *attempts) remove(a *attempt) {
	if !a.linked {
		return
	}
	if a.prev == nil {
		l.head = a.next
	} else {
		a.prev.next = a.next
	}
	if a.next == nil {
		l.tail = a.prev
	} else {
		a.next.prev = a.prev
	}
	a.prev, a.next, a.linked = nil, nil, false
}

// enlist puts the queue in line if it may have a turn. The caller holds mu.
func (d *Dispatcher) enlist(q *queue, now time.Time) {
	if q.listed || q.jobs() == 0 || q.inFlight >= q.cap {
		return
	}
	if q.notBefore.After(now) {
		d.wake(q)
		return
	}
	q.listed = true
	l := q.lane()
	q.tenant.lines[l].push(q)
	d.enlistTenant(q.tenant, l)
}

func (d *Dispatcher) enlistTenant(t *tenant, l int) {
	if t.listed[l] || t.lines[l].len() == 0 || t.used[l] >= d.lanes[l].perTenant {
		return
	}
	t.listed[l] = true
	d.lanes[l].line.push(t)
}

// turn picks the next attempt, or nil when nothing may start now. Tenants take
// turns, and within a tenant its endpoints do. The caller holds mu.
func (d *Dispatcher) turn(now time.Time) *attempt {
	if !d.started || d.stopping || d.active+d.held >= d.opts.Unsettled {
		return nil
	}
	for l := range d.lanes {
		lane := &d.lanes[l]
		for lane.used < lane.budget && lane.line.len() > 0 {
			t := lane.line.pop()
			t.listed[l] = false
			q := t.lines[l].pop()
			q.listed = false
			if q.lane() != l || q.jobs() == 0 || q.inFlight >= q.cap || q.notBefore.After(now) {
				d.enlist(q, now)
				d.enlistTenant(t, l)
				continue
			}
			a := d.begin(q, l, now)
			d.enlist(q, now)
			d.enlistTenant(t, l)
			return a
		}
	}
	return nil
}

// begin takes a job out of the queue and books its slots.
func (d *Dispatcher) begin(q *queue, l int, now time.Time) *attempt {
	job := q.pop()
	d.waiting--
	d.bytes -= payload(job)
	a := &attempt{job: job, queue: q, lane: l, since: now}
	q.inFlight++
	q.tenant.used[l]++
	d.lanes[l].used++
	d.active++
	if l == fast {
		d.open.push(a)
		d.began = true
		d.sleepUntil(now.Add(d.opts.SlowAfter))
	}
	if rate := q.target.RateLimit / float64(d.opts.Nodes()); rate > 0 {
		q.notBefore = later(q.notBefore, now).Add(time.Duration(min(float64(time.Second)/rate, float64(24*time.Hour))))
	}
	d.want(q, now)
	return a
}

// start makes as many attempts as may start now. The caller holds mu.
func (d *Dispatcher) start(now time.Time) {
	for a := d.turn(now); a != nil; a = d.turn(now) {
		go d.work(a)
	}
}

// work makes the attempt, then any other that may start, and ends when there is
// none: a goroutine lives as long as there is something to do.
func (d *Dispatcher) work(a *attempt) {
	for a != nil {
		o := d.sender.Send(d.running, a.job)
		a = d.finish(a, o)
	}
}

// finish gives the slots back, learns from the outcome, queues it to be recorded
// and returns the next attempt for the same goroutine.
func (d *Dispatcher) finish(a *attempt, o hook.Outcome) *attempt {
	now := d.opts.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	q := a.queue
	full := q.inFlight >= q.cap
	d.open.remove(a)
	d.lanes[a.lane].used--
	q.tenant.used[a.lane]--
	q.inFlight--
	d.active--
	if d.aborted {
		// Broken off: what came back says nothing. The row stays ours in the table
		// and the next start repeats it.
		return nil
	}
	switch {
	case !o.Skipped:
		q.learn(o, full, now, &d.opts)
	case a.job.Trigger.OneShot(): // it is handed over again at once
		q.notBefore = later(q.notBefore, now.Add(skippedPause))
	}
	d.enlistTenant(q.tenant, a.lane)
	d.enlist(q, now)
	d.give(hook.Settlement{Job: a.job, Outcome: o})
	next := d.turn(now)
	if next != nil {
		d.start(now)
	}
	return next
}

// leaveFast moves attempts that have been open too long to the slow lane, as far
// as it has room.
func (d *Dispatcher) leaveFast(now time.Time) {
	from, to := &d.lanes[fast], &d.lanes[slow]
	var next *attempt
	for a := d.open.head; a != nil; a = next {
		if a.since.Add(d.opts.SlowAfter).After(now) || to.used >= to.budget {
			return
		}
		next = a.next
		if a.queue.tenant.used[slow] >= to.perTenant {
			continue
		}
		d.open.remove(a)
		a.lane = slow
		from.used, to.used = from.used-1, to.used+1
		t := a.queue.tenant
		t.used[fast], t.used[slow] = t.used[fast]-1, t.used[slow]+1
		a.queue.slow = true
		d.enlistTenant(t, fast)
	}
}

func payload(j hook.Job) int {
	if j.Event == nil {
		return 0
	}
	return len(j.Event.Data)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
