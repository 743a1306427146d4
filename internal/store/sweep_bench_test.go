package store

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/pgtest"
)

// BenchmarkHold disables an endpoint with many waiting deliveries. It reports how long it
// takes to hold them, and the longest write of another tenant meanwhile.
func BenchmarkHold(b *testing.B) {
	for name, options := range map[string]func(testing.TB) Options{
		"sqlite":   func(t testing.TB) Options { return Options{Dir: t.TempDir(), Reserve: -1} },
		"postgres": func(t testing.TB) Options { return Options{Postgres: pgtest.Database(t)} },
	} {
		for _, rows := range []int{25_000, 50_000, 100_000} {
			b.Run(fmt.Sprintf("%s/%d", name, rows), func(b *testing.B) {
				for range b.N {
					benchHold(b, options(b), rows)
				}
			})
		}
	}
}

func benchHold(b *testing.B, o Options, rows int) {
	b.StopTimer()
	s := benchStore(b, o)
	_, e := waitingFor(b, s, "busy", rows)
	other, _ := waitingFor(b, s, "other", 1)
	stop, worst := make(chan struct{}), make(chan time.Duration)
	go func() {
		longest := time.Duration(0)
		for {
			select {
			case <-stop:
				worst <- longest
				return
			default:
			}
			began := time.Now()
			if _, _, err := s.Publish(context.Background(), []hook.NewEvent{{Scope: other, Type: "a.b", Data: []byte("{}")}}, profileZero, nil); err != nil {
				b.Error(err)
			}
			longest = max(longest, time.Since(began))
		}
	}()
	b.StartTimer()
	began := time.Now()
	if _, err := s.UpdateEndpoint(b.Context(), e.Scope, e.ID, func(old hook.Endpoint) (hook.Endpoint, error) {
		old.Status = hook.Disabled
		return old, nil
	}, false); err != nil {
		b.Fatal(err)
	}
	for sweeping := 1; sweeping > 0; {
		if err := s.core.Read.QueryRowContext(b.Context(), "SELECT count(*) FROM endpoints WHERE sweep <> ''").Scan(&sweeping); err != nil {
			b.Fatal(err)
		}
	}
	took := time.Since(began)
	b.StopTimer()
	close(stop)
	b.ReportMetric(took.Seconds(), "s/hold")
	b.ReportMetric(float64((<-worst).Microseconds())/1000, "ms/worst-write")
}

func benchStore(b *testing.B, o Options) *Store {
	b.Helper()
	o.Keys, o.Log = testKeys(b), slog.New(slog.DiscardHandler)
	s, err := Open(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

// waitingFor makes a tenant with one endpoint and many deliveries in the table.
func waitingFor(t testing.TB, s *Store, tenant string, rows int) (hook.Scope, *hook.Endpoint) {
	t.Helper()
	scope := hook.Scope{Tenant: tenant, Mode: hook.Live}
	if _, _, err := s.CreateTenant(t.Context(), hook.Tenant{ID: tenant}, nil); err != nil {
		t.Fatal(err)
	}
	e, _, err := s.CreateEndpoint(t.Context(), hook.Endpoint{Scope: scope, URL: "https://example.com/", Types: hook.Filter{"*"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for rows > 0 {
		page := make([]hook.NewEvent, min(rows, 1000))
		for i := range page {
			page[i] = hook.NewEvent{Scope: scope, Type: "a.b", Data: []byte("{}")}
		}
		if _, _, err := s.Publish(t.Context(), page, profileZero, nil); err != nil {
			t.Fatal(err)
		}
		rows -= len(page)
	}
	return scope, e
}
