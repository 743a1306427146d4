package store_test

import (
	"bytes"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/store/storetest"
)

// BenchmarkLifeCycle publishes with 64 callers and settles what they published. All
// writes are durable. It reports CPU per event and events per commit.
func BenchmarkLifeCycle(b *testing.B) {
	s := storetest.Open(b, store.Options{Dir: b.TempDir(), Reserve: -1})
	var settled atomic.Int64
	stop := make(chan struct{})
	var settler sync.WaitGroup
	settler.Go(func() {
		for {
			jobs := s.Take()
			if len(jobs) > 0 {
				for part := range chunks(jobs, 128) {
					if err := s.Succeed(part...); err != nil {
						b.Error(err)
					}
				}
				settled.Add(int64(len(jobs)))
				continue
			}
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	})
	before, cpu := s.Stats(), cpuTime(b)
	b.ResetTimer()
	var left atomic.Int64
	left.Store(int64(b.N))
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := s.PublishBytes(1000); err != nil {
					b.Error(err)
				}
			}
		})
	}
	all.Wait()
	for settled.Load() < int64(b.N) {
		<-time.After(time.Millisecond)
	}
	b.StopTimer()
	close(stop)
	settler.Wait()
	after := s.Stats()
	b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/float64(b.N), "cpu-us/event")
	b.ReportMetric(float64(after.Events-before.Events)/float64(after.Commits-before.Commits), "events/commit")
}

// BenchmarkBatch publishes batches of 1,000 events with two callers, to a receiver that
// never answers. It reports CPU per event.
func BenchmarkBatch(b *testing.B) {
	s := storetest.Open(b, store.Options{Dir: b.TempDir(), Reserve: -1})
	data := bytes.Repeat([]byte("x"), 1000)
	cpu := cpuTime(b)
	var left atomic.Int64
	left.Store(int64(b.N))
	var all sync.WaitGroup
	b.ReportAllocs()
	for range 2 {
		all.Go(func() {
			for n := int64(1000); n == 1000; {
				n = min(1000, left.Add(-1000)+1000)
				if n <= 0 {
					return
				}
				events := make([]hook.NewEvent, n)
				for i := range events {
					events[i] = hook.NewEvent{Scope: live, Type: "a", Data: data}
				}
				if _, _, err := s.Publish(b.Context(), events, profileOf, nil); err != nil {
					b.Error(err)
				}
				s.Take()
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/float64(b.N), "cpu-us/event")
}

func chunks(jobs []hook.Job, n int) func(func([]hook.Job) bool) {
	return func(yield func([]hook.Job) bool) {
		for len(jobs) > 0 {
			k := min(n, len(jobs))
			if !yield(jobs[:k]) {
				return
			}
			jobs = jobs[k:]
		}
	}
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
