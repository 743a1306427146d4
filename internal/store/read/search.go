package read

import (
	"cmp"
	"context"
	"slices"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// finder is a search for the ids of one kind.
type finder struct {
	kind      hook.FoundKind
	of        spanOf  // what is examined
	low, high hook.ID // of it, without high
	columns   string  // id, tenant, name, time
	where     string  // further conditions, beginning with AND
	args      []any
}

// finders returns the searches for ids in the range of a query.
func finders(q *hook.IDQuery) []finder {
	mode := "e.mode = ?"
	if q.Scope.Tenant == "" {
		mode = "e.mode + 0 = ?" // by the range of ids, not by the index that begins with the mode
	}
	inScope := func(table string) spanOf {
		return spanOf{"e.id", table + " e", table + " e", mode + " AND " + sqltext.TenantIs(q.Scope), []any{q.Scope.Mode, q.Scope.Tenant}}
	}
	above := q.High.Above()
	eventLow, _ := hook.EventRange(q.Low)
	_, eventHigh := hook.EventRange(q.High)
	events := eventsOfScope(q.Scope)
	deliveries := events
	deliveries.from += " {deliveries}{each}"
	all := []finder{
		{hook.FoundEvent, events, q.Low, above, "e.id, e.tenant, e.type, e.accepted_at", " AND e.public_id IS NULL AND " + sqltext.EventShown, nil},
		givenFinder(q, q.Low, above),
		{hook.FoundDelivery, deliveries, eventLow, eventHigh.Above(), "d.id, d.tenant, d.type, d.created_at", " AND d.id >= ? AND d.id <= ? AND " + sqltext.EventShown, []any{q.Low[:], q.High[:]}},
		{hook.FoundEndpoint, inScope("endpoints"), q.Low, above, "e.id, e.tenant, e.url, e.created_at", " AND e.status <> ?", []any{hook.Deleted}},
		{hook.FoundReplay, inScope("replays"), q.Low, above, "e.id, e.tenant, e.source, e.created_at", " AND " + sqltext.EventShown, nil},
	}
	if q.Administers {
		all = append(all, finder{hook.FoundKey, inScope("keys"), q.Low, above, "e.id, e.tenant, CASE WHEN e.name = '' THEN e.kind ELSE e.name END, e.created_at", " AND e.revoked_at = 0", nil})
	}
	return all
}

// givenFinder returns the search for events by the ids that the platform gave them. The
// index begins with the id. A page examines ids of all tenants of the mode.
func givenFinder(q *hook.IDQuery, low, above hook.ID) finder {
	given := spanOf{"e.public_id", "event_ids e", "event_ids e {then} events v ON v.id = e.event", "e.mode = ?", []any{q.Scope.Mode}}
	return finder{hook.FoundEvent, given, low, above, "v.public_id, e.tenant, v.type, v.accepted_at", " AND (? = '' OR e.tenant = ?) AND " + sqltext.EventShown, []any{q.Scope.Tenant, q.Scope.Tenant}}
}

// query returns the search within a span, for one result more than are shown.
func (f *finder) query(p span) (string, []any) {
	args := append(append(slices.Clone(f.of.args), p.low[:], p.high[:]), f.args...)
	return "SELECT " + f.columns + " FROM " + f.of.from + " WHERE " + f.of.where + " AND " + f.of.id + " >= ? AND " + f.of.id + " < ?" + f.where +
		" ORDER BY " + f.of.id + " DESC LIMIT ?", append(args, hook.MostFound+1)
}

func scanFound(row sqltext.Scanner) (f hook.Found, err error) {
	var id hook.ID
	var given string
	var at int64
	err = row.Scan(sqltext.PublicPlace{ID: &id, Given: &given}, &f.Tenant, &f.Name, &at)
	f.ID, f.CreatedAt = hook.PublicText(id, given), sqltext.FromMicros(at)
	return f, err
}

// tenantsNamed finds tenants by their ids, requestNamed what a request did.
const (
	tenantsNamed = "SELECT id, id, name, created_at FROM tenants WHERE id >= ? AND id <= ? AND deleted_at = 0 ORDER BY id LIMIT ?"
	requestNamed = `SELECT e.request, e.tenant, e.act, e.at FROM (SELECT * FROM audit WHERE mode = ? AND request = ? AND request <> '' ORDER BY id DESC LIMIT ?) e
		WHERE (? = '' OR e.tenant = ?) AND ` + sqltext.EventShown + ` ORDER BY e.id DESC LIMIT 1`
)

func scanNamed(row sqltext.Scanner) (f hook.Found, err error) {
	var at int64
	err = row.Scan(&f.ID, &f.Tenant, &f.Name, &at)
	f.CreatedAt = sqltext.FromMicros(at)
	return f, err
}

// FindID finds what has an id, or an id that begins with the text. It examines a bounded
// number of rows of each kind, the newest first.
func (l *Lists) FindID(ctx context.Context, q hook.IDQuery) (out hook.FoundPage, err error) {
	done, err := l.slots.take(ctx, q.Scope)
	if err != nil {
		return out, err
	}
	defer done()
	var searches []finder
	if id, given, ok := hook.EventID(q.Text); ok && given != "" {
		searches = append(searches, givenFinder(&q, id, id.Above()))
	}
	if q.IsPrefix {
		searches = append(searches, finders(&q)...)
	}
	for _, f := range searches {
		p, err := l.bound(ctx, f.of, span{low: f.low, high: f.high}, l.Scan)
		if err != nil {
			return out, err
		}
		query, args := f.query(p)
		found, err := sqltext.Collect(ctx, l.db, scanFound, query, args...)
		if err != nil {
			return out, l.fail("search for an id", err)
		}
		addFound(&out, f.kind, found, p.more)
	}
	if q.Administers {
		ranges := [][2]string{{q.Text, q.Text}}
		if q.IsPrefix {
			ranges = append(ranges, [2]string{q.Prefix, q.Prefix + "~"}) // no character of an id is greater
		}
		for _, r := range ranges {
			found, err := sqltext.Collect(ctx, l.db, scanNamed, tenantsNamed, r[0], r[1], hook.MostFound+1)
			if err != nil {
				return out, l.fail("search for a tenant", err)
			}
			addFound(&out, hook.FoundTenant, found, false)
		}
	}
	if !q.Audits {
		return out, nil
	}
	found, err := sqltext.Collect(ctx, l.db, scanNamed, requestNamed, q.Scope.Mode, q.Text, l.Scan, q.Scope.Tenant, q.Scope.Tenant)
	if err != nil {
		return out, l.fail("search for a request", err)
	}
	addFound(&out, hook.FoundRequest, found, false)
	return out, nil
}

// addFound adds results of a kind, newest first, up to the bound.
func addFound(to *hook.FoundPage, kind hook.FoundKind, found []hook.Found, more bool) {
	first := len(to.Found)
	for first > 0 && to.Found[first-1].Kind == kind {
		first--
	}
	for _, f := range found {
		f.Kind = kind
		if !slices.ContainsFunc(to.Found[first:], func(o hook.Found) bool { return o.ID == f.ID && o.Tenant == f.Tenant }) {
			to.Found = append(to.Found, f)
		}
	}
	slices.SortStableFunc(to.Found[first:], func(a, b hook.Found) int { return cmp.Compare(b.CreatedAt.UnixMicro(), a.CreatedAt.UnixMicro()) })
	if len(to.Found)-first > hook.MostFound {
		to.Found, more = to.Found[:first+hook.MostFound], true
	}
	if more && !slices.Contains(to.More, kind) {
		to.More = append(to.More, kind)
	}
}
