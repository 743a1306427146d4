package read

import (
	"context"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// logSpan bounds how many of the tenant's newest events an endpoint's log examines. No
// index serves the log, because an index would cost a write for every delivery.
const logSpan = 100_000

// Healths returns the health records of the endpoints that have one. Ids outside the scope
// are ignored.
func (l *Lists) Healths(ctx context.Context, scope hook.Scope, ids []hook.ID) (map[hook.ID]hook.Health, error) {
	found := map[hook.ID]hook.Health{}
	if len(ids) == 0 {
		return found, nil
	}
	args := []any{scope.Mode, scope.Tenant, scope.Tenant}
	for _, id := range ids {
		args = append(args, id[:])
	}
	_, err := sqltext.Collect(ctx, l.db, func(row sqltext.Scanner) (h hook.Health, err error) {
		var id hook.ID
		var first, last, warned int64
		err = row.Scan(sqltext.Blob(id[:]), &h.Failures, &first, &last, &warned)
		h.FirstFailureAt, h.LastFailureAt, h.WarnedAt = sqltext.FromMicros(first), sqltext.FromMicros(last), sqltext.FromMicros(warned)
		found[id] = h
		return h, err
	}, `SELECT endpoint, failures, first_failure_at, last_failure_at, warned_at FROM health
		WHERE mode = ? AND (? = '' OR tenant = ?) AND endpoint IN (?`+strings.Repeat(", ?", len(ids)-1)+")", args...)
	if err != nil {
		return nil, l.fail("read health", err)
	}
	return found, nil
}

// EndpointLog returns a window of an endpoint's deliveries, newest event first, and how
// many deliveries match the query. It examines the tenant's newest 100,000 events. Older
// ones are neither listed nor counted.
func (l *Lists) EndpointLog(ctx context.Context, q hook.EndpointLog) ([]hook.LoggedDelivery, int, error) {
	done, err := l.slots.take(ctx, q.Scope)
	if err != nil {
		return nil, 0, err
	}
	defer done()
	view, err := l.db.View(ctx) // so that the count and the list agree
	if err != nil {
		return nil, 0, l.fail("list deliveries of endpoint", err)
	}
	defer view.Done()
	low, err := sqltext.Collect(ctx, view, sqltext.ScanID, "SELECT id FROM events WHERE mode = ? AND tenant = ? ORDER BY id DESC LIMIT 1 OFFSET ?",
		q.Scope.Mode, q.Scope.Tenant, logSpan-1)
	if err != nil {
		return nil, 0, l.fail("bound the list", err)
	}
	from, args := logFrom(&q)
	if len(low) > 0 {
		from, args = from+" AND e.id >= ?", append(args, low[0][:])
	}
	count := 0
	if _, err := sqltext.ReadRow(ctx, view, "SELECT count(*)"+from, args, &count); err != nil {
		return nil, 0, l.fail("count deliveries of endpoint", err)
	}
	list, err := sqltext.Collect(ctx, view, scanLogged, "SELECT "+sqltext.DeliveryColumns+`, e.public_id,
		coalesce((SELECT a.at + a.duration_us FROM attempts a WHERE a.event = d.event AND a.endpoint = d.endpoint AND a.number = d.attempts), 0),
		coalesce((SELECT a.message FROM attempts a WHERE a.event = d.event AND a.endpoint = d.endpoint AND a.number = d.attempts), '')`+
		from+" ORDER BY e.id DESC LIMIT ? OFFSET ?", append(args, q.Limit, q.Offset)...)
	if err != nil {
		return nil, 0, l.fail("list deliveries of endpoint", err)
	}
	return list, count, nil
}

func scanLogged(row sqltext.Scanner) (hook.LoggedDelivery, error) {
	var l hook.LoggedDelivery
	var attempted int64
	var err error
	l.Delivery, err = sqltext.ScanDeliveryAnd(row, sqltext.PublicPlace{ID: &l.PublicID, Given: &l.GivenID}, &attempted, &l.Message)
	if l.PublicID.IsZero() {
		l.PublicID = l.Event
	}
	l.Delivery = l.Delivery.Shown()
	for _, at := range []time.Time{l.CreatedAt, sqltext.FromMicros(attempted), l.SettledAt} {
		if at.After(l.UpdatedAt) {
			l.UpdatedAt = at
		}
	}
	return l, err
}

// logFrom returns the FROM and WHERE of an endpoint's log. They walk the tenant's events
// by an index and find the delivery of each by its key.
func logFrom(q *hook.EndpointLog) (string, []any) {
	from := ` FROM events e {deliveries} AND d.endpoint = ?{each}
		WHERE e.mode = ? AND e.tenant = ? AND d.mode = ? AND d.tenant = ?`
	args := []any{q.Endpoint[:], q.Scope.Mode, q.Scope.Tenant, q.Scope.Mode, q.Scope.Tenant}
	if q.Type != "" {
		from, args = from+" AND d.type = ?", append(args, q.Type)
	}
	var stages []string
	for _, stage := range q.Stages {
		one := "d.state = ?"
		args = append(args, stage.State)
		if stage.Attempted != nil {
			one += " AND (d.attempts > 0) = ?"
			args = append(args, *stage.Attempted)
		}
		stages = append(stages, "("+one+")")
	}
	if len(stages) > 0 {
		from += " AND (" + strings.Join(stages, " OR ") + ")"
	}
	return from, args
}
