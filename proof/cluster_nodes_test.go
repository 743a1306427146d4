package proof_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// TestNodesKilled ends one of three nodes with kill -9 every few seconds under load (R-13,
// and over several nodes). Nothing acknowledged is lost, duplicates do not
// exceed what the dead nodes had in flight, and what was waiting in a dead node's memory is
// sent by another node within the lease plus one second. Every second victim stays dead
// until its work has moved, and the last one permanently. The control at the end leaves no
// node to take over.
func TestNodesKilled(t *testing.T) {
	const lease, every, waiting = 3 * time.Second, 5 * time.Second, 4
	kills := amount(4, 24)
	p := newPostgres(t, "")
	nodes := startCluster(t, p.url(), 3, "--node-lease", lease.String())
	var served atomic.Int64
	steady := newReceiver(t, nil)
	shaky := newReceiver(t, func(receipt) int {
		if served.Add(1)%11 == 0 {
			return 500
		}
		return 200
	})
	nodes[0].tenant("kill")
	nodes[0].endpoint("kill", steady.url, oftenRetried())
	nodes[0].endpoint("kill", shaky.url, oftenRetried())
	behind := newProbe(t, nodes[0])

	book := newLedger()
	w := startLoadOn(nodes, "kill", 6, 20*time.Millisecond, book, "k")
	bound := 0
	var takeovers []time.Duration
	for k := range kills {
		next := time.Now().Add(every)
		victim, round := nodes[k%len(nodes)], fmt.Sprintf("r%d", k)
		behind.load(t, victim, round, waiting)
		killed := time.Now()
		bound += strike(t, victim, []*receiver{steady, shaky}, victim.kill)
		gone := time.Now()
		if k%2 == 0 {
			victim.start()
		}
		var moved []time.Time
		eventually(t, lease+10*time.Second, "the work of a dead node moves on", func() bool {
			moved = behind.since(t, round, gone.Add(probeTakes/10))
			return len(moved) > 0
		})
		takeovers = append(takeovers, moved[0].Sub(killed))
		if k%2 == 1 && k < kills-1 {
			victim.start()
		}
		<-time.After(time.Until(next))
	}
	w.finish(t, 20*time.Second)
	dead := (kills - 1) % len(nodes)
	alive := nodes[(dead+1)%len(nodes)]
	acked, lost, duplicates := verdict(t, alive, "kill", book, steady, shaky)
	if duplicates > bound {
		t.Errorf("%d duplicates, at most %d attempts were in flight at the kills", duplicates, bound)
	}
	if worst := longest(takeovers); worst > lease+time.Second {
		t.Errorf("R-13: the slowest takeover took %v, at most %v is allowed: %v", worst, lease+time.Second, takeovers)
	}
	for k := range kills {
		if left := behind.missing(t, fmt.Sprintf("r%d", k), waiting); left != 0 {
			t.Errorf("%d of %d events that waited at kill %d never arrived", left, waiting, k)
		}
	}
	if acked < 100*kills || w.repeats.Load() == 0 {
		t.Errorf("%d acknowledged and %d repeated publishes: too little load to prove anything", acked, w.repeats.Load())
	}
	t.Logf("FIGURE nodes killed: 3 nodes, lease %v, %d acknowledged events to 2 endpoints, %d kills: %d lost; %d duplicates (in flight at the kills: %d); slowest takeover %v after the kill; %d publishes repeated",
		lease, acked, kills, lost, duplicates, bound, longest(takeovers), w.repeats.Load())

	// The control: without another node nothing moves, so what moved above was taken over.
	behind.load(t, alive, "control", 8)
	for _, n := range nodes {
		n.kill()
	}
	gone := time.Now()
	<-time.After(lease + 2*time.Second)
	if moved := behind.since(t, "control", gone.Add(probeTakes/10)); len(moved) > 0 {
		t.Errorf("control: %d events arrived although every node was dead", len(moved))
	}
	if behind.missing(t, "control", 8) < 4 {
		t.Error("control: less than half of the events were waiting: the kill came too late")
	}
	alive.start()
	eventually(t, lease+15*time.Second, "what waited arrives once a node is back", func() bool { return behind.missing(t, "control", 8) == 0 })
}

// TestRollingRestart sends SIGTERM to three nodes, one after another under load, and starts
// each again. Each exits with code 0, nothing is lost and nothing is sent twice. The
// control stops a node without draining, which must send something twice.
func TestRollingRestart(t *testing.T) {
	const takes, lease = 100 * time.Millisecond, 3 * time.Second
	restarts := amount(6, 20)
	p := newPostgres(t, "")
	nodes := startCluster(t, p.url(), 3, "--node-lease", lease.String())
	var served atomic.Int64
	r := newReceiver(t, func(receipt) int { // with failures, because any node may claim retries
		<-time.After(takes)
		if served.Add(1)%7 == 0 {
			return 500
		}
		return 200
	})
	nodes[0].tenant("roll")
	nodes[0].endpoint("roll", r.url, oftenRetried())

	book := newLedger()
	w := startLoadOn(nodes, "roll", 6, 30*time.Millisecond, book, "r")
	open, slowest := 0, time.Duration(0)
	for i := range restarts {
		<-time.After(800 * time.Millisecond)
		n := nodes[i%len(nodes)]
		var took time.Duration
		open += strike(t, n, nil, func() {
			start := time.Now()
			n.stop()
			took = time.Since(start)
		})
		slowest = max(slowest, took)
		if code := n.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("R-15: restart %d: exit code %d", i+1, code)
		}
		n.start()
	}
	w.finish(t, 20*time.Second)
	acked, lost, duplicates := verdict(t, nodes[0], "roll", book, r)
	if duplicates > 0 {
		t.Errorf("R-15: %d duplicates over %d restarts", duplicates, restarts)
	}
	if open == 0 || acked < 50*restarts {
		t.Errorf("%d attempts were in flight at the signals and %d events acknowledged: too little load", open, acked)
	}
	t.Logf("FIGURE rolling restart: 3 nodes, %d acknowledged events, %d restarts with code 0 (%d attempts in flight at the signals): %d lost, %d duplicates; slowest exit %v; %d publishes repeated at another node",
		acked, restarts, open, lost, duplicates, slowest.Round(time.Millisecond), w.repeats.Load())

	before := len(r.receipts())
	for i := range 60 {
		nodes[1].publish("roll", "load.made", fmt.Sprintf(`{"k":"control-%d"}`, i))
	}
	r.await(t, before+4, 10*time.Second)
	eventually(t, 10*time.Second, "attempts are in flight", func() bool { open, err := nodes[1].gauge(inFlight); return err == nil && open > 0 })
	nodes[1].kill()
	eventually(t, lease+20*time.Second, "the other nodes send the rest", func() bool {
		return count(nodes[0], "/v1/deliveries?tenant=roll&state=pending") == 0
	})
	if again := settle(nil, sightings(t, r.receipts())).duplicates - duplicates; again == 0 {
		t.Error("control: a node that was killed with attempts in flight made no duplicate: the harness would not notice one")
	} else {
		t.Logf("FIGURE rolling restart, control with kill -9: %d duplicates", again)
	}
}
