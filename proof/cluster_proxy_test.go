package proof_test

import (
	"errors"
	"net"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// cutter is a TCP proxy in front of a database. It can break a connection in the middle of
// its bytes, or hold back all bytes for a while and then deliver them.
type cutter struct {
	addr   string
	target string
	l      net.Listener
	done   sync.WaitGroup

	mu    sync.Mutex
	open  map[net.Conn]bool
	armed *cut
	cuts  int
	gate  chan struct{} // bytes wait until it is closed; nil if none wait
}

// cut determines where the next connection breaks: after this many more bytes in one
// direction.
type cut struct {
	toServer bool
	after    int
}

func newCutter(t testing.TB, target string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{addr: l.Addr().String(), target: target, l: l, open: map[net.Conn]bool{}}
	c.done.Go(c.accept)
	t.Cleanup(func() {
		l.Close()
		c.thaw()
		c.severAll()
		c.done.Wait()
	})
	return c
}

func (c *cutter) accept() {
	for {
		in, err := c.l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", c.target)
		if err != nil {
			in.Close()
			continue
		}
		c.mu.Lock()
		c.open[in], c.open[out] = true, true
		c.mu.Unlock()
		c.done.Go(func() { c.pump(out, in, true) })
		c.done.Go(func() { c.pump(in, out, false) })
	}
}

// pump copies one direction until it ends or is cut, and then closes both.
func (c *cutter) pump(to, from net.Conn, toServer bool) {
	defer c.sever(to, from)
	for chunk := make([]byte, 32<<10); ; {
		n, err := from.Read(chunk)
		c.wait()
		pass, broken := c.judge(n, toServer)
		if _, werr := to.Write(chunk[:pass]); werr != nil || err != nil || broken {
			return
		}
	}
}

// judge returns how many of n bytes may pass, and whether the connection then breaks.
func (c *cutter) judge(n int, toServer bool) (pass int, broken bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.armed == nil || c.armed.toServer != toServer || n == 0 {
		return n, false
	}
	if c.armed.after >= n {
		c.armed.after -= n
		return n, false
	}
	pass = c.armed.after
	c.armed = nil
	c.cuts++
	return pass, true
}

// freeze holds back every byte from now on, including those of new connections. What a side
// has sent by then is not lost: thaw delivers it, however late.
func (c *cutter) freeze() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gate = make(chan struct{})
}

func (c *cutter) thaw() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gate != nil {
		close(c.gate)
		c.gate = nil
	}
}

func (c *cutter) wait() {
	c.mu.Lock()
	gate := c.gate
	c.mu.Unlock()
	if gate != nil {
		<-gate
	}
}

func (c *cutter) sever(conns ...net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range conns {
		one.Close()
		delete(c.open, one)
	}
}

func (c *cutter) severAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for one := range c.open {
		one.Close()
	}
}

// arm schedules the next cut and waits until it has happened.
func (c *cutter) arm(t testing.TB, next cut) {
	t.Helper()
	c.mu.Lock()
	before := c.cuts
	c.armed = &next
	c.mu.Unlock()
	eventually(t, 20*time.Second, "the connection is cut", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.cuts > before
	})
}

// TestCutterCuts is the control of the proof with cut connections. What passes through the
// proxy uncut arrives, a cut in either direction, at the first byte or later, breaks the
// exchange in progress, and held bytes arrive late.
func TestCutterCuts(t *testing.T) {
	p := newPostgres(t, "")
	c := newCutter(t, p.addr)
	ask := func() error {
		out, err := exec.Command(pgTool(t, "psql"), "-XAtq", "-d", storeURL(c.addr), "-c", "SELECT repeat('x', 5000)").Output()
		if err == nil && len(out) != 5001 {
			err = errors.New("answered short")
		}
		return err
	}
	if err := ask(); err != nil {
		t.Fatalf("through the proxy, uncut: %v", err)
	}
	for _, next := range []cut{{true, 0}, {true, 9}, {true, 90}, {false, 0}, {false, 30}, {false, 3000}} {
		c.mu.Lock()
		before := c.cuts
		c.armed = &next
		c.mu.Unlock()
		if err := ask(); err == nil || c.cuts != before+1 {
			t.Errorf("cut %+v: error %v, %d cuts", next, err, c.cuts-before)
		}
	}
	const held = 300 * time.Millisecond
	c.freeze()
	start := time.Now()
	time.AfterFunc(held, c.thaw)
	if err, took := ask(), time.Since(start); err != nil || took < held {
		t.Errorf("held back for %v: error %v after %v", held, err, took)
	}
}
