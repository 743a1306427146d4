package read

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// defaultScan is how many events a page of a list examines before it returns a cursor to
// continue from.
const defaultScan = 10_000

const firstScan = 500 // see Lists.First

// scans returns how many rows a page examines, as often as it has not found enough.
func (l *Lists) scans() []int {
	if l.Scan <= l.First {
		return []int{l.Scan}
	}
	return []int{l.First, l.Scan}
}

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
	found, err := sqltext.Collect(ctx, l.db, scanTagged, "SELECT "+sqltext.EventColumns+", {tags} FROM events e WHERE "+where+" AND "+sqltext.EventShown, args...)
	if err != nil {
		return nil, l.fail("read event", err)
	}
	if len(found) == 0 {
		return nil, hook.NotFound("event")
	}
	return found[0], nil
}

// eventHead are the columns of an event without its data, and its tags. A list does not
// need the data, and a page of the largest events would be 64 MB.
const eventHead = "e.id, e.mode, e.tenant, e.public_id, e.kind, e.type, coalesce(e.channels, ''), e.created_at, e.accepted_at, {bytes}, 0, coalesce(e.payload_removed_at, 0), coalesce(e.deliver_at, 0), {tags}"

// scanTagged reads an event and its tags.
func scanTagged(row sqltext.Scanner) (*hook.Event, error) {
	var text *string
	e, err := sqltext.ScanEventAnd(row, &text)
	if err != nil || text == nil {
		return e, err
	}
	tags := map[string]string{}
	if err := json.Unmarshal([]byte(*text), &tags); err != nil {
		return nil, fmt.Errorf("read tags of %s: %w", e.ID, err)
	}
	for name, value := range tags {
		e.Tags = append(e.Tags, hook.Tag{Name: name, Value: value})
	}
	e.Tags = hook.NewTags(e.Tags...)
	return e, nil
}

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
	of := eventsWith(q.Scope, q.Tag)
	if q.Ascending {
		return l.eventsUp(ctx, &q, of, before[0])
	}
	all, err := l.within(ctx, q.After, q.Before, before[0])
	if err != nil {
		return nil, "", err
	}
	var span span
	var list []*hook.Event
	for _, most := range l.scans() {
		if span, err = l.bound(ctx, of, all, most); err != nil {
			return nil, "", err
		}
		query, args := eventsPage(&q, of, span)
		if list, err = sqltext.Collect(ctx, l.db, scanTagged, query, args...); err != nil {
			return nil, "", l.fail("list events", err)
		}
		if !span.more || len(list) > sqltext.LimitOf(q.Page) {
			break
		}
	}
	out := make([]hook.Event, 0, len(list))
	for _, e := range list {
		if len(out) == sqltext.LimitOf(q.Page) {
			return out, sqltext.CursorOf(out[len(out)-1].ID), nil
		}
		out = append(out, *e)
	}
	return out, l.stopped(span, q.Page, 1), nil
}

// eventsPage returns the query for a page of events and one more.
func eventsPage(q *hook.EventQuery, of spanOf, span span) (string, []any) {
	where, args := eventsWhere(q, append(slices.Clone(of.args), span.low[:], span.high[:]))
	return "SELECT " + eventHead + " FROM " + of.from + " WHERE " + of.where + " AND " + of.id + " >= ? AND " + of.id + ` < ? AND e.accepted_at >= ? AND e.accepted_at < ?
		AND (? = '' OR e.type = ?)` + where + " AND " + sqltext.EventShown + " ORDER BY " + of.id + " DESC LIMIT ?", append(args, sqltext.LimitOf(q.Page)+1)
}

// eventsWhere returns the conditions that only some searches have, and args with the
// arguments of all conditions.
func eventsWhere(q *hook.EventQuery, args []any) (string, []any) {
	where, args := "", append(args, sqltext.Micros(q.After), beforeMicros(q.Before), q.Type, q.Type)
	if q.Test != nil {
		where, args = " AND (e.kind = ?) = ?", append(args, hook.TestEvent, *q.Test)
	}
	if q.Channel != "" {
		where, args = where+" AND "+sqltext.OnChannel, append(args, hook.Channels{q.Channel}.Text())
	}
	return where, args
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

// stopped returns the cursor after a page that examined its whole span, and says how far
// that was if there may be more.
func (l *Lists) stopped(p span, page hook.Page, ids int) string {
	if p.more && page.Reach != nil {
		*page.Reach = hook.Reach{Scanned: l.Scan, Until: p.low.Time()}
	}
	return p.cursor(ids)
}

// spanOf is a list of rows ordered by the ids of events. A span is a part of it.
type spanOf struct {
	id     string // the column with the id
	bounds string // the table that has it
	from   string // the same table, joined with the events e
	where  string
	args   []any
}

// eventsOfScope selects the events of a scope.
func eventsOfScope(scope hook.Scope) spanOf {
	return spanOf{"e.id", "events e", "events e", "e.mode = ? AND " + sqltext.TenantIs(scope), []any{scope.Mode, scope.Tenant}}
}

// eventsWith selects the events of a scope that have a tag; nil means all of them.
func eventsWith(scope hook.Scope, tag *hook.Tag) spanOf {
	if tag == nil {
		return eventsOfScope(scope)
	}
	of := spanOf{"g.event", "event_tags g", "event_tags g {then} events e ON e.id = g.event", "g.mode = ? AND g.tenant = ? AND g.name = ? AND g.value = ?",
		[]any{scope.Mode, scope.Tenant, tag.Name, tag.Value}}
	if scope.Tenant == "" {
		of.where, of.args = "g.mode = ? AND g.name = ? AND g.value = ?", []any{scope.Mode, tag.Name, tag.Value}
	}
	return of
}

// span returns the range that a page examines, bounded by a number of rows and by time.
func (l *Lists) span(ctx context.Context, of spanOf, after, before time.Time, high hook.ID) (span, error) {
	p, err := l.within(ctx, after, before, high)
	if err != nil {
		return p, err
	}
	return l.bound(ctx, of, p, l.Scan)
}

// within returns a range bounded by time. The time in an id approximates the time of
// acceptance: it is never earlier, and later only if the clock was ahead once (see idsAhead).
func (l *Lists) within(ctx context.Context, after, before time.Time, high hook.ID) (span, error) {
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
	return p, nil
}

// bound moves the lower end of a span up, so that the span has at most that many rows.
func (l *Lists) bound(ctx context.Context, of spanOf, p span, most int) (span, error) {
	found, err := sqltext.Collect(ctx, l.db, sqltext.ScanID, of.query(), append(slices.Clone(of.args), p.low[:], p.high[:], most-1)...)
	if err != nil {
		return p, l.fail("bound the list", err)
	}
	if len(found) > 0 {
		p.low, p.more = found[0], true
	}
	return p, nil
}

func (of spanOf) query() string {
	return fmt.Sprintf("SELECT %[1]s FROM %[2]s WHERE %[3]s AND %[1]s >= ? AND %[1]s < ? ORDER BY %[1]s DESC LIMIT 1 OFFSET ?", of.id, of.bounds, of.where)
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
