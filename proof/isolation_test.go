package proof_test

import (
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strconv"
	"testing"
	"time"
)

// blackHole accepts connections and never responds: the worst neighbour.
func blackHole(t *testing.T) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var held []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			held = append(held, c)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
		for _, c := range held {
			c.Close()
		}
	})
	return "http://" + l.Addr().String() + "/"
}

// latencies publishes perSecond events of the type for the given duration. It returns the
// time of each from before its publish to its arrival at the receiver, sorted.
func latencies(t *testing.T, n *node, r *receiver, eventType string, perSecond int, length time.Duration) []time.Duration {
	t.Helper()
	before := len(r.receipts())
	total := publishSteadily(t, n, eventType, perSecond, length)
	var out []time.Duration
	for _, got := range r.await(t, before+total, 30*time.Second)[before:] {
		var envelope struct {
			Data struct{ At string }
		}
		if err := json.Unmarshal(got.body, &envelope); err != nil {
			t.Fatal(err)
		}
		at, err := strconv.ParseInt(envelope.Data.At, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, got.at.Sub(time.Unix(0, at)))
	}
	slices.Sort(out)
	return out
}

func publishSteadily(t *testing.T, n *node, eventType string, perSecond int, length time.Duration) int {
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	total := int(length.Seconds()) * perSecond
	for range total {
		<-tick.C
		n.publish("calm", eventType, fmt.Sprintf(`{"at":"%d"}`, time.Now().UnixNano()))
	}
	return total
}

func p99(sorted []time.Duration) time.Duration { return sorted[len(sorted)*99/100] }

// TestDeadNeighbour runs a black hole next to a healthy endpoint. A run without it
// comes first and is the baseline.
func TestDeadNeighbour(t *testing.T) {
	const perSecond, length = 50, 20 * time.Second
	n := startNode(t)
	n.tenant("calm")
	healthy := newReceiver(t, nil)
	n.endpoint("calm", healthy.url, object{"event_types": []string{"good.one"}})
	dead := n.endpoint("calm", blackHole(t), object{"event_types": []string{"dead.one"}})

	// A busy build machine can delay one run, whereas a queue clogged by dead endpoints delays
	// every run. So a pair that fails is measured once more.
	sent := 0
	for round := 1; ; round++ {
		alone := latencies(t, n, healthy, "good.one", perSecond, length)
		flood := make(chan int, 1)
		go func() {
			defer close(flood) // even if a publish fails the test
			flood <- publishSteadily(t, n, "dead.one", perSecond, length)
		}()
		beside := latencies(t, n, healthy, "good.one", perSecond, length)
		sent += <-flood

		aim := max(p99(alone)*12/10, p99(alone)+5*time.Millisecond)
		bound := p99(alone)*3/2 + 20*time.Millisecond
		t.Logf("FIGURE dead neighbour: healthy p50/p99 alone %v/%v, beside a black hole %v/%v (aim %v, bound with room for noise %v; %d events each)",
			alone[len(alone)/2].Round(time.Microsecond), p99(alone).Round(time.Microsecond),
			beside[len(beside)/2].Round(time.Microsecond), p99(beside).Round(time.Microsecond),
			aim.Round(time.Microsecond), bound.Round(time.Microsecond), len(beside))
		if p99(beside) <= bound {
			break
		}
		if round == 2 {
			t.Errorf("p99 beside a dead endpoint %v, alone %v, bound %v", p99(beside), p99(alone), bound)
			break
		}
	}
	if waiting := count(n, "/v1/deliveries?state=pending&tenant=calm&endpoint="+dead.ID); waiting < sent/2 {
		t.Errorf("only %d of %d deliveries to the black hole are pending: it was no black hole", waiting, sent)
	}
}
