package store

import (
	"bytes"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/pgtest"
)

// A day of PostgreSQL whose payloads were removed becomes small, with all its rows.
// Control: before it is packed it is as large as it was, because the space of the payloads
// is free inside it only.
func TestADayIsPacked(t *testing.T) {
	now := time.Now()
	s, err := Open(t.Context(), Options{Postgres: pgtest.Database(t), Keys: testKeys(t), Now: func() time.Time { return now }, Retention: 2 * testRetention, RetentionPayloads: testRetention})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	const events = 8000
	scope := hook.Scope{Tenant: "acme", Mode: hook.Live}
	if _, _, err := s.CreateTenant(t.Context(), hook.Tenant{ID: "acme"}, nil); err != nil {
		t.Fatal(err)
	}
	publish := func(n int) {
		batch := make([]hook.NewEvent, n)
		for i := range batch {
			batch[i] = hook.NewEvent{Scope: scope, Type: "a.b", Data: append(append([]byte(`{"t":"`), bytes.Repeat([]byte{'a' + byte(i%20)}, 900)...), `"}`...)}
		}
		if _, _, err := s.Publish(t.Context(), batch, profileZero, nil); err != nil {
			t.Fatal(err)
		}
	}
	for range events / 1000 {
		publish(1000)
	}
	day := "events_" + now.UTC().Format("20060102")
	now = now.Add(25 * time.Hour)
	publish(1) // what the mark of retention moves to
	number := func(query string) (n int64) {
		if err := s.core.Read.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	size := func() int64 { return number("SELECT pg_relation_size('" + day + "')") }
	full := size()
	now = now.Add(testRetention + time.Hour)
	if err := s.Housekeep(t.Context()); err != nil {
		t.Fatal(err)
	}
	removed := size()
	if removed < full {
		t.Errorf("control: %d bytes before, %d when payloads were removed", full, removed)
	}
	if err := s.Housekeep(t.Context()); err != nil {
		t.Fatal(err)
	}
	packed := size()
	if packed > full/3 {
		t.Errorf("%d bytes with payloads, %d packed", full, packed)
	}
	if n := number("SELECT count(*) FROM " + day + " WHERE payload_removed_at > 0 AND length(data) = 0"); n != events {
		t.Errorf("%d rows are left", n)
	}
	t.Logf("FIGURE a day of %d events: %d bytes with payloads, %d when they were removed, %d packed", events, full, removed, packed)
}
