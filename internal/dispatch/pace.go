package dispatch

import (
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// Pace says how an endpoint's attempts go on this node now, and what those that wait are
// waiting for. It returns false if nothing of the endpoint is in memory.
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

// waitsFor says what keeps the queue's next job from being attempted.
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
