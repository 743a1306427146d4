package proof_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// ledger is what publishers outside the server know: which keys they requested, and as which
// event each was acknowledged.
type ledger struct {
	mu    sync.Mutex
	asked int
	acked map[string]string // key -> event id
	other map[string]int    // unexpected responses
}

func newLedger() *ledger { return &ledger{acked: map[string]string{}, other: map[string]int{}} }

// copy returns what has been acknowledged so far.
func (l *ledger) copy() map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[string]string, len(l.acked))
	for k, id := range l.acked {
		out[k] = id
	}
	return out
}

// load runs publishers until stop. A failed publish is repeated with its Idempotency-Key
// until it is acknowledged or giveUp is closed, which happens after the server is healthy
// again.
type load struct {
	ledger   *ledger
	repeats  atomic.Int64
	patience time.Duration // how long a publisher waits for a response
	stop     chan struct{}
	giveUp   chan struct{}
	done     sync.WaitGroup
}

// startLoad publishes events of the tenant from the given number of publishers, each at most
// one per pause. The data contains the key as "k".
func startLoad(n *node, tenant string, publishers int, pause time.Duration, l *ledger, tag string) *load {
	return startLoadOn([]*node{n}, tenant, publishers, pause, l, tag)
}

// startLoadOn distributes the publishers over nodes. A publish that fails at one node is
// repeated at the next, as behind a load balancer.
func startLoadOn(nodes []*node, tenant string, publishers int, pause time.Duration, l *ledger, tag string) *load {
	return startImpatient(5*time.Second, nodes, tenant, publishers, pause, l, tag)
}

// startImpatient limits the time for a response. With less time than a commit takes, most
// publishes are repeated while the first attempt is still in progress.
func startImpatient(patience time.Duration, nodes []*node, tenant string, publishers int, pause time.Duration, l *ledger, tag string) *load {
	w := &load{ledger: l, patience: patience, stop: make(chan struct{}), giveUp: make(chan struct{})}
	for p := range publishers {
		w.done.Go(func() {
			tick := time.NewTicker(pause)
			defer tick.Stop()
			for i := 0; ; i++ {
				select {
				case <-w.stop:
					return
				case <-tick.C:
					at := func(try int) *node { return nodes[(p+try)%len(nodes)] }
					w.one(at, tenant, fmt.Sprintf("%s-p%d-%06d", tag, p, i), tick.C)
				}
			}
		})
	}
	return w
}

func (w *load) one(at func(try int) *node, tenant, key string, tick <-chan time.Time) {
	w.ledger.mu.Lock()
	w.ledger.asked++
	w.ledger.mu.Unlock()
	body := []byte(eventBody(tenant, "load.made", `{"k":"`+key+`"}`))
	for try := 0; ; try++ {
		if try > 0 {
			w.repeats.Add(1)
		}
		ctx, cancel := context.WithTimeout(context.Background(), w.patience)
		a, err := at(try).try(ctx, "POST", "/v1/events", liveKey, body, "Idempotency-Key", key)
		cancel()
		if err == nil && a.status == http.StatusAccepted {
			var p published
			_ = json.Unmarshal(a.body, &p) // the comparison detects an empty id
			w.ledger.mu.Lock()
			w.ledger.acked[key] = p.ID
			w.ledger.mu.Unlock()
			return
		}
		if err == nil && a.status < 500 {
			w.ledger.mu.Lock()
			w.ledger.other[fmt.Sprintf("%d %.200s", a.status, a.body)]++
			w.ledger.mu.Unlock()
			return
		}
		select {
		case <-w.giveUp:
			return
		case <-tick:
		}
	}
}

// finish stops new publishes, and waits for the repetition of the earlier ones.
func (w *load) finish(t testing.TB, limit time.Duration) {
	t.Helper()
	close(w.stop)
	idle := make(chan struct{})
	go func() { w.done.Wait(); close(idle) }()
	select {
	case <-idle:
	case <-time.After(limit):
		close(w.giveUp)
		<-idle
		t.Errorf("publishes were still unanswered %v after the server was back", limit)
	}
}

// abandon stops the publishers at once. Unanswered publishes stay unanswered.
func (w *load) abandon() {
	close(w.stop)
	close(w.giveUp)
	w.done.Wait()
}

// sighting is a delivery that a receiver answered with success.
type sighting struct{ id, key string }

// sightings extracts the event id and the key from requests in the standard format.
func sightings(t testing.TB, receipts []receipt) []sighting {
	t.Helper()
	out := make([]sighting, 0, len(receipts))
	for _, r := range receipts {
		var envelope struct {
			Data struct{ K string }
		}
		if err := json.Unmarshal(r.body, &envelope); err != nil {
			t.Fatalf("receiver got %.200q: %v", r.body, err)
		}
		out = append(out, sighting{r.header.Get("webhook-id"), envelope.Data.K})
	}
	return out
}

// account compares what was acknowledged with what arrived.
type account struct {
	lost       []string // acknowledged, never arrived or arrived as another event
	doubled    []string // keys that became more than one event
	duplicates int      // arrivals beyond the first of each event
}

func settle(acked map[string]string, arrived []sighting) account {
	var a account
	byKey := map[string]map[string]int{}
	for _, s := range arrived {
		if byKey[s.key] == nil {
			byKey[s.key] = map[string]int{}
		}
		byKey[s.key][s.id]++
	}
	for key, id := range acked {
		if id == "" || byKey[key][id] == 0 {
			a.lost = append(a.lost, key)
		}
	}
	for key, ids := range byKey {
		if len(ids) > 1 {
			a.doubled = append(a.doubled, key)
		}
		for _, n := range ids {
			a.duplicates += n - 1
		}
	}
	slices.Sort(a.lost)
	slices.Sort(a.doubled)
	return a
}

// TestAccountSeesLoss is the control of every test that counts with settle.
func TestAccountSeesLoss(t *testing.T) {
	acked := map[string]string{"a": "1", "b": "2", "c": "3", "d": ""}
	got := settle(acked, []sighting{{"1", "a"}, {"1", "a"}, {"9", "b"}, {"3", "c"}, {"4", "c"}})
	if fmt.Sprint(got.lost, got.doubled, got.duplicates) != "[b d] [c] 1" {
		t.Errorf("lost %v, doubled %v, duplicates %d", got.lost, got.doubled, got.duplicates)
	}
	if got := settle(map[string]string{"a": "1"}, []sighting{{"1", "a"}}); len(got.lost)+len(got.doubled)+got.duplicates != 0 {
		t.Errorf("a clean account shows %+v", got)
	}
}
