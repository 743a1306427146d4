package store

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/pgtest"
)

// found searches by time, page by page. It returns the numbers of events, deliveries and
// failed deliveries of an endpoint that it found.
func (a *aging) found(endpoint hook.ID, after, before time.Time) (events, deliveries, failures int) {
	a.t.Helper()
	eq := hook.EventQuery{Scope: a.scope, After: after, Before: before}
	for more := true; more; more = eq.Cursor != "" {
		list, next, err := a.Events(a.t.Context(), eq)
		if err != nil {
			a.t.Fatal(err)
		}
		events, eq.Cursor = events+len(list), next
	}
	walk := func(q hook.DeliveryQuery) (n int) {
		for more := true; more; more = q.Cursor != "" {
			list, next, err := a.Deliveries(a.t.Context(), q)
			if err != nil {
				a.t.Fatal(err)
			}
			n, q.Cursor = n+len(list), next
		}
		return n
	}
	failed := hook.Failed
	q := hook.DeliveryQuery{Scope: a.scope, After: after, Before: before}
	deliveries = walk(q)
	q.Endpoint, q.State = endpoint, &failed
	return events, deliveries, walk(q)
}

// After the clock was ahead, ids continue from the time that it showed. Lists by time then
// use the time of acceptance, which is logged once.
func TestListsByTimeAfterAClockThatWasAhead(t *testing.T) {
	for name, o := range bothStores(t) {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			o.Log = slog.New(slog.NewTextHandler(&log, nil))
			a := newAging(t, o)
			a.Lists.Scan = 2
			right := a.now
			fail := func(job hook.Job) {
				s := hook.Settlement{Job: job, Outcome: hook.Outcome{StartedAt: a.now, Status: 500, Class: hook.ClassStatus, Policy: &hook.Policy{}}}
				if _, err := a.Settle(t.Context(), []hook.Settlement{s}); err != nil {
					t.Fatal(err)
				}
			}
			job := a.publish(1)[0]
			fail(job)
			endpoint := job.Delivery.Endpoint
			a.now = right.Add(time.Minute)
			if e, d, f := a.found(endpoint, right.Add(-time.Hour), right.Add(time.Hour)); e != 1 || d != 1 || f != 1 || strings.Contains(log.String(), "ahead") {
				t.Fatalf("control: %d events, %d deliveries, %d failures with the right clock", e, d, f)
			}
			a.now = right.Add(30 * 24 * time.Hour)
			fail(a.publish(1)[0])
			a.now = right.Add(2 * time.Minute)
			for range 3 {
				fail(a.publish(1)[0])
			}
			if e, d, f := a.found(endpoint, right.Add(-time.Hour), right.Add(time.Hour)); e != 4 || d != 4 || f != 4 {
				t.Errorf("%d events, %d deliveries, %d failures of that hour; want 4 of each", e, d, f)
			}
			if e, d, f := a.found(endpoint, right.Add(time.Hour), time.Time{}); e != 1 || d != 1 || f != 1 {
				t.Errorf("%d events, %d deliveries, %d failures after it; want 1 of each", e, d, f)
			}
			if n := strings.Count(log.String(), "the clock was ahead"); n != 1 {
				t.Errorf("the log says it %d times:\n%s", n, log.String())
			}
		})
	}
}

// A search among the failed deliveries of an endpoint reads a bounded number of rows per
// page, and misses none.
func TestFailedDeliveriesAreSearchedInBoundedLooks(t *testing.T) {
	for name, o := range bothStores(t) {
		t.Run(name, func(t *testing.T) {
			a := newAging(t, o)
			a.Lists.Scan = 4
			start := a.now
			var endpoint hook.ID
			for range 20 {
				a.now = a.now.Add(time.Minute)
				job := a.publish(1)[0]
				endpoint = job.Delivery.Endpoint
				s := hook.Settlement{Job: job, Outcome: hook.Outcome{StartedAt: a.now, Status: 500, Class: hook.ClassStatus, Policy: &hook.Policy{}}}
				if _, err := a.Settle(t.Context(), []hook.Settlement{s}); err != nil {
					t.Fatal(err)
				}
			}
			failed := hook.Failed
			for _, c := range []struct {
				class, rows, least, most int
				after, before            time.Time
			}{
				{class: 5, rows: 20, least: 5, most: 15},
				{class: 4, rows: 0, least: 5, most: 6},
				{class: 4, rows: 0, least: 1, most: 2, after: a.now.Add(-2 * time.Minute)},
				{class: 5, rows: 3, least: 1, most: 2, before: start.Add(4 * time.Minute)},
			} {
				q := hook.DeliveryQuery{Scope: a.scope, Endpoint: endpoint, State: &failed, StatusClass: c.class, After: c.after, Before: c.before, Page: hook.Page{Limit: 3}}
				rows, pages := map[hook.ID]bool{}, 0
				for more := true; more; more = q.Cursor != "" {
					list, next, err := a.Deliveries(t.Context(), q)
					if err != nil {
						t.Fatal(err)
					}
					for _, r := range list {
						rows[r.Event] = true
					}
					q.Cursor = next
					pages++
				}
				if len(rows) != c.rows || pages < c.least || pages > c.most {
					t.Errorf("class %d, after %v, before %v: %d rows in %d pages; want %d in %d to %d", c.class, c.after, c.before, len(rows), pages, c.rows, c.least, c.most)
				}
			}
		})
	}
}

// A node starts only if its clock is within an hour of the database's.
func TestANodeWithAnotherTimeDoesNotStart(t *testing.T) {
	for shift, starts := range map[string]bool{"30 minutes": true, "2 hours": false, "-2 hours": false} {
		t.Run(shift, func(t *testing.T) {
			address := pgtest.Database(t)
			conn, err := pgx.Connect(t.Context(), address)
			if err != nil {
				t.Fatal(err)
			}
			for _, statement := range []string{"CREATE SCHEMA shifted", `CREATE FUNCTION shifted.clock_timestamp() RETURNS timestamptz LANGUAGE sql
				AS $$ SELECT pg_catalog.clock_timestamp() + interval '` + shift + `' $$`} {
				if _, err := conn.Exec(t.Context(), statement); err != nil {
					t.Fatal(err)
				}
			}
			if err := conn.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			u, err := url.Parse(address)
			if err != nil {
				t.Fatal(err)
			}
			query := u.Query()
			query.Set("search_path", "shifted,public,pg_catalog")
			u.RawQuery = query.Encode()
			s, err := Open(context.Background(), Options{Postgres: u.String(), Keys: testKeys(t)})
			if err == nil {
				defer func() { _ = s.Close() }()
			}
			if starts && err != nil || !starts && (!errors.Is(err, ErrPostgres) || !strings.Contains(err.Error(), "clock is 2h0m0s")) {
				t.Errorf("opens with %v", err)
			}
		})
	}
}

// A running node logs that its clock has moved away from the database's, and retention
// drops nothing.
func TestANodeSaysThatItsClockMovedAway(t *testing.T) {
	var log bytes.Buffer
	a := newAging(t, Options{Postgres: pgtest.Database(t), Log: slog.New(slog.NewTextHandler(&log, nil))})
	a.now = time.Now()
	a.machine = true
	a.upkeep.Distrust(time.Now())
	a.keepHouse()
	if strings.Contains(log.String(), "clocks") {
		t.Fatalf("control: %s", log.String())
	}
	a.now = a.now.Add(3 * time.Hour)
	a.keepHouse()
	if n := strings.Count(log.String(), "the clocks of this machine and of the database differ"); n != 1 {
		t.Errorf("said %d times in\n%s", n, log.String())
	}
}
