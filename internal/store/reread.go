package store

import (
	"slices"

	"github.com/posthorn/posthorn/internal/hook"
)

// changedScopes is what other nodes changed: the endpoints of each scope, nil for all
// of it.
type changedScopes map[hook.Scope][]hook.ID

// rereadSingly is how many endpoints of a scope are read one by one; to read the whole
// scope costs less than to read more of them.
const rereadSingly = 8

// note adds a change. An id of zero stands for the tenant or for all its endpoints;
// nodes of earlier releases name no endpoint.
func (c changedScopes) note(scope hook.Scope, endpoint hook.ID) {
	ids, known := c[scope]
	switch {
	case slices.Contains(ids, endpoint):
	case endpoint.IsZero() || known && ids == nil || len(ids) == rereadSingly:
		c[scope] = nil
	default:
		c[scope] = append(ids, endpoint)
	}
}

// reread loads what another node changed in a scope, nil being all of it, and finds
// out which endpoints are others than before.
func (t *tx) reread(scope hook.Scope, ids []hook.ID) error {
	before, _ := t.s.dir.get(scope)
	if ids == nil {
		return t.rereadScope(scope, before)
	}
	after := before
	for _, id := range ids {
		found, err := t.s.loadEndpoints(background, t.c, withID, id[:])
		if err != nil {
			return err
		}
		var old, now *hook.Endpoint
		if before != nil {
			old = before.find(id)
		}
		if len(found) > 0 {
			now = found[0]
		}
		if now = t.replaced(old, now); now != nil && after != nil {
			after = after.with(now)
		}
	}
	if after != nil {
		t.scopes[scope] = after
	}
	return nil
}

func (t *tx) rereadScope(scope hook.Scope, before *scopeEntry) error {
	after, err := t.s.loadScope(background, t.c, scope)
	if err != nil {
		return err
	}
	t.scopes[scope] = after
	for _, now := range after.endpoints {
		var old *hook.Endpoint
		if before != nil {
			old = before.find(now.ID)
		}
		t.replaced(old, now)
	}
	if before == nil {
		return nil
	}
	for _, old := range before.endpoints {
		if after.find(old.ID) == nil {
			t.replaced(old, nil)
		}
	}
	return nil
}

// replaced tells the dispatcher that an endpoint has another snapshot than before, and
// returns it. old is nil if this node had none; now is nil if there is none any more.
func (t *tx) replaced(old, now *hook.Endpoint) *hook.Endpoint {
	switch {
	case now == nil && old == nil:
		return nil
	case now == nil:
		gone := *old
		gone.Status, gone.Revision = hook.Deleted, old.Revision+1
		now = &gone
	case old != nil && old.Enablings != now.Enablings:
		// It was disabled and enabled since: what waits in memory was taken away in
		// between, and may be another node's by now.
		closed := *now
		closed.Status, closed.Revision = hook.Disabled, now.Revision-1
		t.changed = append(t.changed, &closed)
	}
	if now.Damaged && old != nil && !old.Damaged { // nobody ordered a sweep of its rows
		t.returned = append(t.returned, now)
		return now
	}
	t.changed = append(t.changed, now)
	return now
}
