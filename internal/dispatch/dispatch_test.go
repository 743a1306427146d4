package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/dispatch"
	"github.com/posthorn/posthorn/internal/hook"
)

// table is a queue in memory. It keeps unowned rows by endpoint, oldest first.
type table struct {
	mu      sync.Mutex
	rows    map[hook.ID][]hook.Job
	settled []hook.Settlement
	claims  int
	fail    int           // how many calls of Settle fail before one succeeds
	each    time.Duration // how long Settle takes for each settlement
}

func newTable() *table { return &table{rows: map[hook.ID][]hook.Job{}} }

func (t *table) Recover(context.Context) ([]hook.Due, []hook.Job, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var due []hook.Due
	for _, jobs := range t.rows {
		due = append(due, hook.Due{Target: jobs[0].Target, At: jobs[0].Delivery.Due})
	}
	return due, nil, nil
}

func (t *table) Claim(_ context.Context, c hook.Claim) (hook.Claimed, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.claims++
	var got hook.Claimed
	for _, s := range c.Shares {
		rows := t.rows[s.Endpoint]
		n := 0
		for n < len(rows) && n < s.Limit && !rows[n].Delivery.Due.After(c.Now) {
			n++
		}
		got.Jobs = append(got.Jobs, rows[:n]...)
		t.rows[s.Endpoint] = rows[n:]
		if n < len(rows) {
			got.Due = append(got.Due, hook.Due{Target: rows[n].Target, At: rows[n].Delivery.Due})
		}
	}
	return got, nil
}

func (t *table) Settle(_ context.Context, done []hook.Settlement) ([]hook.Due, error) {
	time.Sleep(time.Duration(len(done)) * t.each)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fail > 0 {
		t.fail--
		return nil, errors.New("disk full")
	}
	t.settled = append(t.settled, done...)
	var due []hook.Due
	for _, s := range done {
		if s.Outcome.Skipped || s.Outcome.Success {
			continue
		}
		row, _ := hook.Next(s.Job.Delivery, s.Outcome.Policy, s.Job.Trigger, s.Outcome, s.Outcome.StartedAt, 0)
		if row.State == hook.Pending {
			t.rows[row.Endpoint] = append(t.rows[row.Endpoint], hook.Job{Delivery: row, Target: s.Job.Target})
			due = append(due, hook.Due{Target: s.Job.Target, At: row.Due})
		}
	}
	return due, nil
}

func (t *table) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.settled)
}

func (t *table) asked() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.claims
}

func (t *table) all() []hook.Settlement {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.settled)
}

// sender answers attempts. It records when they began and the most that were open at once.
type sender struct {
	mu     sync.Mutex
	answer func(ctx context.Context, j hook.Job) hook.Outcome
	open   map[hook.ID]int
	most   map[hook.ID]int
	sent   map[hook.ID][]time.Time
	order  []hook.ID
}

func newSender(answer func(context.Context, hook.Job) hook.Outcome) *sender {
	return &sender{answer: answer, open: map[hook.ID]int{}, most: map[hook.ID]int{}, sent: map[hook.ID][]time.Time{}}
}

func (s *sender) Send(ctx context.Context, j hook.Job) hook.Outcome {
	id := j.Delivery.Endpoint
	s.mu.Lock()
	s.open[id]++
	s.most[id] = max(s.most[id], s.open[id])
	s.sent[id] = append(s.sent[id], time.Now())
	s.order = append(s.order, j.Delivery.Event)
	s.mu.Unlock()
	start := time.Now()
	o := s.answer(ctx, j)
	o.StartedAt, o.Duration = start, time.Since(start)
	s.mu.Lock()
	s.open[id]--
	s.mu.Unlock()
	return o
}

// times returns when the endpoint's attempts began.
func (s *sender) times(id hook.ID) []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sent[id])
}

// events returns the events that were sent, in order.
func (s *sender) events() []hook.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.order)
}

func (s *sender) mostAtOnce(id hook.ID) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most[id]
}

func (s *sender) count(id hook.ID) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sent[id])
}

var policy = &hook.Policy{Retry: hook.Retry{Steps: []time.Duration{time.Minute}, Repeat: true}}

func good(context.Context, hook.Job) hook.Outcome {
	time.Sleep(time.Millisecond)
	return hook.Outcome{Success: true, Status: 200, Policy: policy}
}

func blackHole(ctx context.Context, _ hook.Job) hook.Outcome {
	select {
	case <-time.After(30 * time.Second):
	case <-ctx.Done():
	}
	return hook.Outcome{Class: hook.ClassTimeout, Policy: policy}
}

func endpoint(n int, tenant string) *hook.Endpoint {
	return &hook.Endpoint{ID: hook.ID{1, byte(n >> 8), byte(n)}, Scope: hook.Scope{Tenant: tenant, Mode: hook.Live}, Revision: 1}
}

func jobs(target *hook.Endpoint, n int) []hook.Job {
	out := make([]hook.Job, n)
	for i := range out {
		out[i] = hook.Job{
			Target: target,
			Event:  &hook.Event{Data: []byte(`{}`)},
			Delivery: hook.Delivery{
				Event: hook.ID{2, byte(i >> 16), byte(i >> 8), byte(i)}, Endpoint: target.ID, Scope: target.Scope,
				Due: time.Now(), CreatedAt: time.Now(),
			},
		}
	}
	return out
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// run starts a dispatcher inside the test's bubble and stops it when the test ends.
func run(t *testing.T, o dispatch.Options, q *table, s *sender) *dispatch.Dispatcher {
	t.Helper()
	o.Log = quiet()
	d := dispatch.New(o)
	if err := d.Start(t.Context(), q, s); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		d.Stop(ctx)
	})
	return d
}

func TestCommittedJobsAreSentOnceAndRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newTable(), newSender(good)
		d := run(t, dispatch.Options{}, q, s)
		d.Committed(hook.Commit{Jobs: jobs(endpoint(1, "a"), 500)})
		time.Sleep(time.Second)
		if q.count() != 500 {
			t.Fatalf("recorded %d attempts, want 500", q.count())
		}
		if st := d.Stats(); st.InFlight != 0 || st.Waiting != 0 || st.Fast != 0 || st.Slow != 0 {
			t.Fatalf("attempts still count in the budgets: %+v", st)
		}
		if n := q.asked(); n != 0 {
			t.Fatalf("%d claims for jobs that were handed over; want none", n)
		}
		if most := s.mostAtOnce(endpoint(1, "a").ID); most <= 2 || most > 64 {
			t.Fatalf("most at once %d: the cap should grow from 2 and stay within 64", most)
		}
	})
}

// healthyDelay returns how long a job of a healthy endpoint waits beside dead endpoints.
func healthyDelay(t *testing.T, o dispatch.Options, dead int) (delay time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		healthy := endpoint(9999, "healthy")
		q := newTable()
		s := newSender(func(ctx context.Context, j hook.Job) hook.Outcome {
			if j.Delivery.Endpoint == healthy.ID {
				return good(ctx, j)
			}
			return blackHole(ctx, j)
		})
		d := run(t, o, q, s)
		for n := range dead {
			d.Committed(hook.Commit{Jobs: jobs(endpoint(n, fmt.Sprint("dead", n%7)), 20)})
		}
		time.Sleep(3 * time.Second)
		start := time.Now()
		d.Committed(hook.Commit{Jobs: jobs(healthy, 1)})
		for s.count(healthy.ID) == 0 && time.Since(start) < time.Minute {
			time.Sleep(time.Millisecond)
		}
		delay = time.Since(start)
	})
	return delay
}

func TestDeadEndpointsCostTheirNeighbourNothing(t *testing.T) {
	if delay := healthyDelay(t, dispatch.Options{}, 600); delay > 2*time.Millisecond {
		t.Errorf("a healthy endpoint waited %v beside 600 dead ones", delay)
	}
	// Control: one budget for all, as in a plain worker pool.
	pool := dispatch.Options{Fast: 4, FastPerTenant: 4, SlowAfter: time.Hour}
	if delay := healthyDelay(t, pool, 600); delay < time.Second {
		t.Errorf("control: without a slow budget the healthy endpoint waited only %v; the test shows nothing", delay)
	}
}

func TestTimeoutsShrinkTheCapToOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newTable(), newSender(blackHole)
		d := run(t, dispatch.Options{}, q, s)
		e := endpoint(1, "a")
		d.Committed(hook.Commit{Jobs: jobs(e, 50)})
		time.Sleep(31 * time.Second)
		s.mu.Lock()
		open, most := s.open[e.ID], s.most[e.ID]
		s.mu.Unlock()
		if open != 1 || most != 2 {
			t.Fatalf("%d open, at most %d at once; want 1 after timeouts and 2 at first", open, most)
		}
		if d.Stats().Slow != 1 || d.Stats().Fast != 0 {
			t.Fatalf("an endpoint known to be slow uses the fast budget: %+v", d.Stats())
		}
	})
}

func TestRateLimitHoldsInEveryWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newTable(), newSender(good)
		d := run(t, dispatch.Options{}, q, s)
		e := endpoint(1, "a")
		e.RateLimit = 20
		d.Committed(hook.Commit{Jobs: jobs(e, 100)})
		time.Sleep(6 * time.Second)
		sent := s.times(e.ID)
		if len(sent) != 100 {
			t.Fatalf("sent %d in 6 s at 20/s, want all 100", len(sent))
		}
		for i := 21; i < len(sent); i++ {
			if window := sent[i].Sub(sent[i-21]); window < time.Second {
				t.Fatalf("22 deliveries within %v at 20/s", window)
			}
		}
	})
}

func TestRetriesAreClaimedWhenDueAndOverflowWaitsInTheTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := endpoint(1, "a")
		q := newTable()
		q.rows[e.ID] = jobs(e, 3000)
		for i := range q.rows[e.ID] {
			q.rows[e.ID][i].Event = nil
			q.rows[e.ID][i].Delivery.Due = time.Now().Add(time.Hour)
		}
		s := newSender(good)
		d := run(t, dispatch.Options{}, q, s)
		time.Sleep(time.Hour - time.Millisecond)
		if q.count() != 0 || q.asked() != 0 {
			t.Fatalf("%d attempts and %d claims before the rows were due", q.count(), q.asked())
		}
		time.Sleep(10 * time.Second)
		if q.count() != 3000 {
			t.Fatalf("recorded %d, want 3000", q.count())
		}
		if d.Stats().Waiting != 0 {
			t.Fatalf("left in memory: %+v", d.Stats())
		}
	})
}

func TestFreshJobsGoOnWhileABacklogDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := endpoint(1, "a")
		e.MaxInFlight = 1
		q := newTable()
		q.rows[e.ID] = jobs(e, 1000)
		s := newSender(good)
		d := run(t, dispatch.Options{}, q, s)
		time.Sleep(100 * time.Millisecond)
		fresh := jobs(e, 10)
		for i := range fresh {
			fresh[i].Delivery.Event[0] = 9
		}
		d.Committed(hook.Commit{Jobs: fresh})
		time.Sleep(40 * time.Millisecond)
		n := 0
		for _, id := range s.events() {
			if id[0] == 9 {
				n++
			}
		}
		if n != 10 || len(s.events()) > 200 {
			t.Fatalf("%d of 10 fresh jobs among the first %d attempts", n, len(s.events()))
		}
	})
}

func TestATenantWithManyJobsDoesNotHoldUpAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newTable(), newSender(good)
		d := run(t, dispatch.Options{Fast: 4}, q, s)
		for n := range 100 {
			d.Committed(hook.Commit{Jobs: jobs(endpoint(n, "big"), 100)})
		}
		small := endpoint(500, "small")
		d.Committed(hook.Commit{Jobs: jobs(small, 10)})
		time.Sleep(30 * time.Millisecond)
		if got := s.count(small.ID); got != 10 {
			t.Fatalf("the small tenant got %d of its 10 turns in 30 ms beside 10,000 jobs", got)
		}
	})
}

func TestOutcomesSurviveAQueueThatCannotRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newTable(), newSender(good)
		q.fail = 8
		d := run(t, dispatch.Options{Unsettled: 10}, q, s)
		d.Committed(hook.Commit{Jobs: jobs(endpoint(1, "a"), 100)})
		time.Sleep(time.Second)
		if st := d.Stats(); st.InFlight > 12 {
			t.Fatalf("attempts went on while nothing could be recorded: %+v", st)
		}
		time.Sleep(time.Minute)
		if q.count() != 100 || len(s.events()) != 100 {
			t.Fatalf("recorded %d of %d sent, want 100 of 100", q.count(), len(s.events()))
		}
	})
}

func TestStopDrainsOrBreaksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newTable(), newSender(good)
		d := run(t, dispatch.Options{}, q, s)
		d.Committed(hook.Commit{Jobs: jobs(endpoint(1, "a"), 100)})
		if n := d.Stop(t.Context()); n != 0 {
			t.Fatalf("%d attempts broken off, want none", n)
		}
		if q.count() != len(s.events()) {
			t.Fatalf("sent %d, recorded %d", len(s.events()), q.count())
		}
	})
	synctest.Test(t, func(t *testing.T) {
		q, s := newTable(), newSender(blackHole)
		d := run(t, dispatch.Options{}, q, s)
		d.Committed(hook.Commit{Jobs: jobs(endpoint(1, "a"), 5)})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if n := d.Stop(ctx); n != 2 {
			t.Fatalf("broken off %d, want the 2 under way", n)
		}
		if q.count() != 0 {
			t.Fatal("a broken-off attempt was recorded as a failure")
		}
	})
}

func TestDroppedJobsAreNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := endpoint(1, "a")
		e.MaxInFlight = 1
		q, s := newTable(), newSender(good)
		d := run(t, dispatch.Options{}, q, s)
		all := jobs(e, 3)
		d.Committed(hook.Commit{Jobs: all})
		d.Committed(hook.Commit{Dropped: []hook.Ref{{Event: all[2].Delivery.Event, Endpoint: e.ID}}})
		time.Sleep(time.Second)
		if len(s.events()) != 2 || slices.Contains(s.events(), all[2].Delivery.Event) {
			t.Fatalf("sent %d, the dropped one among them: %v", len(s.events()), slices.Contains(s.events(), all[2].Delivery.Event))
		}
	})
}
