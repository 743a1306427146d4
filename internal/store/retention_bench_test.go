package store

import (
	"bytes"
	"context"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/pgtest"
	"github.com/posthorn/posthorn/internal/store/sqltext"
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
		_, err := t.Exec("settle all", "UPDATE deliveries SET state = 2, settled_at = 1")
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

// BenchmarkRetentionBesideLoad removes the payloads and answers of a million settled
// deliveries, and then the events, beside a load of 1,000 events a second. It reports the
// p99 of publishing without and beside it. POSTHORN_BENCH_EVENTS overrides the million.
//
//	go test -run xxx -bench RetentionBesideLoad -benchtime 1x -timeout 60m ./internal/store
func BenchmarkRetentionBesideLoad(b *testing.B) {
	for name, options := range map[string]func(testing.TB) Options{
		"sqlite":   func(t testing.TB) Options { return Options{Dir: t.TempDir(), Reserve: -1} },
		"postgres": func(t testing.TB) Options { return Options{Postgres: pgtest.Database(t)} },
	} {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				benchBesideLoad(b, options(b))
			}
		})
	}
}

func benchBesideLoad(b *testing.B, o Options) {
	events := 1_000_000
	if text := os.Getenv("POSTHORN_BENCH_EVENTS"); text != "" {
		events, _ = strconv.Atoi(text)
	}
	ahead := time.Duration(0)
	o.Now = func() time.Time { return time.Now().Add(ahead) }
	o.Retention, o.RetentionPayloads, o.RetentionAnswers = 3*testRetention, testRetention, testRetention
	var mu sync.Mutex
	var jobs []hook.Job
	o.Room = func(*hook.Endpoint) int { return 1 << 20 }
	o.Committed = func(c hook.Commit) { mu.Lock(); jobs = append(jobs, c.Jobs...); mu.Unlock() }
	s := benchStore(b, o)
	old, _ := waitingFor(b, s, "old", 0)
	fresh, _ := waitingFor(b, s, "fresh", 0)
	if o.Postgres != "" {
		ahead = 20 * 24 * time.Hour // that day has no partition: it is worked off page by page
	}
	data := append(append([]byte(`{"text":"`), bytes.Repeat([]byte("x"), 700)...), `"}`...)
	settleAll := func() {
		mu.Lock()
		all := jobs
		jobs = nil
		mu.Unlock()
		for part := range slices.Chunk(all, 500) {
			var done []hook.Settlement
			for _, j := range part {
				done = append(done, hook.Settlement{Job: j, Outcome: hook.Outcome{StartedAt: o.Now(), Status: 200, Success: true, Policy: &hook.Policy{},
					ResponseHeaders: []byte("Content-Type: text/plain\n"), ResponseBody: bytes.Repeat([]byte("y"), 200)}})
			}
			if _, err := s.Settle(context.Background(), done); err != nil {
				b.Error(err)
			}
		}
	}
	began := time.Now()
	for n := 0; n < events; n += 1000 {
		batch := make([]hook.NewEvent, 1000)
		for i := range batch {
			batch[i] = hook.NewEvent{Scope: old, Type: "a.b", Data: data}
		}
		if _, _, err := s.Publish(context.Background(), batch, profileZero, nil); err != nil {
			b.Fatal(err)
		}
		settleAll()
	}
	b.Logf("%d events published and settled in %v", events, time.Since(began).Round(time.Second))
	p99 := func(during func()) (time.Duration, int) {
		stop, end := make(chan struct{}), make(chan struct{})
		var lock sync.Mutex
		var took []time.Duration
		var publishers, settler sync.WaitGroup
		for range 8 {
			publishers.Go(func() {
				tick := time.NewTicker(8 * time.Millisecond)
				defer tick.Stop()
				for {
					select {
					case <-stop:
						return
					case <-tick.C:
					}
					t := time.Now()
					if _, _, err := s.Publish(context.Background(), []hook.NewEvent{{Scope: fresh, Type: "a.b", Data: data}}, profileZero, nil); err != nil {
						b.Error(err)
					}
					d := time.Since(t)
					lock.Lock()
					took = append(took, d)
					lock.Unlock()
				}
			})
		}
		settler.Go(func() {
			for {
				settleAll()
				select {
				case <-end:
					return
				case <-time.After(5 * time.Millisecond):
				}
			}
		})
		during()
		close(stop)
		publishers.Wait()
		close(end)
		settler.Wait()
		slices.Sort(took)
		return took[len(took)*99/100], len(took)
	}
	quiet := func() { _ = sqltext.Pause(context.Background(), 20*time.Second) }
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	housekeep := func() {
		if err := s.Housekeep(context.Background()); err != nil {
			b.Error(err)
		}
	}
	before, n := p99(quiet)
	b.Logf("without: p99 %v of %d", before, n)
	ahead += testRetention + time.Hour
	began = time.Now()
	beside, n := p99(housekeep)
	b.Logf("payloads and answers removed in %v: p99 %v of %d", time.Since(began).Round(time.Second), beside, n)
	var left int
	if err := s.core.Read.QueryRowContext(b.Context(), "SELECT count(*) FROM events WHERE tenant = ? AND payload_removed_at IS NULL", old.Tenant).Scan(&left); err != nil || left > 0 {
		b.Errorf("%d payloads are left, %v", left, err)
	}
	ahead += 2 * testRetention
	began = time.Now()
	drop, n := p99(housekeep)
	b.Logf("events dropped in %v: p99 %v of %d", time.Since(began).Round(time.Second), drop, n)
	after, _ := p99(quiet)
	b.Logf("without: p99 %v", after)
	b.ReportMetric(ms(before), "ms/p99-without")
	b.ReportMetric(ms(beside), "ms/p99-payloads")
	b.ReportMetric(ms(drop), "ms/p99-events")
	b.ReportMetric(ms(after), "ms/p99-after")
}
