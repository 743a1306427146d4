package store

import (
	"context"
	"slices"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/directory"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// mergeHealth keeps the records of a transaction in memory, unless other nodes change them
// too.
func (s *Store) mergeHealth(health map[hook.ID]*healthEntry) {
	for id, h := range health {
		if h.shared {
			return
		}
		s.dir.KeepHealth(id, h.Health)
	}
}

// scope returns the writer's view of a scope, including the changes of this transaction.
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

// endpoint returns the writer's snapshot of an endpoint, nil if it does not exist or is
// deleted.
func (t *tx) endpoint(scope hook.Scope, id hook.ID) (*hook.Endpoint, error) {
	e, err := t.scope(scope)
	if err != nil {
		return nil, err
	}
	return e.Find(id), nil
}

// setSnapshot replaces the snapshot of an endpoint, on commit, on all nodes.
func (t *tx) setSnapshot(ep *hook.Endpoint) error {
	e, err := t.scope(ep.Scope)
	if err != nil {
		return err
	}
	t.scopes[ep.Scope] = e.With(ep)
	t.changed = append(t.changed, ep)
	t.tellNodes(sqltext.ChangedScope, ep.Scope, hook.Ref{Endpoint: ep.ID})
	return nil
}

// reloadScope reads a scope again from the database.
func (t *tx) reloadScope(scope hook.Scope) error {
	e, err := t.s.dir.Load(context.Background(), t.c, scope)
	if err != nil {
		return err
	}
	t.scopes[scope] = e
	return nil
}

// learnChanges applies the changes of other nodes to memory. The writer calls it between
// two transactions.
func (s *Store) learnChanges(c sqltext.Conn, changes sqltext.Changes) error {
	t := newTx(s, c)
	scopes, due := changedScopes{}, map[hook.ID]hook.Scope{}
	if changes.All {
		t.keys, t.profiles, t.catalogue = true, true, true
		s.dir.Each(func(scope hook.Scope) { scopes[scope] = nil })
	}
	if changes.All || slices.ContainsFunc(changes.Lines, func(l sqltext.Change) bool { return l.Kind == sqltext.ChangedMasterKey }) {
		if err := t.learnKey(); err != nil { // before secrets are read
			return err
		}
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
		case sqltext.ChangedEventTypes:
			t.catalogue = true
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
		if target, err := t.endpoint(scope, id); err == nil && target != nil && t.canAttempt(target) {
			t.noteDueHere(target, t.now)
		}
	}
	s.ids.Above(changes.Floor)
	t.committed()
	return nil
}

// changedScopes lists the endpoints that other nodes changed, by scope. Nil stands for the
// whole scope.
type changedScopes map[hook.Scope][]hook.ID

// rereadSingly is how many endpoints of a scope are read one by one. For more, reading the
// whole scope is cheaper.
const rereadSingly = 8

// note adds a change. A zero id stands for the tenant or for all its endpoints, because
// nodes of earlier releases do not name the endpoint.
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

// reread reads the endpoints of a scope that another node changed, all if ids is nil, and
// notes which of them have a new snapshot.
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
		if now = t.noteReplaced(old, now); now != nil && after != nil {
			after = after.With(now)
		}
	}
	if after != nil {
		t.scopes[scope] = after
	}
	return nil
}

// rereadScope is reread for the whole scope.
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
		t.noteReplaced(old, now)
	}
	if before == nil {
		return nil
	}
	for _, old := range before.Endpoints {
		if after.Find(old.ID) == nil {
			t.noteReplaced(old, nil)
		}
	}
	return nil
}

// noteReplaced notes for the dispatcher that an endpoint has a new snapshot, and returns
// it. old is nil if this node had none. now is nil if the endpoint no longer exists.
func (t *tx) noteReplaced(old, now *hook.Endpoint) *hook.Endpoint {
	switch {
	case now == nil && old == nil:
		return nil
	case now == nil:
		gone := *old
		gone.Status, gone.Revision = hook.Deleted, old.Revision+1
		now = &gone
	case old != nil && old.Enablings != now.Enablings:
		// It was disabled and enabled in the meantime. A hold took the rows of the jobs in memory,
		// and another node may own them now. The dispatcher first gets a disabled endpoint, so
		// that it forgets these jobs.
		closed := *now
		closed.Status, closed.Revision = hook.Disabled, now.Revision-1
		t.changed = append(t.changed, &closed)
	}
	if now.Damage != 0 && old != nil && old.Damage == 0 { // no sweep of its rows was ordered
		t.returned = append(t.returned, now)
		return now
	}
	t.changed = append(t.changed, now)
	return now
}
