package dispatch

import (
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// entry is a waiting job.
type entry struct {
	hook.Job
	number uint64 // sequence number in the order in which jobs arrived at the queue
}

// jobList is a list of waiting jobs. It counts the bytes of their bodies.
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

// dropMark marks the waiting jobs of an event that must no longer be attempted: those
// with a smaller number. They are skipped when they are taken from the queue, so the
// cost of dropping a job does not depend on how many wait.
type dropMark struct {
	all       uint64
	scheduled uint64 // applies to scheduled jobs only; single shots stay
}

// minDrops is how many drop marks a queue keeps before it scans for their jobs.
const minDrops = 16

func (q *queue) isDropped(e *entry) bool {
	if len(q.dropped) == 0 {
		return false
	}
	drop, ok := q.dropped[e.Delivery.Event]
	return ok && (e.number < drop.all || e.number < drop.scheduled && !e.Trigger.OneShot())
}

// drop marks a waiting job as dropped, because its row has changed owner.
func (d *Dispatcher) drop(ref hook.Ref, now time.Time) {
	q := d.queues[ref.Endpoint]
	if q == nil || q.jobs() == 0 {
		return
	}
	if q.dropped == nil {
		q.dropped = map[hook.ID]dropMark{}
	}
	was := q.dropped[ref.Event]
	if ref.Scheduled {
		was.scheduled = q.arrived
	} else {
		was.all = q.arrived
	}
	q.dropped[ref.Event] = was
	// Many marks are for jobs that are not in this queue. Once there are more marks
	// than jobs, a pass over the jobs costs no more than the marks have cost.
	if len(q.dropped) > max(minDrops, q.jobs()) {
		d.removeDropped(q)
		d.requestClaim(q, now)
	}
}

// removeDropped takes the dropped jobs out of the queue and clears the marks.
func (d *Dispatcher) removeDropped(q *queue) {
	for _, list := range []*jobList{&q.tests, &q.fresh, &q.claimed, &q.replayed} {
		for n := list.len(); n > 0; n-- {
			e := list.pop()
			if q.isDropped(&e) {
				d.removed(q, 1, payload(e.Job))
			} else {
				list.push(e)
			}
		}
	}
	q.dropped = nil
}

// pop takes the next job out of the queue. It returns false if there is none.
func (d *Dispatcher) pop(q *queue) (hook.Job, bool) {
	for q.jobs() > 0 {
		e := q.next().pop()
		d.removed(q, 1, payload(e.Job))
		if !q.isDropped(&e) {
			return e.Job, true
		}
	}
	q.dropped = nil
	return hook.Job{}, false
}

// forget removes a whole list of jobs. The store's sweep moves their rows.
func (d *Dispatcher) forget(q *queue, list *jobList) {
	d.removed(q, list.len(), list.bytes)
	*list = jobList{}
}

// removed subtracts jobs that no longer wait in the queue from the counts.
func (d *Dispatcher) removed(q *queue, jobs, bytes int) {
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
