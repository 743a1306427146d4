package upkeep

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/unit"
)

// Retention by class: payloads and answers of all events, and whole events of tenants that
// keep them for less time than the server.
//
// A walk goes over the events in the order of their ids, up to those that are older than
// the retention, and remembers the last one as its mark. So each event is read once for
// each class, and once more for its tenant if that has a retention of its own. What an event
// still needs when the walk passes it, is looked at again later: retention_due has a row
// with the time. Published events with a retention of their own have such a row from the
// start. If a retention becomes shorter, the walk begins anew.
//
// Each page is an operation with a bounded number of rows, and a pause follows it. It locks
// the rows before it checks them, like the pages of retention.go.

const (
	// keptPage bounds the events of a page. A page writes every row of its events' payloads
	// or answers, so it is smaller than one that drops events.
	keptPage = 128
	// keptRows bounds the deliveries and attempts that a page reads or changes, unless a
	// single event has more.
	keptRows = 2000
)

// retainClasses removes what is older than the retention of its class.
func (s *Keeper) retainClasses(ctx context.Context, now time.Time) error {
	_, err := s.core.InPages(ctx, "forget retention of tenants", `DELETE FROM tenant_retention WHERE (mode, tenant) IN (SELECT r.mode, r.tenant
		FROM tenant_retention r WHERE NOT EXISTS (SELECT 1 FROM tenants t WHERE t.id = r.tenant) LIMIT ?)`, unit.HousekeepPage)
	if err != nil {
		return err
	}
	if err := s.loadRetention(ctx); err != nil {
		return err
	}
	limits := s.kept.Load()
	for class := hook.KeptPayloads; class <= hook.KeptAnswers; class++ {
		if err := s.walkClass(ctx, class, hook.Scope{}, limits.server.Of(class), now); err != nil {
			return err
		}
	}
	for scope, own := range limits.tenants {
		for class := hook.KeptPayloads; class <= hook.KeptEvents; class++ {
			if keep := own.Of(class); keep >= 0 && keep < limits.server.Of(class) {
				if err := s.walkClass(ctx, class, scope, keep, now); err != nil {
					return err
				}
			}
		}
	}
	if err := s.retainDue(ctx, now); err != nil {
		return err
	}
	for class := hook.KeptPayloads; class <= hook.KeptEvents; class++ {
		if next, err := s.nextDue(ctx, class); err != nil || !next.IsZero() {
			s.wakeRetention() // for what is due before the next call
			return err
		}
	}
	return nil
}

func (s *Keeper) wakeRetention() { unit.Wake(s.dueSoon) }

// walkClass walks the events of a scope, or all events, that are older than keep.
func (s *Keeper) walkClass(ctx context.Context, class hook.Kept, scope hook.Scope, keep time.Duration, now time.Time) error {
	if keep == hook.Forever {
		return nil
	}
	w := &classWalk{class: class, scope: scope, keep: keep, now: now}
	if idle, err := s.nothingToWalk(ctx, w); idle || err != nil {
		return err
	}
	return s.classPages(ctx, class, func(t *tx) (more bool, removed int, err error) { return t.walkPage(w) })
}

// nothingToWalk reports whether the walk is up to date, so that a tenant with a retention of
// its own costs the writer nothing while there is nothing to do.
func (s *Keeper) nothingToWalk(ctx context.Context, w *classWalk) (bool, error) {
	after, err := w.after(ctx, s.core.Read, "")
	if err != nil {
		return false, s.core.ReadError("read mark of retention", err)
	}
	query, args := w.query(after, 1)
	found, err := sqltext.Collect(ctx, s.core.Read, scanKept, withoutLock(query), args...)
	if err != nil {
		return false, s.core.ReadError("look for old events", err)
	}
	return len(found) == 0, nil
}

// retainDue looks at the events whose time has come.
func (s *Keeper) retainDue(ctx context.Context, now time.Time) error {
	for class := hook.KeptPayloads; class <= hook.KeptEvents; class++ {
		next, err := s.nextDue(ctx, class)
		if err != nil {
			return err
		}
		if next.IsZero() || next.After(now) {
			continue
		}
		if err := s.classPages(ctx, class, func(t *tx) (bool, int, error) { return t.duePage(class, now) }); err != nil {
			return err
		}
	}
	return nil
}

// nextDue returns when the first event of a class must be looked at, zero if none.
func (s *Keeper) nextDue(ctx context.Context, class hook.Kept) (time.Time, error) {
	var due int64
	_, err := sqltext.ReadRow(ctx, s.core.Read, sqltext.NextDue, []any{int64(class)}, &due)
	if err != nil {
		return time.Time{}, s.core.ReadError("read what retention must look at", err)
	}
	return sqltext.FromMicros(due), nil
}

// classPages runs pages until one reports that there are no more.
func (s *Keeper) classPages(ctx context.Context, class hook.Kept, page func(t *tx) (more bool, removed int, err error)) error {
	total := 0
	for more := true; more; {
		var removed int
		began := time.Now()
		err := s.maintain(ctx, "retain "+class.String(), keptRows, func(t *tx) (err error) {
			more, removed, err = page(t)
			return err
		})
		if err != nil {
			return fmt.Errorf("retain %s: %w", class, err)
		}
		if total += removed; !more {
			break
		}
		if err := afterPage(ctx, began); err != nil {
			return err
		}
	}
	if total > 0 {
		s.core.Log.Info("removed what is older than its retention", "class", class.String(), "events", total)
	}
	return nil
}

// watchRetention looks at events between two calls of Housekeep, about a minute after their
// time has come. It has nothing to do while no event has a time.
func (s *Keeper) watchRetention(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.dueSoon:
			timer.Reset(retentionGather)
			continue
		case <-timer.C:
		}
		wait, err := s.retainSoon(ctx)
		if err != nil {
			if ctx.Err() == nil {
				s.core.Log.Error("retention; it will be tried again", "error", err)
			}
			wait = retentionGather
		}
		if wait > 0 {
			timer.Reset(wait)
		}
	}
}

// retentionGather is the least time between two looks.
const retentionGather = time.Minute

// retainSoon looks at what is due. It returns how long from now something is due again, 0 if
// nothing is.
func (s *Keeper) retainSoon(ctx context.Context) (time.Duration, error) {
	now, err := s.duties().TrustedNow(ctx)
	if err == nil {
		err = s.retainDue(ctx, now)
	}
	var soonest time.Time
	for class := hook.KeptPayloads; class <= hook.KeptEvents && err == nil; class++ {
		var next time.Time
		if next, err = s.nextDue(ctx, class); !next.IsZero() && (soonest.IsZero() || next.Before(soonest)) {
			soonest = next
		}
	}
	if err != nil || soonest.IsZero() || soonest.Sub(now) > time.Hour { // Housekeep comes before
		return 0, err
	}
	return max(soonest.Sub(now), retentionGather), nil
}

// classWalk is a walk over the events of a scope, or over all if it is empty.
type classWalk struct {
	class hook.Kept
	scope hook.Scope
	keep  time.Duration
	now   time.Time
}

// after returns the last event that the walk has passed.
func (w *classWalk) after(ctx context.Context, q sqltext.Querier, lock string) (after hook.ID, err error) {
	var keep int64
	found, err := sqltext.ReadRow(ctx, q, withoutLock(sqltext.KeptMark)+lock, []any{int64(w.class), int64(w.scope.Mode), w.scope.Tenant}, &keep, sqltext.Blob(after[:]))
	if !found || keepOf(keep) > w.keep { // it became shorter
		after = hook.ID{}
	}
	return after, err
}

// withoutLock makes a statement one that only reads.
func withoutLock(query string) string { return strings.TrimSuffix(query, "{lock}") }

func (w *classWalk) query(after hook.ID, limit int) (string, []any) {
	bound := sqltext.FirstID(w.now.Add(-w.keep))
	if w.scope.Tenant == "" {
		return sqltext.KeptOfAll, []any{after[:], bound[:], limit}
	}
	return sqltext.KeptOfTenant, []any{int64(w.scope.Mode), w.scope.Tenant, after[:], bound[:], limit}
}

// candidate is an event of which retention may remove something.
type candidate struct {
	id    hook.ID
	scope hook.Scope
	hook.Needs
	data, typed          int64 // bytes of the payload and of the type
	removed              bool  // the payload is gone
	own                  time.Duration
	deliveries, attempts int64
	first                []oldDelivery // rows that were read of the first event of a page

	keep time.Duration // retention in force
	due  time.Time
	goes bool // what is to be removed of it is removed now

	answered bool // an answer was removed
}

func scanKept(row sqltext.Scanner) (c candidate, err error) {
	var accepted, removed int64
	err = row.Scan(sqltext.Blob(c.id[:]), &c.scope.Mode, &c.scope.Tenant, &accepted, &c.data, &removed, &c.typed)
	c.Accepted, c.removed, c.own = sqltext.FromMicros(accepted), removed != 0, hook.NotSet
	return c, err
}

// walkPage handles the next events of a walk and moves its mark.
func (t *tx) walkPage(w *classWalk) (more bool, removed int, err error) {
	var mine bool
	if _, err := t.Row("take turn", "SELECT {turn}", nil, &mine); err != nil || !mine {
		return false, 0, err // another node is at it
	}
	after, err := w.after(background, t.Conn, "{lock}")
	if err != nil {
		return false, 0, sqltext.Wrap("read mark of retention", err)
	}
	query, args := w.query(after, keptPage)
	found, err := sqltext.Collect(background, t.Conn, scanKept, query, args...)
	if err != nil || len(found) == 0 {
		return false, 0, sqltext.Wrap("read old events", err)
	}
	list, err := t.needsOf(w.class, found)
	if err != nil {
		return false, 0, err
	}
	removed, again, err := t.removeKept(w.class, list, w.now)
	if err != nil || again {
		return again, removed, err
	}
	last := list[len(list)-1].id
	if _, err := t.Exec("set mark of retention", sqltext.SetKeptMark, int64(w.class), int64(w.scope.Mode), w.scope.Tenant, microsOf(w.keep), last[:]); err != nil {
		return false, 0, err
	}
	return len(list) < len(found) || len(found) == keptPage, removed, nil
}

// duePage handles the next events of a class whose time has come.
func (t *tx) duePage(class hook.Kept, now time.Time) (more bool, removed int, err error) {
	var mine bool
	if _, err := t.Row("take turn", "SELECT {turn}", nil, &mine); err != nil || !mine {
		return false, 0, err
	}
	type due struct {
		event hook.ID
		keep  int64
	}
	rows, err := sqltext.Collect(background, t.Conn, func(row sqltext.Scanner) (d due, err error) {
		err = row.Scan(sqltext.Blob(d.event[:]), &d.keep)
		return d, err
	}, sqltext.DueEvents, int64(class), sqltext.Micros(now), keptPage)
	if err != nil || len(rows) == 0 {
		return false, 0, sqltext.Wrap("read events to look at", err)
	}
	own := make(map[hook.ID]time.Duration, len(rows))
	ids := make([]hook.ID, 0, len(rows))
	for _, d := range rows {
		own[d.event] = keepOf(d.keep)
		ids = append(ids, d.event)
	}
	found, err := listed(t, scanKept, sqltext.KeptEvents, ids)
	if err != nil {
		return false, 0, sqltext.Wrap("read events to look at", err)
	}
	for i := range found {
		found[i].own = own[found[i].id]
		delete(own, found[i].id)
	}
	gone := slices.Collect(maps.Keys(own)) // dropped meanwhile
	if err := t.forgetDue(class, gone); err != nil {
		return false, 0, err
	}
	if len(found) == 0 {
		return len(rows) == keptPage, 0, nil
	}
	list, err := t.needsOf(class, found)
	if err != nil {
		return false, 0, err
	}
	removed, again, err := t.removeKept(class, list, now)
	return again || len(list) < len(found) || len(rows) == keptPage, removed, err
}

// listed runs a query about at most sqltext.MostListed events.
func listed[T any](t *tx, scan func(sqltext.Scanner) (T, error), query string, ids []hook.ID, more ...any) ([]T, error) {
	args := sqltext.ListArgs(ids)
	return sqltext.Collect(background, t.Conn, scan, sqltext.In(query, len(args)), append(args, more...)...)
}

// execListed runs a statement about at most sqltext.MostListed events.
func (t *tx) execListed(act, query string, before []any, ids []hook.ID, after ...any) (int64, error) {
	if len(ids) == 0 {
		return 0, nil
	}
	args := sqltext.ListArgs(ids)
	return t.Exec(act, sqltext.In(query, len(args)), slices.Concat(before, args, after)...)
}

// needsOf reads what the events need, oldest first. It returns fewer events if they have
// more rows than a page may have, but at least one.
func (t *tx) needsOf(class hook.Kept, list []candidate) ([]candidate, error) {
	ids := make([]hook.ID, len(list))
	at := make(map[hook.ID]int, len(list))
	for i := range list {
		ids[i], at[list[i].id] = list[i].id, i
	}
	type row struct {
		oldDelivery
		state   hook.State
		settled int64
	}
	scan := func(from sqltext.Scanner) (r row, err error) {
		err = from.Scan(sqltext.Blob(r.event[:]), sqltext.Blob(r.endpoint[:]), &r.state, &r.settled, &r.attempts)
		return r, err
	}
	rows, err := listed(t, scan, sqltext.KeptDeliveries, ids, keptRows)
	if err != nil {
		return nil, sqltext.Wrap("read deliveries of old events", err)
	}
	if len(rows) == keptRows {
		if cut := at[rows[keptRows-1].event]; cut > 0 {
			list, ids = list[:cut], ids[:cut]
		} else { // an event with more deliveries than a page
			list, ids = list[:1], ids[:1]
			if rows, err = listed(t, scan, sqltext.KeptDeliveries, ids, 100*keptRows); err != nil {
				return nil, sqltext.Wrap("read deliveries of an old event", err)
			}
		}
	}
	shots, err := listed(t, sqltext.ScanID, sqltext.KeptShots, ids)
	if err != nil {
		return nil, sqltext.Wrap("read single shots of old events", err)
	}
	for _, id := range shots {
		if i := at[id]; i < len(list) {
			list[i].Open = true
		}
	}
	cost := int64(0)
	for _, r := range rows {
		i := at[r.event]
		if i >= len(list) {
			break
		}
		if class != hook.KeptPayloads {
			cost += int64(r.attempts)
		}
		if cost++; cost > keptRows && i > 0 {
			return list[:i], nil
		}
		c := &list[i]
		c.deliveries, c.attempts = c.deliveries+1, c.attempts+int64(r.attempts)
		c.Open = c.Open || r.state.Open()
		if settled := sqltext.FromMicros(r.settled); settled.After(c.Settled) {
			c.Settled = settled
		}
		if len(c.first) < keptRows && i == 0 {
			c.first = append(c.first, r.oldDelivery)
		}
	}
	return list, nil
}

// later is an event that must be looked at again.
type later struct {
	event hook.ID
	due   time.Time
}

// removeKept removes what may go and notes when to look at the rest again. again reports
// that an event had more rows than a page and that the same events must be handled again.
func (t *tx) removeKept(class hook.Kept, list []candidate, now time.Time) (removed int, again bool, err error) {
	limits := t.s.kept.Load()
	for i := range list {
		c := &list[i]
		if c.keep = limits.of(c.scope).Of(class); c.own >= 0 {
			c.keep = min(c.keep, c.own)
		}
		c.due, c.goes = c.Needs.Due(c.keep, now)
	}
	var ids []hook.ID // what is done with
	var wait []later
	switch class {
	case hook.KeptAnswers:
		if removed, again, err = t.removeAnswers(list, now); err != nil || again {
			return removed, again, err
		}
	case hook.KeptEvents:
		if removed, again, err = t.dropKept(list, now); err != nil || again {
			return 0, again, err
		}
	case hook.KeptPayloads:
		if removed, err = t.removePayloads(list, now); err != nil {
			return 0, false, err
		}
	}
	for i := range list {
		c := &list[i]
		if !c.goes {
			wait = append(wait, later{c.id, c.due})
			continue
		}
		ids = append(ids, c.id)
	}
	if err := t.forgetDue(class, ids); err != nil {
		return 0, false, err
	}
	return removed, false, t.lookAgain(class, wait)
}

func (t *tx) removePayloads(list []candidate, now time.Time) (removed int, err error) {
	var ids []hook.ID
	for i := range list {
		c := &list[i]
		if c.goes = c.goes || c.removed; c.goes && !c.removed {
			ids = append(ids, c.id)
			t.Grew(c.scope, c.id, hook.DiskBytes{Payloads: -c.data})
		}
	}
	_, err = t.execListed("remove payloads", sqltext.RemovePayloads, []any{sqltext.Micros(now)}, ids)
	return len(ids), err
}

// removeAnswers removes the answers of attempts that began longer ago than they are kept. An
// event goes when it has no answer left and gets no more.
func (t *tx) removeAnswers(list []candidate, now time.Time) (removed int, again bool, err error) {
	byKeep := map[time.Duration][]hook.ID{}
	at := make(map[hook.ID]*candidate, len(list))
	for i := range list {
		c := &list[i]
		byKeep[c.keep], at[c.id] = append(byKeep[c.keep], c.id), c
		c.goes = !c.Open
	}
	type answer struct {
		event hook.ID
		n     int64 // bytes, or a time
	}
	scan := func(row sqltext.Scanner) (a answer, err error) {
		err = row.Scan(sqltext.Blob(a.event[:]), &a.n)
		return a, err
	}
	for keep, ids := range byKeep {
		until := sqltext.Micros(now.Add(-keep))
		old, err := listed(t, scan, sqltext.OldAnswers, ids, until, keptRows)
		if err != nil {
			return 0, false, sqltext.Wrap("read old answers", err)
		}
		for _, a := range old {
			c := at[a.event]
			t.Grew(c.scope, c.id, hook.DiskBytes{Attempts: -a.n})
			if !c.answered {
				c.answered = true
				removed++
			}
		}
		if len(old) > 0 {
			if _, err := t.execListed("remove answers", sqltext.RemoveAnswers, []any{sqltext.Micros(now)}, ids, until, int64(keptRows)); err != nil {
				return 0, false, err
			}
		}
		again = again || len(old) == keptRows
		newer, err := listed(t, scan, sqltext.NewerAnswers, ids, until)
		if err != nil {
			return 0, false, sqltext.Wrap("read newer answers", err)
		}
		for _, a := range newer {
			c := at[a.event]
			c.due, c.goes = sqltext.FromMicros(a.n).Add(keep), false
		}
	}
	return removed, again, nil
}

// dropKept drops whole events.
func (t *tx) dropKept(list []candidate, now time.Time) (removed int, again bool, err error) {
	if c := &list[0]; c.goes && c.deliveries+c.attempts > keptRows {
		_, err := (&dropper{tx: t, from: "events", until: now.Add(-c.keep)}).dropPart(c.id, c.first)
		return 0, true, err
	}
	var ids []hook.ID
	for i := range list {
		c := &list[i]
		if !c.goes {
			continue
		}
		ids = append(ids, c.id)
		gone := hook.DiskBytes{Metadata: unit.EventRow + c.typed + c.deliveries*(unit.DeliveryRow+c.typed), Attempts: c.attempts * unit.AttemptRow}
		t.Grew(c.scope, c.id, hook.DiskBytes{Payloads: -c.data, Metadata: -gone.Metadata, Attempts: -gone.Attempts})
	}
	for _, query := range sqltext.DropKept {
		if _, err := t.execListed("drop old events", query, nil, ids); err != nil {
			return 0, false, err
		}
	}
	for class := hook.KeptPayloads; class < hook.KeptEvents; class++ {
		if err := t.forgetDue(class, ids); err != nil {
			return 0, false, err
		}
	}
	return len(ids), false, nil
}

func (t *tx) forgetDue(class hook.Kept, ids []hook.ID) error {
	_, err := t.execListed("forget events to look at", sqltext.ForgetDue, []any{int64(class)}, ids)
	return err
}

func (t *tx) lookAgain(class hook.Kept, wait []later) error {
	slices.SortFunc(wait, func(a, b later) int { return bytes.Compare(a.event[:], b.event[:]) })
	for len(wait) > 0 {
		n := sqltext.RowChunk(len(wait))
		args := make([]any, 0, 4*n)
		for i := range wait[:n] {
			args = append(args, int64(class), wait[i].event[:], sqltext.Micros(wait[i].due), int64(-1))
			dueAt(t.Tx, wait[i].due)
		}
		if _, err := t.Exec("look at events again", sqltext.Rows(sqltext.LookAgain, n, 4), args...); err != nil {
			return err
		}
		wait = wait[n:]
	}
	return nil
}

// dueAt wakes watchRetention on commit if something is due before the next Housekeep.
func dueAt(t *unit.Tx, due time.Time) {
	t.DueSoon = t.DueSoon || due.Sub(t.Now) < time.Hour
}
