package store

import (
	"context"
	"database/sql"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// endpointByID returns the writer's snapshot of a live endpoint. An empty tenant
// means all of the mode.
func (t *tx) endpointByID(scope hook.Scope, id hook.ID) (*hook.Endpoint, error) {
	if scope.Tenant == "" {
		ok, err := t.row("find endpoint", tenantOfEndpoint, []any{id[:], scope.Mode}, &scope.Tenant)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, hook.NotFound("endpoint")
		}
	}
	e, err := t.endpoint(scope, id)
	if err != nil {
		return nil, err
	}
	if e == nil {
		return nil, hook.NotFound("endpoint")
	}
	return e, nil
}

const tenantOfEndpoint = "SELECT tenant FROM endpoints WHERE id = ? AND mode = ?"

// Endpoint returns the snapshot in force of an endpoint that is not deleted, with
// its secrets open. It comes from memory once the scope was used, is shared, and
// must not be changed. An empty tenant means all of the mode.
func (s *Store) Endpoint(ctx context.Context, scope hook.Scope, id hook.ID) (*hook.Endpoint, error) {
	if scope.Tenant == "" {
		err := s.read.QueryRowContext(ctx, tenantOfEndpoint, id[:], scope.Mode).Scan(&scope.Tenant)
		if err == sql.ErrNoRows {
			return nil, hook.NotFound("endpoint")
		}
		if err != nil {
			return nil, s.readError("find endpoint", err)
		}
	}
	entry, err := s.entry(ctx, scope)
	if err != nil {
		return nil, s.readError("read endpoint", err)
	}
	e := entry.find(id)
	if e == nil && s.peers.Shared() {
		// It may have been made through another node a moment ago.
		if entry, err = s.readEntry(ctx, scope); err != nil {
			return nil, s.readError("read endpoint", err)
		}
		e = entry.find(id)
	}
	if e == nil {
		return nil, hook.NotFound("endpoint")
	}
	return e, nil
}

// Endpoints lists endpoints, newest first, without their secrets.
func (s *Store) Endpoints(ctx context.Context, q hook.EndpointQuery) ([]hook.Endpoint, string, error) {
	before, err := sqltext.BeforeOf(q.Page, 1)
	if err != nil {
		return nil, "", err
	}
	limit := sqltext.LimitOf(q.Page)
	var list []hook.Endpoint
	for {
		const page = 500 // the filter on types is ours, not SQL's
		rows, err := sqltext.Collect(ctx, s.read, s.scanEndpoint, "SELECT "+endpointColumns+` FROM endpoints e
			WHERE e.mode = ? AND `+sqltext.TenantIs(q.Scope)+` AND e.status <> ? AND e.id < ? ORDER BY e.id DESC LIMIT ?`,
			q.Scope.Mode, q.Scope.Tenant, hook.Deleted, before[0][:], page)
		if err != nil {
			return nil, "", s.readError("list endpoints", err)
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

// DeleteEndpoint deletes an endpoint softly: it is gone for every caller, what
// waits is cancelled, and the history of its deliveries stays until retention. An
// empty scope tenant means all of the mode. Each check sees the endpoint first, on
// the writer, and stops the deletion with an error.
func (s *Store) DeleteEndpoint(ctx context.Context, scope hook.Scope, id hook.ID, checks ...func(hook.Endpoint) error) error {
	return s.doFor(ctx, scope, "delete endpoint", 4, func(t *tx) error {
		old, err := t.endpointByID(scope, id)
		if err != nil {
			return err
		}
		for _, check := range checks {
			if err := check(*old); err != nil {
				return err
			}
		}
		return t.deleteEndpoint(old)
	})
}

// deleteEndpoint drops the secrets and header values with the endpoint: nothing
// will be signed for it again.
func (t *tx) deleteEndpoint(old *hook.Endpoint) error {
	next := *old
	next.Status, next.DisabledReason, next.DisabledAt = hook.Deleted, "", t.now
	next.Secrets, next.Headers, next.Damaged = nil, nil, false
	if err := t.clearHealth(old); err != nil {
		return err
	}
	if err := t.orderCancel(old); err != nil {
		return err
	}
	return t.saveEndpoint(&next)
}
