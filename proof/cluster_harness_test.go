package proof_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// amount selects the size of a proof: small for every change, big with
// POSTHORN_PROOF_LONG=1. The proof is the same.
func amount[T any](small, big T) T {
	if os.Getenv("POSTHORN_PROOF_LONG") == "1" {
		return big
	}
	return small
}

// masterKey writes a master key for several nodes.
func masterKey(t testing.TB) (path string) {
	t.Helper()
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails
	path = filepath.Join(t.TempDir(), "master.key")
	if err := os.WriteFile(path, []byte(base64.StdEncoding.EncodeToString(raw)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// startCluster runs identical nodes on one store, all started at the same moment. The first
// one creates the schema.
func startCluster(t testing.TB, store string, size int, args ...string) []*node {
	t.Helper()
	return startClusterOn(t, slices.Repeat([]string{store}, size), args...)
}

// startClusterOn gives each node its own URL of the store.
func startClusterOn(t testing.TB, stores []string, args ...string) []*node {
	t.Helper()
	key := masterKey(t)
	var nodes []*node
	for _, store := range stores {
		n := newNode(t, filepath.Join(t.TempDir(), "data"),
			append([]string{"--dev", "--store", store, "--master-key-file", key}, args...)...)
		n.launch()
		nodes = append(nodes, n)
	}
	for i, n := range nodes {
		if !n.waitReady(30 * time.Second) {
			t.Fatalf("node %d did not become ready:\n%s", i, n.logTail())
		}
	}
	return nodes
}

// oftenRetried is a policy under which everything settles soon.
func oftenRetried() object {
	return object{"retry": object{"steps": []string{"1s"}, "then": "repeat"}}
}

// strike kills or stops a node with how. It returns an upper limit for the number of
// attempts that the node had in flight: its gauge just before, plus the requests that
// receivers got from any node until how returned.
func strike(t testing.TB, n *node, receivers []*receiver, how func()) (bound int) {
	t.Helper()
	asked := func() (sum int64) {
		for _, r := range receivers {
			sum += r.asked.Load()
		}
		return sum
	}
	before := asked()
	open, err := n.gauge(inFlight)
	how()
	if err != nil {
		t.Errorf("read %s: %v", inFlight, err)
	}
	return int(open) + int(asked()-before)
}

// verdict waits until all deliveries of the tenant have settled. It compares the
// acknowledged events with the stored ones and with those that each receiver got.
func verdict(t testing.TB, n *node, tenant string, book *ledger, receivers ...*receiver) (acked, lost, duplicates int) {
	t.Helper()
	promised := book.copy()
	eventually(t, 60*time.Second, "everything settles", func() bool {
		return count(n, "/v1/deliveries?tenant="+tenant+"&state=pending") == 0
	})
	for _, state := range []string{"held", "failed", "cancelled"} {
		if left := count(n, "/v1/deliveries?tenant="+tenant+"&state="+state); left != 0 {
			t.Errorf("%d deliveries are %s", left, state)
		}
	}
	for i, r := range receivers {
		a := settle(promised, sightings(t, r.receipts()))
		if len(a.lost) > 0 {
			t.Errorf("receiver %d: %d of %d acknowledged events lost, first %s", i, len(a.lost), len(promised), a.lost[0])
		}
		if len(a.doubled) > 0 {
			t.Errorf("receiver %d: %d keys became several events, first %s", i, len(a.doubled), a.doubled[0])
		}
		lost += len(a.lost)
		duplicates += a.duplicates
	}
	if stored := len(eventIDs(n, tenant)); stored != len(promised) {
		t.Errorf("%d events are stored for %d keys", stored, len(promised))
	}
	for what, times := range book.other {
		t.Errorf("%d publishes were answered %s", times, what)
	}
	return len(promised), lost, duplicates
}

// probe is an endpoint that is always behind. Its receiver is slow, so events published to
// it wait in the memory of the node that accepted them.
type probe struct {
	r *receiver
}

const probeTakes = 300 * time.Millisecond

func newProbe(t testing.TB, n *node) *probe {
	t.Helper()
	p := &probe{newReceiver(t, func(receipt) int { <-time.After(probeTakes); return 200 })}
	n.tenant("probe")
	more := oftenRetried()
	more["max_in_flight"] = 1
	n.endpoint("probe", p.r.url, more)
	return p
}

// load publishes through one node and returns once the first attempt has started.
func (p *probe) load(t testing.TB, n *node, round string, events int) {
	t.Helper()
	for i := range events {
		n.publish("probe", "probe.made", fmt.Sprintf(`{"k":"%s-%d"}`, round, i))
	}
	asked := p.r.asked.Load()
	eventually(t, 20*time.Second, "the probe's receiver is asked", func() bool { return p.r.asked.Load() > asked })
}

// since returns when the events of a round arrived after an instant, in order.
func (p *probe) since(t testing.TB, round string, after time.Time) (at []time.Time) {
	t.Helper()
	got := p.r.receipts()
	for i, s := range sightings(t, got) {
		if strings.HasPrefix(s.key, round+"-") && got[i].at.After(after) {
			at = append(at, got[i].at)
		}
	}
	slices.SortFunc(at, time.Time.Compare)
	return at
}

// missing returns the number of events of a round that have not arrived.
func (p *probe) missing(t testing.TB, round string, events int) int {
	t.Helper()
	keys := map[string]bool{}
	for _, s := range sightings(t, p.r.receipts()) {
		if strings.HasPrefix(s.key, round+"-") {
			keys[s.key] = true
		}
	}
	return events - len(keys)
}

// pulse publishes one event per interval through a node, and records when each was answered.
// An outage appears as a gap.
type pulse struct {
	mu    sync.Mutex
	asked map[string]time.Time // the time before the request
	stop  chan struct{}
	done  sync.WaitGroup

	refusals int
	slowest  time.Duration // among the refusals
	longest  time.Duration // among all responses
	odd      map[string]int
}

func startPulse(n *node, tenant, tag string, every time.Duration) *pulse {
	p := &pulse{asked: map[string]time.Time{}, stop: make(chan struct{}), odd: map[string]int{}}
	p.done.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-p.stop:
				return
			case <-tick.C:
				p.beat(n, tenant, fmt.Sprintf("%s-%05d", tag, i))
			}
		}
	})
	return p
}

func (p *pulse) beat(n *node, tenant, key string) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	a, err := n.try(ctx, "POST", "/v1/events", liveKey, []byte(eventBody(tenant, "pulse.made", `{"k":"`+key+`"}`)))
	took := time.Since(start)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.longest = max(p.longest, took)
	code, _ := a.problem()
	switch {
	case err != nil:
		p.odd[err.Error()]++
	case a.status == http.StatusAccepted:
		p.asked[key] = start
	case a.status == http.StatusServiceUnavailable && code == "storage_unavailable" && a.header.Get("Retry-After") != "":
		p.refusals++
		p.slowest = max(p.slowest, took)
	default:
		p.odd[fmt.Sprintf("%d %.200s", a.status, a.body)]++
	}
}

func (p *pulse) end() { close(p.stop); p.done.Wait() }

// firstThrough returns how long after an instant the first event arrived that was published
// after it.
func (p *pulse) firstThrough(t testing.TB, r *receiver, after time.Time, limit time.Duration) time.Duration {
	t.Helper()
	var first time.Duration
	eventually(t, limit, "an event that was published after it arrives", func() bool {
		got := r.receipts()
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, one := range got {
			asked, ok := p.asked[keyOf(one)]
			if ok && asked.After(after) && (first == 0 || one.at.Sub(after) < first) {
				first = one.at.Sub(after)
			}
		}
		return first > 0
	})
	return first
}

// keyOf returns the key of an event from a request in the standard format.
func keyOf(r receipt) string {
	var envelope struct {
		Data struct{ K string }
	}
	_ = json.Unmarshal(r.body, &envelope) // a body without a key belongs to no publish
	return envelope.Data.K
}

// longest returns the largest duration, rounded for a figure.
func longest(all []time.Duration) time.Duration {
	if len(all) == 0 {
		return 0
	}
	return slices.Max(all).Round(time.Millisecond)
}

// lines splits the output of psql.
func lines(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
}

// plainID converts an id from a column of type uuid or bytea, or from the API, to one form.
func plainID(id string) string {
	return strings.ReplaceAll(strings.TrimPrefix(id, `\x`), "-", "")
}
