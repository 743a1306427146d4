package pgtest

import (
	"io"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
)

// Direction is the direction of bytes through a Cut.
type Direction int

// The two directions.
const (
	ToServer Direction = iota
	ToClient
)

// A Cut is a proxy on loopback TCP between a client and a server. It breaks connections:
// after a byte that a test chooses, immediately, or as soon as they are opened. Both sides
// of a connection are closed at the same time. Bytes that were forwarded before the break
// arrive; later bytes never do.
//
// Its methods are safe for concurrent use.
type Cut struct {
	server string // path of the server's socket
	front  net.Listener
	wg     sync.WaitGroup

	mu     sync.Mutex
	moved  *sync.Cond // a mode changed or a connection ended
	mode   mode
	open   map[*link]bool
	bytes  [2]int64 // forwarded
	cuts   int
	armed  bool
	broken Direction // the direction whose bytes are counted down
	left   int64     // bytes to forward before the break
}

type mode int

const (
	passing mode = iota
	holding
	refusing
	ended
)

// link is one connection with its two sides.
type link struct {
	client, server net.Conn
	gone           bool
}

// NewCut starts a Cut in front of the server. At first it forwards everything. It ends,
// with all its connections, at the end of the test.
func NewCut(t testing.TB, s *Server) *Cut {
	t.Helper()
	front, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &Cut{server: filepath.Join(s.dir, ".s.PGSQL.5432"), front: front, open: map[*link]bool{}}
	c.moved = sync.NewCond(&c.mu)
	c.wg.Go(c.accept)
	t.Cleanup(func() {
		_ = front.Close() // accept returns an error
		c.mu.Lock()
		c.mode = ended
		c.cutAll()
		c.mu.Unlock()
		c.wg.Wait()
	})
	return c
}

// URL returns the URL of a database, as returned by Database, through the Cut.
func (c *Cut) URL(t testing.TB, database string) string {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Del("host")
	query.Set("sslmode", "disable")
	u.Host, u.RawQuery = c.front.Addr().String(), query.Encode()
	return u.String()
}

// After breaks one connection as soon as n more bytes have gone in the direction, counted
// from now over all connections: exactly n arrive. It breaks only once. Another call starts
// a new count, and Pass cancels it. With n = 0 it breaks at the first byte. A server that
// received all of a statement before the break still executes it.
func (c *Cut) After(n int64, d Direction) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed, c.broken, c.left = true, d, n
}

// Pass forwards everything again, starting with the held bytes.
func (c *Cut) Pass() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mode, c.armed = passing, false
	c.moved.Broadcast()
}

// Hold stops all bytes, like a network that loses packets: connections stay open, new ones
// are accepted, and nothing arrives until Pass.
func (c *Cut) Hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mode = holding
	c.moved.Broadcast()
}

// Refuse breaks all connections, and every new one at once, until Pass.
func (c *Cut) Refuse() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mode = refusing
	c.cutAll()
}

// CutAll breaks all current connections. New ones are not affected.
func (c *Cut) CutAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cutAll()
}

// Bytes returns how many bytes have gone in the direction since the Cut was created.
func (c *Cut) Bytes(d Direction) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes[d]
}

// Cuts returns how many connections the Cut broke, including those it refused.
func (c *Cut) Cuts() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cuts
}

// cutAll breaks all connections. The caller holds mu.
func (c *Cut) cutAll() {
	for l := range c.open {
		c.cut(l)
	}
	c.moved.Broadcast()
}

// cut breaks a connection unless it is broken already. The caller holds mu.
func (c *Cut) cut(l *link) {
	if l.gone {
		return
	}
	c.cuts++
	c.close(l)
}

// close closes a connection. The caller holds mu.
func (c *Cut) close(l *link) {
	l.gone = true
	delete(c.open, l)
	_ = l.client.Close() // closed even if it returns an error
	_ = l.server.Close()
	c.moved.Broadcast()
}

func (c *Cut) accept() {
	for {
		client, err := c.front.Accept()
		if err != nil {
			return // the test has ended
		}
		server, err := net.Dial("unix", c.server)
		if err != nil {
			_ = client.Close() // as if the server were down
			continue
		}
		l := &link{client: client, server: server}
		c.mu.Lock()
		c.open[l] = true
		if c.mode == refusing || c.mode == ended {
			c.cut(l)
		}
		c.mu.Unlock()
		c.wg.Go(func() { c.pump(l, ToServer, server, client) })
		c.wg.Go(func() { c.pump(l, ToClient, client, server) })
	}
}

// pump copies one direction until either side ends.
func (c *Cut) pump(l *link, d Direction, to io.Writer, from io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !c.carry(l, d, to, buf[:n]) {
			return
		}
		if err != nil {
			c.mu.Lock()
			if !l.gone {
				c.close(l)
			}
			c.mu.Unlock()
			return
		}
	}
}

// carry forwards a piece as far as allowed and reports whether the connection is still
// open. It writes without the lock, so that a client that does not read blocks nobody else.
// The bytes are counted before they are written.
func (c *Cut) carry(l *link, d Direction, to io.Writer, piece []byte) bool {
	c.mu.Lock()
	for c.mode == holding && !l.gone {
		c.moved.Wait()
	}
	if l.gone {
		c.mu.Unlock()
		return false
	}
	breaks := false
	if c.armed && c.broken == d {
		if int64(len(piece)) >= c.left {
			piece, breaks, c.armed = piece[:c.left], true, false
		}
		c.left -= int64(len(piece))
	}
	c.bytes[d] += int64(len(piece))
	c.mu.Unlock()

	_, err := to.Write(piece)
	if !breaks && err == nil {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if breaks {
		c.cut(l)
	} else if !l.gone {
		c.close(l)
	}
	return false
}
