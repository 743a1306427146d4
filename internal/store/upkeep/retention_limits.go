package upkeep

import (
	"context"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/unit"
)

// keptLimits are the retentions in force.
type keptLimits struct {
	server  hook.Retention
	tenants map[hook.Scope]hook.Retention // those with a retention of their own
}

// of returns the retention of a scope.
func (l *keptLimits) of(scope hook.Scope) hook.Retention {
	own, ok := l.tenants[scope]
	if !ok {
		return l.server
	}
	return own.Within(l.server)
}

// loadRetention reads the retentions of tenants.
func (s *Keeper) loadRetention(ctx context.Context) error {
	type own struct {
		scope hook.Scope
		hook.Retention
	}
	list, err := sqltext.Collect(ctx, s.core.Read, func(row sqltext.Scanner) (o own, err error) {
		var p, a, e int64
		err = row.Scan(&o.scope.Mode, &o.scope.Tenant, &p, &a, &e)
		o.Retention = hook.Retention{Payloads: keepOf(p), Answers: keepOf(a), Events: keepOf(e)}
		return o, err
	}, "SELECT mode, tenant, payloads, answers, events FROM tenant_retention")
	if err != nil {
		return s.core.ReadError("read retention of tenants", err)
	}
	tenants := make(map[hook.Scope]hook.Retention, len(list))
	for _, o := range list {
		tenants[o.scope] = o.Retention
	}
	s.kept.Store(&keptLimits{server: s.serverRetention(), tenants: tenants})
	return nil
}

func (s *Keeper) serverRetention() hook.Retention {
	or := func(d time.Duration) time.Duration {
		if d == 0 {
			return hook.Forever
		}
		return d
	}
	return hook.Retention{Payloads: or(s.opts.RetentionPayloads), Answers: or(s.opts.RetentionAnswers), Events: or(s.opts.Retention)}
}

func keepOf(micros int64) time.Duration {
	if micros < 0 {
		return hook.NotSet
	}
	return time.Duration(micros) * time.Microsecond
}

func microsOf(keep time.Duration) int64 {
	if keep < 0 {
		return -1
	}
	return keep.Microseconds()
}

// Retention returns what a tenant set and what is in force for it.
func (s *Keeper) Retention(ctx context.Context, scope hook.Scope) (own, inForce hook.Retention, err error) {
	if _, err := s.lists.Tenant(ctx, scope.Tenant); err != nil {
		return own, inForce, err
	}
	own = hook.NoRetention
	var p, a, e int64
	found, err := sqltext.ReadRow(ctx, s.core.Read, "SELECT payloads, answers, events FROM tenant_retention WHERE mode = ? AND tenant = ?",
		[]any{int64(scope.Mode), scope.Tenant}, &p, &a, &e)
	if err != nil {
		return own, inForce, s.core.ReadError("read retention of a tenant", err)
	}
	if found {
		own = hook.Retention{Payloads: keepOf(p), Answers: keepOf(a), Events: keepOf(e)}
	}
	return own, own.Within(s.serverRetention()), nil
}

// SetRetention sets the retention of a tenant in one mode. It returns CodeInvalidRequest if
// a class would be kept for longer than the server keeps it. What is older is removed by the
// next Housekeep.
func (s *Keeper) SetRetention(ctx context.Context, scope hook.Scope, own hook.Retention) error {
	if err := own.CheckWithin(s.serverRetention()); err != nil {
		return err
	}
	err := s.do(ctx, "set retention", 1, func(t *tx) error {
		if _, err := t.Tenant(scope.Tenant); err != nil {
			return err
		}
		_, err := t.Exec("set retention", `INSERT INTO tenant_retention (mode, tenant, payloads, answers, events) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (mode, tenant) DO UPDATE SET payloads = excluded.payloads, answers = excluded.answers, events = excluded.events`,
			int64(scope.Mode), scope.Tenant, microsOf(own.Payloads), microsOf(own.Answers), microsOf(own.Events))
		if err != nil {
			return err
		}
		var detail []string
		for class := hook.KeptPayloads; class <= hook.KeptEvents; class++ {
			if d := own.Of(class); d >= 0 {
				detail = append(detail, class.String()+" "+hook.HoursText(d))
			}
		}
		t.Audited(hook.ActTenantRetention, "tenant", scope.Tenant, scope, detail...)
		return nil
	})
	if err != nil {
		return err
	}
	return s.loadRetention(context.WithoutCancel(ctx))
}

// KeepPayload stores the retention of a published event that has its own.
func (d Duties) KeepPayload(t *unit.Tx, e *hook.Event, keep *time.Duration) error {
	if keep == nil {
		return nil
	}
	due := e.AcceptedAt.Add(*keep)
	dueAt(t, due)
	return t.Insert("insert retention of event", sqltext.RetentionDue, int64(hook.KeptPayloads), e.ID[:], sqltext.Micros(due), keep.Microseconds())
}

// KeepAnswer makes retention look at the answer of an attempt whose event the walk may have
// passed.
func (d Duties) KeepAnswer(t *unit.Tx, of *hook.Delivery, o *hook.Outcome) error {
	if o.ResponseHeaders == nil && o.ResponseBody == nil {
		return nil
	}
	keep := d.Kept(of.Scope).Answers
	if keep == hook.Forever || t.Now.Sub(of.Event.Time()) < keep {
		return nil
	}
	due := o.StartedAt.Add(keep)
	dueAt(t, due)
	_, err := t.Exec("look at an answer later", sqltext.LookLater, int64(hook.KeptAnswers), of.Event[:], sqltext.Micros(due))
	return err
}
