package store

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"math"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// defaultScan is how many events a page of a list looks at before it stops and
// hands out a cursor to go on from.
const defaultScan = 20_000

const eventColumns = "e.id, e.mode, e.tenant, e.public_id, e.kind, e.type, e.created_at, e.accepted_at, e.data, e.checksum"

// scanEvent refuses a row whose data is not what was stored: a wrong body must
// never be sent.
func scanEvent(row scanner) (*hook.Event, error) {
	e := &hook.Event{}
	var created, accepted, checksum int64
	err := row.Scan(blob(e.ID[:]), &e.Scope.Mode, &e.Scope.Tenant, blob(e.PublicID[:]), &e.Kind, &e.Type, &created, &accepted,
		&e.Data, &checksum)
	if err != nil {
		return nil, err
	}
	if e.PublicID.IsZero() {
		e.PublicID = e.ID
	}
	e.CreatedAt, e.AcceptedAt = fromMicros(created), fromMicros(accepted)
	if int64(crc32.Checksum(e.Data, castagnoli)) != checksum {
		return nil, errors.Join(ErrCorrupt, errors.New("event "+e.ID.String()+" does not match its checksum"))
	}
	return e, nil
}

// Event returns an event by our key. An empty tenant means all of the mode.
func (s *Store) Event(ctx context.Context, scope hook.Scope, id hook.ID) (*hook.Event, error) {
	return s.oneEvent(ctx, "e.id = ? AND e.mode = ? AND (? = '' OR e.tenant = ?)", id[:], scope.Mode, scope.Tenant, scope.Tenant)
}

// EventByPublicID returns an event by the id that callers and receivers see: the
// platform's own if it gave one, else ours. An empty tenant means all of the mode;
// if several tenants have an event with the id then, it gives CodeConflict.
func (s *Store) EventByPublicID(ctx context.Context, scope hook.Scope, id hook.ID) (*hook.Event, error) {
	ids, err := collect(ctx, s.read, scanID,
		"SELECT event FROM event_ids WHERE mode = ? AND public_id = ? AND (? = '' OR tenant = ?) LIMIT 2",
		scope.Mode, id[:], scope.Tenant, scope.Tenant)
	switch {
	case err != nil:
		return nil, s.readError("find event", err)
	case len(ids) > 1:
		return nil, &hook.Error{Code: hook.CodeConflict, Field: "tenant", Message: "Several tenants have an event with this id; name the tenant."}
	case len(ids) == 1:
		return s.Event(ctx, scope, ids[0])
	}
	return s.oneEvent(ctx, "e.id = ? AND e.mode = ? AND (? = '' OR e.tenant = ?) AND e.public_id IS NULL",
		id[:], scope.Mode, scope.Tenant, scope.Tenant)
}

func (s *Store) oneEvent(ctx context.Context, where string, args ...any) (*hook.Event, error) {
	found, err := collect(ctx, s.read, scanEvent, "SELECT "+eventColumns+" FROM events e WHERE "+where, args...)
	if err != nil {
		return nil, s.readError("read event", err)
	}
	if len(found) == 0 {
		return nil, hook.NotFound("event")
	}
	return found[0], nil
}

// eventHead is an event without its data, which a list has no use for: a page of
// the largest would be 64 MB.
const eventHead = "e.id, e.mode, e.tenant, e.public_id, e.kind, e.type, e.created_at, e.accepted_at, {bytes}, 0"

// Events lists events, newest first, without their data.
func (s *Store) Events(ctx context.Context, q hook.EventQuery) ([]hook.Event, string, error) {
	done, err := s.turns.take(ctx, q.Scope)
	if err != nil {
		return nil, "", err
	}
	defer done()
	before, err := beforeOf(q.Page, 1)
	if err != nil {
		return nil, "", err
	}
	span, err := s.span(ctx, q.Scope, q.After, q.Before, before[0])
	if err != nil {
		return nil, "", err
	}
	list, err := collect(ctx, s.read, scanEvent, "SELECT "+eventHead+` FROM events e
		WHERE e.mode = ? AND `+tenantIs(q.Scope)+` AND e.id >= ? AND e.id < ? AND e.accepted_at >= ? AND e.accepted_at < ?
		AND (? = '' OR e.type = ?) ORDER BY e.id DESC LIMIT ?`,
		q.Scope.Mode, q.Scope.Tenant, span.low[:], span.high[:], micros(q.After), beforeMicros(q.Before), q.Type, q.Type, limitOf(q.Page)+1)
	if err != nil {
		return nil, "", s.readError("list events", err)
	}
	out := make([]hook.Event, 0, len(list))
	for _, e := range list {
		if len(out) == limitOf(q.Page) {
			return out, cursorOf(out[len(out)-1].ID), nil
		}
		out = append(out, *e)
	}
	return out, span.cursor(1), nil
}

func scanID(row scanner) (hook.ID, error) {
	var id hook.ID
	err := row.Scan(blob(id[:]))
	return id, err
}

// tenantIs is the condition on the tenant of the row e, for one argument. Written out,
// so that the index on (mode, tenant, id) serves a scope with a tenant.
func tenantIs(scope hook.Scope) string {
	if scope.Tenant == "" {
		return "? = ''"
	}
	return "e.tenant = ?"
}

// span is the part of the order of events that one page looks at.
type span struct {
	low  hook.ID // the oldest to look at
	high hook.ID // just above the newest
	more bool    // there may be more below low
}

func (p span) cursor(ids int) string {
	if !p.more {
		return ""
	}
	list := make([]hook.ID, ids)
	list[0] = p.low
	return cursorOf(list...)
}

// span bounds the look at a number of events. The times of ids stand for the times
// of acceptance, which they are.
func (s *Store) span(ctx context.Context, scope hook.Scope, after, before time.Time, high hook.ID) (span, error) {
	p := span{high: high}
	if !before.IsZero() {
		if bound := firstID(before.Add(time.Millisecond)); bytes.Compare(bound[:], high[:]) < 0 {
			p.high = bound
		}
	}
	if !after.IsZero() {
		p.low = firstID(after)
	}
	found, err := collect(ctx, s.read, scanID,
		"SELECT e.id FROM events e WHERE e.mode = ? AND "+tenantIs(scope)+" AND e.id >= ? AND e.id < ? ORDER BY e.id DESC LIMIT 1 OFFSET ?",
		scope.Mode, scope.Tenant, p.low[:], p.high[:], s.scanBound-1)
	if err != nil {
		return p, s.readError("bound the list", err)
	}
	if len(found) > 0 {
		p.low, p.more = found[0], true
	}
	return p, nil
}

func beforeMicros(t time.Time) int64 {
	if t.IsZero() {
		return math.MaxInt64
	}
	return micros(t)
}

// firstID returns the smallest id of a time.
func firstID(at time.Time) (id hook.ID) {
	ms := uint64(max(at.UnixMilli(), 0))
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	return id
}
