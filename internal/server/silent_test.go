package server_test

import (
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/server"
)

// say asks /healthz on a connection of its own, or on one that is given, and returns
// whether it was answered.
func speak(t *testing.T, c net.Conn) bool {
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
		c, err := net.Dial("tcp", strings.TrimPrefix(l.Node.URL(), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		conns = append(conns, c)
		if i%2 == 0 && !speak(t, c) {
			t.Fatalf("caller %d is not answered", i)
		}
	}
	if _, err := l.API.CreateEndpoint(t.Context(), client.NewEndpoint{Tenant: "acme", URL: l.Receiver.URL + "/hook", EventTypes: []string{"*"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.API.Publish(t.Context(), client.NewEvent{Tenant: "acme", Type: "order.paid", Data: []byte(`{}`)}, client.PublishOptions{}); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(time.Minute)
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		if len(l.Arrivals()) == 1 {
			break
		}
		select {
		case <-deadline:
			t.Fatalf("%d deliveries:\n%s", len(l.Arrivals()), l.Log)
		case <-tick.C:
		}
	}
	served := 0
	for _, c := range conns {
		if speak(t, c) {
			served++
		}
	}
	if want := server.ConnectionLimit(limit); served == 0 || served > want {
		t.Errorf("%d of %d callers kept their connections, at most %d may", served, callers, want)
	}
}
