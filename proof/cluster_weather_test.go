package proof_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// weather is a cluster together with every fault that can happen to it.
type weather struct {
	t      *testing.T
	p      *postgres
	ways   []*cutter
	nodes  []*node
	paused []time.Time // until when the node's process is stopped; zero if it runs
	frozen []time.Time // the same for its network traffic
	random *rand.Rand
	target string // an endpoint whose configuration is changed
	done   map[string]int
}

// act performs one random action.
func (w *weather) act() {
	i := w.random.IntN(len(w.nodes))
	n, way := w.nodes[i], w.ways[i]
	what := []string{"kill", "terminate", "stop", "freeze", "cut", "cut", "sever", "database", "change", "change", "disable", "retry"}[w.random.IntN(12)]
	if (what == "kill" || what == "terminate" || what == "stop") && !w.paused[i].IsZero() {
		return
	}
	w.done[what]++
	switch what {
	case "kill":
		n.kill()
		w.start(n)
	case "terminate":
		if !w.frozen[i].IsZero() {
			w.thaw(i)
		}
		_ = n.cmd.Process.Signal(syscall.SIGTERM) // start waits for the exit
		w.start(n)
	case "stop":
		_ = n.cmd.Process.Signal(syscall.SIGSTOP) // it is running, or start would have failed
		w.paused[i] = time.Now().Add(w.between(500, 5000))
	case "freeze":
		if w.frozen[i].IsZero() {
			way.freeze()
			w.frozen[i] = time.Now().Add(w.between(200, 5000))
		}
	case "cut":
		way.mu.Lock()
		way.armed = &cut{toServer: w.random.IntN(2) == 0, after: w.random.IntN(8000)}
		way.mu.Unlock()
	case "sever":
		way.severAll()
	case "database":
		w.p.stopImmediately()
		<-time.After(w.between(0, 3000))
		w.p.start()
	case "change":
		w.ask(n, "PATCH", "/v1/endpoints/"+w.target, fmt.Sprintf(`{"title":"%d","max_in_flight":%d}`, w.random.Int(), 1+w.random.IntN(20)))
	case "disable":
		w.ask(n, "PATCH", "/v1/endpoints/"+w.target, `{"enabled":false}`)
		<-time.After(w.between(0, 300))
		w.enable()
	case "retry":
		w.ask(n, "POST", "/v1/endpoints/"+w.target+"/test", `{}`)
	}
}

// between returns a random duration; from and to are in milliseconds.
func (w *weather) between(from, to int) time.Duration {
	return time.Duration(from+w.random.IntN(to-from)) * time.Millisecond
}

// ask calls a node that may be unable to respond.
func (w *weather) ask(n *node, method, path, body string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	a, err := n.try(ctx, method, path, liveKey, []byte(body))
	return err == nil && a.status < 300
}

// enable tries the nodes in order until one succeeds.
func (w *weather) enable() {
	for try := range 200 {
		if w.ask(w.nodes[try%len(w.nodes)], "PATCH", "/v1/endpoints/"+w.target, `{"enabled":true}`) {
			return
		}
		w.pass()
		<-time.After(50 * time.Millisecond)
	}
	w.t.Fatal("no node enables the endpoint")
}

// start runs a node that has exited. If the node cannot reach the database, it exits with
// the documented code and is started again.
func (w *weather) start(n *node) {
	for range 30 {
		select {
		case <-n.exited:
		case <-time.After(45 * time.Second):
			w.t.Fatal("a node did not end")
		}
		if code := n.cmd.ProcessState.ExitCode(); code != -1 && code != 0 && code != 15 && code != 16 {
			w.t.Errorf("a node ended with code %d", code)
		}
		n.launch()
		if n.waitReady(3 * time.Second) {
			return
		}
		for i, each := range w.nodes {
			if each == n && !w.frozen[i].IsZero() {
				w.thaw(i)
			}
		}
		if n.waitReady(15 * time.Second) {
			return
		}
		n.kill()
	}
	w.t.Fatal("a node does not start")
}

// pass ends the faults whose time is over.
func (w *weather) pass() {
	for i := range w.nodes {
		if !w.paused[i].IsZero() && time.Now().After(w.paused[i]) {
			_ = w.nodes[i].cmd.Process.Signal(syscall.SIGCONT) // it is stopped
			w.paused[i] = time.Time{}
		}
		if !w.frozen[i].IsZero() && time.Now().After(w.frozen[i]) {
			w.thaw(i)
		}
	}
}

func (w *weather) thaw(i int) {
	w.ways[i].thaw()
	w.frozen[i] = time.Time{}
}

// clear ends all faults.
func (w *weather) clear() {
	for i, way := range w.ways {
		if !w.paused[i].IsZero() {
			w.paused[i] = time.Unix(1, 0)
		}
		way.mu.Lock()
		way.armed = nil
		way.mu.Unlock()
		w.thaw(i)
	}
	w.pass()
}

// TestClusterWeather subjects three nodes to kills, stops, frozen and cut connections,
// restarts of PostgreSQL and configuration changes, in any order and combination. Once the
// faults end, everything settles, nothing acknowledged is lost, and no repeated publish is
// two events. POSTHORN_PROOF_SEED repeats the actions of a run, but not their timing.
// TestAccountSeesLoss is the control.
func TestClusterWeather(t *testing.T) {
	seed := rand.Uint64()
	if text := os.Getenv("POSTHORN_PROOF_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d", seed)
	p := newPostgres(t, "")
	w := &weather{t: t, p: p, paused: make([]time.Time, 3), frozen: make([]time.Time, 3), random: rand.New(rand.NewPCG(seed, 0)), done: map[string]int{}}
	var stores []string
	for range 3 {
		way := newCutter(t, p.addr)
		w.ways = append(w.ways, way)
		stores = append(stores, storeURL(way.addr))
	}
	w.nodes = startClusterOn(t, stores, "--node-lease", "2s")
	var served atomic.Int64
	steady := newReceiver(t, nil)
	shaky := newReceiver(t, func(receipt) int {
		if served.Add(1)%5 == 0 {
			return 500
		}
		<-time.After(time.Duration(served.Load()%40) * time.Millisecond)
		return 200
	})
	n := w.nodes[0]
	n.tenant("weather")
	n.endpoint("weather", steady.url, oftenRetried())
	n.endpoint("weather", shaky.url, oftenRetried())
	n.tenant("other")
	w.target = n.endpoint("other", newReceiver(t, nil).url, oftenRetried()).ID

	book := newLedger()
	l := startLoadOn(w.nodes, "weather", 6, 20*time.Millisecond, book, "w")
	hasty := startImpatient(5*time.Millisecond, w.nodes, "weather", 3, 40*time.Millisecond, book, "h")
	acts := 0
	for end := time.Now().Add(amount(18*time.Second, 4*time.Minute)); time.Now().Before(end); acts++ {
		<-time.After(w.between(50, 600))
		w.pass()
		w.act()
	}
	w.clear()
	for i, n := range w.nodes {
		if !n.waitReady(20 * time.Second) {
			t.Errorf("node %d is not ready 20 s after the weather cleared:\n%s", i, n.logTail())
		}
	}
	cleared := time.Now()
	l.finish(t, 30*time.Second)
	hasty.finish(t, 30*time.Second)
	finished := time.Now()
	eventually(t, 60*time.Second, "everything settles", func() bool {
		return p.number("SELECT count(*) FROM deliveries WHERE tenant = 'weather' AND state = 0") == 0
	})
	settled := time.Since(finished)
	if settled > 15*time.Second {
		t.Errorf("the last delivery settled %v after the last publish: something waited that nobody knew of", settled)
	}
	acked, lost, duplicates := verdict(t, n, "weather", book, steady, shaky)
	if acked < 100 {
		t.Errorf("%d acknowledged events: too little load", acked)
	}
	t.Logf("FIGURE cluster weather: 3 nodes, %d acts %v, %d acknowledged events to 2 endpoints: %d lost, %d duplicates, %d publishes repeated; the last publish answered %v after it cleared, the last delivery settled %v after that",
		acts, w.done, acked, lost, duplicates, l.repeats.Load()+hasty.repeats.Load(), finished.Sub(cleared).Round(10*time.Millisecond), settled.Round(10*time.Millisecond))
}
