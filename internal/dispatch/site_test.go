package dispatch_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/dispatch"
	"github.com/posthorn/posthorn/internal/hook"
)

var noHosts = dispatch.Options{HostInFlight: -1, HostRate: -1}

// at returns an endpoint at the host.
func at(n int, tenant, host string) *hook.Endpoint {
	e := endpoint(n, tenant)
	e.URL = "https://" + host + "/hook"
	return e
}

// hosts counts attempts by the host of their endpoints. It answers each after takes.
type hosts struct {
	status func(j hook.Job) int // 0: no response, the attempt hangs for 30 s
	takes  time.Duration
	addr   netip.Addr

	mu     sync.Mutex
	open   int
	most   int
	starts []time.Time
}

func (h *hosts) answer(ctx context.Context, j hook.Job) hook.Outcome {
	h.mu.Lock()
	h.open++
	h.most = max(h.most, h.open)
	h.starts = append(h.starts, time.Now())
	h.mu.Unlock()
	o := hook.Outcome{Policy: policy, Address: h.addr, Class: hook.ClassStatus}
	if o.Status = h.status(j); o.Status == 0 {
		o = blackHole(ctx, j)
		o.Address = h.addr
	} else {
		time.Sleep(h.takes)
		o.Success = o.Status == 200
	}
	h.mu.Lock()
	h.open--
	h.mu.Unlock()
	return o
}

// window returns the most attempts that began within a second.
func (h *hosts) window() (most int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	from := 0
	for i := range h.starts {
		for h.starts[i].Sub(h.starts[from]) >= time.Second {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

func always(status int) func(hook.Job) int { return func(hook.Job) int { return status } }

var someAddress = netip.MustParseAddr("203.0.113.7")

// flood sends ten events of one tenant to each of its 1,000 endpoints.
func flood(t *testing.T, o dispatch.Options, status int, host func(n int) string) (h *hosts) {
	synctest.Test(t, func(t *testing.T) {
		h = &hosts{status: always(status), takes: 20 * time.Millisecond, addr: someAddress}
		d := run(t, o, newTable(), newSender(h.answer))
		for range 10 {
			for n := range 1000 {
				d.Committed(hook.Commit{Jobs: jobs(at(n, "attacker", host(n)), 1)})
			}
		}
		time.Sleep(8 * time.Second)
	})
	return h
}

func TestAFloodStaysInsideTheCapsOfTheHost(t *testing.T) {
	one := func(int) string { return "victim.example" }
	h := flood(t, dispatch.Options{}, 404, one)
	if h.most > 64 || h.window() > 1000 || len(h.starts) > 500*9 {
		t.Errorf("a host that does not accept what it gets had %d at once, %d in a second and %d in 8 s", h.most, h.window(), len(h.starts))
	}
	h = flood(t, dispatch.Options{HostInFlight: 60, HostRate: 300}, 200, one)
	if h.most > 30 || h.window() > 600 || len(h.starts) > 300*9 || len(h.starts) < 300*7 {
		t.Errorf("a host that accepts everything had %d at once, %d in a second and %d in 8 s", h.most, h.window(), len(h.starts))
	}
	h = flood(t, noHosts, 404, one)
	if h.most < 100 || h.window() < 3000 {
		t.Errorf("control: without caps the host had only %d at once, %d in a second; the test shows nothing", h.most, h.window())
	}
}

func TestManyNamesOfOneAddressShareItsCaps(t *testing.T) {
	own := func(n int) string { return fmt.Sprintf("n%d.example", n) }
	h := flood(t, dispatch.Options{}, 404, own)
	if n := len(h.starts); n > 2*1000+2000*9 { // two for each name while its address is not known
		t.Errorf("%d attempts at one address", n)
	}
	late := h.starts[len(h.starts)/2:]
	if took := late[len(late)-1].Sub(late[0]); float64(len(late))/took.Seconds() > 2200 {
		t.Errorf("%d attempts in %v at one address", len(late), took)
	}
	if h = flood(t, noHosts, 404, own); h.window() < 3000 {
		t.Errorf("control: without caps the address had only %d in a second; the test shows nothing", h.window())
	}
}

// platformWaits is how long deliveries to endpoints that answer well waited for their
// first attempt.
type platformWaits struct {
	start time.Duration // the longest wait in the first six seconds
	late  int           // how many of the last 2,000 waited longer than 50 ms
}

// platform sends 1,000 deliveries per second of 20 tenants to 2,000 endpoints at one host.
func platform(t *testing.T, o dispatch.Options, status func(hook.Job) int) (w platformWaits) {
	const ticks, settled = 1200, 1000
	synctest.Test(t, func(t *testing.T) {
		h := &hosts{status: status, takes: 20 * time.Millisecond, addr: someAddress}
		began := make(map[hook.ID]time.Duration)
		s := newSender(func(ctx context.Context, j hook.Job) hook.Outcome {
			h.mu.Lock()
			began[j.Delivery.Event] = time.Since(j.Delivery.CreatedAt)
			h.mu.Unlock()
			return h.answer(ctx, j)
		})
		d := run(t, o, newTable(), s)
		var sent []hook.Job
		for range ticks {
			for range 10 {
				e := len(sent) % 2000
				job := jobs(at(e, fmt.Sprint("t", e%20), "hooks.example"), 1)
				binary.BigEndian.PutUint32(job[0].Delivery.Event[:], uint32(len(sent)))
				sent = append(sent, job[0])
				d.Committed(hook.Commit{Jobs: job})
			}
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(20 * time.Second)
		h.mu.Lock()
		defer h.mu.Unlock()
		for n, j := range sent {
			if status(j) != 200 {
				continue
			}
			wait, ok := began[j.Delivery.Event]
			if !ok {
				wait = time.Hour // it never began
			}
			if n < 600*10 {
				w.start = max(w.start, wait)
			}
			if n >= settled*10 && wait > 50*time.Millisecond {
				w.late++
			}
		}
	})
	return w
}

func TestAHostOfManyCustomersIsNotSlowed(t *testing.T) {
	for name, status := range map[string]func(hook.Job) int{
		"all answer well": always(200),
		"one of a hundred endpoints hangs, some are gone": func(j hook.Job) int {
			switch e := int(j.Delivery.Endpoint[1])<<8 + int(j.Delivery.Endpoint[2]); {
			case e%100 == 0:
				return 0
			case e%7 == 0:
				return 404
			}
			return 200
		},
	} {
		w := platform(t, dispatch.Options{}, status)
		t.Logf("%s: the longest wait of the first 6 s was %v", name, w.start)
		if w.late > 0 || w.start > 250*time.Millisecond {
			t.Errorf("%s: %d of the last 2,000 waited, and %v in the first seconds", name, w.late, w.start)
		}
	}
	if w := platform(t, dispatch.Options{HostInFlight: 38}, always(200)); w.late < 1000 {
		t.Errorf("control: with 19 at once only %d waited; the test shows nothing", w.late)
	}
	if w := platform(t, dispatch.Options{HostRate: 200}, always(200)); w.start < time.Second {
		t.Errorf("control: with 200 a second the longest wait was %v; the test shows nothing", w.start)
	}
}

// besideFlood returns how long a delivery of another tenant waits during a flood.
func besideFlood(t *testing.T, status int, host string) (delay time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		h := &hosts{status: func(j hook.Job) int {
			if j.Delivery.Scope.Tenant == "other" {
				return 200
			}
			return status
		}, takes: 20 * time.Millisecond, addr: someAddress}
		s := newSender(h.answer)
		d := run(t, dispatch.Options{}, newTable(), s)
		for n := range 1000 {
			d.Committed(hook.Commit{Jobs: jobs(at(n, "big", "busy.example"), 10)})
		}
		time.Sleep(2500 * time.Millisecond)
		other := at(5000, "other", host)
		start := time.Now()
		d.Committed(hook.Commit{Jobs: jobs(other, 1)})
		for s.count(other.ID) == 0 && time.Since(start) < time.Minute {
			time.Sleep(time.Millisecond)
		}
		delay = time.Since(start)
	})
	return delay
}

func TestABusyHostHoldsUpNobodyElse(t *testing.T) {
	if delay := besideFlood(t, 404, "calm.example"); delay > 2*time.Millisecond {
		t.Errorf("a delivery to another host waited %v", delay)
	}
	if delay := besideFlood(t, 404, "busy.example"); delay > 100*time.Millisecond {
		t.Errorf("a tenant with one delivery waited %v beside one with 10,000 at the same host", delay)
	}
}

func TestAHostIsGivenLessWhileItIsOverloaded(t *testing.T) {
	for _, status := range []int{0, 429, 503} {
		synctest.Test(t, func(t *testing.T) {
			var well sync.Map
			h := &hosts{status: func(hook.Job) int {
				if _, ok := well.Load("well"); ok {
					return 200
				}
				return status
			}, takes: 20 * time.Millisecond, addr: someAddress}
			s := newSender(h.answer)
			d := run(t, dispatch.Options{}, newTable(), s)
			for n := range 1000 {
				d.Committed(hook.Commit{Jobs: jobs(at(n, fmt.Sprint("t", n%8), "host.example"), 20)})
			}
			time.Sleep(4 * time.Minute) // hanging attempts end every 30 s, which halves the bounds
			h.mu.Lock()
			h.most, h.starts = h.open, nil
			h.mu.Unlock()
			time.Sleep(10 * time.Second)
			h.mu.Lock()
			most := h.most
			h.mu.Unlock()
			if most > 16 || h.window() > 100 {
				t.Errorf("%d: %d at once, %d in a second", status, most, h.window())
			}
			well.Store("well", true)
			time.Sleep(45 * time.Second)
			if h.window() < 1000 {
				t.Errorf("%d: %d in a second once it answered well again", status, h.window())
			}
		})
	}
}

func TestHostsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSender(good)
		d := run(t, dispatch.Options{}, newTable(), s)
		for n := range 100_000 {
			e := at(1, "a", fmt.Sprintf("h%d.example", n))
			e.Revision = int64(n + 1)
			d.Committed(hook.Commit{Changed: []*hook.Endpoint{e}, Jobs: jobs(e, n%2)})
		}
		time.Sleep(time.Second)
		if st := d.Stats(); st.Sites > 25_000 {
			t.Errorf("%d hosts are kept for one endpoint", st.Sites)
		}
	})
}
