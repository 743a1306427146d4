package read

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// defaultScan is how many events a page of a list examines before it returns a cursor to
// continue from.
const defaultScan = 20_000

// Event returns an event by our id. An empty tenant means all of the mode. Here and in
// every list, the data of a deleted tenant is not found.
func (l *Lists) Event(ctx context.Context, scope hook.Scope, id hook.ID) (*hook.Event, error) {
	return l.oneEvent(ctx, "e.id = ? AND e.mode = ? AND (? = '' OR e.tenant = ?)", id[:], scope.Mode, scope.Tenant, scope.Tenant)
}

// EventByPublicID returns an event by the id that callers and receivers see: the
// platform's own if it gave one, otherwise ours. An empty tenant means all of the mode. In
// that case it gives CodeConflict if several tenants have an event with the id.
func (l *Lists) EventByPublicID(ctx context.Context, scope hook.Scope, id hook.ID) (*hook.Event, error) {
	ids, err := sqltext.Collect(ctx, l.db, sqltext.ScanID,
		"SELECT e.event FROM event_ids e WHERE e.mode = ? AND e.public_id = ? AND (? = '' OR e.tenant = ?) AND "+sqltext.EventShown+" LIMIT 2",
		scope.Mode, id[:], scope.Tenant, scope.Tenant)
	switch {
	case err != nil:
		return nil, l.fail("find event", err)
	case len(ids) > 1:
		return nil, &hook.Error{Code: hook.CodeConflict, Field: "tenant", Message: "Several tenants have an event with this id; name the tenant."}
	case len(ids) == 1:
		return l.Event(ctx, scope, ids[0])
	}
	return l.oneEvent(ctx, "e.id = ? AND e.mode = ? AND (? = '' OR e.tenant = ?) AND e.public_id IS NULL",
		id[:], scope.Mode, scope.Tenant, scope.Tenant)
}

func (l *Lists) oneEvent(ctx context.Context, where string, args ...any) (*hook.Event, error) {
	found, err := sqltext.Collect(ctx, l.db, sqltext.ScanEvent, "SELECT "+sqltext.EventColumns+" FROM events e WHERE "+where+" AND "+sqltext.EventShown, args...)
	if err != nil {
		return nil, l.fail("read event", err)
	}
	if len(found) == 0 {
		return nil, hook.NotFound("event")
	}
	return found[0], nil
}

// eventHead are the columns of an event without its data. A list does not need the data,
// and a page of the largest events would be 64 MB.
const eventHead = "e.id, e.mode, e.tenant, e.public_id, e.kind, e.type, e.created_at, e.accepted_at, {bytes}, 0, coalesce(e.payload_removed_at, 0)"

// Events lists events, newest first, without their data.
func (l *Lists) Events(ctx context.Context, q hook.EventQuery) ([]hook.Event, string, error) {
	done, err := l.slots.take(ctx, q.Scope)
	if err != nil {
		return nil, "", err
	}
	defer done()
	before, err := sqltext.BeforeOf(q.Page, 1)
	if err != nil {
		return nil, "", err
	}
	span, err := l.span(ctx, eventsOfScope(q.Scope), q.After, q.Before, before[0])
	if err != nil {
		return nil, "", err
	}
	where, args := "", []any{q.Scope.Mode, q.Scope.Tenant, span.low[:], span.high[:], sqltext.Micros(q.After), beforeMicros(q.Before), q.Type, q.Type}
	if q.Test != nil {
		where, args = " AND (e.kind = ?) = ?", append(args, hook.TestEvent, *q.Test)
	}
	list, err := sqltext.Collect(ctx, l.db, sqltext.ScanEvent, "SELECT "+eventHead+` FROM events e
		WHERE e.mode = ? AND `+sqltext.TenantIs(q.Scope)+` AND e.id >= ? AND e.id < ? AND e.accepted_at >= ? AND e.accepted_at < ?
		AND (? = '' OR e.type = ?)`+where+" AND "+sqltext.EventShown+" ORDER BY e.id DESC LIMIT ?",
		append(args, sqltext.LimitOf(q.Page)+1)...)
	if err != nil {
		return nil, "", l.fail("list events", err)
	}
	out := make([]hook.Event, 0, len(list))
	for _, e := range list {
		if len(out) == sqltext.LimitOf(q.Page) {
			return out, sqltext.CursorOf(out[len(out)-1].ID), nil
		}
		out = append(out, *e)
	}
	return out, span.cursor(1), nil
}

// span is the range of events that one page examines.
type span struct {
	low  hook.ID // the oldest event
	high hook.ID // above the newest event
	more bool    // there may be more events below low
}

func (p span) cursor(ids int) string {
	if !p.more {
		return ""
	}
	list := make([]hook.ID, ids)
	list[0] = p.low
	return sqltext.CursorOf(list...)
}

// spanOf is a list of rows ordered by the ids of events. A span is a part of it.
type spanOf struct {
	id, rows string // the column with the id, and FROM and WHERE
	args     []any
}

// eventsOfScope selects the events of a scope.
func eventsOfScope(scope hook.Scope) spanOf {
	return spanOf{"e.id", "events e WHERE e.mode = ? AND " + sqltext.TenantIs(scope), []any{scope.Mode, scope.Tenant}}
}

// span returns the range that a page examines, bounded by a number of rows and by time. The
// time in an id approximates the time of acceptance: it is never earlier, and later only if
// the clock was ahead once (see idsAhead).
func (l *Lists) span(ctx context.Context, of spanOf, after, before time.Time, high hook.ID) (span, error) {
	p := span{high: high}
	if bound := sqltext.FirstID(before.Add(time.Millisecond)); !before.IsZero() && bytes.Compare(bound[:], high[:]) < 0 {
		ahead, err := l.idsAhead(ctx)
		if err != nil {
			return p, err
		}
		if !ahead {
			p.high = bound
		}
	}
	if !after.IsZero() {
		p.low = sqltext.FirstID(after)
	}
	found, err := sqltext.Collect(ctx, l.db, sqltext.ScanID, of.query(), append(slices.Clone(of.args), p.low[:], p.high[:], l.Scan-1)...)
	if err != nil {
		return p, l.fail("bound the list", err)
	}
	if len(found) > 0 {
		p.low, p.more = found[0], true
	}
	return p, nil
}

func (of spanOf) query() string {
	return fmt.Sprintf("SELECT %[1]s FROM %[2]s AND %[1]s >= ? AND %[1]s < ? ORDER BY %[1]s DESC LIMIT 1 OFFSET ?", of.id, of.rows)
}

// idsAhead reports whether the ids of new events contain a time in the future. That is so
// after the clock was ahead and was corrected, until that time has come, because ids never
// go back. An event then has an id of a later time than its acceptance, and a search by
// time must not use ids as its upper bound.
func (l *Lists) idsAhead(ctx context.Context) (bool, error) {
	newest, err := sqltext.Collect(ctx, l.db, sqltext.ScanID, sqltext.NewestEvent)
	if err != nil {
		return false, l.fail("read newest event", err)
	}
	if len(newest) == 0 {
		return false, nil
	}
	until, now := newest[0].Time(), l.now()
	if !sqltext.ClockWasAhead(until, now) {
		return false, nil
	}
	if !l.aheadLogged.Swap(true) {
		l.log.Warn("the clock was ahead once and ids still carry that time: lists by time take longer until it has come",
			"ahead", until.Sub(now).Round(time.Second).String(), "until", until)
	}
	return true, nil
}

func beforeMicros(t time.Time) int64 {
	if t.IsZero() {
		return math.MaxInt64
	}
	return sqltext.Micros(t)
}
