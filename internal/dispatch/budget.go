package dispatch

import (
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// The two budgets. An attempt at an endpoint known to be slow starts in the slow
// budget. Any other attempt moves there if it stays open longer than SlowAfter.
const (
	fast = 0
	slow = 1
)

// budget bounds the concurrent attempts. It serves tenants round-robin.
type budget struct {
	limit     int
	perTenant int
	used      int
	perFree   int           // a tenant may use at most this multiple of the free places: 1
	turns     fifo[*tenant] // tenants in line for an attempt
	aside     fifo[*tenant] // tenants taken out of line because they have used their share
}

// tenant is one tenant's part of both budgets.
type tenant struct {
	waiting  int             // jobs in memory
	reserved int             // for jobs that claims in progress may return
	used     [2]int          // attempts in progress, by budget
	inTurn   [2]bool         // in line in the budget
	queues   [2]fifo[*queue] // endpoints in line, by budget
}

// attempt is an attempt in progress. Dispatcher.open lists it while it counts against
// the fast budget.
type attempt struct {
	job        hook.Job
	queue      *queue
	budget     int
	since      time.Time
	sites      [2]*site // its host and the host's last known address; nil: none
	prev, next *attempt
	linked     bool
}

// attempts is a list of attempts in the order in which they started.
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

// lineUp puts the queue in line for its next attempt, if an attempt may start. The
// caller holds mu.
func (d *Dispatcher) lineUp(q *queue, now time.Time) {
	if q.inTurn || q.parked != nil || q.jobs() == 0 {
		return
	}
	if !q.mayBegin(now, &d.opts) {
		if q.slow {
			d.schedule(q, now) // to probe
		}
		return
	}
	if q.notBefore.After(now) {
		d.schedule(q, now)
		return
	}
	q.inTurn = true
	b := q.budget()
	q.tenant.queues[b].push(q)
	d.lineUpTenant(q.tenant, b)
}

func (d *Dispatcher) lineUpTenant(t *tenant, b int) {
	if t.inTurn[b] || t.queues[b].len() == 0 || t.used[b] >= d.budgets[b].perTenant {
		return
	}
	t.inTurn[b] = true
	d.budgets[b].turns.push(t)
}

// mayTake reports whether the tenant may have one more attempt in the budget. A tenant
// may use at most as many places as are free. So however many tenants wait for receivers
// that do not answer, a new tenant finds as many free places as any of them has.
func (d *Dispatcher) mayTake(t *tenant, b int) bool {
	in := &d.budgets[b]
	return t.used[b] < in.perTenant && t.used[b] < in.perFree*(in.limit-in.used)
}

// freed puts one tenant from aside back in line, if the budget has a place for it.
func (d *Dispatcher) freed(b int) {
	in := &d.budgets[b]
	for range in.aside.len() {
		t := in.aside.pop()
		if d.mayTake(t, b) {
			in.turns.push(t)
			return
		}
		in.aside.push(t)
	}
}

// nextAttempt picks the next attempt and returns nil if none may start now. It serves
// tenants round-robin, and the endpoints of each tenant too. The caller holds mu.
func (d *Dispatcher) nextAttempt(now time.Time) *attempt {
	if !d.started || d.stopping || d.unsettled >= d.opts.Unsettled {
		return nil
	}
	for b := range d.budgets {
		in := &d.budgets[b]
		for in.used < in.limit && in.turns.len() > 0 {
			t := in.turns.pop()
			if !d.mayTake(t, b) {
				in.aside.push(t)
				continue
			}
			t.inTurn[b] = false
			q := t.queues[b].pop()
			q.inTurn = false
			if q.budget() != b || q.jobs() == 0 || !q.mayBegin(now, &d.opts) || q.notBefore.After(now) {
				d.lineUp(q, now)
				d.lineUpTenant(t, b)
				d.freed(b)
				continue
			}
			if s := d.fullSite(q, b, now); s != nil {
				d.park(q, s, b, now)
				d.lineUpTenant(t, b)
				d.freed(b)
				continue
			}
			a := d.begin(q, b, now)
			d.lineUp(q, now)
			d.lineUpTenant(t, b)
			if a != nil {
				return a
			}
		}
	}
	return nil
}

// begin takes a job out of the queue and counts its attempt against the budget. It
// returns nil if all waiting jobs had been dropped.
func (d *Dispatcher) begin(q *queue, b int, now time.Time) *attempt {
	job, ok := d.pop(q)
	if !ok {
		d.requestClaim(q, now)
		return nil
	}
	a := &attempt{job: job, queue: q, budget: b, since: now}
	q.inFlight++
	q.moved = now
	d.beginAt(a, now)
	q.tenant.used[b]++
	d.budgets[b].used++
	d.active++
	if b == fast {
		d.open.push(a)
		d.began = true
		d.sleepUntil(now.Add(d.opts.SlowAfter))
	}
	if rate := q.target.Rate() / float64(d.opts.Nodes()); rate > 0 {
		q.notBefore = later(q.notBefore, now).Add(time.Duration(min(float64(time.Second)/rate, float64(24*time.Hour))))
	}
	d.requestClaim(q, now)
	return a
}

// start starts every attempt that may start now. The caller holds mu.
func (d *Dispatcher) start(now time.Time) {
	for a := d.nextAttempt(now); a != nil; a = d.nextAttempt(now) {
		go d.work(a)
	}
}

// work makes the attempt and then any others that may start. It returns when there are
// none, so a goroutine lives only as long as it has work.
func (d *Dispatcher) work(a *attempt) {
	for a != nil {
		o := d.sender.Send(d.running, a.job)
		a = d.finish(a, o)
	}
}

// finish ends an attempt. It frees the attempt's place in the budget, adapts the cap,
// queues the outcome for recording, and returns the next attempt for the goroutine.
func (d *Dispatcher) finish(a *attempt, o hook.Outcome) *attempt {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	q := a.queue
	full := q.inFlight >= q.cap
	q.moved = now
	d.open.remove(a)
	d.budgets[a.budget].used--
	q.tenant.used[a.budget]--
	q.inFlight--
	d.active--
	d.endAt(a, &o, now)
	if d.aborted {
		// The attempt was aborted, so its outcome means nothing. This process still
		// owns the row, and the next start repeats the attempt.
		return nil
	}
	if o.Skipped {
		if o.Class.Ours() {
			q.fault(o.Class, now)
		}
		d.giveBack(a.job)
	} else {
		q.adapt(&o, full, now, &d.opts)
		d.queueOutcome(hook.Settlement{Job: a.job, Outcome: o})
	}
	d.lineUpTenant(q.tenant, a.budget)
	d.lineUp(q, now)
	d.callSites(a, now)
	d.freed(a.budget)
	d.requestClaim(q, now)
	d.checkDrained()
	next := d.nextAttempt(now)
	if next != nil {
		d.start(now)
	}
	return next
}

// moveToSlow moves attempts open longer than SlowAfter to the slow budget, as far as
// that budget allows.
func (d *Dispatcher) moveToSlow(now time.Time) {
	from, to := &d.budgets[fast], &d.budgets[slow]
	var next *attempt
	for a := d.open.head; a != nil; a = next {
		if a.since.Add(d.opts.SlowAfter).After(now) || to.used >= to.limit {
			return
		}
		next = a.next
		if !d.mayTake(a.queue.tenant, slow) || !d.moveAt(a) {
			continue
		}
		d.open.remove(a)
		a.budget = slow
		from.used, to.used = from.used-1, to.used+1
		t := a.queue.tenant
		t.used[fast], t.used[slow] = t.used[fast]-1, t.used[slow]+1
		a.queue.slow = true
		d.lineUpTenant(t, fast)
		d.callSites(a, now)
		d.freed(fast)
		d.lineUp(a.queue, now)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
