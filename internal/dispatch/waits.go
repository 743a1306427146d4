package dispatch

import (
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// Waits says what waits for one reason on this node.
type Waits struct {
	Deliveries int           // waiting in memory
	Endpoints  int           // that have them, or due work in the table
	Overdue    time.Duration // how long ago the one that was due first was due
}

// Waits returns what waits now, by reason. It looks at every endpoint with a queue in
// memory, so it is for metrics and not for requests.
func (d *Dispatcher) Waits() map[hook.Wait]Waits {
	out := map[hook.Wait]Waits{}
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	wall := d.wall()
	for _, q := range d.queues {
		inTable := !q.due.IsZero() && !q.due.After(now)
		if q.jobs() == 0 && !inTable {
			continue
		}
		reason := d.waitsFor(q, now)
		w := out[reason]
		w.Deliveries += q.jobs()
		w.Endpoints++
		if inTable {
			w.Overdue = max(w.Overdue, now.Sub(q.due))
		}
		for _, list := range []*jobList{&q.fresh, &q.claimed} { // the others were asked for by hand
			if e := list.first(); e != nil && !e.Trigger.OneShot() {
				w.Overdue = max(w.Overdue, wall.Sub(later(e.Delivery.Due, e.Delivery.CreatedAt)))
			}
		}
		out[reason] = w
	}
	return out
}
