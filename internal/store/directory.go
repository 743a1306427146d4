package store

import (
	"context"
	"slices"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/directory"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// mergeHealth remembers the records of a transaction, unless other nodes change them too.
func (s *Store) mergeHealth(health map[hook.ID]*healthEntry) {
	for id, h := range health {
		if h.shared {
			return
		}
		s.dir.KeepHealth(id, h.Health)
	}
}

// scope returns the writer's view of a scope, with what this transaction changed.
func (t *tx) scope(scope hook.Scope) (*directory.Scope, error) {
	if e := t.scopes[scope]; e != nil {
		return e, nil
	}
	if e, _ := t.s.dir.Get(scope); e != nil {
		return e, nil
	}
	e, err := t.s.dir.Load(context.Background(), t.c, scope)
	if err != nil {
		return nil, err
	}
	t.scopes[scope] = e
	return e, nil
}

// endpoint returns the writer's view of a live endpoint, nil if there is none.
func (t *tx) endpoint(scope hook.Scope, id hook.ID) (*hook.Endpoint, error) {
	e, err := t.scope(scope)
	if err != nil {
		return nil, err
	}
	return e.Find(id), nil
}

// change gives an endpoint a new snapshot.
func (t *tx) change(ep *hook.Endpoint) error {
	e, err := t.scope(ep.Scope)
	if err != nil {
		return err
	}
	t.scopes[ep.Scope] = e.With(ep)
	t.changed = append(t.changed, ep)
	t.tell(sqltext.ChangedScope, ep.Scope, hook.Ref{Endpoint: ep.ID})
	return nil
}

// reload makes the next look at the scope read the database.
func (t *tx) reload(scope hook.Scope) error {
	e, err := t.s.dir.Load(context.Background(), t.c, scope)
	if err != nil {
		return err
	}
	t.scopes[scope] = e
	return nil
}

// learnChanges brings what is in memory up to what other nodes changed. The writer calls
// it between two transactions.
func (s *Store) learnChanges(c sqltext.Conn, changes sqltext.Changes) error {
	t := newTx(s, c)
	scopes, due := changedScopes{}, map[hook.ID]hook.Scope{}
	if changes.All {
		t.keys, t.profiles = true, true
		s.dir.Each(func(scope hook.Scope) { scopes[scope] = nil })
	}
	for _, l := range changes.Lines {
		switch l.Kind {
		case sqltext.ChangedScope:
			scopes.note(l.Scope, l.Ref.Endpoint)
		case sqltext.ChangedKeys:
			t.keys = true
		case sqltext.DroppedJob:
			t.dropped = append(t.dropped, l.Ref)
		case sqltext.ChangedProfiles:
			t.profiles = true
		case sqltext.WorkDue:
			due[l.Ref.Endpoint] = l.Scope
		}
	}
	for scope, ids := range scopes {
		if err := t.reread(scope, ids); err != nil {
			return err
		}
	}
	for id, scope := range due {
		if target, err := t.endpoint(scope, id); err == nil && target != nil && t.mine(target) {
			t.waits(target, t.now)
		}
	}
	s.ids.Above(changes.Floor)
	t.committed()
	return nil
}

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
	before, _ := t.s.dir.Get(scope)
	if ids == nil {
		return t.rereadScope(scope, before)
	}
	after := before
	for _, id := range ids {
		found, err := t.s.dir.LoadEndpoints(background, t.c, directory.WithID, id[:])
		if err != nil {
			return err
		}
		var old, now *hook.Endpoint
		if before != nil {
			old = before.Find(id)
		}
		if len(found) > 0 {
			now = found[0]
		}
		if now = t.replaced(old, now); now != nil && after != nil {
			after = after.With(now)
		}
	}
	if after != nil {
		t.scopes[scope] = after
	}
	return nil
}

func (t *tx) rereadScope(scope hook.Scope, before *directory.Scope) error {
	after, err := t.s.dir.Load(background, t.c, scope)
	if err != nil {
		return err
	}
	t.scopes[scope] = after
	for _, now := range after.Endpoints {
		var old *hook.Endpoint
		if before != nil {
			old = before.Find(now.ID)
		}
		t.replaced(old, now)
	}
	if before == nil {
		return nil
	}
	for _, old := range before.Endpoints {
		if after.Find(old.ID) == nil {
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
