package dispatch_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/dispatch"
	"github.com/posthorn/posthorn/internal/hook"
)

// stopped returns the next snapshot of an endpoint with another status.
func stopped(e *hook.Endpoint, status hook.Status) *hook.Endpoint {
	next := *e
	next.Status, next.Revision = status, e.Revision+1
	return &next
}

// skipped returns how many jobs were given back without an attempt.
func (t *table) skipped() (n int) {
	for _, s := range t.all() {
		if s.Outcome.Skipped {
			n++
		}
	}
	return n
}

func TestAStoppedEndpointsJobsAreForgotten(t *testing.T) {
	for name, status := range map[string]hook.Status{"disabled": hook.Disabled, "tripped": hook.Tripped, "deleted": hook.Deleted} {
		synctest.Test(t, func(t *testing.T) {
			e := endpoint(1, "a")
			e.MaxInFlight = 1
			q, s := newTable(), newSender(func(ctx context.Context, j hook.Job) hook.Outcome {
				time.Sleep(time.Second)
				return hook.Outcome{Success: true, Status: 200}
			})
			d := run(t, dispatch.Options{}, q, s)
			waiting := jobs(e, 11)
			waiting[9].Trigger = hook.ByHand
			waiting[10].Trigger, waiting[10].Delivery.Kind = hook.ByTest, hook.TestEvent
			d.Committed(hook.Commit{Jobs: waiting[:10]})
			d.Committed(hook.Commit{Jobs: waiting[10:]}) // the first is in progress
			time.Sleep(time.Millisecond)
			d.Committed(hook.Commit{Changed: []*hook.Endpoint{stopped(e, status)}})
			if st, want := d.Stats(), 1; status != hook.Deleted && st.Waiting != want || status == hook.Deleted && st.Waiting != 0 {
				t.Errorf("%s: %d wait; a disabled endpoint still gets its test event, a deleted one nothing", name, st.Waiting)
			}
			d.Committed(hook.Commit{Jobs: jobs(e, 2)}) // claimed before, delivered late
			time.Sleep(time.Minute)
			want := 2
			if status == hook.Deleted {
				want = 1
			}
			if len(s.events()) != want || q.skipped() != 2 {
				t.Errorf("%s: sent %d, gave back %d; want %d and the 2 late ones", name, len(s.events()), q.skipped(), want)
			}
		})
	}
}

// firstOfAnother returns how long an event of another tenant waits for its attempt after
// busy has passed work to the dispatcher.
func firstOfAnother(t *testing.T, q *table, busy func(*dispatch.Dispatcher)) (waited time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		healthy := endpoint(9999, "healthy")
		s := newSender(func(ctx context.Context, j hook.Job) hook.Outcome {
			return hook.Outcome{Success: true, Status: 200, Policy: policy}
		})
		d := run(t, dispatch.Options{}, q, s)
		busy(d)
		time.Sleep(time.Millisecond)
		began := time.Now()
		d.Committed(hook.Commit{Jobs: jobs(healthy, 1)})
		for s.count(healthy.ID) == 0 && time.Since(began) < time.Minute {
			time.Sleep(time.Millisecond)
		}
		waited = time.Since(began)
		for d.Stats().Waiting+d.Stats().InFlight > 0 {
			time.Sleep(time.Second)
		}
	})
	return waited
}

func TestJobsThatGoBackHoldUpNobody(t *testing.T) {
	const many, each = 50_000, 40 * time.Microsecond
	limited := endpoint(1, "big")
	limited.RateLimit = 0.001
	for name, commit := range map[string]hook.Commit{
		"forgotten":  {Changed: []*hook.Endpoint{stopped(limited, hook.Deleted)}},
		"given back": {Returned: []*hook.Endpoint{stopped(limited, hook.Deleted)}},
	} {
		q := newTable()
		q.each = each
		waited := firstOfAnother(t, q, func(d *dispatch.Dispatcher) {
			d.Committed(hook.Commit{Jobs: jobs(limited, many)})
			synctest.Wait()
			d.Committed(commit)
		})
		if waited > 50*time.Millisecond {
			t.Errorf("%s: another tenant's first attempt waited %v", name, waited)
		}
		want := 0
		if name == "given back" {
			want = many - 1
		}
		if n := q.skipped(); n != want {
			t.Errorf("%s: %d jobs went back, want %d", name, n, want)
		}
	}
}

func TestRefusedOutcomesDoNotKeepStopFromEnding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad, fine := endpoint(1, "bad"), endpoint(2, "fine")
		q, s := &poisoned{table: newTable(), bad: bad.ID}, newSender(good)
		d := dispatch.New(dispatch.Options{Log: quiet()})
		if err := d.Start(t.Context(), q, s); err != nil {
			t.Fatal(err)
		}
		d.Committed(hook.Commit{Jobs: append(jobs(bad, 3), jobs(fine, 10)...)})
		time.Sleep(10 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		began := time.Now()
		n := d.Stop(ctx)
		if took := time.Since(began); took > time.Second || n != 3 {
			t.Errorf("stopped after %v with %d to repeat; want the 3 refused ones, at once", took, n)
		}
		if q.count() != 10 {
			t.Errorf("%d of the 10 others are recorded", q.count())
		}
	})
}

func TestManyRefusedOutcomesStopNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad, fine := endpoint(1, "bad"), endpoint(2, "fine")
		q, s := &poisoned{table: newTable(), bad: bad.ID}, newSender(good)
		d := dispatch.New(dispatch.Options{Log: quiet(), Unsettled: 100})
		if err := d.Start(t.Context(), q, s); err != nil {
			t.Fatal(err)
		}
		d.Committed(hook.Commit{Jobs: jobs(bad, 2000)})
		time.Sleep(10 * time.Second)
		d.Committed(hook.Commit{Jobs: jobs(fine, 10)})
		time.Sleep(10 * time.Second)
		if q.count() != 10 {
			t.Errorf("%d of 10 outcomes recorded beside 2000 that are refused", q.count())
		}
		if n := d.Stop(t.Context()); n != 2000 {
			t.Errorf("%d are to be repeated, want all 2000", n)
		}
	})
}

func TestAnswersThatWaitToBeRecordedAreBounded(t *testing.T) {
	const size, most = 80 << 10, 1 << 20
	kept := 0
	synctest.Test(t, func(t *testing.T) {
		q := newTable()
		s := newSender(func(context.Context, hook.Job) hook.Outcome {
			return hook.Outcome{Success: true, Status: 200, Policy: policy, ResponseBody: make([]byte, size)}
		})
		d := dispatch.New(dispatch.Options{Log: quiet(), AnswerBytes: most})
		gate := &gated{table: q, open: make(chan struct{})}
		if err := d.Start(t.Context(), gate, s); err != nil {
			t.Fatal(err)
		}
		d.Committed(hook.Commit{Jobs: jobs(endpoint(1, "a"), 200)})
		time.Sleep(time.Second)
		if n := d.Stats().InFlight; n != 200 {
			t.Errorf("%d attempts made while nothing is recorded, want all 200", n)
		}
		close(gate.open)
		if n := d.Stop(t.Context()); n != 0 {
			t.Errorf("%d not recorded", n)
		}
		for _, s := range q.all() {
			kept += len(s.Outcome.ResponseBody)
			if (len(s.Outcome.ResponseBody) == 0) != s.Outcome.Truncated {
				t.Fatal("an answer that was not kept is not marked as truncated")
			}
		}
	})
	if kept > most || kept < most/2 {
		t.Errorf("%d bytes of answers were kept, the bound is %d", kept, most)
	}
}

// gated is a table that records nothing until it is opened.
type gated struct {
	*table
	open chan struct{}
}

func (g *gated) Settle(ctx context.Context, done []hook.Settlement) ([]hook.Due, error) {
	<-g.open
	return g.table.Settle(ctx, done)
}
