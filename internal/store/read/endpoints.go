package read

import (
	"context"
	"database/sql"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/directory"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// Endpoints lists endpoints, newest first, without their secrets. A page examines a
// bounded number of rows and returns a cursor to continue from, even if it found nothing.
func (l *Lists) Endpoints(ctx context.Context, q hook.EndpointQuery) ([]hook.Endpoint, string, error) {
	before, err := sqltext.BeforeOf(q.Page, 1)
	if err != nil {
		return nil, "", err
	}
	done, err := l.slots.take(ctx, q.Scope) // their filters may be long
	if err != nil {
		return nil, "", err
	}
	defer done()
	limit := sqltext.LimitOf(q.Page)
	var list []hook.Endpoint
	page := min(500, l.Scan) // filters are not part of the query
	if filter := (hook.EndpointQuery{Scope: q.Scope, Page: q.Page}); q == filter {
		page = min(page, limit+1)
	}
	for seen := 0; ; {
		where := "e.mode = ? AND " + sqltext.TenantIs(q.Scope) + " AND e.status <> ? AND e.id < ?"
		args := []any{q.Scope.Mode, q.Scope.Tenant, hook.Deleted, before[0][:]}
		rows, err := sqltext.Collect(ctx, l.db, l.dir.ScanEndpoint, "SELECT "+directory.EndpointColumns+" FROM endpoints e WHERE "+where+" ORDER BY e.id DESC LIMIT ?",
			append(args, page)...)
		if err == nil && len(rows) > 0 {
			err = l.dir.MarkDamaged(ctx, l.db, rows, where+" AND e.id >= ?", append(args, rows[len(rows)-1].ID[:])...)
		}
		if err != nil {
			return nil, "", l.fail("list endpoints", err)
		}
		for _, e := range rows {
			before[0] = e.ID
			if !matches(&q, e) {
				continue
			}
			if len(list) == limit {
				return list, sqltext.CursorOf(list[limit-1].ID), nil
			}
			list = append(list, *e)
		}
		if len(rows) < page {
			return list, "", nil
		}
		if seen += len(rows); seen >= l.Scan {
			return list, sqltext.CursorOf(before[0]), nil
		}
	}
}

func matches(q *hook.EndpointQuery, e *hook.Endpoint) bool {
	if q.Enabled != nil && *q.Enabled != e.Receives() {
		return false
	}
	if q.Operational != nil && *q.Operational != e.Operational {
		return false
	}
	return (q.EventType == "" || e.WantsType(q.EventType)) && (q.Profile == "" || e.Profile == q.Profile) && (q.UID == "" || e.UID == q.UID) && (q.Reason == "" || e.WhyDisabled() == q.Reason)
}

// Endpoint returns the current snapshot of an endpoint that is not deleted, with its
// secrets opened. The snapshot is shared and must not be changed. It comes from memory if
// the scope was used before. An empty tenant means all of the mode.
func (l *Lists) Endpoint(ctx context.Context, scope hook.Scope, id hook.ID) (*hook.Endpoint, error) {
	scope, err := l.scopeOf(ctx, scope, id)
	if err != nil {
		return nil, err
	}
	entry, err := l.dir.Entry(ctx, l.db, scope)
	if err != nil {
		return nil, l.fail("read endpoint", err)
	}
	if e := entry.Find(id); e != nil {
		return e, nil
	}
	if l.shared { // another node may have created it a moment ago
		return l.EndpointNow(ctx, scope, id)
	}
	return nil, hook.NotFound("endpoint")
}

// EndpointNow is like Endpoint, but reads the database. With several nodes, memory may lag
// behind.
func (l *Lists) EndpointNow(ctx context.Context, scope hook.Scope, id hook.ID) (*hook.Endpoint, error) {
	scope, err := l.scopeOf(ctx, scope, id)
	if err != nil {
		return nil, err
	}
	entry, err := l.dir.Read(ctx, l.db, scope)
	if err != nil {
		return nil, l.fail("read endpoint", err)
	}
	if e := entry.Find(id); e != nil {
		return e, nil
	}
	return nil, hook.NotFound("endpoint")
}

// scopeOf returns the scope with the endpoint's tenant if it has none.
func (l *Lists) scopeOf(ctx context.Context, scope hook.Scope, id hook.ID) (hook.Scope, error) {
	if scope.Tenant != "" {
		return scope, nil
	}
	err := l.db.QueryRowContext(ctx, sqltext.TenantOfEndpoint, id[:], scope.Mode).Scan(&scope.Tenant)
	if err == sql.ErrNoRows {
		return scope, hook.NotFound("endpoint")
	}
	if err != nil {
		return scope, l.fail("find endpoint", err)
	}
	return scope, nil
}

// TenantEndpoints returns all endpoints of a tenant that are not deleted, oldest first,
// with their secrets opened. The snapshots are shared and must not be changed. An unknown
// tenant has none.
func (l *Lists) TenantEndpoints(ctx context.Context, scope hook.Scope) ([]*hook.Endpoint, error) {
	entry, err := l.dir.Entry(ctx, l.db, scope)
	if err != nil {
		return nil, l.fail("list endpoints of tenant", err)
	}
	return entry.Endpoints, nil
}
