package read

import (
	"context"
	"encoding/json"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// ErasureColumns are the columns that ScanErasure reads.
const ErasureColumns = "id, mode, tenant, event, public_id, state, step, progress, counts, asked_kind, asked_by, owner, fence, created_at, updated_at, ended_at"

// ScanErasure reads an erasure.
func ScanErasure(row sqltext.Scanner) (hook.Erasure, error) {
	var e hook.Erasure
	var counts string
	var created, updated, ended int64
	err := row.Scan(sqltext.Blob(e.ID[:]), &e.Mode, &e.Tenant, sqltext.Blob(e.Event[:]), sqltext.Blob(e.PublicID[:]), &e.State, &e.Step, &e.Cursor,
		&counts, &e.By.Kind, &e.By.ID, &e.Owner, &e.Fence, &created, &updated, &ended)
	if err != nil {
		return e, err
	}
	e.CreatedAt, e.UpdatedAt, e.EndedAt = sqltext.FromMicros(created), sqltext.FromMicros(updated), sqltext.FromMicros(ended)
	return e, json.Unmarshal([]byte(counts), &e.Counts)
}

// Erasure returns an erasure of a mode.
func (l *Lists) Erasure(ctx context.Context, mode hook.Mode, id hook.ID) (hook.Erasure, error) {
	return l.oneErasure(ctx, "id = ? AND mode = ?", id[:], mode)
}

// ErasureOf returns the newest erasure of a tenant, or of an event that it finds by the id
// that receivers see. An empty tenant means any.
func (l *Lists) ErasureOf(ctx context.Context, n *hook.NewErasure) (hook.Erasure, error) {
	if !n.PublicID.IsZero() {
		return l.oneErasure(ctx, "mode = ? AND public_id = ? AND (? = '' OR tenant = ?)", n.Mode, n.PublicID[:], n.Tenant, n.Tenant)
	}
	return l.oneErasure(ctx, "tenant = ? AND event = ?", n.Tenant, n.PublicID[:])
}

func (l *Lists) oneErasure(ctx context.Context, where string, args ...any) (hook.Erasure, error) {
	found, err := sqltext.Collect(ctx, l.db, ScanErasure, "SELECT "+ErasureColumns+" FROM erasures WHERE "+where+" ORDER BY id DESC LIMIT 1", args...)
	if err != nil {
		return hook.Erasure{}, l.fail("read erasure", err)
	}
	if len(found) == 0 {
		return hook.Erasure{}, hook.NotFound("erasure")
	}
	return found[0], nil
}

// Erasures lists the erasures of a mode, newest first. A page examines a bounded number of
// rows and returns a cursor to continue from, even if it found nothing.
func (l *Lists) Erasures(ctx context.Context, q hook.ErasureQuery) ([]hook.Erasure, string, error) {
	before, err := sqltext.BeforeOf(q.Page, 1)
	if err != nil {
		return nil, "", err
	}
	span, err := l.span(ctx, spanOf{id: "e.id", bounds: "erasures e", where: "e.mode = ?", args: []any{q.Mode}}, time.Time{}, time.Time{}, before[0])
	if err != nil {
		return nil, "", err
	}
	where, args := "", []any{q.Mode, span.low[:], span.high[:]}
	if q.Tenant != "" {
		where, args = where+" AND tenant = ?", append(args, q.Tenant)
	}
	if q.State != nil {
		where, args = where+" AND state = ?", append(args, *q.State)
	}
	limit := sqltext.LimitOf(q.Page)
	list, err := sqltext.Collect(ctx, l.db, ScanErasure, "SELECT "+ErasureColumns+" FROM erasures WHERE mode = ? AND id >= ? AND id < ?"+where+
		" ORDER BY id DESC LIMIT ?", append(args, limit+1)...)
	if err != nil {
		return nil, "", l.fail("list erasures", err)
	}
	if len(list) <= limit {
		return list, span.cursor(1), nil
	}
	list = list[:limit]
	return list, sqltext.CursorOf(list[len(list)-1].ID), nil
}
