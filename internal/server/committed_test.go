package server

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/dispatch"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/live"
)

// oneQueue records outcomes, or fails.
type oneQueue struct {
	dispatch.Queue
	err error
}

func (q oneQueue) Settle(context.Context, []hook.Settlement) ([]hook.Due, error) { return nil, q.err }

// Pages are told about outcomes that were recorded and about new deliveries and changed
// endpoints, and not about what failed.
func TestPagesAreToldAboutCommits(t *testing.T) {
	scope, id := hook.Scope{Tenant: "acme", Mode: hook.Live}, hook.ID{1}
	job := hook.Job{Delivery: hook.Delivery{Scope: scope, Endpoint: id}}
	for name, c := range map[string]struct {
		do   func(*Node)
		want bool
	}{
		"recorded": {func(n *Node) {
			_, _ = (&hintedQueue{oneQueue{}, &n.hints}).Settle(t.Context(), []hook.Settlement{{Job: job}})
		}, true},
		"not recorded": {func(n *Node) {
			_, _ = (&hintedQueue{oneQueue{err: errors.New("no")}, &n.hints}).Settle(t.Context(), []hook.Settlement{{Job: job}})
		}, false},
		"new":     {func(n *Node) { n.hint(&hook.Commit{Jobs: []hook.Job{job}}) }, true},
		"changed": {func(n *Node) { n.hint(&hook.Commit{Changed: []*hook.Endpoint{{ID: id, Scope: scope}}}) }, true},
		"nothing": {func(n *Node) { n.hint(&hook.Commit{}) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n Node
				l := n.hints.Listen()
				defer l.Close()
				c.do(&n)
				begun := time.Now()
				l.Wait(t.Context(), nil, live.About{Scope: scope, Endpoint: id}, time.Second, time.Minute)
				if got := time.Since(begun) == time.Second; got != c.want {
					t.Errorf("told %v, want %v", got, c.want)
				}
			})
		})
	}
}
