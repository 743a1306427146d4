package store

import (
	"context"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/pgtest"
)

// BenchmarkRetention drops 100 events with 1,000 deliveries each, which are in the default
// partition. It reports the longest write of another tenant meanwhile.
func BenchmarkRetention(b *testing.B) {
	for name, options := range map[string]func(testing.TB) Options{
		"sqlite":   func(t testing.TB) Options { return Options{Dir: t.TempDir(), Reserve: -1} },
		"postgres": func(t testing.TB) Options { return Options{Postgres: pgtest.Database(t)} },
	} {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				benchRetention(b, options(b))
			}
		})
	}
}

func benchRetention(b *testing.B, o Options) {
	b.StopTimer()
	ahead := time.Duration(0)
	o.Now, o.Retention = func() time.Time { return time.Now().Add(ahead) }, testRetention
	s := benchStore(b, o)
	scope, _ := waitingFor(b, s, "wide", 0)
	other, _ := waitingFor(b, s, "other", 0)
	ahead = 20 * 24 * time.Hour // that day has no partition
	for range 999 {
		if _, _, err := s.CreateEndpoint(b.Context(), hook.Endpoint{Scope: scope, URL: "https://example.com/", Types: hook.Filter{"*"}}, nil); err != nil {
			b.Fatal(err)
		}
	}
	write := func(scope hook.Scope) time.Duration {
		began := time.Now()
		if _, _, err := s.Publish(context.Background(), []hook.NewEvent{{Scope: scope, Type: "a.b", Data: []byte("{}")}}, profileZero, nil); err != nil {
			b.Error(err)
		}
		return time.Since(began)
	}
	for range 100 {
		write(scope)
	}
	if err := s.maintain(b.Context(), "test", 0, func(t *tx) error {
		_, err := t.exec("settle all", "UPDATE deliveries SET state = 2, settled_at = 1")
		return err
	}); err != nil {
		b.Fatal(err)
	}
	ahead += 2 * testRetention
	done := make(chan error)
	b.StartTimer()
	go func() { done <- s.Housekeep(context.Background()) }()
	var worst time.Duration
	for {
		worst = max(worst, write(other))
		select {
		case err := <-done:
			b.StopTimer()
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(worst.Microseconds())/1000, "ms/worst-write")
			return
		default:
		}
	}
}
