package read

import (
	"context"
	"database/sql"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/directory"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// Endpoints lists endpoints, newest first, without their secrets.
func (l *Lists) Endpoints(ctx context.Context, q hook.EndpointQuery) ([]hook.Endpoint, string, error) {
	before, err := sqltext.BeforeOf(q.Page, 1)
	if err != nil {
		return nil, "", err
	}
	limit := sqltext.LimitOf(q.Page)
	var list []hook.Endpoint
	for {
		const page = 500 // the filter on types is not part of the query
		rows, err := sqltext.Collect(ctx, l.db, l.dir.ScanEndpoint, "SELECT "+directory.EndpointColumns+` FROM endpoints e
			WHERE e.mode = ? AND `+sqltext.TenantIs(q.Scope)+` AND e.status <> ? AND e.id < ? ORDER BY e.id DESC LIMIT ?`,
			q.Scope.Mode, q.Scope.Tenant, hook.Deleted, before[0][:], page)
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
	}
}

func matches(q *hook.EndpointQuery, e *hook.Endpoint) bool {
	if q.Enabled != nil && *q.Enabled != (e.Status == hook.Enabled) {
		return false
	}
	return (q.EventType == "" || e.Types.Match(q.EventType)) && (q.Profile == "" || e.Profile == q.Profile)
}

// Endpoint returns the snapshot in force of an endpoint that is not deleted, with its
// secrets open. The snapshot is shared and must not be changed. It comes from memory if
// the scope was used before. An empty tenant means all of the mode.
func (l *Lists) Endpoint(ctx context.Context, scope hook.Scope, id hook.ID) (*hook.Endpoint, error) {
	if scope.Tenant == "" {
		err := l.db.QueryRowContext(ctx, sqltext.TenantOfEndpoint, id[:], scope.Mode).Scan(&scope.Tenant)
		if err == sql.ErrNoRows {
			return nil, hook.NotFound("endpoint")
		}
		if err != nil {
			return nil, l.fail("find endpoint", err)
		}
	}
	entry, err := l.dir.Entry(ctx, l.db, scope)
	if err != nil {
		return nil, l.fail("read endpoint", err)
	}
	e := entry.Find(id)
	if e == nil && l.shared {
		// Another node may have made it a moment ago.
		if entry, err = l.dir.Read(ctx, l.db, scope); err != nil {
			return nil, l.fail("read endpoint", err)
		}
		e = entry.Find(id)
	}
	if e == nil {
		return nil, hook.NotFound("endpoint")
	}
	return e, nil
}

// TenantEndpoints returns all endpoints of a tenant that are not deleted, oldest first,
// with their secrets open. The snapshots are shared and must not be changed. An unknown
// tenant has none.
func (l *Lists) TenantEndpoints(ctx context.Context, scope hook.Scope) ([]*hook.Endpoint, error) {
	entry, err := l.dir.Entry(ctx, l.db, scope)
	if err != nil {
		return nil, l.fail("list endpoints of tenant", err)
	}
	return entry.Endpoints, nil
}
