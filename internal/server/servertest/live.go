// Package servertest is test support: servers in the process of the test, with a receiver
// or with a command line.
package servertest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/server"
)

// Arrival is a request as a receiver got it.
type Arrival struct {
	At     time.Time
	Header http.Header
	Body   []byte
}

// Live is a node in this process, on loopback, with its real API, and a receiver
// that remembers every request. What a receiver does is the test's to say.
type Live struct {
	T        *testing.T
	Node     *server.Node
	Config   *server.Config
	Log      *LogBook
	API      *client.Client
	Receiver *httptest.Server

	mu     sync.Mutex
	answer http.HandlerFunc // nil: 200
	got    []Arrival
}

// LogBook is a log that a test can read while the node writes it.
type LogBook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write adds to the log.
func (l *LogBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String is the log so far.
func (l *LogBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Start starts a node with the tenant acme; it ends with the test.
func Start(t *testing.T, args ...string) *Live {
	t.Helper()
	l := &Live{T: t, Config: &server.Config{}, Log: &LogBook{}}
	l.Receiver = httptest.NewServer(l)
	t.Cleanup(l.Receiver.Close)
	flags := l.Config.Flags()
	args = append([]string{"--listen", "127.0.0.1:0", "--data", t.TempDir(), "--synchronous", "off",
		"--operator-key", "live-" + rand.Text() + rand.Text(), "--operator-test-key", "test-" + rand.Text() + rand.Text()}, args...)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	if err := l.Config.Load(flags, ""); err != nil {
		t.Fatal(err)
	}
	l.Start()
	t.Cleanup(func() { l.Stop() })
	if _, err := l.API.CreateTenant(t.Context(), client.NewTenant{ID: "acme"}); err != nil {
		t.Fatal(err)
	}
	return l
}

// Start starts the node, again after stop, on the same directory.
func (l *Live) Start() {
	l.T.Helper()
	n, err := server.Start(context.WithoutCancel(l.T.Context()), l.Config, slog.New(slog.NewTextHandler(l.Log, nil)), nil)
	if err != nil {
		l.T.Fatal(err)
	}
	l.Node = n
	l.API = &client.Client{URL: n.URL(), Key: l.Config.OperatorKey}
}

// Stop ends the node, if it runs.
func (l *Live) Stop() {
	if l.Node == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	l.Node.Stop(ctx)
	l.Node = nil
}

// ServeHTTP is the receiver.
func (l *Live) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the sender went away in the middle
	}
	header := r.Header.Clone()
	header.Set(":method", r.Method)
	header.Set(":path", r.URL.Path)
	l.mu.Lock()
	l.got = append(l.got, Arrival{time.Now(), header, body})
	answer := l.answer
	l.mu.Unlock()
	if answer != nil {
		answer(w, r)
	}
}

// Answers sets what the receiver does from now on.
func (l *Live) Answers(h http.HandlerFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answer = h
}

// Always answers with one status.
func Always(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

// Arrivals are the requests so far.
func (l *Live) Arrivals() []Arrival {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Arrival(nil), l.got...)
}

// Await waits until n requests came in all, and returns them.
func (l *Live) Await(n int) []Arrival {
	l.T.Helper()
	l.Until("the receiver gets a request", func() bool { return len(l.Arrivals()) >= n })
	return l.Arrivals()
}

// Until waits for what must become true within 15 s.
func (l *Live) Until(what string, ok func() bool) {
	l.T.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(15 * time.Second); !ok(); <-tick.C {
		if time.Now().After(end) {
			l.T.Fatalf("%s: not within 15 s; %d requests so far\n%s", what, len(l.Arrivals()), l.Log)
		}
	}
}

// Endpoint makes an endpoint at the receiver, for every type unless e says others.
func (l *Live) Endpoint(e client.NewEndpoint) client.Endpoint {
	l.T.Helper()
	e.Tenant = "acme"
	if e.URL == "" {
		e.URL = strings.Replace(l.Receiver.URL, "127.0.0.1", "localhost", 1) + "/hook"
	}
	if e.EventTypes == nil {
		e.EventTypes = []string{"*"}
	}
	made, err := l.API.CreateEndpoint(l.T.Context(), e)
	if err != nil {
		l.T.Fatal(err)
	}
	return made
}

// Publish publishes an event to acme.
func (l *Live) Publish(eventType, data string) client.Published {
	l.T.Helper()
	made, err := l.API.Publish(l.T.Context(), client.NewEvent{Tenant: "acme", Type: eventType, Data: json.RawMessage(data)}, client.PublishOptions{})
	if err != nil {
		l.T.Fatal(err)
	}
	return made
}
