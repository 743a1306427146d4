package read

import (
	"bytes"
	"context"
	"slices"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// Lists in ascending order. They are bounded like the others: a page examines a bounded
// number of rows and returns a cursor to continue from, even if it found nothing.

// tenantsUp lists the tenants after the one with the number from, or all if there is
// neither a cursor nor After.
func (l *Lists) tenantsUp(ctx context.Context, q *hook.TenantQuery, from int64) ([]hook.Tenant, string, error) {
	if q.Cursor == "" && q.After == "" {
		from = -1
	}
	end, err := sqltext.Collect(ctx, l.db, scanSeq, "SELECT seq FROM tenants WHERE seq > ? ORDER BY seq LIMIT 1 OFFSET ?", from, l.Scan-1)
	if err != nil {
		return nil, "", l.fail("bound the list", err)
	}
	last := append(end, 1<<62)[0]
	var seqs []int64
	list, err := sqltext.Collect(ctx, l.db, func(row sqltext.Scanner) (n hook.Tenant, err error) {
		var created, seq int64
		err = row.Scan(append(tenantPlaces(&n, &created), &seq)...)
		n.CreatedAt = sqltext.FromMicros(created)
		seqs = append(seqs, seq)
		return n, err
	}, "SELECT "+TenantColumns+", seq FROM tenants WHERE deleted_at = 0 AND seq > ? AND seq <= ? AND (? = '' OR name = ?) ORDER BY seq LIMIT ?",
		from, last, q.Name, q.Name, sqltext.LimitOf(q.Page)+1)
	switch {
	case err != nil:
		return nil, "", l.fail("list tenants", err)
	case len(list) > sqltext.LimitOf(q.Page):
		list = list[:sqltext.LimitOf(q.Page)]
		last = seqs[len(list)-1]
	case len(end) == 0:
		return list, "", nil
	}
	return list, sqltext.CursorOf(seqID(last)), nil
}

// eventsUp lists the events above from, or all if there is no cursor.
func (l *Lists) eventsUp(ctx context.Context, q *hook.EventQuery, of spanOf, from hook.ID) ([]hook.Event, string, error) {
	if q.Cursor == "" {
		from = hook.ID{}
	}
	if low := sqltext.FirstID(q.After); !q.After.IsZero() && bytes.Compare(low[:], from[:]) > 0 {
		from = low // the time in an id is never earlier than that of its acceptance
	}
	rows := of.from + " WHERE " + of.where + " AND " + of.id
	end, err := sqltext.Collect(ctx, l.db, sqltext.ScanID, "SELECT "+of.id+" FROM "+of.bounds+" WHERE "+of.where+" AND "+of.id+" > ? ORDER BY "+of.id+" LIMIT 1 OFFSET ?",
		append(slices.Clone(of.args), from[:], l.Scan-1)...)
	if err != nil {
		return nil, "", l.fail("bound the list", err)
	}
	last := hook.ID(bytes.Repeat([]byte{0xff}, 16))
	if len(end) > 0 {
		last = end[0]
	}
	where, args := eventsWhere(q, append(slices.Clone(of.args), from[:], last[:]))
	found, err := sqltext.Collect(ctx, l.db, scanTagged, "SELECT "+eventHead+" FROM "+rows+" > ? AND "+of.id+` <= ? AND e.accepted_at >= ? AND e.accepted_at < ?
		AND (? = '' OR e.type = ?)`+where+" AND "+sqltext.EventShown+" ORDER BY "+of.id+" LIMIT ?", append(args, sqltext.LimitOf(q.Page)+1)...)
	if err != nil {
		return nil, "", l.fail("list events", err)
	}
	list := make([]hook.Event, 0, len(found))
	for _, e := range found {
		if len(list) == sqltext.LimitOf(q.Page) {
			return list, sqltext.CursorOf(list[len(list)-1].ID), nil
		}
		list = append(list, *e)
	}
	if len(end) == 0 {
		return list, "", nil
	}
	return list, sqltext.CursorOf(last), nil
}
