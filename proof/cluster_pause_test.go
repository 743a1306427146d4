package proof_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// staleMetric counts outcomes reported by a node that no longer owned the row.
const staleMetric = "posthorn_stale_settlements_total"

// trap is a receiver that holds the first attempt of each event until it is told to answer
// 500. Later attempts get the status for the path immediately.
type trap struct {
	*receiver
	mu      sync.Mutex
	seen    map[string]int // path and event -> attempts
	hanging int
	spring  chan struct{}
}

func newTrap(t testing.TB) *trap {
	t.Helper()
	p := &trap{seen: map[string]int{}, spring: make(chan struct{})}
	p.receiver = newReceiver(t, p.answer)
	return p
}

func (p *trap) answer(r receipt) int {
	which := r.path + " " + r.header.Get("webhook-id")
	p.mu.Lock()
	p.seen[which]++
	first := p.seen[which] == 1
	if first {
		p.hanging++
	}
	p.mu.Unlock()
	if first {
		<-p.spring
		return 500
	}
	if strings.HasPrefix(r.path, "/never") {
		return 500
	}
	return 200
}

func (p *trap) waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hanging
}

// finals returns the settled deliveries and when they settled, as stored in the database.
func finals(p *postgres) map[string]string {
	out := map[string]string{}
	for row := range strings.Lines(p.sql(`SELECT concat(event, '/', endpoint), concat(state, ' ', reason, ' ', settled_at)
		FROM deliveries WHERE settled_at <> 0`)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(row, "\n"), "|")
		out[key] = value
	}
	return out
}

// callers publishes events for the probe through a node that is suspended. The node finds
// them when it resumes, before it knows how long it was suspended. The returned function
// waits for the responses and returns the acknowledged events.
func callers(n *node, events int) (answers func() (acked []string)) {
	var all sync.WaitGroup
	var mu sync.Mutex
	var acked []string
	for i := range events {
		all.Go(func() {
			round := fmt.Sprintf("woken%d", i)
			a, err := n.try(context.Background(), "POST", "/v1/events", liveKey, []byte(eventBody("probe", "probe.made", `{"k":"`+round+`-0"}`)))
			if err == nil && a.status == http.StatusAccepted {
				mu.Lock()
				defer mu.Unlock()
				acked = append(acked, round)
			}
		})
	}
	return func() []string { all.Wait(); return acked }
}

// pause suspends a node. It returns a function that ends the suspension.
type pause func(t *testing.T, n *node, way *cutter) (end func())

// TestNodePaused suspends a node under load for twice its lease, with attempts in flight
// that other nodes meanwhile repeat and settle, and then resumes it. It does so once
// with SIGSTOP, and once by holding back every byte between the node and PostgreSQL and
// delivering it late. What the node then reports is refused where it could undo something,
// and counted. The control queries the database for the rows that an update without the
// fence would have changed. The node may send what is waiting in its memory during its
// lease, and not after it.
func TestNodePaused(t *testing.T) {
	t.Run("stopped", func(t *testing.T) {
		nodePaused(t, 0, func(t *testing.T, n *node, _ *cutter) func() {
			signal := func(s syscall.Signal) {
				if err := n.cmd.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
			}
			signal(syscall.SIGSTOP)
			return func() { signal(syscall.SIGCONT) }
		})
	})
	t.Run("cut off", func(t *testing.T) {
		nodePaused(t, pauseLease, func(_ *testing.T, _ *node, way *cutter) func() {
			way.freeze()
			return way.thaw
		})
	})
}

const pauseLease = 3 * time.Second

// nodePaused runs the proof. goesOn is how long the node may continue to send.
func nodePaused(t *testing.T, goesOn time.Duration, take pause) {
	const lease, kinds, waiting = pauseLease, 6, 16
	p := newPostgres(t, "")
	way := newCutter(t, p.addr)
	nodes := startClusterOn(t, []string{storeURL(way.addr), p.url(), p.url()}, "--node-lease", lease.String())
	pids := pidsOf(nodes)
	paused, other := nodes[0], nodes[1]
	steady, hanging := newReceiver(t, nil), newTrap(t)
	other.tenant("pause")
	other.endpoint("pause", steady.url, oftenRetried())
	behind := newProbe(t, other)
	other.tenant("trap")
	for i := range kinds { // each endpoint starts with two attempts at once
		other.endpoint("trap", fmt.Sprintf("%s/mends%d", hanging.url, i), oftenRetried())
		other.endpoint("trap", fmt.Sprintf("%s/never%d", hanging.url, i), object{"retry": object{"steps": []string{"1s"}, "then": "fail"}})
	}

	book := newLedger()
	w := startLoadOn(nodes, "pause", 6, 20*time.Millisecond, book, "p")
	<-time.After(1500 * time.Millisecond)
	trapped := paused.publish("trap", "trap.set", `{"k":"one"}`).Deliveries + paused.publish("trap", "trap.set", `{"k":"two"}`).Deliveries
	eventually(t, 20*time.Second, "attempts hang", func() bool { return hanging.waiting() == trapped && trapped == 4*kinds })
	behind.load(t, paused, "waits", waiting)
	p.sql(`CREATE TABLE proof_before AS SELECT event, endpoint, owner, fence FROM deliveries WHERE type = 'trap.set'`)

	var end func()
	bound := strike(t, paused, []*receiver{steady}, func() { end = take(t, paused, way) }) - trapped
	stopped := time.Now()
	close(hanging.spring)
	eventually(t, 2*lease+20*time.Second, "others settle what hung", func() bool {
		return p.number(`SELECT count(*) FROM deliveries WHERE type = 'trap.set' AND settled_at <> 0`) == trapped
	})
	othersTook := time.Since(stopped)
	if othersTook > lease+5*time.Second { // a second for the takeover, one for the retry, and a margin
		t.Errorf("others settled the work of a node that was away only after %v, its lease is %v", othersTook, lease)
	}
	<-time.After(time.Until(stopped.Add(2 * lease)))
	before := finals(p)
	woken := callers(paused, 10)
	<-time.After(500 * time.Millisecond)
	end()
	answered := woken()
	<-time.After(2 * time.Second)
	stale, err := paused.gauge(staleMetric)
	if err != nil || stale < float64(trapped) {
		t.Errorf("R-14: %.0f of %d late outcomes were refused and counted (%v)", stale, trapped, err)
	}
	w.finish(t, 20*time.Second)
	acked, lost, duplicates := verdict(t, other, "pause", book, steady)
	eventually(t, 20*time.Second, "what waited arrives", func() bool {
		missing := 0
		for _, round := range answered {
			missing += behind.missing(t, round, 1)
		}
		return missing+behind.missing(t, "waits", waiting) == 0
	})
	again := settle(nil, sightings(t, behind.r.receipts())).duplicates
	if most := 2 + int(goesOn/probeTakes); again > most {
		t.Errorf("%d of %d events that waited when it went were sent twice, at most %d may: it sends without its lease", again, waiting, most)
	}

	after, overwritten := finals(p), 0
	for key, was := range before {
		if after[key] != was {
			overwritten++
			t.Errorf("R-14: delivery %s was final as %q and is %q", key, was, after[key])
		}
	}
	if duplicates > bound {
		t.Errorf("%d duplicates, at most %d attempts were in flight at the stop", duplicates, bound)
	}
	if acked < 300 {
		t.Errorf("only %d acknowledged events: too little load", acked)
	}
	hit := func(and string) int {
		return p.number(`SELECT count(*) FROM deliveries d JOIN proof_before b USING (event, endpoint) WHERE d.state <> 0` + and)
	}
	unfenced, fenced := hit(""), hit(" AND d.fence = b.fence AND d.owner = b.owner")
	if unfenced != trapped || fenced != 0 {
		t.Errorf("control: of %d outcomes %d would have hit a settled row without the fence and %d with it: nothing was at stake", trapped, unfenced, fenced)
	}
	sameProcess(t, nodes, pids)
	// It continues as an ordinary node: when it dies, its work moves once more.
	behind.load(t, paused, "last", 4)
	paused.kill()
	eventually(t, lease+20*time.Second, "the work of the node that was paused and then died moves on", func() bool { return behind.missing(t, "last", 4) == 0 })
	t.Logf("FIGURE node paused: away for %v with a lease of %v, %d final rows of which %d hung when it went (settled by others after %v): %d overwritten; %.0f stale outcomes refused; %d acknowledged events: %d lost, %d duplicates (in flight when it went: %d); %d of %d that waited in its memory sent twice",
		2*lease, lease, len(before), trapped, othersTook.Round(time.Millisecond), overwritten, stale, acked, lost, duplicates, bound, again, waiting)
	t.Logf("FIGURE node paused, control: %d settled rows would have been hit by the outcomes without the fence, %d with it", unfenced, fenced)
}

// freezeInTransaction holds back a node's bytes at a moment when the server is waiting for
// the rest of one of its transactions, which holds locks.
func (p *postgres) freezeInTransaction(t testing.TB, way *cutter) {
	t.Helper()
	for try := 0; ; try++ {
		way.freeze()
		<-time.After(30 * time.Millisecond)
		if p.number(`SELECT count(*) FROM pg_stat_activity WHERE usename = 'posthorn' AND state = 'idle in transaction'
			AND state_change < clock_timestamp() - interval '25 ms'`) > 0 {
			return
		}
		if way.thaw(); try == 500 {
			t.Fatal("the node is never frozen in the middle of a transaction: nothing is shown")
		}
		<-time.After(time.Duration(5+try%7) * time.Millisecond)
	}
}

// TestPausedInTransaction suspends a node in the middle of a transaction. The
// locks that it holds do not keep other nodes from publishing, or from taking over its work
// in time.
func TestPausedInTransaction(t *testing.T) {
	const lease, waiting = 3 * time.Second, 8
	rounds := amount(2, 12)
	p := newPostgres(t, "")
	way := newCutter(t, p.addr)
	nodes := startClusterOn(t, []string{storeURL(way.addr), p.url()}, "--node-lease", lease.String())
	frozen, other := nodes[0], nodes[1]
	pids := pidsOf(nodes)
	var served atomic.Int64
	shaky := newReceiver(t, func(receipt) int { // claiming a retry takes more than one round trip
		if served.Add(1)%2 == 0 {
			return 500
		}
		return 200
	})
	beats := newReceiver(t, nil)
	other.tenant("locks")
	other.endpoint("locks", shaky.url, oftenRetried())
	other.tenant("pulse")
	other.endpoint("pulse", beats.url, oftenRetried())
	behind := newProbe(t, other)
	book := newLedger()
	w := startLoadOn(nodes, "locks", 6, 15*time.Millisecond, book, "t")
	heart := startPulse(other, "pulse", "b", 20*time.Millisecond)
	var takeovers, publishes []time.Duration
	for k := range rounds {
		<-time.After(1500 * time.Millisecond)
		round := fmt.Sprintf("r%d", k)
		behind.load(t, frozen, round, waiting)
		p.freezeInTransaction(t, way)
		start := time.Now()
		publishes = append(publishes, heart.firstThrough(t, beats, start, 30*time.Second))
		eventually(t, 30*time.Second, "the frozen node's work is given to the other", func() bool {
			return p.number(`SELECT count(*) FROM deliveries WHERE type = 'probe.made' AND state = 0 AND owner IN
				(SELECT epoch FROM nodes WHERE seen_at < clock_timestamp() - lease)`) == 0 &&
				time.Since(start) > lease
		})
		takeovers = append(takeovers, time.Since(start))
		way.thaw()
		eventually(t, 20*time.Second, "what waited arrives", func() bool { return behind.missing(t, round, waiting) == 0 })
	}
	heart.end()
	w.finish(t, 20*time.Second)
	acked, lost, duplicates := verdict(t, other, "locks", book, shaky)
	sameProcess(t, nodes, pids)
	if longest(takeovers) > lease+time.Second {
		t.Errorf("R-13: the work of a node frozen in a transaction was free only after %v, at most %v is allowed", takeovers, lease+time.Second)
	}
	if longest(publishes) > 3*time.Second || heart.slowest > 3*time.Second {
		t.Errorf("a publish through the other node took %v while one was frozen in a transaction", publishes)
	}
	t.Logf("FIGURE paused in a transaction: %d times, lease %v: work free for others after %v at most, publishes through the other node after %v at most; %d acknowledged events: %d lost, %d duplicates",
		rounds, lease, longest(takeovers), longest(publishes), acked, lost, duplicates)
}
