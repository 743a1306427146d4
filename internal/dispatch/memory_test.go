package dispatch_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/dispatch"
	"github.com/posthorn/posthorn/internal/hook"
)

// offer does what the store does with n events of an endpoint: it passes as many as memory
// has room for and leaves the rest in the table.
func offer(d *dispatch.Dispatcher, q *table, e *hook.Endpoint, n int) {
	all := jobs(e, n)
	room := min(n, d.Room(e))
	c := hook.Commit{Jobs: all[:room]}
	if room < n {
		c.Due = []hook.Due{{Target: e, At: time.Now()}}
	}
	q.mu.Lock()
	q.rows[e.ID] = append(q.rows[e.ID], all[room:]...)
	q.mu.Unlock()
	d.Committed(c)
}

func TestRoomIsSharedSoThatDeadEndpointsLeaveSome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newTable(), newSender(blackHole)
		d := run(t, dispatch.Options{Waiting: 10_000, EndpointWaiting: 10_000}, q, s)
		for n := range 200 {
			offer(d, q, endpoint(n, "dead"), 1000)
		}
		healthy := endpoint(999, "healthy")
		// The endpoints are not yet known to be dead, so only the tenant's bound leaves room.
		if st, room := d.Stats(), d.Room(healthy); st.Waiting > 2500+200 || room < 1800 {
			t.Errorf("%d of 10,000 jobs wait for one tenant, another's endpoint has room for %d", st.Waiting, room)
		}
		if room := d.Room(endpoint(998, "dead")); room != 0 {
			t.Errorf("a tenant that has its quarter of memory gets room for %d more", room)
		}
		time.Sleep(time.Hour)
		if room := d.Room(healthy); room < 1800 {
			t.Errorf("after an hour a healthy endpoint has room for %d", room)
		}
	})
}

func TestLimitedEndpointsLeaveMemoryToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newTable(), newSender(good)
		d := run(t, dispatch.Options{}, q, s)
		for n := range 40 {
			e := endpoint(n, "limited")
			e.RateLimit = 0.001
			for range 100 {
				offer(d, q, e, 100)
			}
		}
		if st, room := d.Stats(), d.Room(endpoint(999, "healthy")); st.Waiting > 40*8 || room != 10_000 {
			t.Errorf("%d jobs wait for 40 endpoints that get one in 17 minutes, a healthy one has room for %d", st.Waiting, room)
		}
		time.Sleep(10 * time.Minute)
		if st := d.Stats(); st.Waiting > 40*8 {
			t.Errorf("%d jobs came into memory for them in 10 minutes", st.Waiting)
		}
		time.Sleep(time.Hour)
		for n := range 40 {
			if sent := s.count(endpoint(n, "").ID); sent < 5 || sent > 6 {
				t.Errorf("endpoint %d got %d in 70 minutes at one in 1,000 s", n, sent)
			}
		}
	})
}

func TestWhatWaitsInMemoryIsASecondsWorth(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(*hook.Endpoint)
		answer  hook.Outcome
		took    time.Duration
		nodes   int
		least   int
		most    int
	}{
		"healthy":                {took: 10 * time.Millisecond, answer: hook.Outcome{Success: true, Status: 200}, least: 10_000, most: 10_000},
		"one at once, quick":     {prepare: func(e *hook.Endpoint) { e.MaxInFlight = 1 }, took: 10 * time.Millisecond, answer: hook.Outcome{Success: true, Status: 200}, least: 100, most: 100},
		"eight at once, by half": {prepare: func(e *hook.Endpoint) { e.MaxInFlight = 8 }, took: 100 * time.Millisecond, answer: hook.Outcome{Success: true, Status: 200}, nodes: 2, least: 40, most: 40},
		"limited":                {prepare: func(e *hook.Endpoint) { e.RateLimit = 50 }, took: 10 * time.Millisecond, answer: hook.Outcome{Success: true, Status: 200}, least: 50, most: 50},
		"limited, by half":       {prepare: func(e *hook.Endpoint) { e.RateLimit = 50 }, took: 10 * time.Millisecond, answer: hook.Outcome{Success: true, Status: 200}, nodes: 2, least: 24, most: 25},
		"timed out":              {took: 30 * time.Second, answer: hook.Outcome{Class: hook.ClassTimeout}, least: 1, most: 4},
		"asked for a pause":      {took: 10 * time.Millisecond, answer: hook.Outcome{Status: 503, Class: hook.ClassStatus, RetryAfter: time.Minute}, least: 1, most: 4},
	} {
		synctest.Test(t, func(t *testing.T) {
			e := endpoint(1, "a")
			if c.prepare != nil {
				c.prepare(e)
			}
			q, s := newTable(), newSender(func(context.Context, hook.Job) hook.Outcome {
				time.Sleep(c.took)
				o := c.answer
				o.Policy = policy
				return o
			})
			d := run(t, dispatch.Options{Nodes: func() int { return max(1, c.nodes) }}, q, s)
			d.Committed(hook.Commit{Jobs: jobs(e, 2)})
			time.Sleep(c.took + time.Millisecond)
			time.Sleep(c.took)
			if room := d.Room(e); room < c.least || room > c.most {
				t.Errorf("%s: room for %d, want %d to %d", name, room, c.least, c.most)
			}
		})
	}
}

func TestAnOverflowThatWaitsInTheTableIsAllSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newTable(), newSender(good)
		d := run(t, dispatch.Options{Waiting: 400, EndpointWaiting: 100}, q, s)
		for n := range 50 {
			offer(d, q, endpoint(n, fmt.Sprint("tenant", n%3)), 200)
		}
		time.Sleep(time.Minute)
		if n := q.count(); n != 50*200 {
			t.Errorf("%d of %d sent", n, 50*200)
		}
		if st := d.Stats(); st.Waiting != 0 {
			t.Errorf("%d jobs are left in memory", st.Waiting)
		}
	})
}
