package proof_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// spread measures how long a change through one node takes to apply on the others.
type spread struct {
	t      *testing.T
	n      []*node // the change goes through the first
	r      *receiver
	asked  int
	worst  map[string]time.Duration
	before int // requests that showed the old state, before or after the change
}

// follows checks that the change is not in force anywhere, makes it, and queries the other
// nodes until each follows, and some more times.
func (s *spread) follows(what string, change func(), inForce func(n *node) bool) {
	s.t.Helper()
	for i, n := range s.n {
		if inForce(n) {
			s.t.Fatalf("%s: in force on node %d before it was made", what, i)
		}
	}
	change()
	changed := time.Now()
	if !inForce(s.n[0]) {
		s.t.Errorf("%s: not in force on the node that made it", what)
	}
	good := make([]int, len(s.n))
	good[0] = 5
	for waiting := true; waiting; {
		waiting = false
		for i, n := range s.n {
			if good[i] >= 5 {
				continue
			}
			waiting = true
			asked := time.Now()
			switch now := inForce(n); {
			case now:
				good[i]++
			case good[i] > 0:
				s.t.Fatalf("%s: node %d went back to what was before", what, i)
			default:
				s.before++
				s.worst[what] = max(s.worst[what], asked.Sub(changed))
			}
		}
		if time.Since(changed) > 10*time.Second {
			s.t.Fatalf("%s: not in force everywhere after 10 s: %v", what, good)
		}
	}
}

// sends publishes through a node and returns the receiver's request for it.
func (s *spread) sends(n *node, eventType string) receipt {
	s.t.Helper()
	s.asked++
	key := fmt.Sprintf("k%d", s.asked)
	n.publish("everywhere", eventType, `{"k":"`+key+`"}`)
	var got receipt
	eventually(s.t, 10*time.Second, "the event arrives", func() bool {
		all := s.r.receipts()
		for i := len(all) - 1; i >= 0; i-- { // it is one of the last
			if keyOf(all[i]) == key {
				got = all[i]
				return true
			}
		}
		return false
	})
	return got
}

// signedWith reports whether a request verifies with the secret.
func signedWith(t testing.TB, secret string, r receipt) bool {
	t.Helper()
	wh, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	return wh.Verify(r.body, r.header) == nil
}

// TestConfigEverywhere changes endpoints, keys, secrets and profiles through one of three
// nodes. Each change is in force on the others within a second, even where PostgreSQL's
// notifications do not arrive, as behind PgBouncer. As the control, each change is first
// shown not to be in force.
func TestConfigEverywhere(t *testing.T) {
	t.Run("notified", func(t *testing.T) {
		configEverywhere(t, newPostgres(t, "").url())
	})
	t.Run("not notified", func(t *testing.T) {
		b := newBouncer(t, newPostgres(t, ""))
		configEverywhere(t, storeURL(b.addr, "default_query_exec_mode=exec"))
	})
}

func configEverywhere(t *testing.T, store string) {
	const limit = time.Second
	dir := t.TempDir()
	example, err := os.ReadFile(filepath.Join(exampleProfiles, "standard-ed25519.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	member := ""
	profile := func(name string) {
		member = name
		text := strings.Replace(string(example), "  type: $event.type", "  "+name+": $event.type", 1)
		if err := os.WriteFile(filepath.Join(dir, "own.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	profile("type")
	nodes := startCluster(t, store, 3, "--node-lease", "5s", "--profile-dir", dir)
	a := nodes[0]
	s := &spread{t: t, n: nodes, r: newReceiver(t, nil), worst: map[string]time.Duration{}}
	a.tenant("everywhere")
	e := a.endpoint("everywhere", s.r.url+"/v0", object{"event_types": []string{"a.b"}})
	a.endpoint("everywhere", s.r.url, object{"event_types": []string{"own.format"}, "profile": "standard-ed25519"})
	at := "/v1/endpoints/" + e.ID
	<-time.After(2 * limit) // the other nodes know it by now

	for round := range amount(3, 25) {
		path := fmt.Sprintf("/v%d", round+1)
		s.follows("endpoint changed",
			func() { a.must(200, "PATCH", at, object{"url": s.r.url + path}) },
			func(n *node) bool { return s.sends(n, "a.b").path == path })
		s.follows("endpoint disabled",
			func() { a.must(200, "PATCH", at, object{"enabled": false}) },
			func(n *node) bool { return n.publish("everywhere", "a.b", `{}`).Deliveries == 0 })
		s.follows("endpoint enabled",
			func() { a.must(200, "PATCH", at, object{"enabled": true}) },
			func(n *node) bool { return n.publish("everywhere", "a.b", `{}`).Deliveries == 1 })
		var rotated struct{ Secret string }
		s.follows("secret rotated",
			func() { a.must(200, "POST", at+"/secret/rotate", object{"overlap": "0s"}).json(t, &rotated) },
			func(n *node) bool { return rotated.Secret != "" && signedWith(t, rotated.Secret, s.sends(n, "a.b")) })
		s.follows("profile reloaded",
			func() {
				profile(fmt.Sprintf("kind%d", round))
				if err := a.cmd.Process.Signal(syscall.SIGHUP); err != nil {
					t.Fatal(err)
				}
				eventually(t, 10*time.Second, "the node that got the signal has it", func() bool { return strings.HasPrefix(string(s.sends(a, "own.format").body), `{"`+member) })
			},
			func(n *node) bool {
				return strings.HasPrefix(string(s.sends(n, "own.format").body), fmt.Sprintf(`{"kind%d"`, round))
			})
		var key struct{ ID, Key string }
		a.must(201, "POST", "/v1/keys", object{"kind": "operator", "name": "soon gone"}).json(t, &key)
		eventually(t, limit, "a new key is good on every node", func() bool { return admits(nodes[1], key.Key) && admits(nodes[2], key.Key) })
		s.follows("key revoked",
			func() { a.must(204, "DELETE", "/v1/keys/"+key.ID, nil) },
			func(n *node) bool { return !admits(n, key.Key) })
	}
	figure := ""
	for _, what := range []string{"endpoint changed", "endpoint disabled", "endpoint enabled", "secret rotated", "profile reloaded", "key revoked"} {
		if s.worst[what] > limit {
			t.Errorf("%s: another node did not follow %v later, at most %v is allowed", what, s.worst[what], limit)
		}
		figure += fmt.Sprintf("; %s %v", what, s.worst[what].Round(time.Millisecond))
	}
	t.Logf("FIGURE configuration on every node: 3 nodes, %d rounds, the longest that a change was not followed%s", amount(3, 25), figure)
}

// admits reports whether the node accepts the key.
func admits(n *node, key string) bool {
	a, err := n.try(context.Background(), "GET", "/v1/tenants", key, nil)
	return err == nil && a.status == http.StatusOK
}

// TestCancelElsewhere cancels through one node a delivery that is waiting in the memory of
// another. It is not sent. The control is a neighbouring delivery, which is sent.
func TestCancelElsewhere(t *testing.T) {
	p := newPostgres(t, "")
	nodes := startCluster(t, p.url(), 2, "--node-lease", "5s")
	a, b := nodes[0], nodes[1]
	hanging := newTrap(t)
	a.tenant("cancel")
	a.endpoint("cancel", hanging.url, object{"max_in_flight": 1, "retry": object{"steps": []string{"1s"}, "then": "repeat"}})
	eventually(t, 2*time.Second, "the other node knows the endpoint", func() bool {
		return b.publish("cancel", "first.one", `{"k":"first"}`).Deliveries == 1
	})
	eventually(t, 10*time.Second, "an attempt hangs", func() bool { return hanging.waiting() == 1 })
	_ = b.publish("cancel", "second.one", `{"k":"second"}`)
	third := b.publish("cancel", "third.one", `{"k":"third"}`)
	_ = b.publish("cancel", "fourth.one", `{"k":"fourth"}`)
	var page struct{ Data []delivery }
	a.must(200, "GET", "/v1/deliveries?tenant=cancel&event="+third.ID, nil).json(t, &page)
	if len(page.Data) != 1 || page.Data[0].State != "pending" {
		t.Fatalf("before the cancellation: %+v", page.Data)
	}
	if owner := p.sql("SELECT owner FROM deliveries WHERE type = 'third.one'"); owner == "0" {
		t.Error("the delivery waits in the table and not in a node's memory: nothing is shown")
	}
	a.must(200, "POST", "/v1/deliveries/"+page.Data[0].ID+"/cancel", nil)
	<-time.After(time.Second)
	close(hanging.spring)
	arrived := func() map[string]bool {
		keys := map[string]bool{}
		for _, got := range hanging.receipts() {
			keys[keyOf(got)] = true
		}
		return keys
	}
	eventually(t, 20*time.Second, "the neighbours arrive", func() bool { got := arrived(); return got["first"] && got["second"] && got["fourth"] })
	<-time.After(2 * time.Second)
	hanging.mu.Lock()
	sent := hanging.seen["/ "+third.ID]
	hanging.mu.Unlock()
	if sent != 0 {
		t.Errorf("the cancelled delivery was sent %d times", sent)
	}
	a.must(200, "GET", "/v1/deliveries/"+page.Data[0].ID, nil).json(t, &page.Data[0])
	if page.Data[0].State != "cancelled" {
		t.Errorf("the cancelled delivery is %s", page.Data[0].State)
	}
	t.Logf("FIGURE cancelled elsewhere: a delivery that waited in another node's memory was sent %d times, its neighbours arrived", sent)
}
