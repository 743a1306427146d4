package store

import (
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/cluster"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// learnChanges brings what is in memory up to what other nodes changed. The writer calls
// it between two transactions.
func (s *Store) learnChanges(c sqltext.Conn, changes cluster.Changes) error {
	t := newTx(s, c)
	scopes, due := map[hook.Scope]bool{}, map[hook.ID]hook.Scope{}
	if changes.All {
		t.keys, t.profiles = true, true
		s.dir.each(func(scope hook.Scope) { scopes[scope] = true })
	}
	for _, l := range changes.Lines {
		switch l.Kind {
		case sqltext.ChangedScope:
			scopes[l.Scope] = true
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
	for scope := range scopes {
		if err := t.reread(scope); err != nil {
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

// reread loads a scope that another node changed and finds out which of its endpoints
// are others than before.
func (t *tx) reread(scope hook.Scope) error {
	before, _ := t.s.dir.get(scope)
	after, err := t.s.loadScope(background, t.c, scope)
	damaged := unreadable(err)
	if damaged {
		// That is for those who use the scope to find; the others must go on.
		t.s.log.Error("a tenant's endpoints cannot be read", "tenant", scope.Tenant, "mode", scope.Mode.String(), "error", err)
		after, err = &scopeEntry{}, nil
	}
	if err != nil {
		return err
	}
	t.scopes[scope] = after
	for _, now := range after.endpoints {
		if before != nil {
			if old := before.find(now.ID); old != nil && old.Enablings != now.Enablings {
				// It was disabled and enabled since: what waits in memory was taken away
				// in between, and may be somebody else's by now.
				closed := *now
				closed.Status, closed.Revision = hook.Disabled, now.Revision-1
				t.changed = append(t.changed, &closed)
			}
		}
		t.changed = append(t.changed, now)
	}
	if before == nil {
		return nil
	}
	for _, old := range before.endpoints {
		if after.find(old.ID) == nil {
			gone := *old
			gone.Status, gone.Revision = hook.Deleted, old.Revision+1
			if damaged { // nobody ordered a sweep of its rows
				t.returned = append(t.returned, &gone)
			} else {
				t.changed = append(t.changed, &gone)
			}
		}
	}
	return nil
}
