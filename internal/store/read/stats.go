package read

import (
	"context"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

const (
	// statRows finds the rows of one subject by key, one span after the other.
	statRows = `WITH RECURSIVE m(start) AS (SELECT CAST(? AS bigint) UNION ALL SELECT start + ? FROM m WHERE start + ? < ?)
		SELECT s.start, s.data FROM m {then} stats s ON s.span = ? AND s.start = m.start AND s.mode = ? AND s.tenant = ? AND s.endpoint = ?`
	// statRowsOf is statRows for several endpoints. They are found by their ids, not by the mode.
	statRowsOf = `WITH RECURSIVE m(start) AS (SELECT CAST(? AS bigint) UNION ALL SELECT start + ? FROM m WHERE start + ? < ?)
		SELECT s.endpoint, s.start, s.data FROM endpoints e {then} m ON e.mode + 0 = ? {then} stats s ON s.span = ? AND s.start = m.start AND s.mode = e.mode AND s.tenant = e.tenant AND s.endpoint = e.id
		WHERE e.id IN ({in})`
	// statLogRows reads what has not been added to stats yet: for minutes the last ones,
	// for hours also the rows of minutes.
	statLogRows = "SELECT start, data FROM stat_log WHERE span <= ? AND start >= ? AND start < ?"
)

// Buckets returns the tallies of a scope or endpoint, and the number of open deliveries in
// it. From and To are multiples of Step. A step of less than an hour reads minutes, others
// read hours. Buckets reads one consistent state of the database, including everything
// committed before the call.
func (l *Lists) Buckets(ctx context.Context, q hook.StatsQuery) (hook.Stats, error) {
	out := hook.Stats{Scope: q.Scope, From: q.From, Step: q.Step}
	done, err := l.slots.take(ctx, q.Scope)
	if err != nil {
		return out, err
	}
	defer done()
	if q.Open != hook.OpenHeld {
		out.Buckets = make([]hook.Tally, q.To.Sub(q.From)/q.Step) // not while it waits
		if err := l.buckets(ctx, q, out.Buckets); err != nil {
			return out, l.fail("read statistics", err)
		}
	}
	if out.Open, err = l.openWork(ctx, q); err != nil {
		return out, l.fail("count open deliveries", err)
	}
	return out, nil
}

// statsView begins a view of the log and of the sums of the same moment. The caller must call Done.
func (l *Lists) statsView(ctx context.Context) (view *sqltext.View, err error) {
	err = l.db.Retry(ctx, func() (err error) {
		view, err = l.db.View(ctx)
		return err
	})
	return view, err
}

// statSpan returns the span of the tallies that a query adds up.
func statSpan(q hook.StatsQuery) int64 {
	if q.Step < time.Hour {
		return sqltext.SpanMinute
	}
	return sqltext.SpanHour
}

func (l *Lists) buckets(ctx context.Context, q hook.StatsQuery, buckets []hook.Tally) error {
	view, err := l.statsView(ctx)
	if err != nil {
		return err
	}
	defer view.Done()
	span, from, to := statSpan(q), sqltext.Micros(q.From), sqltext.Micros(q.To)
	bucket := func(start int64) *hook.Tally { return &buckets[(start-from)/q.Step.Microseconds()] }
	subject := sqltext.Subject{Scope: q.Scope, Endpoint: q.Endpoint}
	_, err = sqltext.Collect(ctx, view, func(row sqltext.Scanner) (none struct{}, err error) {
		var start int64
		var data []byte
		if err := row.Scan(&start, &data); err != nil {
			return none, err
		}
		return none, addLogged(bucket(start), subject, data)
	}, statLogRows, span, from, to)
	if err != nil {
		return err
	}
	endpoint := []byte{}
	if !q.Endpoint.IsZero() {
		endpoint = q.Endpoint[:]
	}
	_, err = sqltext.Collect(ctx, view, func(row sqltext.Scanner) (none struct{}, err error) {
		var start int64
		var data []byte
		if err := row.Scan(&start, &data); err != nil {
			return none, err
		}
		return none, sqltext.AddTally(bucket(start), data)
	}, statRows, from, span*1e6, span*1e6, to, span, q.Scope.Mode, q.Scope.Tenant, endpoint)
	return err
}

// BucketsOf returns the tallies of several endpoints of the mode, at most hook.MaxStatsOf, as
// Buckets does for one. An endpoint without any is left out. Other numbers of Stats are not read.
func (l *Lists) BucketsOf(ctx context.Context, q hook.StatsQuery, ids []hook.ID) (map[hook.ID][]hook.Tally, error) {
	found := map[hook.ID][]hook.Tally{}
	if ids = ids[:min(len(ids), hook.MaxStatsOf)]; len(ids) == 0 {
		return found, nil
	}
	done, err := l.slots.take(ctx, q.Scope)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := l.bucketsOf(ctx, q, ids, found); err != nil {
		return nil, l.fail("read statistics", err)
	}
	return found, nil
}

func (l *Lists) bucketsOf(ctx context.Context, q hook.StatsQuery, ids []hook.ID, found map[hook.ID][]hook.Tally) error {
	view, err := l.statsView(ctx)
	if err != nil {
		return err
	}
	defer view.Done()
	span, from, to := statSpan(q), sqltext.Micros(q.From), sqltext.Micros(q.To)
	bucket := func(id hook.ID, start int64) *hook.Tally {
		if found[id] == nil {
			found[id] = make([]hook.Tally, q.To.Sub(q.From)/q.Step)
		}
		return &found[id][(start-from)/q.Step.Microseconds()]
	}
	wanted := map[hook.ID]bool{}
	args := []any{from, span * 1e6, span * 1e6, to, q.Scope.Mode, span}
	for _, id := range ids {
		wanted[id] = true
		args = append(args, id[:])
	}
	_, err = sqltext.Collect(ctx, view, func(row sqltext.Scanner) (none struct{}, err error) {
		var start int64
		var data []byte
		if err := row.Scan(&start, &data); err != nil {
			return none, err
		}
		return none, sqltext.ReadLog(data, func(s sqltext.Subject, _ bool, tally []byte) error {
			if s.Mode != q.Scope.Mode || !wanted[s.Endpoint] {
				return nil
			}
			return sqltext.AddTally(bucket(s.Endpoint, start), tally)
		})
	}, statLogRows, span, from, to)
	if err != nil {
		return err
	}
	_, err = sqltext.Collect(ctx, view, func(row sqltext.Scanner) (none struct{}, err error) {
		var id hook.ID
		var start int64
		var data []byte
		if err := row.Scan(sqltext.Blob(id[:]), &start, &data); err != nil {
			return none, err
		}
		return none, sqltext.AddTally(bucket(id, start), data)
	}, sqltext.In(statRowsOf, len(ids)), args...)
	return err
}

// addLogged adds what a row of stat_log contains about a subject.
func addLogged(to *hook.Tally, subject sqltext.Subject, data []byte) error {
	return sqltext.ReadLog(data, func(s sqltext.Subject, raw bool, tally []byte) error {
		if raw { // contains parts of the subject
			if subject.Tenant == "" {
				s.Tenant = ""
			}
			if subject.Endpoint.IsZero() {
				s.Endpoint = hook.ID{}
			}
		}
		if s != subject {
			return nil
		}
		return sqltext.AddTally(to, tally)
	})
}

// The open deliveries of a tenant and of a mode, with the oldest event that has one. They
// read indexes only, on SQLite. pendingIn counts among the open deliveries of both modes, up
// to the bound, and asks for the mode once for each endpoint. Only endpoints that are not
// enabled have held deliveries, apart from those that are about to be released.
const (
	pendingOfTenant = `SELECT count(*), {oldest} FROM (SELECT d.event FROM endpoints e {then} deliveries d ON d.state = 0 AND {anybody} AND d.endpoint = e.id
		WHERE e.mode = ? AND e.tenant = ? LIMIT ?) w`
	heldOfTenant = `SELECT count(*) FROM (SELECT 1 FROM endpoints e {then} deliveries d ON d.state = 1 AND d.endpoint = e.id
		WHERE e.mode = ? AND e.tenant = ? LIMIT ?) w`
	pendingIn = `SELECT CAST(coalesce(sum(w.n), 0) AS bigint), {oldest} FROM (SELECT w.endpoint, count(*) AS n, {oldest} AS event
		FROM (SELECT d.endpoint, d.event FROM deliveries d WHERE d.state = 0 AND {anybody} LIMIT ?) w GROUP BY w.endpoint) w
		{then} endpoints e ON e.id = w.endpoint WHERE e.mode = ?`
	heldIn = `SELECT count(*) FROM (SELECT 1 FROM endpoints e {then} deliveries d ON d.state = 1 AND d.endpoint = e.id
		WHERE e.mode = ? AND e.status IN (1, 2) LIMIT ?) w`
	oldestPending = "SELECT " + sqltext.DeliveryColumns + ` FROM deliveries d
		WHERE d.event = ? AND d.state + 0 = 0 AND d.mode = ? AND (? = '' OR d.tenant = ?) ORDER BY d.endpoint LIMIT 1`
	oldestOf = "SELECT " + sqltext.DeliveryColumns + " FROM deliveries d WHERE d.event = ? AND d.endpoint = ? AND d.state + 0 = 0"
)

func (l *Lists) openWork(ctx context.Context, q hook.StatsQuery) (out hook.OpenWork, err error) {
	if q.Open == hook.OpenNone {
		return out, nil
	}
	mode, tenant, id, most := q.Scope.Mode, q.Scope.Tenant, q.Endpoint, q.Open.Cap()
	pending, pendingArgs := pendingIn, []any{most, mode}
	held, heldArgs := heldIn, []any{mode, most}
	oldest, oldestArgs := oldestPending, []any{mode, tenant, tenant}
	switch {
	case !id.IsZero():
		pending, pendingArgs = pendingOf, []any{id[:], most}
		held, heldArgs = heldOf, []any{id[:], most}
		oldest, oldestArgs = oldestOf, []any{id[:]}
	case tenant != "":
		pending, pendingArgs = pendingOfTenant, []any{mode, tenant, most}
		held, heldArgs = heldOfTenant, []any{mode, tenant, most}
	}
	if err := l.db.QueryRowContext(ctx, held, heldArgs...).Scan(&out.Held); err != nil || q.Open == hook.OpenHeld {
		return out, err
	}
	if !id.IsZero() {
		if err := l.db.QueryRowContext(ctx, failedOf, id[:], most).Scan(&out.Failed); err != nil {
			return out, err
		}
	}
	var event hook.ID
	if err := l.db.QueryRowContext(ctx, pending, pendingArgs...).Scan(&out.Pending, sqltext.Blob(event[:])); err != nil || out.Pending == 0 {
		return out, err
	}
	found, err := sqltext.Collect(ctx, l.db, sqltext.ScanDelivery, oldest, append([]any{event[:]}, oldestArgs...)...)
	if len(found) > 0 { // it may have been settled by now
		out.Oldest = &found[0]
	}
	return out, err
}
