package dispatch_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/dispatch"
	"github.com/posthorn/posthorn/internal/hook"
)

// What waits is counted by reason, with how long it is overdue. Control: nothing is there
// before, and nothing is left after.
func TestWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		capped, limited := endpoint(1, "a"), endpoint(2, "b")
		capped.MaxInFlight, limited.RateLimit = 1, 1
		release := make(chan struct{})
		d := run(t, dispatch.Options{}, newTable(), newSender(func(_ context.Context, j hook.Job) hook.Outcome {
			if j.Delivery.Endpoint == capped.ID {
				<-release
			}
			return hook.Outcome{Success: true, Status: 200, Policy: policy}
		}))
		if w := d.Waits(); len(w) != 0 {
			t.Errorf("before: %v", w)
		}
		at := time.Now()
		for _, e := range []*hook.Endpoint{capped, limited} {
			list := jobs(e, 4)
			for i := range list {
				list[i].Delivery.CreatedAt, list[i].Delivery.Due = at, at
			}
			d.Committed(hook.Commit{Jobs: list})
		}
		time.Sleep(1500 * time.Millisecond)
		w := d.Waits()
		if got := w[hook.WaitCap]; got.Deliveries != 3 || got.Endpoints != 1 || got.Overdue != 1500*time.Millisecond {
			t.Errorf("behind a request: %+v", got)
		}
		if got := w[hook.WaitRate]; got.Deliveries == 0 || got.Deliveries > 3 || got.Overdue != 1500*time.Millisecond {
			t.Errorf("behind a rate limit: %+v", got)
		}
		close(release)
		time.Sleep(time.Minute)
		if w := d.Waits(); len(w) != 0 {
			t.Errorf("after: %v", w)
		}
	})
}
