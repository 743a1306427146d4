package dispatch

import (
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// slowWaiting is how many jobs of a slow endpoint may wait in memory: enough to
// keep its few slots busy, the rest can wait in the table.
const slowWaiting = 64

// limitedWaiting is how many jobs of an endpoint with a limit of its own may wait in
// the memory of one of several nodes.
const limitedWaiting = 4

// idleQueues is how many queues without work are remembered for what they learned.
const idleQueues = 10_000

// Room returns how many more jobs of the endpoint memory takes. An endpoint may
// use a quarter of what is still free, so that no number of dead endpoints leaves
// a healthy one without room. The store's single writer asks before it commits
// and hands over no more than this.
func (d *Dispatcher) Room(endpoint hook.ID) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	room := min(d.opts.EndpointWaiting, (d.opts.Waiting-d.waiting)/4)
	q := d.queues[endpoint]
	if q == nil {
		return max(0, room)
	}
	if q.slow {
		room = min(room, slowWaiting)
	}
	room = min(room, d.part(q))
	return max(0, room-q.jobs())
}

// part is how many jobs of an endpoint with a limit of its own may wait in the memory of
// one of several nodes. Each has a part of the limit; what waits for more than this
// node's part is left in the table for the others.
func (d *Dispatcher) part(q *queue) int {
	part, nodes := d.opts.EndpointWaiting, d.opts.Nodes()
	if nodes < 2 {
		return part
	}
	if q.target.MaxInFlight > 0 {
		part = min(part, max(limitedWaiting, 2*q.limit(&d.opts)))
	}
	if q.target.RateLimit > 0 {
		part = min(part, max(limitedWaiting, int(min(q.target.RateLimit/float64(nodes), 1e6))))
	}
	return part
}

// Committed takes over what a transaction made. It does not block: the store's
// writer calls it after the commit and before anybody is told. A crash before it
// is healed by Recover at the next start.
func (d *Dispatcher) Committed(c hook.Commit) {
	now := d.opts.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, target := range c.Changed {
		d.change(target)
	}
	for _, ref := range c.Dropped {
		d.drop(ref)
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
		t := d.tenants[target.Scope]
		if t == nil {
			t = &tenant{}
			d.tenants[target.Scope] = t
		}
		q = &queue{id: target.ID, target: target, tenant: t, cap: d.opts.FirstInFlight}
		q.cap = min(q.cap, q.limit(&d.opts))
		d.queues[target.ID] = q
	}
	if target.Revision > q.target.Revision {
		q.target = target
		q.cap = min(q.cap, q.limit(&d.opts))
	}
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

// enqueue adds a job to the fresh ones or to the backlog from the table. A job
// claimed before its endpoint was stopped goes back to the table.
func (d *Dispatcher) enqueue(j hook.Job, fromTable bool, now time.Time) {
	q := d.of(j.Target)
	if j.Target.Revision < q.closed && j.Trigger == hook.BySchedule {
		d.giveBack(j)
		return
	}
	if size := payload(j); size > 0 {
		if d.bytes+size > d.opts.PayloadBytes {
			j.Event = nil
		} else {
			d.bytes += size
		}
	}
	d.waiting++
	if fromTable {
		q.backlog.push(j)
	} else {
		q.fresh.push(j)
	}
	d.enlist(q, now)
}

// change takes a new snapshot. What waits for an endpoint that stopped receiving
// goes back to the table, where the store's sweep finds it.
func (d *Dispatcher) change(target *hook.Endpoint) {
	q := d.queues[target.ID]
	if q == nil {
		return
	}
	if target.Revision > q.target.Revision {
		if target.RateLimit != q.target.RateLimit {
			q.notBefore = time.Time{} // it was counted with the old rate
		}
		q.target = target
		q.cap = min(q.cap, q.limit(&d.opts))
	}
	if target.Status == hook.Enabled {
		d.enlist(q, d.opts.Now())
		return
	}
	q.closed = max(q.closed, target.Revision)
	q.due = time.Time{}
	d.remove(q, func(j hook.Job) bool {
		if j.Trigger != hook.BySchedule {
			return false
		}
		d.giveBack(j)
		return true
	})
}

// drop forgets a waiting job whose row has moved on.
func (d *Dispatcher) drop(ref hook.Ref) {
	if q := d.queues[ref.Endpoint]; q != nil {
		d.remove(q, func(j hook.Job) bool {
			return j.Delivery.Event == ref.Event && !(ref.Scheduled && j.Trigger.OneShot())
		})
		d.want(q, d.opts.Now())
	}
}

func (d *Dispatcher) remove(q *queue, gone func(hook.Job) bool) {
	keep := func(j hook.Job) bool {
		if !gone(j) {
			return true
		}
		d.waiting--
		d.bytes -= payload(j)
		return false
	}
	q.fresh.filter(keep)
	q.backlog.filter(keep)
}

func (d *Dispatcher) giveBack(j hook.Job) {
	d.give(hook.Settlement{Job: j, Outcome: hook.Outcome{Skipped: true}})
}
