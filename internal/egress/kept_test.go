package egress_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/egress/egresstest"
	"github.com/posthorn/posthorn/internal/hook"
)

// A kept connection that the receiver has closed, or on which it has sent something that
// nobody asked for, is not used again. The next request goes to a fresh connection, once.
func TestUnusableConnections(t *testing.T) {
	ok := "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	ca := egresstest.NewCA(t)
	for name, then := range map[string]func(net.Conn){
		"closed":  func(c net.Conn) { c.Close() },
		"unasked": func(c net.Conn) { io.WriteString(c, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n") },
		"control": func(net.Conn) {},
	} {
		for _, scheme := range []string{"http", "https"} {
			ready := make(chan bool)
			script := egresstest.Requests(func(c net.Conn) bool {
				io.WriteString(c, ok)
				then(c)
				ready <- true
				return true
			})
			receiver := egresstest.NewReceiver(t, script)
			if scheme == "https" {
				receiver = egresstest.NewTLSReceiver(t, ca.Server("shop.example"), script)
			}
			c := newClient(t, egress.Options{AllowHTTP: true, AllowNetworks: loopback, RootCAs: ca.Pool(),
				Resolver: egresstest.NewResolver().Set("shop.example", []string{"127.0.0.1"})})
			want := 3
			if name == "control" {
				want = 1
			}
			for range 3 {
				res, err := c.Post(t.Context(), egress.Request{URL: receiver.URL(scheme, "shop.example"), Body: []byte("x")})
				if err != nil || res.Status != 200 || res.Repeated {
					t.Errorf("%s, %s: %+v, %v", name, scheme, res, err)
				}
				<-ready
			}
			if n := receiver.Connections(); n != want {
				t.Errorf("%s, %s: %d connections, want %d", name, scheme, n, want)
			}
			receiver.Close()
		}
	}
}

// Idle connections are closed after 30 seconds, each on its own, and no more are kept than
// the bound says: the oldest go first.
func TestIdleConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &town{at: map[string][]time.Time{}, bodies: map[string]int{}}
		c := egress.New(egress.Options{AllowHTTP: true, DialContext: n.dial, MaxIdle: 3, MaxAge: -1,
			Resolver: egresstest.NewResolver().Set("shop.example", []string{"93.184.215.1"})})
		post := func(endpoint byte) {
			if _, err := c.Post(t.Context(), egress.Request{URL: "http://shop.example/", Body: []byte{endpoint}, Endpoint: hook.ID{endpoint}}); err != nil {
				t.Error(err)
			}
		}
		for i := range 5 {
			post(byte(i))
			time.Sleep(time.Second)
		}
		if c.Kept() != 3 {
			t.Errorf("%d are kept, the bound is 3", c.Kept())
		}
		post(4)
		post(3)
		if n.dials != 5 {
			t.Errorf("%d connections: the newest were not used again", n.dials)
		}
		post(0)
		if n.dials != 6 {
			t.Errorf("%d connections: the oldest was not closed", n.dials)
		}
		time.Sleep(29 * time.Second)
		if c.Kept() != 3 {
			t.Errorf("%d are kept after 29 s", c.Kept())
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if c.Kept() != 0 || n.open != 0 {
			t.Errorf("%d are kept after 31 s, %d open", c.Kept(), n.open)
		}
		post(1)
		c.CloseIdle()
		synctest.Wait()
		if c.Kept() != 0 || n.open != 0 {
			t.Errorf("%d are kept after CloseIdle, %d open", c.Kept(), n.open)
		}
	})
}

// A second connection to a host resumes the TLS session of the first.
func TestResumption(t *testing.T) {
	const host = "shop.example"
	ca := egresstest.NewCA(t)
	resumed := make(chan bool, 2)
	config := ca.Server(host)
	config.VerifyConnection = func(state tls.ConnectionState) error { resumed <- state.DidResume; return nil }
	receiver := egresstest.NewTLSReceiver(t, config, egresstest.OK())
	c := newClient(t, egress.Options{AllowNetworks: loopback, RootCAs: ca.Pool(), Resolver: egresstest.NewResolver().Set(host, []string{"127.0.0.1"})})
	for _, want := range []bool{false, true} {
		if _, err := c.Post(t.Context(), egress.Request{URL: receiver.URL("https", host), Body: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		if got := <-resumed; got != want {
			t.Errorf("resumed: %v, want %v", got, want)
		}
		c.CloseIdle()
	}
}

// The timing of an attempt says how long its phases took, and that a kept connection had
// fewer of them.
func TestTiming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &town{at: map[string][]time.Time{}, bodies: map[string]int{}}
		c := egress.New(egress.Options{AllowHTTP: true, MaxAge: -1, Resolver: egresstest.NewResolver().Set("shop.example", []string{"93.184.215.1"}),
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				time.Sleep(10 * time.Millisecond)
				return n.dial(ctx, network, address)
			}})
		defer c.CloseIdle()
		for _, want := range []hook.Timing{{Connect: 10 * time.Millisecond, FirstByte: 120 * time.Millisecond}, {FirstByte: 120 * time.Millisecond, Reused: true}} {
			res, err := c.Post(t.Context(), egress.Request{URL: "http://shop.example/", Body: []byte("x")})
			if err != nil || res.Timing != want || res.Address.String() != "93.184.215.1" {
				t.Errorf("%+v from %s, want %+v: %v", res.Timing, res.Address, want, err)
			}
		}
	})
}

// Nothing refers to connections that are not kept any more, even if their endpoint has one.
func TestClosedConnectionsAreFree(t *testing.T) {
	type near struct{ net.Conn }
	synctest.Test(t, func(t *testing.T) {
		n := &town{at: map[string][]time.Time{}, bodies: map[string]int{}}
		var mu sync.Mutex
		var dialed []weak.Pointer[near]
		c := egress.New(egress.Options{AllowHTTP: true, MaxAge: -1, Resolver: egresstest.NewResolver().Set("shop.example", []string{"93.184.215.1"}),
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := n.dial(ctx, network, address)
				own := &near{conn}
				mu.Lock()
				defer mu.Unlock()
				dialed = append(dialed, weak.Make(own))
				return own, err
			}})
		defer c.CloseIdle()
		post := func() {
			if _, err := c.Post(t.Context(), egress.Request{URL: "http://shop.example/", Body: []byte("x")}); err != nil {
				t.Error(err)
			}
		}
		var posts sync.WaitGroup
		for range 4 {
			posts.Go(post)
		}
		posts.Wait()
		time.Sleep(20 * time.Second)
		post()
		time.Sleep(15 * time.Second)
		synctest.Wait()
		runtime.GC()
		alive := 0
		for _, p := range dialed {
			if p.Value() != nil {
				alive++
			}
		}
		if len(dialed) != 4 || c.Kept() != 1 || alive != 1 {
			t.Errorf("%d were opened, %d are kept, %d in memory", len(dialed), c.Kept(), alive)
		}
	})
}
