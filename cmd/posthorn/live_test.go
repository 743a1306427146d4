package main

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
)

// live is a node in this process, on loopback, with its real API, and a receiver
// that remembers every request. What a receiver does is the test's to say.
type live struct {
	t        *testing.T
	node     *node
	cfg      *Config
	log      *logBook
	api      *client.Client
	receiver *httptest.Server

	mu     sync.Mutex
	answer http.HandlerFunc // nil: 200
	got    []arrival
}

// logBook is a log that a test can read while the node writes it.
type logBook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func startLive(t *testing.T, args ...string) *live {
	t.Helper()
	l := &live{t: t, cfg: &Config{}, log: &logBook{}}
	l.receiver = httptest.NewServer(l)
	t.Cleanup(l.receiver.Close)
	flags := l.cfg.flags()
	args = append([]string{"--listen", "127.0.0.1:0", "--data", t.TempDir(), "--synchronous", "off",
		"--operator-key", "live-" + rand.Text() + rand.Text(), "--operator-test-key", "test-" + rand.Text() + rand.Text()}, args...)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	if err := l.cfg.load(flags, ""); err != nil {
		t.Fatal(err)
	}
	l.start()
	t.Cleanup(func() { l.stop() })
	if _, err := l.api.CreateTenant(t.Context(), client.NewTenant{ID: "acme"}); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *live) start() {
	l.t.Helper()
	n, err := startNode(context.WithoutCancel(l.t.Context()), l.cfg, slog.New(slog.NewTextHandler(l.log, nil)))
	if err != nil {
		l.t.Fatal(err)
	}
	l.node = n
	l.api = &client.Client{URL: "http://" + n.api.Addr().String(), Key: l.cfg.OperatorKey}
}

func (l *live) stop() {
	if l.node == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	l.node.stop(ctx)
	l.node = nil
}

// ServeHTTP is the receiver.
func (l *live) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the sender went away in the middle
	}
	header := r.Header.Clone()
	header.Set(":method", r.Method)
	header.Set(":path", r.URL.Path)
	l.mu.Lock()
	l.got = append(l.got, arrival{time.Now(), header, body})
	answer := l.answer
	l.mu.Unlock()
	if answer != nil {
		answer(w, r)
	}
}

// answers sets what the receiver does from now on.
func (l *live) answers(h http.HandlerFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answer = h
}

func always(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

func (l *live) arrivals() []arrival {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]arrival(nil), l.got...)
}

// await waits until n requests came in all, and returns them.
func (l *live) await(n int) []arrival {
	l.t.Helper()
	l.until("the receiver gets a request", func() bool { return len(l.arrivals()) >= n })
	return l.arrivals()
}

func (l *live) until(what string, ok func() bool) {
	l.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(15 * time.Second); !ok(); <-tick.C {
		if time.Now().After(end) {
			l.t.Fatalf("%s: not within 15 s; %d requests so far\n%s", what, len(l.arrivals()), l.log)
		}
	}
}

// endpoint makes an endpoint at the receiver, for every type unless e says others.
func (l *live) endpoint(e client.NewEndpoint) client.Endpoint {
	l.t.Helper()
	e.Tenant = "acme"
	if e.URL == "" {
		e.URL = strings.Replace(l.receiver.URL, "127.0.0.1", "localhost", 1) + "/hook"
	}
	if e.EventTypes == nil {
		e.EventTypes = []string{"*"}
	}
	made, err := l.api.CreateEndpoint(l.t.Context(), e)
	if err != nil {
		l.t.Fatal(err)
	}
	return made
}

func (l *live) publish(eventType, data string) client.Published {
	l.t.Helper()
	made, err := l.api.Publish(l.t.Context(), client.NewEvent{Tenant: "acme", Type: eventType, Data: json.RawMessage(data)}, client.PublishOptions{})
	if err != nil {
		l.t.Fatal(err)
	}
	return made
}
