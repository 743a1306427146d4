package dispatch_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/dispatch"
	"github.com/posthorn/posthorn/internal/hook"
)

// hanging answers in 20 ms, but events with the mark hang for 20 s.
func hanging(ctx context.Context, j hook.Job) hook.Outcome {
	if j.Delivery.Event[0] != 9 {
		time.Sleep(20 * time.Millisecond)
		return hook.Outcome{Success: true, Status: 200, Policy: policy}
	}
	select {
	case <-time.After(20 * time.Second):
	case <-ctx.Done():
	}
	return hook.Outcome{Class: hook.ClassTimeout, Policy: policy}
}

func hangs(e *hook.Endpoint, n int) []hook.Job {
	out := jobs(e, n)
	for i := range out {
		out[i].Delivery.Event[0] = 9
	}
	return out
}

// afterATimeout lets an endpoint answer, time out once, and hang again while four
// deliveries wait. It returns how long these took, and the most that were open at once.
func afterATimeout(t *testing.T, maxInFlight int) (took time.Duration, most int) {
	synctest.Test(t, func(t *testing.T) {
		e := endpoint(1, "a")
		e.MaxInFlight = maxInFlight
		s := newSender(hanging)
		d := run(t, dispatch.Options{}, newTable(), s)
		d.Committed(hook.Commit{Jobs: jobs(e, 1)})
		time.Sleep(time.Second)
		d.Committed(hook.Commit{Jobs: hangs(e, 1)})
		time.Sleep(20500 * time.Millisecond)
		if p, ok := d.Pace(e.ID); !ok || p.Cap != 1 || maxInFlight != 1 && (p.Limit != 64 || p.LoweredBy != hook.ClassTimeout) {
			t.Fatalf("after a timeout: %+v", p)
		}
		d.Committed(hook.Commit{Jobs: hangs(e, 1)})
		time.Sleep(100 * time.Millisecond)
		start := time.Now()
		d.Committed(hook.Commit{Jobs: jobs(e, 4)})
		time.Sleep(100 * time.Millisecond)
		if p, _ := d.Pace(e.ID); p.WaitsFor != hook.WaitCap || p.InFlight != 1 || p.Waiting != 4 {
			t.Errorf("behind a hanging request: %+v", p)
		}
		for s.count(e.ID) < 7 && time.Since(start) < time.Minute {
			time.Sleep(time.Millisecond)
		}
		took, most = time.Since(start), s.mostAtOnce(e.ID)
		time.Sleep(time.Minute)
	})
	return took, most
}

func TestAProbePassesAHangingRequest(t *testing.T) {
	if took, _ := afterATimeout(t, 0); took > 1500*time.Millisecond {
		t.Errorf("four deliveries took %v behind a request that hangs", took)
	}
	// Control, and a guarantee: an endpoint with a limit of one attempt gets no probe.
	if took, most := afterATimeout(t, 1); took < 19*time.Second || most != 1 {
		t.Errorf("with max_in_flight 1 they took %v, with %d at once; the test shows nothing", took, most)
	}
}

func TestProbesOfADeadEndpointAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dead atomic.Bool
		s := newSender(func(ctx context.Context, j hook.Job) hook.Outcome {
			if dead.Load() {
				return blackHole(ctx, j)
			}
			return good(ctx, j)
		})
		d := run(t, dispatch.Options{}, newTable(), s)
		e := endpoint(1, "a")
		d.Committed(hook.Commit{Jobs: jobs(e, 1)})
		time.Sleep(time.Second)
		dead.Store(true)
		before := s.count(e.ID)
		d.Committed(hook.Commit{Jobs: jobs(e, 200)})
		time.Sleep(10 * time.Minute)
		// One after another would be 20 in ten minutes.
		if n, most := s.count(e.ID)-before, s.mostAtOnce(e.ID); n > 30 || most > 3 {
			t.Errorf("%d attempts in ten minutes, %d at once", n, most)
		}
	})
}

func TestPaceSaysWhatJobsWaitFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSender(func(ctx context.Context, j hook.Job) hook.Outcome {
			if j.Delivery.Scope.Tenant == "asks" {
				return hook.Outcome{Status: 429, Class: hook.ClassStatus, RetryAfter: 30 * time.Second, Policy: policy}
			}
			return blackHole(ctx, j)
		})
		d := run(t, dispatch.Options{FastPerTenant: 3, SlowPerTenant: 3}, newTable(), s)
		limited := endpoint(1, "rate")
		limited.RateLimit = 0.1
		asks, share, host := endpoint(2, "asks"), endpoint(3, "share"), at(5, "host", "host.example")
		asks.MaxInFlight = 1
		for _, e := range []*hook.Endpoint{limited, asks, endpoint(4, "share"), share, host, at(6, "host2", "host.example")} {
			d.Committed(hook.Commit{Jobs: jobs(e, 3)})
			time.Sleep(time.Millisecond)
		}
		for e, want := range map[*hook.Endpoint]hook.Wait{
			limited: hook.WaitRate, asks: hook.WaitPause, share: hook.WaitTenant, host: hook.WaitCap, at(6, "host2", "host.example"): hook.WaitHostCap,
		} {
			p, ok := d.Pace(e.ID)
			if !ok || p.WaitsFor != want {
				t.Errorf("%s waits for %q, want %q: %+v", e.Scope.Tenant, p.WaitsFor, want, p)
			}
			if (want == hook.WaitRate || want == hook.WaitPause) != !p.NotBefore.IsZero() {
				t.Errorf("%s: not before %v", e.Scope.Tenant, p.NotBefore)
			}
		}
		if p, _ := d.Pace(asks.ID); p.LoweredStatus != 0 { // its limit is one
			t.Errorf("lowered although it cannot be: %+v", p)
		}
		if _, ok := d.Pace(endpoint(77, "x").ID); ok {
			t.Error("an endpoint that nobody knows has a pace")
		}
		if st := d.Stats(); st.HeldInFlight == 0 {
			t.Errorf("the wait for the host is not counted: %+v", st)
		}
	})
}
