package store

import (
	"fmt"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// maxBacklogs bounds the scopes whose count is in memory. One beyond it is counted
// again when it is needed.
const maxBacklogs = 100_000

// recountAfter is how long a count is believed while several nodes change it. In
// between each knows of its own changes only, so the bound may be passed by what the
// others accept in that time.
const recountAfter = 10 * time.Second

// backlogPause is the Retry-After of a full backlog: it drains at the pace of the
// receivers, so that coming back at once is of no use.
const backlogPause = 30 * time.Second

// countOpen counts what is open of a scope by the indexes over open work, also of
// deleted endpoints whose work is still being cancelled.
const countOpen = `SELECT coalesce(sum(
	(SELECT count(*) FROM deliveries d WHERE d.state = 0 AND {anybody} AND d.endpoint = e.id) +
	(SELECT count(*) FROM deliveries d WHERE d.state = 1 AND d.endpoint = e.id)), 0)
	FROM endpoints e WHERE e.mode = ? AND e.tenant = ?`

// opened notes that so many more deliveries of a scope are open, fewer if n is
// negative. Every statement that changes that is beside a call of it.
func (t *tx) opened(scope hook.Scope, n int) {
	if t.s.opts.TenantBacklog == 0 {
		return
	}
	if t.open == nil {
		t.open = map[hook.Scope]int{}
	}
	t.open[scope] += n
}

// backlogFull refuses deliveries that would lift a scope over its bound. The first
// look at a scope counts its rows, every other one costs a lookup in memory.
func (t *tx) backlogFull(scope hook.Scope, more int) (*hook.Error, error) {
	limit := t.s.opts.TenantBacklog
	if limit == 0 || more == 0 {
		return nil, nil
	}
	before, known := t.s.backlog[scope]
	if known && t.s.peers.Shared() && t.now.Sub(t.s.counted[scope]) > recountAfter {
		known = false // other nodes have added to it and taken from it
	}
	if !known {
		before, known = t.backlog[scope]
	}
	if !known {
		n := 0
		if _, err := t.row("count open deliveries", countOpen, []any{scope.Mode, scope.Tenant}, &n); err != nil {
			return nil, err
		}
		before = n - t.open[scope] // the count has seen what this transaction wrote
		if t.backlog == nil {
			t.backlog = map[hook.Scope]int{}
		}
		t.backlog[scope] = before
		if t.s.peers.Shared() {
			t.s.counted[scope] = t.now
		}
	}
	if now := before + t.open[scope]; now+more > limit {
		return &hook.Error{Code: hook.CodeBacklogFull, RetryAfter: backlogPause, Message: fmt.Sprintf(
			"The tenant has %d deliveries waiting; at most %d are allowed. Nothing was stored.", now, limit)}, nil
	}
	return nil, nil
}

// mergeBacklog makes the counts those after the commit.
func (s *Store) mergeBacklog(t *tx) {
	for scope, n := range t.backlog {
		if len(s.backlog) >= maxBacklogs {
			clear(s.backlog)
			clear(s.counted)
		}
		s.backlog[scope] = n
	}
	for scope, n := range t.open {
		if _, known := s.backlog[scope]; known {
			s.backlog[scope] += n
		}
	}
}
