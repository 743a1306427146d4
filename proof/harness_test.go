// Package proof_test tests the built binary from outside: over HTTP, with the verifiers that
// receivers use, with kill -9, with power cuts and with full disks. It is a module of its
// own and imports nothing from the server, so that a proof cannot share a mistake with what
// it proves.
//
// POSTHORN_BIN is the path of the binary. Figures for readers of the build are logged with
// the mark FIGURE.
package proof_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Bootstrap keys of every node.
const (
	liveKey = "proof-live-operator-key-0123456789abcdef"
	testKey = "proof-test-operator-key-0123456789abcdef"
)

// program returns the path of the binary under test. A missing binary is a failure, because
// a proof that did not run proves nothing.
func program(t testing.TB) string {
	t.Helper()
	path := os.Getenv("POSTHORN_BIN")
	if path == "" {
		t.Fatal("POSTHORN_BIN does not name the built binary (go build -o posthorn ./cmd/posthorn)")
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("POSTHORN_BIN: %v", err)
	}
	return path
}

// node is a server with one data directory and one pair of ports. It can be killed and
// restarted any number of times.
type node struct {
	t       testing.TB
	dir     string
	url     string
	metrics string
	args    []string
	log     *os.File
	cmd     *exec.Cmd
	exited  chan struct{}
	http    *http.Client
}

// newNode prepares a node, and start runs it. Its receivers are all at one address, so the
// limits for one host are off.
func newNode(t testing.TB, dir string, args ...string) *node {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "node.log"))
	if err != nil {
		t.Fatal(err)
	}
	ports := freePorts(t, 2)
	n := &node{
		t:       t,
		dir:     dir,
		url:     "http://" + ports[0],
		metrics: "http://" + ports[1] + "/metrics",
		args:    append([]string{"serve", "--data", dir, "--listen", ports[0], "--metrics-listen", ports[1], "--host-in-flight", "0", "--host-rate", "0"}, args...),
		log:     log,
		http:    &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}
	t.Cleanup(func() {
		n.kill()
		n.http.CloseIdleConnections()
		if t.Failed() {
			t.Logf("end of the node's log:\n%s", n.logTail())
		}
		log.Close()
	})
	return n
}

// startNode runs a node with --dev, which permits loopback receivers.
func startNode(t testing.TB, args ...string) *node {
	t.Helper()
	n := newNode(t, filepath.Join(t.TempDir(), "data"), append([]string{"--dev"}, args...)...)
	n.start()
	return n
}

func (n *node) logTail() string {
	text, _ := os.ReadFile(n.log.Name())
	return string(text[max(0, len(text)-6000):])
}

// launch starts the process without waiting for readiness.
func (n *node) launch() {
	n.t.Helper()
	cmd := exec.Command(program(n.t), n.args...)
	cmd.Env = append(os.Environ(), "POSTHORN_OPERATOR_KEY="+liveKey, "POSTHORN_OPERATOR_TEST_KEY="+testKey)
	cmd.Stdout, cmd.Stderr = n.log, n.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.cmd, n.exited = cmd, make(chan struct{})
	go func() {
		_ = cmd.Wait() // the state is in cmd.ProcessState
		close(n.exited)
	}()
}

// start runs the node and waits until it is ready.
func (n *node) start() {
	n.t.Helper()
	n.launch()
	if !n.waitReady(30 * time.Second) {
		n.t.Fatalf("the node did not become ready:\n%s", n.logTail())
	}
}

// waitReady polls /readyz until it answers 200, the process exits or the time is up.
func (n *node) waitReady(limit time.Duration) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.After(limit)
	for {
		select {
		case <-n.exited:
			return false
		case <-end:
			return false
		case <-tick.C:
		}
		resp, err := n.http.Get(n.url + "/readyz")
		if err != nil {
			continue
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return true
		}
	}
}

// kill kills the node and waits until it has exited.
func (n *node) kill() {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Kill() // it may have exited already
	<-n.exited
}

// stop stops the node gracefully and waits for its exit.
func (n *node) stop() {
	n.t.Helper()
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		n.t.Fatal(err)
	}
	select {
	case <-n.exited:
	case <-time.After(40 * time.Second):
		n.t.Fatal("the node did not end within 40 s of SIGTERM")
	}
}

// answer is a response of the API.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// json decodes the body or fails the test.
func (a answer) json(t testing.TB, into any) {
	t.Helper()
	if err := json.Unmarshal(a.body, into); err != nil {
		t.Fatalf("answer %d %q: %v", a.status, a.body, err)
	}
}

// problem returns the code and the field of an error response.
func (a answer) problem() (code, field string) {
	var p struct{ Code, Field string }
	_ = json.Unmarshal(a.body, &p) // without JSON there is no code
	return p.Code, p.Field
}

// try sends one request. An error means that there was no response.
func (n *node) try(ctx context.Context, method, path, key string, body []byte, headers ...string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, n.url+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := n.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	return answer{resp.StatusCode, resp.Header, text}, nil
}

// call sends one request with the live key. It fails the test if there is no response.
func (n *node) call(method, path string, body any, headers ...string) answer {
	n.t.Helper()
	var text []byte
	switch b := body.(type) {
	case nil:
	case []byte:
		text = b
	case string:
		text = []byte(b)
	default:
		var err error
		if text, err = json.Marshal(b); err != nil {
			n.t.Fatal(err)
		}
	}
	a, err := n.try(context.Background(), method, path, liveKey, text, headers...)
	if err != nil {
		n.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// must is like call, and requires the given status.
func (n *node) must(want int, method, path string, body any, headers ...string) answer {
	n.t.Helper()
	a := n.call(method, path, body, headers...)
	if a.status != want {
		n.t.Fatalf("%s %s: status %d, want %d: %s", method, path, a.status, want, a.body)
	}
	return a
}

type object = map[string]any

func (n *node) tenant(id string) {
	n.t.Helper()
	n.must(http.StatusCreated, "POST", "/v1/tenants", object{"id": id, "name": "Tenant " + id})
}

type endpoint struct {
	ID     string `json:"id"`
	URL    string `json:"url"`
	Secret string `json:"secret"`
}

// endpoint creates an endpoint. more may add or override members.
func (n *node) endpoint(tenant, url string, more object) endpoint {
	n.t.Helper()
	body := object{"tenant": tenant, "url": url, "event_types": []string{"*"}}
	for k, v := range more {
		body[k] = v
	}
	var e endpoint
	n.must(http.StatusCreated, "POST", "/v1/endpoints", body).json(n.t, &e)
	if e.ID == "" || e.Secret == "" {
		n.t.Fatalf("created endpoint without id or secret: %+v", e.ID)
	}
	return e
}

type published struct {
	ID         string `json:"id"`
	Deliveries int    `json:"delivery_count"`
}

// publish sends data unchanged, without re-encoding it.
func (n *node) publish(tenant, eventType, data string) published {
	n.t.Helper()
	var p published
	n.must(http.StatusAccepted, "POST", "/v1/events", eventBody(tenant, eventType, data)).json(n.t, &p)
	return p
}

func eventBody(tenant, eventType, data string) string {
	return `{"tenant":"` + tenant + `","type":"` + eventType + `","data":` + data + `}`
}

type delivery struct {
	ID        string `json:"id"`
	Event     string `json:"event"`
	Endpoint  string `json:"endpoint"`
	State     string `json:"state"`
	Attempts  int    `json:"attempts"`
	LastError string `json:"last_error"`
}

// list iterates over a paged list from its newest item, and passes each item to each.
func list[T any](n *node, path string, each func(item T)) {
	n.t.Helper()
	join := "?"
	if strings.Contains(path, "?") {
		join = "&"
	}
	path += join + "limit=250"
	for cursor := ""; ; {
		where := path
		if cursor != "" {
			where += "&cursor=" + cursor
		}
		var page struct {
			Data       []T     `json:"data"`
			NextCursor *string `json:"next_cursor"`
		}
		n.must(http.StatusOK, "GET", where, nil).json(n.t, &page)
		for _, item := range page.Data {
			each(item)
		}
		if page.NextCursor == nil || *page.NextCursor == "" {
			return
		}
		cursor = *page.NextCursor
	}
}

// count returns the length of a list.
func count(n *node, path string) int {
	n.t.Helper()
	total := 0
	list(n, path, func(struct{}) { total++ })
	return total
}

// eventIDs returns the ids of all events of a tenant.
func eventIDs(n *node, tenant string) map[string]bool {
	n.t.Helper()
	ids := map[string]bool{}
	list(n, "/v1/events?tenant="+tenant, func(e struct {
		ID string `json:"id"`
	}) {
		ids[e.ID] = true
	})
	return ids
}

// gauge returns one unlabelled value from the metrics page.
func (n *node) gauge(name string) (float64, error) {
	resp, err := n.http.Get(n.metrics)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			var v float64
			_, err := fmt.Sscan(rest, &v)
			return v, err
		}
	}
	return 0, fmt.Errorf("the metrics page has no %s", name)
}

// receipt is one request as a receiver's socket received it.
type receipt struct {
	at     time.Time
	path   string
	header http.Header
	body   []byte
}

// receiver is a customer's server on loopback. Status determines the response to each
// request; nil means always 200. Requests answered with 200 are recorded.
type receiver struct {
	url    string       // with a numeric host
	byName string       // with localhost, for profiles that refuse numeric hosts
	asked  atomic.Int64 // requests, whatever the response
	mu     sync.Mutex
	got    []receipt
	status func(r receipt) int
}

func newReceiver(t testing.TB, status func(r receipt) int) *receiver {
	t.Helper()
	r := &receiver{status: status}
	srv := &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	port := ""
	for _, l := range bothLoopbacks(t) {
		_, port, _ = net.SplitHostPort(l.Addr().String())
		go func() { _ = srv.Serve(l) }() // ends with Close
	}
	r.url, r.byName = "http://127.0.0.1:"+port, "http://localhost:"+port
	t.Cleanup(func() { srv.Close() })
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.asked.Add(1)
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the sender disconnected
	}
	got := receipt{time.Now(), req.URL.Path, req.Header.Clone(), body}
	status := http.StatusOK
	if r.status != nil {
		status = r.status(got)
	}
	if status == http.StatusOK {
		r.mu.Lock()
		r.got = append(r.got, got)
		r.mu.Unlock()
	}
	w.WriteHeader(status)
}

// receipts returns the requests answered with 200 so far.
func (r *receiver) receipts() []receipt {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]receipt(nil), r.got...)
}

// await waits for the n-th receipt and returns all receipts so far.
func (r *receiver) await(t testing.TB, n int, limit time.Duration) []receipt {
	t.Helper()
	eventually(t, limit, fmt.Sprintf("%d receipts", n), func() bool { return len(r.receipts()) >= n })
	return r.receipts()
}

// eventually polls until ok returns true, and fails the test when the time is up.
func eventually(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, limit)
		}
	}
}

// bothLoopbacks listens on one port of 127.0.0.1 and, if available, of ::1.
func bothLoopbacks(t testing.TB) []net.Listener {
	t.Helper()
	for range 20 {
		four, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(four.Addr().String())
		six, err := net.Listen("tcp6", "[::1]:"+port)
		if errors.Is(err, syscall.EADDRINUSE) {
			four.Close()
			continue
		}
		if err != nil {
			return []net.Listener{four}
		}
		return []net.Listener{four, six}
	}
	t.Fatal("no port that is free on both loopback addresses")
	return nil
}

// freePorts returns addresses that were free a moment ago.
func freePorts(t testing.TB, n int) []string {
	t.Helper()
	var out []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		out = append(out, l.Addr().String())
	}
	return out
}
