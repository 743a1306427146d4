package proof_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// crowd is a receiver that counts concurrent requests.
type crowd struct {
	*receiver
	now, most atomic.Int64
}

func newCrowd(t testing.TB, takes time.Duration) *crowd {
	t.Helper()
	c := &crowd{}
	c.receiver = newReceiver(t, func(receipt) int {
		now := c.now.Add(1)
		defer c.now.Add(-1)
		for most := c.most.Load(); now > most && !c.most.CompareAndSwap(most, now); most = c.most.Load() {
		}
		<-time.After(takes)
		return 200
	})
	return c
}

// busiest returns the largest number of arrivals in any window of the given length.
func busiest(got []receipt, window time.Duration) (most int) {
	var at []time.Time
	for _, r := range got {
		at = append(at, r.at)
	}
	slices.SortFunc(at, time.Time.Compare)
	first := 0
	for last := range at {
		for at[last].Sub(at[first]) >= window {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}

// TestLimitsOverNodes gives an endpoint max_in_flight and rate_limit, and publishes to it
// through three nodes at once. The total that the receiver gets from all nodes stays within
// the documented limit. The control is an endpoint without limits under the same load.
func TestLimitsOverNodes(t *testing.T) {
	const size, inFlightLimit, rateLimit = 3, 6, 20.0
	p := newPostgres(t, "")
	nodes := startCluster(t, p.url(), size, "--node-lease", "5s")
	limited, paced, free := newCrowd(t, 300*time.Millisecond), newCrowd(t, 0), newCrowd(t, 300*time.Millisecond)
	nodes[0].tenant("limits")
	nodes[0].endpoint("limits", limited.url, object{"event_types": []string{"in.flight"}, "max_in_flight": inFlightLimit})
	nodes[0].endpoint("limits", paced.url, object{"event_types": []string{"paced.one"}, "rate_limit": rateLimit})
	nodes[0].endpoint("limits", free.url, object{"event_types": []string{"free.one"}})
	<-time.After(1500 * time.Millisecond) // every node knows all three endpoints, and the number of nodes
	length := amount(5*time.Second, 30*time.Second)
	end, i, pacedSent := time.Now().Add(length), 0, 0
	tick := time.NewTicker(7 * time.Millisecond)
	defer tick.Stop()
	for ; time.Now().Before(end); i++ {
		<-tick.C
		for _, kind := range []string{"in.flight", "paced.one", "free.one"} {
			if kind == "paced.one" && float64(pacedSent) > 1.5*rateLimit*length.Seconds() {
				continue // enough to keep it busy
			}
			nodes[i%size].publish("limits", kind, fmt.Sprintf(`{"k":"%s-%d"}`, kind, i))
			if kind == "paced.one" {
				pacedSent++
			}
		}
	}
	got := paced.receipts()
	most, rate := limited.most.Load(), busiest(got, time.Second)
	mean := float64(len(got)) / length.Seconds()
	if bound := inFlightBound(inFlightLimit, size); most > bound {
		t.Errorf("%d requests at once, max_in_flight %d over %d nodes, documented bound %d", most, inFlightLimit, size, bound)
	}
	if bound := rateBound(rateLimit, size); float64(rate) > bound {
		t.Errorf("%d requests in a second, rate_limit %.0f over %d nodes, documented bound %.0f", rate, rateLimit, size, bound)
	}
	if mean < rateLimit/2 {
		t.Errorf("%.1f requests a second of an allowed %.0f: the limit was not used", mean, rateLimit)
	}
	// What a single node lets through if everything is published there: its share.
	eventually(t, 30*time.Second, "the paced endpoint has nothing left", func() bool { return len(paced.receipts()) == pacedSent })
	for j := range 60 {
		nodes[0].publish("limits", "paced.one", fmt.Sprintf(`{"k":"alone-%d"}`, j))
	}
	<-time.After(4 * time.Second)
	alone := float64(len(paced.receipts())-pacedSent) / 4
	freeMost, freeRate := free.most.Load(), busiest(free.receipts(), time.Second)
	if freeMost <= inFlightBound(inFlightLimit, size) || float64(freeRate) <= rateBound(rateLimit, size) {
		t.Errorf("control: without limits %d requests at once and %d in a second: too little load to reach a limit", freeMost, freeRate)
	}
	t.Logf("FIGURE limits over nodes: 3 nodes, %d events each: max_in_flight %d: at most %d at once; rate_limit %.0f: at most %d in a second, %.1f on average, %.1f if all is published through one node; control without limits: %d at once, %d in a second",
		i, inFlightLimit, most, rateLimit, rate, mean, alone, freeMost, freeRate)
}

// inFlightBound is the maximum number of concurrent requests to a limited endpoint. Each
// node keeps to its share, which is at least one.
func inFlightBound(limit, nodes int64) int64 { return max(limit, nodes) }

// rateBound is the maximum number of requests per second to an endpoint with a rate: its
// rate, plus one for each node where a second starts and ends.
func rateBound(rate, nodes float64) float64 { return rate + nodes }
