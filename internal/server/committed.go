package server

import (
	"context"

	"github.com/posthorn/posthorn/internal/dispatch"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/live"
)

// committed passes the effects of a transaction on. It runs on the store's writer and does
// not block.
func (n *Node) committed(c hook.Commit) {
	n.dispatch.Committed(c)
	n.hint(&c)
	n.jobs.Wake(c.Replays)
	n.jobs.WakeErasures(c.Erasures)
}

// hintedQueue tells the pages that people look at which outcomes were recorded.
type hintedQueue struct {
	dispatch.Queue
	hints *live.Hints
}

// Settle records outcomes, and tells the pages about them after the commit.
func (q *hintedQueue) Settle(ctx context.Context, done []hook.Settlement) ([]hook.Due, error) {
	due, err := q.Queue.Settle(ctx, done)
	if err == nil && q.hints.Listening() {
		list := make([]live.About, len(done))
		for i := range done {
			list[i] = live.About{Scope: done[i].Job.Delivery.Scope, Endpoint: done[i].Job.Delivery.Endpoint}
		}
		q.hints.Tell(list...)
	}
	return due, err
}

// hint tells the pages which deliveries and endpoints a transaction made or changed.
func (n *Node) hint(c *hook.Commit) {
	if !n.hints.Listening() {
		return
	}
	list := make([]live.About, 0, len(c.Jobs)+len(c.Changed))
	for i := range c.Jobs {
		list = append(list, live.About{Scope: c.Jobs[i].Delivery.Scope, Endpoint: c.Jobs[i].Delivery.Endpoint})
	}
	for _, e := range c.Changed {
		list = append(list, live.About{Scope: e.Scope, Endpoint: e.ID})
	}
	n.hints.Tell(list...)
}
