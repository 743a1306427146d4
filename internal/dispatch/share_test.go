package dispatch_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/dispatch"
	"github.com/posthorn/posthorn/internal/hook"
)

// besideBlackHoles returns the longest time that a delivery of a tenant waited within a
// minute, while four tenants have 950 endpoints each that do not answer.
func besideBlackHoles(t *testing.T, prepare func(*dispatch.Dispatcher)) (longest time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		healthy := endpoint(9999, "healthy")
		var last atomic.Int64 // nanoseconds
		s := newSender(func(ctx context.Context, j hook.Job) hook.Outcome {
			if j.Delivery.Endpoint == healthy.ID {
				last.Store(int64(time.Since(j.Delivery.CreatedAt)))
				return good(ctx, j)
			}
			return blackHole(ctx, j)
		})
		o := dispatch.Options{Log: quiet()}
		d := dispatch.New(o)
		prepare(d)
		if err := d.Start(t.Context(), newTable(), s); err != nil {
			t.Fatal(err)
		}
		defer func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			d.Stop(ctx)
		}()
		for n := range 4 * 950 {
			d.Committed(hook.Commit{Jobs: jobs(endpoint(n, fmt.Sprint("dead", n%4)), 20)})
		}
		for range 600 {
			sent := s.count(healthy.ID)
			d.Committed(hook.Commit{Jobs: jobs(healthy, 1)})
			start := time.Now()
			for s.count(healthy.ID) == sent && time.Since(start) < time.Minute {
				time.Sleep(time.Millisecond)
			}
			longest = max(longest, time.Duration(last.Load()))
			time.Sleep(100 * time.Millisecond)
		}
	})
	return longest
}

func TestTenantsOfBlackHolesLeaveRoomForOthers(t *testing.T) {
	if longest := besideBlackHoles(t, func(*dispatch.Dispatcher) {}); longest > 2*time.Millisecond {
		t.Errorf("a delivery waited %v beside four tenants of black holes", longest)
	}
	if longest := besideBlackHoles(t, (*dispatch.Dispatcher).TakeAll); longest < time.Second {
		t.Errorf("control: without shares the delivery waited only %v; the test shows nothing", longest)
	}
}

func TestOneTenantTakesItsWholeBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSender(blackHole)
		d := run(t, dispatch.Options{}, newTable(), s)
		for n := range 600 {
			d.Committed(hook.Commit{Jobs: jobs(endpoint(n, "a"), 1)})
		}
		time.Sleep(time.Millisecond)
		if st := d.Stats(); st.Fast != 256 {
			t.Errorf("%d attempts of the only tenant, want 256", st.Fast)
		}
	})
}
