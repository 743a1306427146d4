package proof_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// balancer is a load balancer. It distributes requests over the nodes in round-robin order,
// and checks the readiness of each node ten times a second. If a node refuses a connection,
// it answers 502. It retries nothing.
type balancer struct {
	nodes  []*node
	ways   []http.Handler
	ready  []atomic.Bool
	turn   atomic.Int64
	astray atomic.Bool // answers of listeners go to the second node, everything else to the first
}

// newBalancer returns a balancer, and a node whose address is the balancer's.
func newBalancer(t *testing.T, nodes []*node) (*balancer, *node) {
	t.Helper()
	b := &balancer{nodes: nodes, ready: make([]atomic.Bool, len(nodes))}
	for _, n := range nodes {
		to, err := url.Parse(n.url)
		if err != nil {
			t.Fatal(err)
		}
		way := httputil.NewSingleHostReverseProxy(to)
		way.FlushInterval = -1
		way.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
		b.ways = append(b.ways, way)
	}
	server := httptest.NewServer(b)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			b.look()
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done; server.CloseClientConnections(); server.Close() })
	front := *nodes[0]
	front.url = server.URL
	eventually(t, 10*time.Second, "the balancer knows the nodes", func() bool {
		for i := range nodes {
			if !b.ready[i].Load() {
				return false
			}
		}
		return true
	})
	return b, &front
}

func (b *balancer) look() {
	for i, n := range b.nodes {
		resp, err := n.http.Get(n.url + "/readyz")
		b.ready[i].Store(err == nil && resp.StatusCode == http.StatusOK)
		if err == nil {
			resp.Body.Close()
		}
	}
}

// ServeHTTP forwards a request.
func (b *balancer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if b.astray.Load() {
		to := 0
		if strings.HasSuffix(r.URL.Path, "/answers") {
			to = 1
		}
		b.ways[to].ServeHTTP(w, r)
		return
	}
	for range b.ways {
		i := int(b.turn.Add(1)) % len(b.ways)
		if b.ready[i].Load() {
			b.ways[i].ServeHTTP(w, r)
			return
		}
	}
	w.WriteHeader(http.StatusBadGateway)
}

// TestListenBehindBalancer: a listener whose answers reach other nodes than its stream
// receives everything at once. The control is a balancer that lets none of its answers
// arrive: the listener exits and reports why, instead of a stream that stalls.
func TestListenBehindBalancer(t *testing.T) {
	const events = 12
	p := newPostgres(t, "")
	nodes := startCluster(t, p.url(), 3, "--node-lease", "3s")
	b, front := newBalancer(t, nodes)
	local := newReceiver(t, nil)
	front.tenant("here")
	l := front.listen(front.tenantKey("here"), local.url+"/hook")
	eventually(t, 10*time.Second, "the listener connects", func() bool { return nodes[1].listenerEnabled("here") })
	began := time.Now()
	for i := range events {
		front.publish("here", "load.made", fmt.Sprintf(`{"k":"b%d"}`, i))
	}
	front.allSucceeded("here", events)
	took := time.Since(began)
	if n := len(local.receipts()); n != events || took > 8*time.Second {
		t.Errorf("%d requests for %d events, in %v", n, events, took)
	}

	b.astray.Store(true)
	l.kill()
	eventually(t, 10*time.Second, "nobody listens", func() bool { return !nodes[1].listenerEnabled("here") })
	l = front.listen(front.tenantKey("here"), local.url+"/hook")
	eventually(t, 10*time.Second, "the listener connects", func() bool { return nodes[1].listenerEnabled("here") })
	front.publish("here", "load.made", `{"k":"astray"}`)
	select {
	case <-l.done:
	case <-time.After(15 * time.Second):
		t.Fatal("a listener none of whose answers arrives goes on")
	}
	said, err := os.ReadFile(l.out)
	if code := l.cmd.ProcessState.ExitCode(); err != nil || code != 20 || !strings.Contains(string(said), "wrong_node") && !strings.Contains(string(said), "another node") {
		t.Errorf("code %d, said %s: %v", code, said, err)
	}
	t.Logf("FIGURE listener behind a balancer over 3 nodes: %d events answered in %v; with all answers astray the command ended with code 20", events, took.Round(time.Millisecond))
}

// TestDrainBehindBalancer: nodes that are restarted one after another behind a balancer
// refuse no request, if they accept requests until the balancer has noticed. The control:
// without the delay, callers see refusals.
func TestDrainBehindBalancer(t *testing.T) {
	failed := map[string]int{}
	for _, delay := range []string{"1s", "0s"} {
		p := newPostgres(t, "")
		nodes := startCluster(t, p.url(), 2, "--node-lease", "3s", "--drain-delay", delay)
		b, front := newBalancer(t, nodes)
		front.tenant("drain")
		stop, done := make(chan struct{}), make(chan int)
		sent := 0
		go func() {
			bad := 0
			for {
				select {
				case <-stop:
					done <- bad
					return
				case <-time.After(time.Millisecond):
				}
				sent++
				a, err := front.try(context.Background(), "POST", "/v1/events", liveKey, []byte(`{"tenant":"drain","type":"a.b","data":{}}`))
				if err != nil || a.status != http.StatusAccepted {
					bad++
				}
			}
		}()
		for i, n := range nodes {
			<-time.After(500 * time.Millisecond)
			n.stop()
			if code := n.cmd.ProcessState.ExitCode(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			n.start()
			eventually(t, 10*time.Second, "the balancer knows the node", func() bool { return b.ready[i].Load() })
		}
		close(stop)
		failed[delay] = <-done
		if sent < 100 {
			t.Errorf("%d publishes: too little load", sent)
		}
		t.Logf("FIGURE drain behind a balancer, --drain-delay %s: %d publishes over 2 restarts, %d failed", delay, sent, failed[delay])
	}
	if failed["1s"] != 0 {
		t.Errorf("with a delay %d publishes failed", failed["1s"])
	}
	if failed["0s"] == 0 {
		t.Error("control: without a delay no publish failed, so the test proves nothing")
	}
}
