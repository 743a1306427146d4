package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/dispatch"
	"github.com/posthorn/posthorn/internal/hook"
)

// Each test covers a former defect.

// due fills the table with n rows of the endpoint that are due now.
func (t *table) due(e *hook.Endpoint, n int) {
	t.rows[e.ID] = jobs(e, n)
	for i := range t.rows[e.ID] {
		t.rows[e.ID][i].Event = nil
	}
}

// left returns how many rows of the endpoint are unclaimed.
func (t *table) left(id hook.ID) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.rows[id])
}

func TestARateLimitWithABacklogInTheTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := endpoint(1, "a")
		e.RateLimit = 1
		q := newTable()
		q.due(e, 100)
		s := newSender(good)
		run(t, dispatch.Options{}, q, s)
		time.Sleep(50 * time.Second)
		if n := s.count(e.ID); n < 49 || n > 52 {
			t.Fatalf("%d sent in 50 s at 1/s", n)
		}
		time.Sleep(time.Minute)
		if n := s.count(e.ID); n != 100 {
			t.Fatalf("%d of 100 sent in the end", n)
		}
	})
}

func TestAPauseWithABacklogInTheTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := endpoint(1, "a")
		q := newTable()
		q.due(e, 100)
		asked := 0
		s := newSender(func(ctx context.Context, j hook.Job) hook.Outcome {
			if asked++; asked <= 2 {
				return hook.Outcome{Status: 503, Class: hook.ClassStatus, RetryAfter: 5 * time.Second, Policy: policy}
			}
			return good(ctx, j)
		})
		e.MaxInFlight = 1
		run(t, dispatch.Options{}, q, s)
		time.Sleep(3 * time.Minute)
		if n := s.count(e.ID); n != 102 {
			t.Fatalf("%d attempts, want 100 and the 2 that were asked to wait", n)
		}
	})
}

func TestStopEndsAlthoughWorkBecomesDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := endpoint(1, "a")
		e.RateLimit = 0.1
		q := newTable()
		q.due(e, 1)
		q.rows[e.ID][0].Delivery.Due = time.Now().Add(500 * time.Millisecond)
		s := newSender(func(ctx context.Context, j hook.Job) hook.Outcome {
			time.Sleep(1500 * time.Millisecond)
			return hook.Outcome{Success: true, Status: 200, Policy: policy}
		})
		d := run(t, dispatch.Options{}, q, s)
		d.Committed(hook.Commit{Jobs: jobs(e, 3)})
		time.Sleep(100 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if n := d.Stop(ctx); n != 0 {
			t.Fatalf("%d broken off, the one under way had time", n)
		}
	})
}

func TestTheTableIsAskedAgainAfterTheBacklogWasDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := endpoint(1, "a")
		e.MaxInFlight = 1
		q := newTable()
		q.due(e, 40)
		s := newSender(func(ctx context.Context, j hook.Job) hook.Outcome {
			time.Sleep(900 * time.Millisecond)
			return hook.Outcome{Success: true, Status: 200, Policy: policy}
		})
		d := run(t, dispatch.Options{}, q, s)
		time.Sleep(100 * time.Millisecond)
		var refs []hook.Ref
		for _, j := range jobs(e, 16)[1:] { // all jobs that wait in memory
			refs = append(refs, hook.Ref{Event: j.Delivery.Event, Endpoint: e.ID})
		}
		d.Committed(hook.Commit{Dropped: refs})
		time.Sleep(time.Hour)
		if n := q.left(e.ID); n != 0 {
			t.Fatalf("%d due rows were not claimed within an hour", n)
		}
	})
}

func TestASingleShotStaysWhenOnlyTheScheduleIsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := endpoint(1, "a")
		e.MaxInFlight = 1
		q, s := newTable(), newSender(good)
		d := run(t, dispatch.Options{}, q, s)
		all := jobs(e, 3)
		all[2] = all[1]
		all[2].Trigger = hook.ByHand
		d.Committed(hook.Commit{Jobs: all})
		d.Committed(hook.Commit{Dropped: []hook.Ref{{Event: all[1].Delivery.Event, Endpoint: e.ID, Scheduled: true}}})
		time.Sleep(time.Second)
		if n := len(s.events()); n != 2 {
			t.Fatalf("%d sent, want the first and the single shot", n)
		}
	})
}

// poisoned is a table that cannot record the outcomes of one endpoint.
type poisoned struct {
	*table
	bad hook.ID
}

func (p *poisoned) Settle(ctx context.Context, done []hook.Settlement) ([]hook.Due, error) {
	for _, s := range done {
		if s.Job.Delivery.Endpoint == p.bad {
			return nil, errors.New("a sealed value is damaged")
		}
	}
	return p.table.Settle(ctx, done)
}

func TestAnOutcomeThatCannotBeRecordedHarmsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad, fine := endpoint(1, "bad"), endpoint(2, "fine")
		q, s := &poisoned{table: newTable(), bad: bad.ID}, newSender(good)
		d := dispatch.New(dispatch.Options{Log: quiet(), Unsettled: 500})
		if err := d.Start(t.Context(), q, s); err != nil {
			t.Fatal(err)
		}
		defer func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			d.Stop(ctx)
		}()
		d.Committed(hook.Commit{Jobs: jobs(bad, 3)})
		d.Committed(hook.Commit{Jobs: jobs(fine, 1000)})
		time.Sleep(10 * time.Second)
		if n := q.count(); n != 1000 {
			t.Fatalf("%d of the neighbour's 1000 outcomes are recorded", n)
		}
		if st := d.Stats(); st.InFlight != 3 {
			t.Fatalf("%d outcomes are kept, want the 3 bad ones", st.InFlight)
		}
	})
}

func TestManyEndpointsWithWork(t *testing.T) {
	// A pass over all queues for each new one would take minutes.
	d := dispatch.New(dispatch.Options{Log: quiet()})
	due := make([]hook.Due, 60_000)
	for i := range due {
		e := &hook.Endpoint{ID: hook.ID{1, byte(i >> 16), byte(i >> 8), byte(i)}, Scope: hook.Scope{Tenant: fmt.Sprint(i), Mode: hook.Live}}
		due[i] = hook.Due{Target: e, At: time.Now().Add(time.Hour)}
	}
	d.Committed(hook.Commit{Due: due})
	if st := d.Stats(); st.Endpoints != len(due) {
		t.Fatalf("%d queues for %d endpoints with work", st.Endpoints, len(due))
	}
}

func TestOneTenantLeavesSlowSlotsToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newTable(), newSender(blackHole)
		d := run(t, dispatch.Options{}, q, s)
		for n := range 2000 {
			d.Committed(hook.Commit{Jobs: jobs(endpoint(n, "hog"), 2)})
		}
		time.Sleep(12 * time.Second)
		if st := d.Stats(); st.Slow != 512 {
			t.Errorf("one tenant holds %d slow slots, its bound is 512", st.Slow)
		}
	})
}

func TestAChangedRateLimitCountsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newTable(), newSender(good)
		d := run(t, dispatch.Options{}, q, s)
		e := endpoint(1, "a")
		e.RateLimit = 1e-10 // the pause between attempts does not fit into a time.Duration
		d.Committed(hook.Commit{Jobs: jobs(e, 5)})
		time.Sleep(time.Hour)
		if n := s.count(e.ID); n != 1 {
			t.Fatalf("%d sent at one in 300 years", n)
		}
		up := *e
		up.RateLimit, up.Revision = 0, 2
		d.Committed(hook.Commit{Changed: []*hook.Endpoint{&up}})
		time.Sleep(time.Second)
		if n := s.count(e.ID); n != 5 {
			t.Fatalf("%d of 5 sent after the limit was lifted", n)
		}
	})
}
