package dispatch_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/dispatch"
	"github.com/posthorn/posthorn/internal/hook"
)

// clock is a wall clock that can be set.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *clock) set(by time.Duration) { c.ahead.Add(int64(by)) }

// planned returns a row of the endpoint that is due after the given time by the clock.
func (c *clock) planned(e *hook.Endpoint, after time.Duration) []hook.Job {
	rows := jobs(e, 1)
	rows[0].Event = nil
	rows[0].Delivery.Due = c.now().Add(after).Round(0)
	return rows
}

func TestAClockSetBackHoldsUpNoQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c clock
		limited := endpoint(1, "a")
		limited.RateLimit = 0.05 // one in 20 s
		q, s := newTable(), newSender(good)
		for n := 2; n < 6; n++ {
			e := endpoint(n, "a")
			q.rows[e.ID] = c.planned(e, time.Duration(n)*7*time.Second)
		}
		d := run(t, dispatch.Options{Now: c.now}, q, s)
		d.Committed(hook.Commit{Jobs: jobs(limited, 2)})
		time.Sleep(time.Second)
		c.set(-time.Hour)
		for n := 6; n < 10; n++ { // some are due before the rows planned earlier, some after
			e := endpoint(n, "a")
			rows := c.planned(e, time.Duration(n-5)*5*time.Second)
			q.mu.Lock()
			q.rows[e.ID] = rows
			q.mu.Unlock()
			d.Committed(hook.Commit{Due: []hook.Due{{Target: e, At: rows[0].Delivery.Due}}})
		}
		time.Sleep(20 * time.Second)
		if n := s.count(limited.ID); n != 2 {
			t.Errorf("%d of 2 jobs of the limited endpoint sent 21 s after the first", n)
		}
		time.Sleep(time.Minute)
		for n := 6; n < 10; n++ {
			if s.count(endpoint(n, "a").ID) != 1 {
				t.Errorf("the row of endpoint %d, planned after the clock was set, was not attempted", n)
			}
		}
	})
}

func TestAClockSetForwardMakesRowsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c clock
		e := endpoint(1, "a")
		q, s := newTable(), newSender(good)
		q.rows[e.ID] = c.planned(e, time.Hour)
		run(t, dispatch.Options{Now: c.now}, q, s)
		time.Sleep(time.Minute)
		c.set(time.Hour)
		time.Sleep(31 * time.Second) // the timer fires at least every 30 s
		if n := s.count(e.ID); n != 1 {
			t.Errorf("%d attempts of a row that is due by the clock", n)
		}
	})
}
