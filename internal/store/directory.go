package store

import (
	"slices"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/directory"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// learnChanges applies the changes of other nodes to memory. The writer calls it between
// two transactions.
func (s *Store) learnChanges(c sqltext.Conn, changes sqltext.Changes) error {
	t := newTx(s, c)
	scopes, due := changedScopes{}, map[hook.ID]hook.Scope{}
	if changes.All {
		t.Keys, t.Profiles, t.Catalogue = true, true, true
		s.core.Directory.Each(func(scope hook.Scope) { scopes[scope] = nil })
	}
	if changes.All || slices.ContainsFunc(changes.Lines, func(l sqltext.Change) bool { return l.Kind == sqltext.ChangedMasterKey }) {
		if err := t.s.upkeep.LearnKey(t.Tx); err != nil { // before secrets are read
			return err
		}
	}
	for _, l := range changes.Lines {
		switch l.Kind {
		case sqltext.ChangedScope:
			scopes.note(l.Scope, l.Ref.Endpoint)
		case sqltext.ChangedKeys:
			t.Keys = true
		case sqltext.DroppedJob:
			t.Dropped = append(t.Dropped, l.Ref)
		case sqltext.ChangedProfiles:
			t.Profiles = true
		case sqltext.ChangedEventTypes:
			t.Catalogue = true
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
		if target, err := t.Endpoint(scope, id); err == nil && target != nil && t.CanAttempt(target) {
			t.NoteDueHere(target, t.Now)
		}
	}
	s.core.IDs.Above(changes.Floor)
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
	before, _ := t.s.core.Directory.Get(scope)
	if ids == nil {
		return t.rereadScope(scope, before)
	}
	after := before
	for _, id := range ids {
		found, err := t.s.core.Directory.LoadEndpoints(background, t.Conn, directory.WithID, id[:])
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
		t.Scopes[scope] = after
	}
	return nil
}

// rereadScope is reread for the whole scope.
func (t *tx) rereadScope(scope hook.Scope, before *directory.Scope) error {
	after, err := t.s.core.Directory.Load(background, t.Conn, scope)
	if err != nil {
		return err
	}
	t.Scopes[scope] = after
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
		t.Changed = append(t.Changed, &closed)
	}
	if now.Damage != 0 && old != nil && old.Damage == 0 { // no sweep of its rows was ordered
		t.Returned = append(t.Returned, now)
		return now
	}
	t.Changed = append(t.Changed, now)
	return now
}
