package egresstest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
)

// Script handles a connection of a receiver. The connection is closed when the script
// returns, or while it runs when the receiver is closed.
type Script func(c net.Conn)

// Receiver is a server below HTTP. It answers with the bytes that its script writes and
// records every byte that it receives. With TLS these are the decrypted bytes.
type Receiver struct {
	listener net.Listener
	done     sync.WaitGroup

	mu       sync.Mutex
	open     map[net.Conn]bool
	accepted int
	received [][]byte // by connection
	closed   bool
}

// NewReceiver starts a receiver on a loopback port. It is closed when the test ends.
func NewReceiver(t testing.TB, script Script) *Receiver {
	t.Helper()
	return newReceiver(t, nil, script)
}

// NewTLSReceiver starts a receiver that uses TLS with the configuration.
func NewTLSReceiver(t testing.TB, config *tls.Config, script Script) *Receiver {
	t.Helper()
	return newReceiver(t, config, script)
}

func newReceiver(t testing.TB, config *tls.Config, script Script) *Receiver {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen for receiver: %v", err)
	}
	r := &Receiver{listener: l, open: make(map[net.Conn]bool)}
	r.done.Go(func() { r.accept(config, script) })
	t.Cleanup(r.Close)
	return r
}

// Close closes the receiver and waits for its scripts. It may be called twice.
func (r *Receiver) Close() {
	r.listener.Close()
	r.mu.Lock()
	r.closed = true
	for c := range r.open {
		c.Close()
	}
	r.mu.Unlock()
	r.done.Wait()
}

// Addr returns the address as host:port.
func (r *Receiver) Addr() string { return r.listener.Addr().String() }

// URL returns a URL with the given host and the receiver's port.
func (r *Receiver) URL(scheme, host string) string {
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(r.Port())) + "/hook"
}

// Port returns the port.
func (r *Receiver) Port() int { return r.listener.Addr().(*net.TCPAddr).Port }

// Connections returns how many connections were accepted.
func (r *Receiver) Connections() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.accepted
}

// Received returns the bytes that were read, one element for each connection.
func (r *Receiver) Received() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([][]byte, len(r.received))
	for i, b := range r.received {
		out[i] = bytes.Clone(b)
	}
	return out
}

// Bytes returns how many bytes were read on all connections.
func (r *Receiver) Bytes() int {
	n := 0
	for _, b := range r.Received() {
		n += len(b)
	}
	return n
}

func (r *Receiver) accept(config *tls.Config, script Script) {
	for {
		raw, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		if r.closed {
			r.mu.Unlock()
			raw.Close()
			return
		}
		conn := raw
		if config != nil {
			conn = tls.Server(raw, config)
		}
		index := r.accepted
		r.accepted++
		r.received = append(r.received, nil)
		r.open[raw] = true
		r.mu.Unlock()
		r.done.Go(func() {
			defer func() {
				raw.Close()
				r.mu.Lock()
				delete(r.open, raw)
				r.mu.Unlock()
			}()
			script(&recorder{Conn: conn, receiver: r, index: index})
		})
	}
}

type recorder struct {
	net.Conn
	receiver *Receiver
	index    int
}

// Read reads and records the bytes.
func (c *recorder) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.receiver.mu.Lock()
	c.receiver.received[c.index] = append(c.receiver.received[c.index], p[:n]...)
	c.receiver.mu.Unlock()
	return n, err
}

// Answer returns a script that answers every request with the same bytes.
func Answer(raw string) Script {
	return Requests(func(c net.Conn) bool {
		_, err := io.WriteString(c, raw)
		return err == nil
	})
}

// OK returns a script that answers every request with 200 and an empty body, and keeps
// the connection open.
func OK() Script { return Answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") }

// Requests returns a script that calls answer after each complete request, until answer
// returns false or the connection ends.
func Requests(answer func(c net.Conn) bool) Script {
	return func(c net.Conn) {
		in := bufio.NewReader(c)
		for {
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil || !answer(c) {
				return
			}
		}
	}
}
