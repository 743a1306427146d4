package store

import (
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// An event with more deliveries and attempts than a page has is worked off in several, and
// one after it too.
func TestRetentionOfAWideEvent(t *testing.T) {
	now := time.Now()
	var jobs []hook.Job
	s, err := Open(t.Context(), Options{Dir: t.TempDir(), Keys: testKeys(t), Reserve: -1, Now: func() time.Time { return now },
		Room: func(*hook.Endpoint) int { return 9 }, Committed: func(c hook.Commit) { jobs = append(jobs, c.Jobs...) }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	scope, _ := waitingFor(t, s, "acme", 2)
	for _, j := range jobs {
		if _, err := s.Settle(t.Context(), []hook.Settlement{{Job: j, Outcome: hook.Outcome{StartedAt: now, Success: true, Status: 200, ResponseBody: []byte("ok"), Policy: &hook.Policy{}}}}); err != nil {
			t.Fatal(err)
		}
	}
	wide := jobs[0].Delivery.Event
	number := func(query string) (n int) {
		if err := s.core.Read.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	const count = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) "
	if err := s.maintain(t.Context(), "test", 0, func(t *tx) error {
		for table, columns := range map[string]string{
			"deliveries": "id, mode, tenant, type, kind, profile, state, reason, attempts, scheduled, due, last_status, last_error, created_at, settled_at, held_at, owner, fence",
			"attempts":   "number, mode, tenant, at, duration_us, status, class, message, trigger_by, response_headers, response_body, truncated",
		} {
			if _, err := t.Exec("widen", "INSERT INTO "+table+" (event, endpoint, "+columns+") "+count+
				"SELECT event, unhex(printf('%032x', i)), "+columns+" FROM "+table+", n WHERE event = ?", wide[:]); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	housekeep := func() {
		now = now.Add(time.Minute)
		if err := s.Housekeep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SetRetention(t.Context(), scope, hook.Retention{Payloads: 0, Answers: 0, Events: hook.NotSet}); err != nil {
		t.Fatal(err)
	}
	before := number("SELECT count(*) FROM attempts WHERE response_body IS NOT NULL")
	housekeep()
	if n := number("SELECT count(*) FROM attempts WHERE response_body IS NOT NULL"); before != 2502 || n != 0 {
		t.Errorf("%d answers of %d are left", n, before)
	}
	if n := number("SELECT count(*) FROM events WHERE payload_removed_at IS NULL"); n != 0 {
		t.Errorf("%d payloads are left", n)
	}
	if err := s.SetRetention(t.Context(), scope, hook.Retention{Payloads: 0, Answers: 0, Events: hook.MinEventsKept}); err != nil {
		t.Fatal(err)
	}
	housekeep()
	if n := number("SELECT count(*) FROM deliveries"); n != 2502 {
		t.Errorf("%d deliveries are left before their time", n)
	}
	now = now.Add(hook.MinEventsKept)
	housekeep()
	if n := number("SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM deliveries) + (SELECT count(*) FROM attempts) + (SELECT count(*) FROM retention_due)"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
	if most := s.Stats().Long; len(most) > 0 {
		t.Logf("operations that took long on this machine: %v", most)
	}
}
