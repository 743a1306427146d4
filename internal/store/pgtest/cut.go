package pgtest

import (
	"io"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
)

// Direction is the way bytes go through a Cut.
type Direction int

// The two directions.
const (
	ToServer Direction = iota
	ToClient
)

// A Cut stands between a client and a server, on loopback TCP, and breaks what goes
// through it: after a byte that a test chooses, now, or for every new connection.
// A connection is always closed towards both sides at once. What was let through
// before the break arrives; what came after it never does.
//
// Its methods may be called at any time by any goroutine.
type Cut struct {
	server string // path of the server's socket
	front  net.Listener
	wg     sync.WaitGroup

	mu     sync.Mutex
	moved  *sync.Cond // a mode was changed or a connection ended
	mode   mode
	open   map[*link]bool
	bytes  [2]int64 // let through
	cuts   int
	armed  bool
	broken Direction // the direction that is armed
	left   int64     // bytes until it breaks
}

type mode int

const (
	passing mode = iota
	holding
	refusing
	ended
)

// link is one connection with its two halves.
type link struct {
	client, server net.Conn
	gone           bool
}

// NewCut makes a Cut in front of the server. It passes everything until it is told
// otherwise and ends, with all its connections, at the end of the test.
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
		_ = front.Close() // accept sees it
		c.mu.Lock()
		c.mode = ended
		c.cutAll()
		c.mu.Unlock()
		c.wg.Wait()
	})
	return c
}

// URL returns the address of a database of the server, as Database gave it, by way
// of the Cut.
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

// After breaks one connection as soon as n more bytes went in the direction,
// counted from now over all connections: exactly n arrive. It happens once; another
// call starts a new count, Pass gives it up. With n = 0 it breaks when the first
// byte comes. A server that got all of a statement before the break carries it out.
func (c *Cut) After(n int64, d Direction) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed, c.broken, c.left = true, d, n
}

// Pass lets everything through, what was held first.
func (c *Cut) Pass() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mode, c.armed = passing, false
	c.moved.Broadcast()
}

// Hold stops all bytes, as a network does that lost its way: connections stay open,
// new ones are taken, and nothing arrives until Pass.
func (c *Cut) Hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mode = holding
	c.moved.Broadcast()
}

// Refuse breaks all connections and every new one at once, until Pass.
func (c *Cut) Refuse() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mode = refusing
	c.cutAll()
}

// CutAll breaks all connections now; new ones are as before.
func (c *Cut) CutAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cutAll()
}

// Bytes returns how many bytes went in the direction since the Cut was made.
func (c *Cut) Bytes(d Direction) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes[d]
}

// Cuts returns how many connections the Cut broke; one it refused is one too.
func (c *Cut) Cuts() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cuts
}

// cutAll is called with mu held.
func (c *Cut) cutAll() {
	for l := range c.open {
		c.cut(l)
	}
	c.moved.Broadcast()
}

// cut breaks one connection, once. It is called with mu held.
func (c *Cut) cut(l *link) {
	if l.gone {
		return
	}
	c.cuts++
	c.close(l)
}

// close is called with mu held.
func (c *Cut) close(l *link) {
	l.gone = true
	delete(c.open, l)
	_ = l.client.Close() // it is gone, whatever it says
	_ = l.server.Close()
	c.moved.Broadcast()
}

func (c *Cut) accept() {
	for {
		client, err := c.front.Accept()
		if err != nil {
			return // the end of the test
		}
		server, err := net.Dial("unix", c.server)
		if err != nil {
			_ = client.Close() // as a server that is down does
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

// pump carries one direction until either side ends.
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

// carry lets a piece through as far as it may go and says whether the connection
// lives. It writes without the lock, so that a client that does not read stops
// nobody else; the bytes are counted before they are written.
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
