package store

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/pgtest"
	"github.com/posthorn/posthorn/internal/store/postgres"
	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/upkeep"
)

func bothStores(t *testing.T) map[string]Options {
	return map[string]Options{"SQLite": {Dir: t.TempDir()}, "PostgreSQL": {Postgres: pgtest.Database(t)}}
}

// fanOut adds settled deliveries with attempts to the event of a job, as if the event had
// matched more endpoints.
func (a *aging) fanOut(j hook.Job, deliveries, attempts int) {
	a.t.Helper()
	err := a.do(a.t.Context(), "test", 1, func(t *tx) error {
		for i := range deliveries {
			d := j.Delivery
			binary.BigEndian.PutUint64(d.Endpoint[8:], uint64(i))
			d.Attempts = attempts
			if err := t.Insert("insert delivery", sqltext.Deliveries, d.Event[:], d.Endpoint[:], d.ID[:], int64(d.Scope.Mode), d.Scope.Tenant, d.EventType,
				int64(d.Kind), d.Profile[:], int64(hook.Succeeded), "", int64(attempts), int64(attempts), int64(0), int64(200), "", sqltext.Micros(a.now),
				sqltext.Micros(a.now), int64(0), int64(0), int64(1)); err != nil {
				return err
			}
			for n := range attempts {
				d.Attempts = n + 1
				if err := t.logAttempt(&d, hook.BySchedule, &hook.Outcome{StartedAt: a.now, Status: 200}); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		a.t.Fatal(err)
	}
}

// dropPage drops one page and returns the number of rows.
func (a *aging) dropPage(at hook.ID) (page upkeep.DroppedPage, rows int) {
	a.t.Helper()
	all := "SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM deliveries) + (SELECT count(*) FROM attempts)"
	before := a.count(all)
	err := a.do(a.t.Context(), "test", 1, func(t *tx) (err error) {
		page, err = a.upkeep.DropPage(t.Tx, a.oldEvents(), a.now.Add(-testRetention), at)
		return err
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return page, before - a.count(all)
}

// oldEvents returns the table that holds the events of the first day.
func (a *aging) oldEvents() string {
	if !a.core.Peers.Shared() {
		return "events"
	}
	return postgres.PartitionName("events", time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC))
}

// A page drops no more rows than its bound, however many an event has. Between two pages
// everything can be read. The next run drops what a crash left.
func TestAnEventWithManyRowsGoesInSeveralPages(t *testing.T) {
	for name, o := range bothStores(t) {
		t.Run(name, func(t *testing.T) {
			a := newAging(t, o)
			jobs := a.publish(4)
			a.succeed(jobs...)
			a.fanOut(jobs[1], 1000, 3) // 4,000 rows
			a.fanOut(jobs[2], 1, 2*upkeep.RetentionRows)
			a.now = a.now.Add(testRetention + 2*postgres.Span)
			pages, at, most := 0, hook.ID{}, 0
			for range 3 {
				page, rows := a.dropPage(at)
				at, pages, most = page.Last, pages+1, max(most, rows)
				if !page.More || rows == 0 {
					t.Fatalf("page %d dropped %d rows, more: %v", pages, rows, page.More)
				}
			}
			list, _, err := a.Deliveries(t.Context(), hook.DeliveryQuery{Scope: a.scope, Event: jobs[1].Delivery.Event, Page: hook.Page{Limit: 250}})
			if err != nil || len(list) == 0 || !a.there(jobs[1]) {
				t.Errorf("an event on its way out has %d deliveries, %v", len(list), err)
			}
			if _, _, err := a.Delivery(t.Context(), a.scope, jobs[2].Delivery.ID); err != nil {
				t.Error(err)
			}
			for at, more := (hook.ID{}), true; more; pages++ { // from the start, as after a crash
				var page upkeep.DroppedPage
				var rows int
				page, rows = a.dropPage(at)
				at, more, most = page.Last, page.More, max(most, rows)
				if pages > 20 {
					t.Fatal("no end of it")
				}
			}
			if most > upkeep.RetentionRows+2 || pages < 5 {
				t.Errorf("a page dropped %d rows, %d are allowed; %d pages", most, upkeep.RetentionRows, pages)
			}
			for _, table := range []string{"events", "deliveries", "attempts"} {
				if n := a.count("SELECT count(*) FROM " + table); n != 0 {
					t.Errorf("%d %s are left", n, table)
				}
			}
		})
	}
}

// An event with many rows stays as it is if one of them is needed.
func TestAnEventWithManyRowsThatIsNeededStays(t *testing.T) {
	for name, o := range bothStores(t) {
		t.Run(name, func(t *testing.T) {
			a := newAging(t, o)
			jobs := a.publish(2)
			a.fanOut(jobs[0], 2*upkeep.RetentionRows, 0) // the event's own delivery is pending, and it is the last
			a.succeed(jobs[1])
			a.now = a.now.Add(testRetention + 2*postgres.Span)
			a.keepHouse()
			if n := a.count("SELECT count(*) FROM deliveries"); n != 2*upkeep.RetentionRows+1 || !a.there(jobs[0]) || a.there(jobs[1]) {
				t.Errorf("%d deliveries are left; needed event there: %v, the other: %v", n, a.there(jobs[0]), a.there(jobs[1]))
			}
		})
	}
}

// A range of events of the default partition may span days that have partitions of their
// own. The events of those partitions were not checked, so they stay.
func TestTheDefaultPartitionGoesWithoutWhatLiesBetween(t *testing.T) {
	a := newAging(t, Options{Postgres: pgtest.Database(t)})
	kept := a.publish(2)
	inDefault := func(day time.Time) {
		low := sqltext.FirstID(day)
		for _, statement := range []string{
			"INSERT INTO events SELECT $1, mode, tenant, public_id, kind, type, created_at, accepted_at, data, checksum FROM events WHERE id = $2",
		} {
			if _, err := node(a.Store).Control().ExecContext(t.Context(), statement, low[:], idBytes(kept[0].Delivery.Event)); err != nil {
				t.Fatal(err)
			}
		}
	}
	inDefault(a.now.Add(-10 * postgres.Span))
	inDefault(a.now.Add(20 * postgres.Span))
	if n := a.count("SELECT count(*) FROM events_default"); n != 2 {
		t.Fatalf("%d events in the default partition, want 2", n)
	}
	if err := a.upkeep.DropPages(t.Context(), "events_default", a.now.Add(30*postgres.Span)); err != nil {
		t.Fatal(err)
	}
	if n := a.count("SELECT count(*) FROM events_default"); n != 0 || !a.there(kept[0]) || !a.there(kept[1]) {
		t.Errorf("%d events are left in the default partition; of the day between: %v, %v", n, a.there(kept[0]), a.there(kept[1]))
	}
}
