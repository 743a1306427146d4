package dispatch

import (
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// minJobs is how many jobs may wait in memory for any endpoint, however slow.
const minJobs = 4

// lookahead bounds the jobs in memory of an endpoint that a limit or a pause holds back.
// Jobs that it cannot attempt within this time wait in the table.
const lookahead = time.Second

// assumedDuration is how long an attempt is assumed to last before the first one ends.
const assumedDuration = lookahead / 2

// idleQueues is how many queues are kept before those without work are deleted, along
// with the caps that they have reached.
const idleQueues = 10_000

// Room returns how many more jobs of the endpoint fit into memory. Its bounds ensure
// that tenants and endpoints with many waiting jobs leave room for the others:
//
//   - a tenant uses at most a quarter of memory;
//   - an endpoint uses at most a quarter of what is still free;
//   - an endpoint that is held back keeps only what it can attempt in about a second.
//
// The store's writer calls Room before it commits and passes no more jobs than this.
func (d *Dispatcher) Room(target *hook.Endpoint) int {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	q := d.queues[target.ID]
	if q == nil {
		q = d.newQueue(target)
	}
	room := min(d.opts.EndpointWaiting, d.free()/4, d.jobLimit(q, now)) - (q.jobs() - q.replayed.len())
	return max(0, min(room, d.tenantFree(target.Scope)))
}

func (d *Dispatcher) free() int { return d.opts.Waiting - d.waiting - d.reserved - d.returned }

// reserve keeps memory for n jobs that a claim in progress may return, so that neither the
// other shares of the claim nor new jobs take it. A negative n releases it.
func (d *Dispatcher) reserve(q *queue, n int) {
	d.reserved += n
	q.tenant.reserved += n
}

// tenantFree returns how many more jobs the tenant's own bound allows.
func (d *Dispatcher) tenantFree(scope hook.Scope) int {
	most := d.opts.Waiting / 4
	if t := d.tenants[scope]; t != nil {
		return most - t.waiting - t.reserved
	}
	return most
}

// jobLimit returns how many jobs of the endpoint may be in memory. If a rate limit, a
// cap or a pause holds the endpoint back, this is what the node can attempt in about a
// second. The rest waits in the table. It uses no memory there, and other nodes, which
// have their own parts of the limits, can claim it.
func (d *Dispatcher) jobLimit(q *queue, now time.Time) int {
	limit := d.opts.EndpointWaiting
	few := max(minJobs, 2*q.cap)
	if q.notBefore.Sub(now) > lookahead {
		limit = min(limit, few)
	}
	if q.slow || q.cap == 1 || q.target.MaxInFlight > 0 {
		atOnce, took := q.maxCap(&d.opts), q.duration
		if q.slow || q.cap == 1 {
			atOnce = q.cap
		}
		if took == 0 {
			took = assumedDuration
		}
		limit = min(limit, max(few, int(min(float64(atOnce)*float64(lookahead)/float64(took), 1e6))))
	}
	if rate := q.target.Rate(); rate > 0 {
		perSecond := rate / float64(d.opts.Nodes())
		limit = min(limit, max(minJobs, int(min(perSecond*lookahead.Seconds(), 1e6))))
	}
	return limit
}

// Committed takes over the jobs and changes of a transaction. It does not block, because
// the store's writer calls it after the commit and before any caller gets its answer. If
// the process crashes between commit and call, Recover finds the work at the next start.
func (d *Dispatcher) Committed(c hook.Commit) {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, target := range c.Changed {
		d.endpointChanged(target, now)
	}
	for _, target := range c.Returned {
		d.giveBackAll(target)
	}
	for _, ref := range c.Dropped {
		d.drop(ref, now)
	}
	for i := range c.Jobs {
		d.enqueue(c.Jobs[i], false, now)
	}
	d.noteDue(c.Due, now)
	d.start(now)
}

// queueOf returns the endpoint's queue, which it creates if necessary, and updates the
// queue's snapshot.
func (d *Dispatcher) queueOf(target *hook.Endpoint) *queue {
	q := d.queues[target.ID]
	if q == nil {
		if len(d.queues) >= max(idleQueues, d.pruneAt) {
			d.prune()
			d.pruneAt = 2 * len(d.queues) // so that not every new queue costs a pass over all
		}
		q = d.newQueue(target)
		d.setHost(q)
		if q.tenant = d.tenants[target.Scope]; q.tenant == nil {
			q.tenant = &tenant{}
			d.tenants[target.Scope] = q.tenant
		}
		d.queues[target.ID] = q
	}
	d.updateTarget(q, target)
	return q
}

func (d *Dispatcher) newQueue(target *hook.Endpoint) *queue {
	q := &queue{id: target.ID, target: target, cap: d.opts.FirstInFlight}
	q.alarm.queue = q
	q.cap = min(q.cap, q.maxCap(&d.opts))
	return q
}

// prune deletes idle queues, and tenants without a queue.
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

// enqueue adds a job to the fresh jobs or, if it comes from the table, to the claimed or
// replayed ones. Test events and others that pass have a list of their own. A job that
// was claimed before its endpoint stopped receiving goes back to the table, because the
// sweep may already have passed its row.
func (d *Dispatcher) enqueue(j hook.Job, fromTable bool, now time.Time) {
	q := d.queueOf(j.Target)
	test := j.Passes()
	if j.Target.Revision < q.stoppedAt && !test {
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
	case fromTable && j.Trigger == hook.ByReplay:
		q.replayed.push(e)
	case fromTable:
		q.claimed.push(e)
	default:
		q.fresh.push(e)
	}
	d.lineUp(q, now)
}

// endpointChanged takes over a new snapshot. If the endpoint stopped receiving, its
// waiting jobs are deleted from memory: the same commit ordered a sweep of its rows,
// including those that this process owns, and deleted its single shots. Test events
// stay, because a disabled endpoint still receives them. Only the sweep of a deleted
// endpoint covers them.
func (d *Dispatcher) endpointChanged(target *hook.Endpoint, now time.Time) {
	q := d.queues[target.ID]
	if q == nil {
		return
	}
	d.updateTarget(q, target)
	if target.Status == hook.Enabled {
		d.lineUp(q, now)
		return
	}
	d.noteStopped(q, target)
	d.forget(q, &q.fresh)
	d.forget(q, &q.claimed)
	d.forget(q, &q.replayed)
	if target.Status == hook.Deleted {
		d.forget(q, &q.tests)
	}
}

// giveBackAll gives all waiting jobs of an endpoint back to the table. It is called for
// an endpoint that this process can no longer read. No sweep covers its rows.
func (d *Dispatcher) giveBackAll(target *hook.Endpoint) {
	q := d.queues[target.ID]
	if q == nil {
		return
	}
	d.updateTarget(q, target)
	d.noteStopped(q, target)
	for _, list := range []*jobList{&q.tests, &q.fresh, &q.claimed, &q.replayed} {
		d.removed(q, list.len(), 0) // nextBatch counts the bodies, which stay with the jobs
		d.giveBackList(*list)
		*list = jobList{}
	}
}

// updateTarget takes over a newer snapshot of the queue's endpoint. The tenant's rate limit
// changes without a revision.
func (d *Dispatcher) updateTarget(q *queue, target *hook.Endpoint) {
	if target.Revision < q.target.Revision || target.Revision == q.target.Revision && target.TenantRate == q.target.TenantRate {
		return
	}
	if target.Rate() != q.target.Rate() {
		q.notBefore = time.Time{} // it was computed from the old rate
	}
	moved := target.URL != q.target.URL
	q.target = target
	if moved {
		d.setHost(q) // a queue that is parked at the old host leaves that line first
	}
	q.cap = min(q.cap, q.maxCap(&d.opts))
}

// noteStopped records that the endpoint stopped receiving with this revision.
func (d *Dispatcher) noteStopped(q *queue, target *hook.Endpoint) {
	q.stoppedAt = max(q.stoppedAt, target.Revision)
	q.due = time.Time{}
}
