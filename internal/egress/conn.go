package egress

import (
	"errors"
	"net"
	"sync/atomic"
	"syscall"
)

// lenientConn hides from its writer that the receiver closed the connection. A receiver
// may answer and close before it has read the whole request. The transport would stop at
// the failed write and lose a response that has already arrived. With lenientConn it
// continues to read, and finds the close there, after the response or the TLS alert that
// explains it.
type lenientConn struct {
	net.Conn
	closed atomic.Bool
}

// Write writes p, or discards it if the receiver has closed the connection.
func (c *lenientConn) Write(p []byte) (int, error) {
	if c.closed.Load() {
		return len(p), nil
	}
	n, err := c.Conn.Write(p)
	// The transport closes a connection after a failed read. It reports that failure.
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, net.ErrClosed) {
		c.closed.Store(true)
		return len(p), nil
	}
	return n, err
}
