package egress_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/egress/egresstest"
	"github.com/posthorn/posthorn/internal/hook"
)

// town is a network in virtual time. All of its addresses answer and keep connections.
type town struct {
	mu      sync.Mutex
	at      map[string][]time.Time // when requests arrived, by address
	bodies  map[string]int
	dials   int
	open    int
	longest time.Duration // the longest use of a connection, from dial to last request
}

func (n *town) dial(_ context.Context, _, address string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(address)
	near, far := net.Pipe()
	n.mu.Lock()
	n.open++
	n.dials++
	n.mu.Unlock()
	go n.serve(host, far)
	return near, nil
}

func (n *town) serve(host string, c net.Conn) {
	born := time.Now()
	defer func() {
		c.Close()
		n.mu.Lock()
		n.open--
		n.mu.Unlock()
	}()
	in := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		now := time.Now()
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		n.mu.Lock()
		n.at[host] = append(n.at[host], now)
		n.bodies[string(body)]++
		n.longest = max(n.longest, now.Sub(born))
		n.mu.Unlock()
		if strings.HasSuffix(string(body), "00") {
			<-time.After(40 * time.Second) // longer than the rest of any period
		}
		<-time.After(120 * time.Millisecond)
		if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
			return
		}
	}
}

// TestMovedName posts 20 times a second to a name whose address changes. With a maximum age
// of connections, no attempt begins at the old address after that age. No request is lost
// or sent twice, not even one that is in progress when the age is reached. Control: without
// a maximum age (and with short requests only) all requests go to the old address.
func TestMovedName(t *testing.T) {
	const before, after, maxAge, moves, rest = "93.184.215.1", "93.184.215.2", 2 * time.Minute, 30 * time.Second, 45 * time.Second
	long := map[bool]string{true: "00"}
	for _, age := range []time.Duration{maxAge, -1} {
		synctest.Test(t, func(t *testing.T) {
			n := &town{at: map[string][]time.Time{}, bodies: map[string]int{}}
			resolver := egresstest.NewResolver().Set("shop.example", []string{before})
			c := egress.New(egress.Options{AllowHTTP: true, Resolver: resolver, DialContext: n.dial, MaxAge: age})
			defer c.CloseIdle()
			var posts sync.WaitGroup
			start, sent := time.Now(), 0
			for ; time.Since(start) < moves+maxAge+rest; sent++ {
				if sent == int(moves/(50*time.Millisecond)) {
					resolver.Set("shop.example", []string{after})
				}
				body := []byte(time.Since(start).String() + " " + long[sent%400 == 399 && age > 0])
				posts.Go(func() {
					res, err := c.Post(t.Context(), egress.Request{URL: "http://shop.example/", Body: body, Endpoint: hook.ID{1}, Timeout: time.Minute})
					if err != nil || res.Status != 200 || res.Repeated {
						t.Errorf("%+v, %v", res, err)
					}
				})
				time.Sleep(50 * time.Millisecond)
			}
			posts.Wait()
			late := 0
			for _, at := range n.at[before] {
				if at.Sub(start) > moves+maxAge {
					late++
				}
			}
			got := len(n.at[before]) + len(n.at[after])
			if got != sent || len(n.bodies) != sent {
				t.Errorf("%d posts, %d requests, %d different ones", sent, got, len(n.bodies))
			}
			if age < 0 {
				if late == 0 || len(n.at[after]) != 0 {
					t.Errorf("control: %d requests at the new address, %d late at the old: the test proves nothing", len(n.at[after]), late)
				}
				return
			}
			if late > 0 || n.longest > maxAge {
				t.Errorf("%d requests at the old address after the age, %v on one connection", late, n.longest)
			}
			if n.dials > 100 {
				t.Errorf("%d connections: they are not kept", n.dials)
			}
			time.Sleep(31 * time.Second)
			synctest.Wait()
			if n.open != 0 {
				t.Errorf("%d connections are left", n.open)
			}
			t.Logf("%d posts: %d to the old address, %d to the new; %d connections", sent, len(n.at[before]), len(n.at[after]), n.dials)
		})
	}
}

// The connections of many endpoints do not all end at the same time, and none gets too old.
func TestPeriodsAreSpread(t *testing.T) {
	const endpoints = 1000
	c := newClient(t, egress.Options{})
	ends := map[time.Duration]int{} // ends of first periods, by 10 seconds
	for i := range endpoints {
		period, phase := c.Periods(hook.ID{byte(i), byte(i >> 8)})
		if period < 4*time.Minute || period > 5*time.Minute || phase < 0 || phase > period {
			t.Fatalf("endpoint %d: %v of %v", i, phase, period)
		}
		ends[(period-phase).Truncate(10*time.Second)]++
	}
	for at, n := range ends {
		if n > endpoints/10 {
			t.Errorf("%d of %d end within 10 s after %v", n, endpoints, at)
		}
	}
	if period, _ := newClient(t, egress.Options{MaxAge: -1}).Periods(hook.ID{1}); period != 0 {
		t.Errorf("without an age: %v", period)
	}
}
