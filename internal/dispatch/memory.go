package dispatch

import (
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// fewWaiting is how many jobs may wait in memory for any endpoint, however slow.
const fewWaiting = 4

// ahead is how far memory works ahead of an endpoint that takes its time: what it
// cannot attempt within that waits in the table.
const ahead = time.Second

// unknownTook is what an attempt is taken to last before the first one told.
const unknownTook = ahead / 2

// idleQueues is how many queues without work are remembered for what they learned.
const idleQueues = 10_000

// Room returns how many more jobs of the endpoint memory takes. All its bounds see to
// it that whoever has much waiting leaves room for the others:
//
//   - a tenant holds at most a quarter of memory,
//   - an endpoint holds at most a quarter of what is still free,
//   - an endpoint that will not get to its jobs soon holds a second's worth of them.
//
// The store's single writer asks before it commits and hands over no more than this.
func (d *Dispatcher) Room(target *hook.Endpoint) int {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	q := d.queues[target.ID]
	if q == nil {
		q = d.newQueue(target)
	}
	room := min(d.opts.EndpointWaiting, d.free()/4, d.reach(q, now)) - q.jobs()
	return max(0, min(room, d.tenantFree(target.Scope)))
}

func (d *Dispatcher) free() int { return d.opts.Waiting - d.waiting - d.returned }

// tenantFree is how much room a tenant's own bound leaves it.
func (d *Dispatcher) tenantFree(scope hook.Scope) int {
	most := d.opts.Waiting / 4
	if t := d.tenants[scope]; t != nil {
		return most - t.waiting
	}
	return most
}

// reach is how many jobs of the endpoint may be in memory: those that this node can
// attempt in about a second if a rate limit, a cap or a pause holds the endpoint back.
// The table keeps the rest, where it takes room from nobody and other nodes, which
// have their own part of the limits, find it.
func (d *Dispatcher) reach(q *queue, now time.Time) int {
	reach := d.opts.EndpointWaiting
	few := max(fewWaiting, 2*q.cap)
	if q.notBefore.Sub(now) > ahead {
		reach = min(reach, few)
	}
	if q.slow || q.cap == 1 || q.target.MaxInFlight > 0 {
		atOnce, took := q.limit(&d.opts), q.took
		if q.slow || q.cap == 1 {
			atOnce = q.cap
		}
		if took == 0 {
			took = unknownTook
		}
		reach = min(reach, max(few, int(min(float64(atOnce)*float64(ahead)/float64(took), 1e6))))
	}
	if q.target.RateLimit > 0 {
		perSecond := q.target.RateLimit / float64(d.opts.Nodes())
		reach = min(reach, max(fewWaiting, int(min(perSecond*ahead.Seconds(), 1e6))))
	}
	return reach
}

// Committed takes over what a transaction made. It does not block: the store's
// writer calls it after the commit and before anybody is told. A crash before it
// is healed by Recover at the next start.
func (d *Dispatcher) Committed(c hook.Commit) {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, target := range c.Changed {
		d.change(target, now)
	}
	for _, target := range c.Returned {
		d.giveUp(target)
	}
	for _, ref := range c.Dropped {
		d.drop(ref, now)
	}
	for i := range c.Jobs {
		d.enqueue(c.Jobs[i], false, now)
	}
	d.learnDue(c.Due, now)
	d.start(now)
}

// of returns the endpoint's queue and brings its snapshot up to date.
func (d *Dispatcher) of(target *hook.Endpoint) *queue {
	q := d.queues[target.ID]
	if q == nil {
		if len(d.queues) >= max(idleQueues, d.pruneAt) {
			d.prune()
			d.pruneAt = 2 * len(d.queues) // or each new one would look at all
		}
		q = d.newQueue(target)
		if q.tenant = d.tenants[target.Scope]; q.tenant == nil {
			q.tenant = &tenant{}
			d.tenants[target.Scope] = q.tenant
		}
		d.queues[target.ID] = q
	}
	d.follow(q, target)
	return q
}

func (d *Dispatcher) newQueue(target *hook.Endpoint) *queue {
	q := &queue{id: target.ID, target: target, cap: d.opts.FirstInFlight}
	q.cap = min(q.cap, q.limit(&d.opts))
	return q
}

// prune forgets idle queues, and tenants that have none.
func (d *Dispatcher) prune() {
	used := map[*tenant]bool{}
	for id, q := range d.queues {
		if q.idle() {
			delete(d.queues, id)
			continue
		}
		used[q.tenant] = true
	}
	for scope, t := range d.tenants {
		if !used[t] {
			delete(d.tenants, scope)
		}
	}
}

// enqueue adds a job to the fresh ones or to the backlog from the table. A job that
// was claimed before its endpoint stopped goes back to the table: the sweep may have
// passed it by.
func (d *Dispatcher) enqueue(j hook.Job, fromTable bool, now time.Time) {
	q := d.of(j.Target)
	test := j.Delivery.Kind == hook.TestEvent
	if j.Target.Revision < q.closed && !test {
		d.giveBack(j)
		return
	}
	if d.bytes+payload(j) > d.opts.PayloadBytes {
		j.Event = nil
	}
	d.waiting++
	q.tenant.waiting++
	d.bytes += payload(j)
	e := entry{Job: j, number: q.arrived}
	q.arrived++
	switch {
	case test:
		q.tests.push(e)
	case fromTable:
		q.backlog.push(e)
	default:
		q.fresh.push(e)
	}
	d.lineUp(q, now)
}

// change takes a new snapshot. What waits for an endpoint that stopped receiving is
// forgotten: the order to sweep its rows, those that this process owns too, and the
// end of its single shots are in the same commit. Test events pass a disabled
// endpoint, and no sweep but that of a deleted one covers them.
func (d *Dispatcher) change(target *hook.Endpoint, now time.Time) {
	q := d.queues[target.ID]
	if q == nil {
		return
	}
	d.follow(q, target)
	if target.Status == hook.Enabled {
		d.lineUp(q, now)
		return
	}
	d.close(q, target)
	d.forget(q, &q.fresh)
	d.forget(q, &q.backlog)
	if target.Status == hook.Deleted {
		d.forget(q, &q.tests)
	}
}

// giveUp gives what waits for an endpoint back to the table. It is for one that this
// process cannot read any more, whose rows no sweep covers.
func (d *Dispatcher) giveUp(target *hook.Endpoint) {
	q := d.queues[target.ID]
	if q == nil {
		return
	}
	d.follow(q, target)
	d.close(q, target)
	for _, list := range []*jobList{&q.tests, &q.fresh, &q.backlog} {
		d.left(q, list.len(), 0) // the bodies go with the jobs
		d.giveBackList(*list)
		*list = jobList{}
	}
}

// follow takes a newer snapshot of the queue's endpoint.
func (d *Dispatcher) follow(q *queue, target *hook.Endpoint) {
	if target.Revision <= q.target.Revision {
		return
	}
	if target.RateLimit != q.target.RateLimit {
		q.notBefore = time.Time{} // it was counted with the old rate
	}
	q.target = target
	q.cap = min(q.cap, q.limit(&d.opts))
}

// close notes that the endpoint does not receive from this revision on.
func (d *Dispatcher) close(q *queue, target *hook.Endpoint) {
	q.closed = max(q.closed, target.Revision)
	q.due = time.Time{}
}
