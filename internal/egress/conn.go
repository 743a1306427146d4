package egress

import (
	"errors"
	"net"
	"sync/atomic"
	"syscall"
)

// lenientConn hides from its writer that the receiver closed the connection. A
// receiver may answer, and close, before it has read the whole request. The
// transport would give up at the failed write and lose an answer that has arrived;
// so it goes on to read, and learns of the close there, behind the answer or the
// alert of TLS that says why.
type lenientConn struct {
	net.Conn
	closed atomic.Bool
}

// Write writes, or discards what a receiver that has gone would not read.
func (c *lenientConn) Write(p []byte) (int, error) {
	if c.closed.Load() {
		return len(p), nil
	}
	n, err := c.Conn.Write(p)
	// The transport closes a connection of which reading failed; that failure counts.
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, net.ErrClosed) {
		c.closed.Store(true)
		return len(p), nil
	}
	return n, err
}
