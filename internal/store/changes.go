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
	scopes, due := changedScopes{}, map[hook.ID]hook.Scope{}
	if changes.All {
		t.keys, t.profiles = true, true
		s.dir.each(func(scope hook.Scope) { scopes[scope] = nil })
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
