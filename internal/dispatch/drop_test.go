package dispatch

import (
	"net/netip"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// waiting returns a dispatcher with n jobs of an endpoint. It is not started.
func waiting(n int) (*Dispatcher, *hook.Endpoint) {
	d, e := New(Options{}), &hook.Endpoint{ID: hook.ID{1}, Revision: 1}
	commit := hook.Commit{}
	for i := range n {
		commit.Jobs = append(commit.Jobs, hook.Job{Target: e, Event: &hook.Event{Data: []byte("{}")}, Delivery: hook.Delivery{Event: eventID(i), Endpoint: e.ID}})
	}
	d.Committed(commit)
	return d, e
}

func eventID(n int) hook.ID { return hook.ID{2, byte(n >> 16), byte(n >> 8), byte(n)} }

func TestDropsAreBounded(t *testing.T) {
	d, e := waiting(100)
	q := d.queues[e.ID]
	for i := range 10_000 { // most of these are not in memory but in the table
		d.Committed(hook.Commit{Dropped: []hook.Ref{{Event: eventID(50 + i), Endpoint: e.ID}}})
		if len(q.dropped) > 101 {
			t.Fatalf("%d drop marks are kept for %d jobs", len(q.dropped), q.jobs())
		}
	}
	if d.waiting != 50 || d.bytes != 100 {
		t.Errorf("%d jobs with %d bytes wait, want 50 with 100", d.waiting, d.bytes)
	}
}

func TestADropIsForWhatWaitsNow(t *testing.T) {
	d, e := waiting(3)
	q := d.queues[e.ID]
	d.Committed(hook.Commit{Dropped: []hook.Ref{{Event: eventID(1), Endpoint: e.ID}}})
	again := hook.Job{Target: e, Delivery: hook.Delivery{Event: eventID(1), Endpoint: e.ID}}
	d.Committed(hook.Commit{Jobs: []hook.Job{again}}) // released and claimed again
	var got []hook.ID
	for job, ok := d.pop(q); ok; job, ok = d.pop(q) {
		got = append(got, job.Delivery.Event)
	}
	if len(got) != 3 || got[0] != eventID(0) || got[1] != eventID(2) || got[2] != eventID(1) {
		t.Errorf("attempted %v, want the first, the third, and the second that came again", got)
	}
	if d.waiting != 0 || d.bytes != 0 || q.dropped != nil {
		t.Errorf("left over: %d jobs, %d bytes, drops %v", d.waiting, d.bytes, q.dropped)
	}
}

// Dropping a job must cost the same whether many jobs wait or few, apart from the cost of a
// larger map.
func TestDroppingCostsTheSameWhateverWaits(t *testing.T) {
	cost := func(n int) time.Duration {
		best := time.Hour
		for range 5 {
			d, e := waiting(n)
			began := time.Now()
			for i := range 500 {
				d.Committed(hook.Commit{Dropped: []hook.Ref{{Event: eventID(i), Endpoint: e.ID}}})
			}
			best = min(best, time.Since(began))
		}
		return best
	}
	if few, many := cost(1_000), cost(50_000); many > 10*few+5*time.Millisecond {
		t.Errorf("500 drops take %v with 1,000 waiting and %v with 50,000", few, many)
	}
}

func BenchmarkDrop(b *testing.B) {
	d, e := waiting(9_999)
	for i := 0; b.Loop(); i++ {
		d.Committed(hook.Commit{Dropped: []hook.Ref{{Event: eventID(i), Endpoint: e.ID}}})
	}
}

// BenchmarkAttempt measures the dispatcher's work for one job, without the attempt.
func BenchmarkAttempt(b *testing.B) {
	d := New(Options{})
	e := &hook.Endpoint{ID: hook.ID{1}, Revision: 1}
	d.started = true
	q := d.queueOf(e)
	now := time.Now()
	for i := 0; b.Loop(); i++ {
		d.enqueue(hook.Job{Target: e, Delivery: hook.Delivery{Event: eventID(i), Endpoint: e.ID}}, false, now)
		a := d.nextAttempt(now)
		d.open.remove(a)
		d.budgets[a.budget].used--
		q.tenant.used[a.budget]--
		q.inFlight--
		d.active--
	}
}

// BenchmarkAttemptAtAHost is the same for an endpoint whose host and address are counted.
func BenchmarkAttemptAtAHost(b *testing.B) {
	d := New(Options{HostRate: 1e9})
	e := &hook.Endpoint{ID: hook.ID{1}, Revision: 1, URL: "https://example.com/hook"}
	d.started = true
	q := d.queueOf(e)
	q.host.address = d.siteOf("address 203.0.113.7", addressShare)
	q.host.rate, q.host.address.rate = 1e9, 1e9
	now := time.Now()
	o := hook.Outcome{Success: true, Status: 200, Address: netip.MustParseAddr("203.0.113.7")}
	for i := 0; b.Loop(); i++ {
		d.enqueue(hook.Job{Target: e, Delivery: hook.Delivery{Event: eventID(i), Endpoint: e.ID}}, false, now)
		a := d.nextAttempt(now)
		d.open.remove(a)
		d.budgets[a.budget].used--
		q.tenant.used[a.budget]--
		q.inFlight--
		d.active--
		d.endAt(a, &o, now)
		d.callSites(a, now)
		now = now.Add(time.Microsecond)
	}
}
