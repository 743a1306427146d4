package egress_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/egress/egresstest"
	"github.com/posthorn/posthorn/internal/hook"
)

// grudge is a receiver that answers, until it is set to close each connection after it has
// read a request.
type grudge struct {
	*egresstest.Receiver
	closes   atomic.Bool
	requests atomic.Int64
	together sync.WaitGroup // answers wait for each other, so that many connections are kept
}

func newGrudge(t *testing.T) *grudge {
	g := &grudge{}
	g.Receiver = egresstest.NewReceiver(t, egresstest.Requests(func(c net.Conn) bool {
		g.requests.Add(1)
		if g.closes.Load() {
			return false
		}
		g.together.Done()
		g.together.Wait()
		_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		return err == nil
	}))
	return g
}

// keep makes the client keep that many connections, by as many concurrent posts.
func (g *grudge) keep(t *testing.T, connections int, post func(i int) error) {
	t.Helper()
	g.closes.Store(false)
	g.together.Add(connections)
	var all sync.WaitGroup
	for i := range connections {
		all.Go(func() {
			if err := post(i); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	g.requests.Store(0)
	g.closes.Store(true)
}

// A receiver that reads a request on a kept connection and closes it without a response
// gets the request once more, however many connections are kept.
func TestOneRepeat(t *testing.T) {
	const kept = 100
	g := newGrudge(t)
	c := localClient(t)
	mine, other := hook.ID{1}, hook.ID{2}
	body := []byte("BODY")
	idempotent := []hook.Header{{Name: "Idempotency-Key", Value: "1"}, {Name: "X-Idempotency-Key", Value: "1"}}
	post := func(id hook.ID) (egress.Response, error) {
		return c.Post(t.Context(), egress.Request{URL: g.URL("http", "127.0.0.1"), Headers: idempotent, Body: body, Endpoint: id})
	}
	g.keep(t, kept, func(int) error { _, err := post(mine); return err })
	_, err := post(mine)
	if class := classOf(t, err); class != hook.ClassReset || !err.(*egress.Failure).Repeated || g.requests.Load() != 2 {
		t.Errorf("%d requests for one attempt, want 2: %v", g.requests.Load(), err)
	}

	// Without a body it is the same.
	g.keep(t, kept, func(int) error { _, err := post(mine); return err })
	body = nil
	_, err = post(mine)
	if class := classOf(t, err); class != hook.ClassReset || g.requests.Load() != 2 {
		t.Errorf("%d requests without a body, want 2: %v", g.requests.Load(), err)
	}
	body = []byte("BODY")

	// Another endpoint of the same host has none of these connections, so nothing is
	// repeated for it.
	g.requests.Store(0)
	_, err = post(other)
	if class := classOf(t, err); class != hook.ClassReset || err.(*egress.Failure).Repeated || g.requests.Load() != 1 {
		t.Errorf("%d requests of another endpoint, want 1: %v", g.requests.Load(), err)
	}

	// Control: the same receiver, but a request that the standard library may repeat.
	naive := &http.Transport{MaxIdleConnsPerHost: kept}
	defer naive.CloseIdleConnections()
	trip := func() error {
		r, _ := http.NewRequest("POST", g.URL("http", "127.0.0.1"), bytes.NewReader([]byte("BODY")))
		r.Header["X-Idempotency-Key"] = nil
		res, err := naive.RoundTrip(r)
		if err == nil {
			res.Body.Close()
		}
		return err
	}
	g.keep(t, kept, func(int) error { return trip() })
	if err := trip(); err == nil || g.requests.Load() < kept/2 {
		t.Errorf("control: %d requests, so the test proves nothing: %v", g.requests.Load(), err)
	}
	t.Logf("%d kept connections: 2 requests for one attempt; standard library: %d", kept, g.requests.Load())
}

// An attempt that succeeds with its second request reports that. A request that got a part
// of a response is not repeated.
func TestRepeatIsSaid(t *testing.T) {
	var requests atomic.Int64
	answer := "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	script := func(second string) egresstest.Script {
		return func(c net.Conn) {
			n := 0
			egresstest.Requests(func(c net.Conn) bool {
				requests.Add(1)
				if n++; n == 2 {
					io.WriteString(c, second)
					return false
				}
				_, err := io.WriteString(c, answer)
				return err == nil
			})(c)
		}
	}
	for second, want := range map[string]int64{"": 3, "H": 2, "HTTP/1.1 103 Early Hints\r\n\r\n": 2} {
		requests.Store(0)
		receiver := egresstest.NewReceiver(t, script(second))
		c := localClient(t)
		post := func() (egress.Response, error) {
			return c.Post(t.Context(), egress.Request{URL: receiver.URL("http", "127.0.0.1"), Body: []byte("x")})
		}
		if first, err := post(); err != nil || first.Repeated {
			t.Fatalf("%+v, %v", first, err)
		}
		res, err := post()
		if res.Repeated != (want == 3) || (err == nil) != (want == 3) || requests.Load() != want {
			t.Errorf("closed after %q: %d requests, repeated %v: %v", second, requests.Load(), res.Repeated, err)
		}
	}
}

// A receiver that refuses the client because it has no certificate, which with TLS 1.3
// happens after the handshake, is not reported as a closed connection.
func TestClientCertificateWanted(t *testing.T) {
	const host = "shop.example"
	ca := egresstest.NewCA(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := ca.Server(host)
		config.ClientAuth, config.MaxVersion = tls.RequireAnyClientCert, version
		receiver := egresstest.NewTLSReceiver(t, config, egresstest.OK())
		c := newClient(t, egress.Options{AllowNetworks: loopback, RootCAs: ca.Pool(),
			Resolver: egresstest.NewResolver().Set(host, []string{"127.0.0.1"})})
		_, err := c.Post(t.Context(), egress.Request{URL: receiver.URL("https", host), Body: bytes.Repeat([]byte("x"), 1<<20)})
		// With TLS 1.2 the alert can have many causes.
		if class := classOf(t, err); class != hook.ClassTLSHandshake || !strings.Contains(err.(*egress.Failure).Message, "for a client certificate") {
			t.Errorf("TLS %x: %v", version, err)
		}
	}
}
