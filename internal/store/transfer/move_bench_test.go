package transfer_test

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/store/pgtest"
	"github.com/posthorn/posthorn/internal/store/storetest"
	"github.com/posthorn/posthorn/internal/store/transfer"
)

// BenchmarkMove moves N delivered events of 1,000 bytes, each with a delivery and an
// attempt. Run it with -benchtime=200000x.
func BenchmarkMove(b *testing.B) {
	dir, target := b.TempDir(), pgtest.Database(b)
	s := storetest.Open(b, store.Options{Dir: dir, Reserve: -1, Synchronous: "off"})
	for left := b.N; left > 0; left -= 2000 {
		n := min(left, 2000)
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				for range max(n/20, 1) {
					if _, err := s.PublishBytes(1000); err != nil {
						b.Error(err)
					}
				}
			})
		}
		all.Wait()
		var jobs []hook.Job
		for jobs = s.Take(); len(jobs) > 0; {
			part := jobs[:min(len(jobs), 200)]
			jobs = jobs[len(part):]
			if err := s.Succeed(part...); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	counts, err := transfer.Move(b.Context(), transfer.Options{From: filepath.Join(dir, "posthorn.db"), To: target, Keys: storetest.Keyring(b, 7)})
	b.StopTimer()
	if err != nil {
		b.Fatal(err)
	}
	var rows int64
	for _, c := range counts {
		rows += c.Rows
	}
	b.ReportMetric(float64(rows), "rows")
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
