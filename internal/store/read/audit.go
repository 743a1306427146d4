package read

import (
	"context"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// AuditEntries lists the audit log, newest first. A page examines a bounded number of rows
// and returns a cursor to continue from, even if it found nothing.
func (l *Lists) AuditEntries(ctx context.Context, q hook.AuditQuery) ([]hook.AuditEntry, string, error) {
	done, err := l.slots.take(ctx, q.Scope)
	if err != nil {
		return nil, "", err
	}
	defer done()
	before, err := sqltext.BeforeOf(q.Page, 1)
	if err != nil {
		return nil, "", err
	}
	of := spanOf{id: "e.id", bounds: "audit e", where: "e.mode = ? AND " + sqltext.TenantIs(q.Scope), args: []any{q.Scope.Mode, q.Scope.Tenant}}
	if q.Request != "" {
		of.where, of.args = of.where+" AND e.request = ? AND e.request <> ''", append(of.args, q.Request)
	}
	span, err := l.span(ctx, of, q.After, q.Before, before[0])
	if err != nil {
		return nil, "", err
	}
	where, args := "e.mode = ? AND "+sqltext.TenantIs(q.Scope)+" AND e.id >= ? AND e.id < ?", []any{q.Scope.Mode, q.Scope.Tenant, span.low[:], span.high[:]}
	for _, filter := range [][2]string{{"e.actor", q.Actor}, {"e.act", q.Act}, {"e.object", q.Object}, {"e.object_id", q.ObjectID}, {"e.request", q.Request}} {
		if filter[1] != "" {
			where, args = where+" AND "+filter[0]+" = ?", append(args, filter[1])
		}
	}
	if !q.After.IsZero() {
		where, args = where+" AND e.at >= ?", append(args, sqltext.Micros(q.After))
	}
	if !q.Before.IsZero() {
		where, args = where+" AND e.at < ?", append(args, sqltext.Micros(q.Before))
	}
	list, err := sqltext.Collect(ctx, l.db, sqltext.ScanAudit, "SELECT "+sqltext.Audit.Columns+" FROM audit e WHERE "+where+
		" ORDER BY e.id DESC LIMIT ?", append(args, sqltext.LimitOf(q.Page)+1)...)
	if err != nil {
		return nil, "", l.fail("list audit log", err)
	}
	if limit := sqltext.LimitOf(q.Page); len(list) > limit {
		return list[:limit], sqltext.CursorOf(list[limit-1].ID), nil
	}
	return list, span.cursor(1), nil
}
