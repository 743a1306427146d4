package read

import (
	"context"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// ScanHealth reads a health record.
func ScanHealth(row sqltext.Scanner) (hook.Health, error) {
	var h hook.Health
	var first, last, warned int64
	err := row.Scan(&h.Failures, &first, &last, &warned)
	h.FirstFailureAt, h.LastFailureAt, h.WarnedAt = sqltext.FromMicros(first), sqltext.FromMicros(last), sqltext.FromMicros(warned)
	return h, err
}

// HealthOf reads an endpoint's health record.
func HealthOf(ctx context.Context, q sqltext.Querier, id hook.ID) (hook.Health, error) {
	found, err := sqltext.Collect(ctx, q, ScanHealth, "SELECT failures, first_failure_at, last_failure_at, warned_at FROM health WHERE endpoint = ?", id[:])
	if err != nil || len(found) == 0 {
		return hook.Health{}, sqltext.Wrap("read health", err)
	}
	return found[0], nil
}

// Health returns the endpoint's health record and the number of its held deliveries,
// counted up to hook.StatsCap. An empty tenant means all of the mode.
func (l *Lists) Health(ctx context.Context, scope hook.Scope, id hook.ID) (hook.Health, int, error) {
	if _, err := l.Endpoint(ctx, scope, id); err != nil {
		return hook.Health{}, 0, err
	}
	h, err := HealthOf(ctx, l.db, id)
	if err != nil {
		return hook.Health{}, 0, l.fail("read health", err)
	}
	var held int
	err = l.db.QueryRowContext(ctx, heldOf, id[:], hook.StatsCap).Scan(&held)
	if err != nil {
		return hook.Health{}, 0, l.fail("count held deliveries", err)
	}
	return h, held, nil
}
