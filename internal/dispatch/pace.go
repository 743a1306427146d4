package dispatch

import (
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// Pace returns the current state of an endpoint's attempts on this node, and what its
// waiting deliveries wait for. It returns false if the endpoint has no queue in memory.
func (d *Dispatcher) Pace(id hook.ID) (hook.Pace, bool) {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	q := d.queues[id]
	if q == nil {
		return hook.Pace{}, false
	}
	p := hook.Pace{InFlight: q.inFlight, Cap: q.cap, Limit: q.maxCap(&d.opts), LoweredBy: q.lowered, LoweredStatus: q.loweredStatus, Waiting: q.jobs()}
	if p.Waiting > 0 {
		p.WaitsFor = d.waitsFor(q, now)
	}
	if q.notBefore.After(now) {
		p.NotBefore = d.wall().Add(q.notBefore.Sub(now))
	}
	return p, true
}

// waitsFor returns what delays the attempt of the queue's next job.
func (d *Dispatcher) waitsFor(q *queue, now time.Time) hook.Wait {
	b := q.budget()
	switch {
	case q.notBefore.After(now) && q.resume.After(now):
		return hook.WaitServer
	case q.notBefore.After(now) && q.pausedUntil.After(now):
		return hook.WaitPause
	case q.notBefore.After(now):
		return hook.WaitRate
	case q.inFlight >= q.cap:
		return hook.WaitCap
	case q.parked != nil && d.atOnce(q.parked) > q.parked.inFlight[b]:
		return hook.WaitHostRate
	case q.parked != nil:
		return hook.WaitHostCap
	case !d.mayTake(q.tenant, b):
		return hook.WaitTenant
	}
	return hook.WaitTurn
}
