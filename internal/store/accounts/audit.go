package accounts

import (
	"context"

	"github.com/posthorn/posthorn/internal/hook"
)

// Audit writes an entry for the actor of the context about something that was read or
// refused. The caller sets Mode, Tenant, Act, Object, ObjectID and Outcome.
func (s *Accounts) Audit(ctx context.Context, e hook.AuditEntry) error {
	actor := hook.ActorOf(ctx)
	if actor == nil {
		return nil
	}
	return s.doFor(ctx, hook.Scope{Tenant: e.Tenant, Mode: e.Mode}, "audit", 1, func(t *tx) error {
		next := e
		next.Actor = *actor
		t.Audit(next)
		return nil
	})
}
