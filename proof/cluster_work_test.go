package proof_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"
)

// TestFrozenNodeBlocksNobody repeatedly holds back the bytes of a node while the node
// changes its configuration, the only write for which all others wait. They continue to
// publish and deliver. The control is the frozen node, which cannot.
func TestFrozenNodeBlocksNobody(t *testing.T) {
	const lease, away, bound = 3 * time.Second, 2 * time.Second, 3 * time.Second
	rounds := amount(4, 25)
	p := newPostgres(t, "")
	way := newCutter(t, p.addr)
	nodes := startClusterOn(t, []string{storeURL(way.addr), p.url()}, "--node-lease", lease.String())
	frozen, other := nodes[0], nodes[1]
	r := newReceiver(t, nil)
	other.tenant("free")
	other.endpoint("free", r.url, oftenRetried())
	other.tenant("busy")
	e := other.endpoint("busy", r.url, oftenRetried())

	book := newLedger()
	w := startLoadOn(nodes, "free", 4, 20*time.Millisecond, book, "f")
	stop := make(chan struct{})
	var changers sync.WaitGroup
	for c := range 4 {
		changers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				_, _ = frozen.try(ctx, "PATCH", "/v1/endpoints/"+e.ID, liveKey, fmt.Appendf(nil, `{"title":"%d-%d"}`, c, i)) // fails while frozen
				cancel()
			}
		})
	}
	heart := startPulse(other, "free", "pulse", 10*time.Millisecond)
	var slowest, frozenFor time.Duration
	for range rounds {
		<-time.After(time.Duration(500+rand.IntN(200)) * time.Millisecond)
		way.freeze()
		start := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), away)
		a, err := frozen.try(ctx, "POST", "/v1/events", liveKey, []byte(eventBody("free", "pulse.made", `{"k":"control"}`)))
		cancel()
		if err == nil && a.status == http.StatusAccepted {
			t.Error("control: a frozen node acknowledged an event")
		}
		through := heart.firstThrough(t, r, start, 30*time.Second)
		slowest = max(slowest, through)
		<-time.After(time.Until(start.Add(away)))
		frozenFor += time.Since(start)
		way.thaw()
	}
	close(stop)
	heart.end()
	changers.Wait()
	w.finish(t, 20*time.Second)
	if slowest > bound {
		t.Errorf("an event published through the other node took %v while one was frozen, at most %v is allowed", slowest, bound)
	}
	for what, times := range heart.odd {
		t.Errorf("%d publishes through the other node: %s", times, what)
	}
	t.Logf("FIGURE frozen node: %d times frozen for %v in the middle of changes: the slowest first event through the other node took %v, %d refusals there, slowest %v",
		rounds, away, slowest.Round(time.Millisecond), heart.refusals, heart.slowest.Round(time.Millisecond))
}

// backlogOn fills the memory of every node with deliveries to one slow endpoint. The keys
// start with the tag.
func backlogOn(nodes []*node, tenant, tag string, each int) {
	for i := range each {
		for j, n := range nodes {
			n.publish(tenant, "wait.here", fmt.Sprintf(`{"k":"%s-%d-%d"}`, tag, j, i))
		}
	}
}

// TestDisabledElsewhere disables an endpoint through one node while every node has
// deliveries to it in memory. Within a second none of them is sent any more. When the
// endpoint is enabled again, everything arrives, once. The control is that the held
// deliveries still exist.
func TestDisabledElsewhere(t *testing.T) {
	const each, takes = 12, 150 * time.Millisecond
	p := newPostgres(t, "")
	nodes := startCluster(t, p.url(), 3, "--node-lease", "5s")
	r := newReceiver(t, func(receipt) int { <-time.After(takes); return 200 })
	nodes[0].tenant("held")
	e := nodes[0].endpoint("held", r.url, object{"max_in_flight": 3})
	<-time.After(1500 * time.Millisecond) // every node knows the endpoint
	late, total := time.Duration(0), 0
	for round := range amount(2, 12) {
		backlogOn(nodes, "held", fmt.Sprintf("r%d", round), each)
		total += each * len(nodes)
		through := nodes[round%len(nodes)]
		through.must(200, "PATCH", "/v1/endpoints/"+e.ID, object{"enabled": false})
		disabled := time.Now()
		<-time.After(2 * time.Second)
		for _, got := range r.receipts() {
			late = max(late, got.at.Sub(disabled))
		}
		if late > time.Second {
			t.Errorf("round %d: an attempt began %v after the endpoint was disabled", round, late)
		}
		if arrived := len(r.receipts()); arrived >= total {
			t.Fatalf("control: all %d events arrived before the endpoint was disabled", arrived)
		}
		if held := count(through, "/v1/deliveries?tenant=held&state=held"); held != total-len(r.receipts()) {
			t.Errorf("round %d: %d held, %d of %d arrived", round, held, len(r.receipts()), total)
		}
		nodes[(round+1)%len(nodes)].must(200, "PATCH", "/v1/endpoints/"+e.ID, object{"enabled": true})
		eventually(t, 60*time.Second, "what was held arrives", func() bool {
			return count(nodes[0], "/v1/deliveries?tenant=held&state=succeeded") == total
		})
	}
	keys := map[string]int{}
	for _, s := range sightings(t, r.receipts()) {
		keys[s.key]++
	}
	if len(keys) != total || len(r.receipts()) != total {
		t.Errorf("%d requests for %d of %d events: each must arrive once", len(r.receipts()), len(keys), total)
	}
	t.Logf("FIGURE disabled elsewhere: %d deliveries in the memory of 3 nodes: the last attempt began %v after the endpoint was disabled, all arrived once after it was enabled", total, late.Round(time.Millisecond))
}

// TestAskedAttemptsSurvive kills the node through which single attempts were requested.
// Manual retries and test events that were waiting in its memory are made by another node.
// The control is the number of attempts waiting at the time of the kill.
func TestAskedAttemptsSurvive(t *testing.T) {
	const lease, asked = 3 * time.Second, 8
	p := newPostgres(t, "")
	nodes := startCluster(t, p.url(), 2, "--node-lease", lease.String())
	victim, other := nodes[0], nodes[1]
	var mu sync.Mutex
	failing, after := true, map[string]int{}
	r := newReceiver(t, func(got receipt) int {
		mu.Lock()
		first := failing
		if !first {
			after[got.header.Get("webhook-id")]++
		}
		mu.Unlock()
		if first {
			return 500
		}
		<-time.After(probeTakes)
		return 200
	})
	victim.tenant("asked")
	e := victim.endpoint("asked", r.url, object{"max_in_flight": 2, "retry": object{"steps": []string{"1s"}, "then": "fail"}})
	for i := range asked {
		victim.publish("asked", "a.b", fmt.Sprintf(`{"k":"%d"}`, i))
	}
	eventually(t, 20*time.Second, "all deliveries failed", func() bool { return count(victim, "/v1/deliveries?tenant=asked&state=failed") == asked })
	mu.Lock()
	failing = false
	mu.Unlock()
	want := map[string]bool{}
	list(victim, "/v1/deliveries?tenant=asked&state=failed", func(d delivery) {
		want[d.Event] = true
		victim.must(http.StatusAccepted, "POST", "/v1/deliveries/"+d.ID+"/retry", nil)
	})
	for range asked {
		var test struct{ Event string }
		victim.must(http.StatusAccepted, "POST", "/v1/endpoints/"+e.ID+"/test", object{}).json(t, &test)
		want[test.Event] = true
	}
	victim.kill()
	mu.Lock()
	made := len(after)
	mu.Unlock()
	if made >= len(want)/2 {
		t.Errorf("control: %d of %d attempts were begun before the kill", made, len(want))
	}
	killed := time.Now()
	arrived := func() (n int) {
		mu.Lock()
		defer mu.Unlock()
		for id := range want {
			if after[id] > 0 {
				n++
			}
		}
		return n
	}
	eventually(t, lease+20*time.Second, "every attempt that was asked for is made", func() bool { return arrived() == len(want) })
	took := time.Since(killed)
	eventually(t, 10*time.Second, "they are recorded", func() bool {
		return count(other, "/v1/deliveries?tenant=asked&state=succeeded") == len(want)
	})
	t.Logf("FIGURE asked attempts: %d retries by hand and %d test events, %d begun when their node was killed: all made by another node within %v", asked, asked, made, took.Round(time.Millisecond))
}

// TestListenElsewhere connects a listener to one node, publishes through another, and kills
// and restarts the listener's node. Everything reaches the handler.
func TestListenElsewhere(t *testing.T) {
	p := newPostgres(t, "")
	nodes := startCluster(t, p.url(), 2, "--node-lease", "3s")
	local := newReceiver(t, nil)
	nodes[0].tenant("here")
	key := nodes[0].tenantKey("here")
	l := nodes[0].listen(key, local.url+"/hook")
	t.Cleanup(func() {
		if said, err := os.ReadFile(l.out); err == nil && t.Failed() {
			t.Logf("the listener said:\n%s", said[max(0, len(said)-2000):])
		}
	})
	eventually(t, 10*time.Second, "the listener connects", func() bool { return nodes[1].listenerEnabled("here") })
	<-time.After(1500 * time.Millisecond)
	book := newLedger()
	w := startLoadOn(nodes[1:], "here", 2, 50*time.Millisecond, book, "l")
	<-time.After(2 * time.Second)
	if len(local.receipts()) == 0 {
		t.Errorf("nothing of %d events published through the other node has arrived; the endpoint: %s", len(book.copy()),
			p.sql("SELECT concat('status ', status, ' ', disabled_reason) FROM endpoints"))
	}
	nodes[0].kill()
	<-time.After(4 * time.Second)
	nodes[0].start()
	eventually(t, 20*time.Second, "the listener is back", func() bool { return nodes[1].listenerEnabled("here") })
	<-time.After(time.Second)
	w.finish(t, 10*time.Second)
	acked, lost, duplicates := verdict(t, nodes[1], "here", book, local)
	if acked < 50 {
		t.Errorf("%d acknowledged events: too little load", acked)
	}
	t.Logf("FIGURE listener elsewhere: connected to one node, %d events published through another, its node killed once: %d lost, %d duplicates", acked, lost, duplicates)
}
