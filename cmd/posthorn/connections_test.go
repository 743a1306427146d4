package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/client"
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

// TestSilentCallersTakeNothing: connections to the API that say nothing, or nothing
// more, are closed for new ones beyond a third of the descriptors. Deliveries go on.
// The limit is of the process, so the test has one of its own.
func TestSilentCallersTakeNothing(t *testing.T) {
	const variable, limit, callers = "POSTHORN_TEST_DESCRIPTORS", 600, 260
	if os.Getenv(variable) == "" {
		t.Setenv(variable, "1")
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSilentCallersTakeNothing$", "-test.count=1")
		if out, err := child.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
		t.Fatal(err)
	}
	l := startLive(t, "--dev")
	var conns []net.Conn
	for i := range callers {
		c, err := net.Dial("tcp", l.node.api.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		conns = append(conns, c)
		if i%2 == 0 && !say(t, c) {
			t.Fatalf("caller %d is not answered", i)
		}
	}
	if _, err := l.api.CreateEndpoint(t.Context(), client.NewEndpoint{Tenant: "acme", URL: l.receiver.URL + "/hook", EventTypes: []string{"*"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.api.Publish(t.Context(), client.NewEvent{Tenant: "acme", Type: "order.paid", Data: []byte(`{}`)}, client.PublishOptions{}); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(10 * time.Second)
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		l.mu.Lock()
		n := len(l.got)
		l.mu.Unlock()
		if n == 1 {
			break
		}
		select {
		case <-deadline:
			t.Fatalf("%d deliveries:\n%s", n, l.log)
		case <-tick.C:
		}
	}
	served := 0
	for _, c := range conns {
		if say(t, c) {
			served++
		}
	}
	if want := connectionLimit(limit); served == 0 || served > want {
		t.Errorf("%d of %d callers kept their connections, at most %d may", served, callers, want)
	}
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

// TestDoctorLooksAtDescriptors against the budgets of attempts.
func TestDoctorLooksAtDescriptors(t *testing.T) {
	for have, status := range map[int]string{6143: "warn", 6144: "ok"} {
		c := &checkup{}
		c.descriptors(have)
		if f := c.Findings[0]; f.Status != status || !strings.Contains(f.Message, fmt.Sprint(have)) {
			t.Errorf("%d: %+v", have, f)
		}
	}
	t.Setenv("POSTHORN_SLOW_ATTEMPTS", "8192")
	c := &checkup{}
	if c.descriptors(6144); c.Findings[0].Status != "warn" {
		t.Errorf("with more attempts: %+v", c.Findings[0])
	}
}
