package dispatch_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/dispatch"
	"github.com/posthorn/posthorn/internal/hook"
)

// While a fault of this machine lasts, there is one attempt at a time for an endpoint, at
// most 16 seconds apart. When it is over, everything is sent. Control: after attempts that
// are skipped for another reason nothing waits.
func TestOurFaultsAreTriedRarely(t *testing.T) {
	const many, lasts = 500, 10 * time.Minute
	for _, class := range []hook.Class{hook.ClassNetworkUnavailable, hook.ClassNone} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			q, s := newTable(), newSender(func(ctx context.Context, j hook.Job) hook.Outcome {
				if time.Since(began) < lasts {
					return hook.Outcome{Skipped: true, Class: class}
				}
				return good(ctx, j)
			})
			e := endpoint(1, "a")
			d := run(t, dispatch.Options{}, q, s)
			d.Committed(hook.Commit{Jobs: jobs(e, many)})
			time.Sleep(lasts)
			during := s.count(e.ID)
			if class.Ours() != (during >= 30 && during <= 50) || during != q.skipped() {
				t.Errorf("%q: %d attempts in %v, %d given back", class, during, lasts, q.skipped())
			}
			time.Sleep(20 * time.Second)
			if s.count(e.ID) != many || d.Stats().Waiting != 0 {
				t.Errorf("%q: %d of %d sent, %d wait", class, s.count(e.ID), many, d.Stats().Waiting)
			}
		})
	}
}
