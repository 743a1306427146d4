package server

import (
	"container/list"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	fewestConnections = 64
	acceptErrorsEvery = time.Minute
)

// Descriptors returns how many descriptors this process may have open.
func Descriptors() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 1024 // the usual limit where none is set
	}
	return int(min(limit.Cur, 1<<30))
}

// ConnectionLimit is how many connections a listener may have open: a third of the
// descriptors, so that enough remain for deliveries.
func ConnectionLimit(descriptors int) int { return max(fewestConnections, descriptors/3) }

// keptLimit is how many idle connections to receivers are kept.
func keptLimit(descriptors int) int { return min(4096, descriptors/6) }

// DescriptorsFor is how many descriptors a node needs for so many concurrent attempts. Half
// of them are for callers and idle connections.
func DescriptorsFor(fast, slow int) int { return 2 * (fast + slow) }

// boundedListener limits the open connections. At the limit it closes the connection that
// has had no request for the longest time, so that idle connections lock nobody out.
type boundedListener struct {
	net.Listener
	limit int
	log   *slog.Logger

	mu     sync.Mutex
	freed  *sync.Cond
	open   int
	silent list.List // of *boundedConn without a request, longest idle first
	closed bool

	errors int // of Accept, since the last line of the log
	logged time.Time
}

func newBoundedListener(l net.Listener, limit int, log *slog.Logger) *boundedListener {
	b := &boundedListener{Listener: l, limit: limit, log: log}
	b.freed = sync.NewCond(&b.mu)
	return b
}

// boundedConn is a connection that is counted until it is closed.
type boundedConn struct {
	net.Conn
	of     *boundedListener
	silent *list.Element
	done   bool
}

// Accept waits until there is room and a connection.
func (b *boundedListener) Accept() (net.Conn, error) {
	conn, err := b.Listener.Accept()
	if err != nil {
		b.failed(err)
		return nil, err
	}
	c := &boundedConn{Conn: conn, of: b}
	b.mu.Lock()
	for b.open >= b.limit && !b.closed {
		if oldest := b.silent.Front(); oldest != nil {
			victim := oldest.Value.(*boundedConn)
			b.mu.Unlock()
			_ = victim.Close()
			b.mu.Lock()
			continue
		}
		b.freed.Wait()
	}
	if b.closed {
		b.mu.Unlock()
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	b.open++
	c.silent = b.silent.PushBack(c)
	b.mu.Unlock()
	return c, nil
}

// failed logs, once a minute at most, that connections cannot be accepted.
func (b *boundedListener) failed(err error) {
	if errors.Is(err, net.ErrClosed) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.errors++
	if now := time.Now(); b.logged.IsZero() || now.Sub(b.logged) >= acceptErrorsEvery {
		b.log.Warn("connections cannot be accepted", "address", b.Addr().String(), "error", err, "times", b.errors)
		b.errors, b.logged = 0, now
	}
}

// Close closes the listener, and ends an Accept that waits for room.
func (b *boundedListener) Close() error {
	b.mu.Lock()
	b.closed = true
	b.freed.Broadcast()
	b.mu.Unlock()
	return b.Listener.Close()
}

// state tracks the state of a connection: only one without a request may be closed for
// another.
func (b *boundedListener) state(conn net.Conn, s http.ConnState) {
	c, ok := conn.(*boundedConn)
	if !ok {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case c.done:
	case s == http.StateIdle && c.silent == nil:
		c.silent = b.silent.PushBack(c)
		b.freed.Signal()
	case s == http.StateActive || s == http.StateHijacked:
		b.speaks(c)
	}
}

// speaks removes the connection from the list of silent ones. The caller holds mu.
func (b *boundedListener) speaks(c *boundedConn) {
	if c.silent != nil {
		b.silent.Remove(c.silent)
		c.silent = nil
	}
}

// Close closes the connection and makes room for another.
func (c *boundedConn) Close() error {
	b := c.of
	b.mu.Lock()
	if !c.done {
		c.done = true
		b.open--
		b.speaks(c)
		b.freed.Signal()
	}
	b.mu.Unlock()
	return c.Conn.Close()
}
