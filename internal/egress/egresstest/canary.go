package egresstest

import (
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
)

// Canary listens on the same port of both loopback addresses and counts connections and
// bytes.
type Canary struct {
	port  int
	conns atomic.Int64
	bytes atomic.Int64
}

// NewCanary starts a canary. It is closed when the test ends.
func NewCanary(t testing.TB) *Canary {
	t.Helper()
	for range 20 { // the port of the first listener may be in use on the other address
		four, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatalf("listen for canary: %v", err)
		}
		port := four.Addr().(*net.TCPAddr).Port
		six, err := net.Listen("tcp6", net.JoinHostPort("::1", strconv.Itoa(port)))
		if err != nil {
			four.Close()
			continue
		}
		c := &Canary{port: port}
		for _, l := range []net.Listener{four, six} {
			t.Cleanup(func() { l.Close() })
			go c.serve(l)
		}
		return c
	}
	t.Fatal("no port is free on both loopback addresses")
	return nil
}

// Port returns the port.
func (c *Canary) Port() int { return c.port }

// Connections returns how many connections were accepted.
func (c *Canary) Connections() int64 { return c.conns.Load() }

// Bytes returns how many bytes were received on all connections.
func (c *Canary) Bytes() int64 { return c.bytes.Load() }

func (c *Canary) serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		c.conns.Add(1)
		go func() {
			defer conn.Close()
			var buf [512]byte
			n, err := conn.Read(buf[:])
			c.bytes.Add(int64(n))
			if err == nil {
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			}
		}()
	}
}
