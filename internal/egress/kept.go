package egress

import (
	"container/list"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// wire is a connection to a receiver. It carries one request at a time, and no goroutine
// belongs to it.
type wire struct {
	net.Conn
	address netip.Addr // of the receiver
	origin  origin
	period  int64           // see Client.period
	socket  syscall.RawConn // nil: there is none
	gate    *gate           // nil: there is no TLS
	since   time.Time       // when it was kept
	place   *list.Element   // among the kept ones, by since
}

// origin is who may use a connection for what: one endpoint, for one destination.
type origin struct {
	endpoint hook.ID
	secure   bool
	host     string
	port     uint16
}

// newWire returns the wire of an open connection.
func newWire(conn net.Conn, address netip.Addr, of origin, period int64) *wire {
	socket, lowest := under(conn)
	return &wire{Conn: conn, address: address, origin: of, period: period, socket: socket, gate: lowest}
}

// under returns the socket of a connection and the gate that is the nearest to it, or nil.
// A connection to a receiver through a proxy may have TLS twice.
func under(conn net.Conn) (socket syscall.RawConn, lowest *gate) {
	for {
		switch c := conn.(type) {
		case syscall.Conn:
			socket, _ = c.SyscallConn()
			return socket, lowest
		case interface{ NetConn() net.Conn }: // TLS
			conn = c.NetConn()
		case *gate:
			conn, lowest = c.Conn, c
		case *tunnelled:
			conn = c.Conn
		default:
			return nil, lowest
		}
	}
}

// open reports whether a kept connection can be used again, as far as this machine knows.
// It cannot if the receiver has closed it, or has sent something that nobody asked for. A
// receiver may still close it in the next moment.
func (w *wire) open(deadline time.Time) bool {
	switch {
	case w.socket == nil:
		return true
	case w.gate == nil:
		return silent(w.socket)
	}
	// What has come may be a message of TLS itself, and TLS may have received more than it
	// has passed on. So it reads, and its reads do not wait. It may have to write an answer
	// to such a message, for which the deadline of the last request does not count.
	if w.SetDeadline(deadline) != nil {
		return false
	}
	w.gate.closed = true
	var one [1]byte
	n, err := w.Read(one[:])
	w.gate.closed = false
	return n == 0 && errors.Is(err, os.ErrDeadlineExceeded)
}

// gate is the connection below TLS. While it is closed, reads do not wait: they fail as if
// the deadline had passed.
type gate struct {
	net.Conn
	socket syscall.RawConn
	closed bool
}

// gated returns a connection for TLS.
func gated(conn net.Conn) *gate {
	socket, _ := under(conn)
	return &gate{Conn: conn, socket: socket}
}

// Read reads what has arrived, or waits for it.
func (g *gate) Read(p []byte) (int, error) {
	if g.closed && silent(g.socket) {
		return 0, os.ErrDeadlineExceeded
	}
	return g.Conn.Read(p)
}

// SetWriteDeadline is what TLS calls before its last message, with five seconds. The
// connection is not held that long for a receiver that does not read.
func (g *gate) SetWriteDeadline(t time.Time) error {
	if late := time.Now().Add(lateWrite); t.After(late) {
		t = late
	}
	return g.Conn.SetWriteDeadline(t)
}

// silent reports whether nothing has arrived on a socket, not even its end.
func silent(socket syscall.RawConn) bool {
	nothing := false
	err := socket.Control(func(fd uintptr) {
		var one [1]byte
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		nothing = err == syscall.EAGAIN || err == syscall.EINTR
	})
	return err == nil && nothing
}

// kept are the idle connections. They are closed after idleTimeout. A receiver that closes
// one earlier is noticed at its next use. It is safe for concurrent use.
type kept struct {
	max int

	mu    sync.Mutex
	of    map[origin][]*wire // each in the order in which they were kept
	all   list.List          // of *wire, the oldest first
	timer *time.Timer        // for the oldest; nil: none is kept
}

// take returns a connection for the origin, the one that was used last, or nil. It closes
// those of other periods. The deadline is for the look at a connection.
func (k *kept) take(of origin, period int64, deadline time.Time) *wire {
	for {
		k.mu.Lock()
		w := k.pop(of)
		k.mu.Unlock()
		if w == nil || w.period == period && w.open(deadline) {
			return w
		}
		w.Close()
	}
}

// pop removes the newest connection for the origin.
func (k *kept) pop(of origin) *wire {
	list := k.of[of]
	if len(list) == 0 {
		return nil
	}
	return k.remove(of, len(list)-1)
}

// remove removes a connection of an origin.
func (k *kept) remove(of origin, i int) *wire {
	w := k.of[of][i]
	if rest := slices.Delete(k.of[of], i, i+1); len(rest) == 0 { // clears the slot
		delete(k.of, of)
	} else {
		k.of[of] = rest
	}
	k.all.Remove(w.place)
	w.place = nil
	return w
}

// put keeps a connection, or closes it if its origin has enough of them. If too many are
// kept, the oldest is closed.
func (k *kept) put(w *wire) {
	var dropped *wire
	k.mu.Lock()
	switch {
	case len(k.of[w.origin]) >= maxIdlePerHost:
		dropped = w
	default:
		if k.all.Len() >= k.max {
			dropped = k.oldest()
		}
		w.since = time.Now()
		w.place = k.all.PushBack(w)
		k.of[w.origin] = append(k.of[w.origin], w)
		if k.timer == nil {
			k.timer = time.AfterFunc(idleTimeout, k.expire)
		}
	}
	k.mu.Unlock()
	if dropped != nil {
		dropped.Close()
	}
}

// oldest removes the connection that has been kept for the longest time. It is also the
// oldest of its origin.
func (k *kept) oldest() *wire {
	return k.remove(k.all.Front().Value.(*wire).origin, 0)
}

// expire closes what has been idle for too long.
func (k *kept) expire() {
	var old []*wire
	k.mu.Lock()
	k.timer = nil
	for k.all.Len() > 0 {
		left := idleTimeout - time.Since(k.all.Front().Value.(*wire).since)
		if left > 0 {
			k.timer = time.AfterFunc(left, k.expire)
			break
		}
		old = append(old, k.oldest())
	}
	k.mu.Unlock()
	for _, w := range old {
		w.Close()
	}
}

// clear closes all.
func (k *kept) clear() {
	var all []*wire
	k.mu.Lock()
	if k.timer != nil {
		k.timer.Stop()
		k.timer = nil
	}
	for k.all.Len() > 0 {
		all = append(all, k.oldest())
	}
	k.mu.Unlock()
	for _, w := range all {
		w.Close()
	}
}
