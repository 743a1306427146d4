package server

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// say asks /healthz on a connection of its own, or on one that is given, and returns
// whether it was answered.
func say(t *testing.T, c net.Conn) bool {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return false
	}
	_, err := c.Read(make([]byte, 1000))
	return err == nil
}

// pipes is a listener to which a test connects in memory.
type pipes struct {
	failingListener
	calls  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.calls:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { close(p.closed); return nil }

// TestBusyCallersKeepTheirConnections: no connection with a request under way is
// closed for another, which waits until there is room.
func TestBusyCallersKeepTheirConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &pipes{calls: make(chan net.Conn, 3), closed: make(chan struct{})}
		b := newBoundedListener(l, 2, slog.New(slog.DiscardHandler))
		var begun atomic.Int64
		let := make(chan struct{})
		server := &http.Server{ConnState: b.state, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			begun.Add(1)
			<-let
			_, _ = io.WriteString(w, "ok")
		})}
		served := make(chan error, 1)
		go func() { served <- server.Serve(b) }()
		answers := make(chan bool, 3)
		for range 3 {
			near, far := net.Pipe()
			defer func() { _ = near.Close() }()
			go func() { answers <- say(t, near) }()
			l.calls <- far
			synctest.Wait()
		}
		if n := begun.Load(); n != 2 {
			t.Errorf("%d requests with room for two", n)
		}
		close(let)
		for range 3 {
			if !<-answers {
				t.Error("a caller was shut out")
			}
		}
		if err := server.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// failingListener has no descriptor for anybody.
type failingListener struct{ net.Listener }

func (failingListener) Accept() (net.Conn, error) { return nil, syscall.EMFILE }
func (failingListener) Addr() net.Addr            { return &net.TCPAddr{Port: 1} }

// TestAcceptErrorsAreLogged once a minute, however many there are.
func TestAcceptErrorsAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		b := newBoundedListener(failingListener{}, 1, slog.New(slog.NewTextHandler(&log, nil)))
		for range 180 {
			if _, err := b.Accept(); !errors.Is(err, syscall.EMFILE) {
				t.Fatal(err)
			}
			<-time.After(time.Second)
		}
		if n := strings.Count(log.String(), "level=WARN"); n != 3 || !strings.Contains(log.String(), "times=60") {
			t.Errorf("%d lines in three minutes:\n%s", n, log.String())
		}
	})
}
