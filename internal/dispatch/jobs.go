package dispatch

import (
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// entry is a job that waits.
type entry struct {
	hook.Job
	number uint64 // in the order in which the queue's jobs came
}

// jobList is a list of waiting jobs that knows the size of their bodies.
type jobList struct {
	fifo[entry]
	bytes int
}

func (l *jobList) push(e entry) {
	l.fifo.push(e)
	l.bytes += payload(e.Job)
}

func (l *jobList) pop() entry {
	e := l.fifo.pop()
	l.bytes -= payload(e.Job)
	return e
}

// drop says which waiting jobs of an event must not be attempted any more: those with
// a smaller number. They are passed over when their turn comes, so that dropping one
// costs the same whatever waits.
type drop struct {
	all       uint64
	scheduled uint64 // of those that the schedule makes; a single shot stays
}

// minDrops is how many drops a queue remembers before it looks for their jobs.
const minDrops = 16

func (q *queue) isDropped(e *entry) bool {
	if len(q.dropped) == 0 {
		return false
	}
	drop, ok := q.dropped[e.Delivery.Event]
	return ok && (e.number < drop.all || e.number < drop.scheduled && !e.Trigger.OneShot())
}

// drop forgets a waiting job whose row has moved on.
func (d *Dispatcher) drop(ref hook.Ref, now time.Time) {
	q := d.queues[ref.Endpoint]
	if q == nil || q.jobs() == 0 {
		return
	}
	if q.dropped == nil {
		q.dropped = map[hook.ID]drop{}
	}
	was := q.dropped[ref.Event]
	if ref.Scheduled {
		was.scheduled = q.arrived
	} else {
		was.all = q.arrived
	}
	q.dropped[ref.Event] = was
	// Many drops are for jobs that are not here. As many drops as jobs pay for looking
	// through the jobs.
	if len(q.dropped) > max(minDrops, q.jobs()) {
		d.removeDropped(q)
		d.want(q, now)
	}
}

// removeDropped takes the dropped jobs out of the queue and forgets the drops.
func (d *Dispatcher) removeDropped(q *queue) {
	for _, list := range []*jobList{&q.tests, &q.fresh, &q.backlog} {
		for n := list.len(); n > 0; n-- {
			e := list.pop()
			if q.isDropped(&e) {
				d.left(q, 1, payload(e.Job))
			} else {
				list.push(e)
			}
		}
	}
	q.dropped = nil
}

// pop takes the next job out of the queue; false if there is none.
func (d *Dispatcher) pop(q *queue) (hook.Job, bool) {
	for q.jobs() > 0 {
		e := q.next().pop()
		d.left(q, 1, payload(e.Job))
		if !q.isDropped(&e) {
			return e.Job, true
		}
	}
	q.dropped = nil
	return hook.Job{}, false
}

// forget drops a whole list at once. The store's sweep covers the rows.
func (d *Dispatcher) forget(q *queue, list *jobList) {
	d.left(q, list.len(), list.bytes)
	*list = jobList{}
}

// left notes that so many jobs of the queue do not wait any more.
func (d *Dispatcher) left(q *queue, jobs, bytes int) {
	d.waiting -= jobs
	q.tenant.waiting -= jobs
	d.bytes -= bytes
}

func payload(j hook.Job) int {
	if j.Event == nil {
		return 0
	}
	return len(j.Event.Data)
}
