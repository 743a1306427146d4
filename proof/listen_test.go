package proof_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// listening is a process that runs "posthorn listen".
type listening struct {
	cmd  *exec.Cmd
	done chan struct{}
	out  string // path of its output
}

type issuedKey struct {
	ID  string `json:"id"`
	Key string `json:"key"`
}

func (n *node) tenantKey(tenant string) issuedKey {
	n.t.Helper()
	var k issuedKey
	n.must(http.StatusCreated, "POST", "/v1/keys", object{"kind": "tenant", "tenant": tenant}).json(n.t, &k)
	return k
}

// listen starts the process without waiting for its connection.
func (n *node) listen(k issuedKey, forward string) *listening {
	n.t.Helper()
	out, err := os.Create(filepath.Join(n.t.TempDir(), "listen.log"))
	if err != nil {
		n.t.Fatal(err)
	}
	defer out.Close()
	l := &listening{cmd: exec.Command(program(n.t), "listen", "--forward", forward), done: make(chan struct{}), out: out.Name()}
	l.cmd.Env = append(os.Environ(), "POSTHORN_URL="+n.url, "POSTHORN_KEY="+k.Key)
	l.cmd.Stdout, l.cmd.Stderr = out, out
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := l.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	go func() {
		_ = l.cmd.Wait() // the state is in cmd.ProcessState
		close(l.done)
	}()
	n.t.Cleanup(l.kill)
	return l
}

func (l *listening) kill() {
	_ = l.cmd.Process.Kill() // it may have exited already
	<-l.done
}

// listenerEnabled reports whether a listener is connected for the tenant.
func (n *node) listenerEnabled(tenant string) bool {
	a, err := n.try(context.Background(), "GET", "/v1/endpoints?enabled=true&tenant="+tenant, liveKey, nil)
	return err == nil && strings.Contains(string(a.body), `"listen:dev"`)
}

// allSucceeded waits until the server reports the given number of successful deliveries.
func (n *node) allSucceeded(tenant string, deliveries int) {
	n.t.Helper()
	eventually(n.t, 60*time.Second, "everything is delivered", func() bool {
		return count(n, "/v1/deliveries?state=succeeded&tenant="+tenant) >= deliveries
	})
}

func randomly(from, to int) { <-time.After(time.Duration(from+rand.IntN(to-from)) * time.Millisecond) }

// slowly is a slow local handler, so that kills interrupt requests.
func slowly(receipt) int {
	randomly(0, 60)
	return http.StatusOK
}

// TestListen kills posthorn listen at random moments under load, and also the server. What
// was published while the listener was connected or away reaches the local handler at least
// once. A revoked key ends the listener with its own exit code.
func TestListen(t *testing.T) {
	const rounds = 16
	local := newReceiver(t, slowly)
	n := startNode(t)
	n.tenant("here")
	key := n.tenantKey("here")
	l := n.listen(key, local.url+"/hook")
	eventually(t, 10*time.Second, "the listener connects", func() bool { return n.listenerEnabled("here") })

	book := newLedger()
	w := startLoad(n, "here", 2, 100*time.Millisecond, book, "l")
	servers, listeners := 0, 0
	for round := range rounds {
		randomly(100, 700)
		if round%4 == 3 { // this time the server; the listener reconnects without intervention
			n.kill()
			n.start()
			servers++
			continue
		}
		if round == rounds/2 { // both: the next server does not consider it connected
			n.kill()
			l.kill()
			n.start()
			servers++
			if n.listenerEnabled("here") {
				t.Error("a server that has just started says that somebody listens")
			}
		}
		l.kill()
		listeners++
		randomly(0, 300)
		l = n.listen(key, local.url+"/hook")
	}
	w.finish(t, 10*time.Second)
	acked := book.copy()
	n.allSucceeded("here", len(acked))
	a := settle(acked, sightings(t, local.receipts()))
	if len(a.lost) > 0 {
		t.Errorf("%d of %d acknowledged events lost, first %s", len(a.lost), len(acked), a.lost[0])
	}
	if failed := count(n, "/v1/deliveries?state=failed&tenant=here"); failed != 0 {
		t.Errorf("%d deliveries failed: a listener that is killed costs no failure", failed)
	}
	if len(acked) < 5*rounds {
		t.Errorf("only %d events: too little load to prove anything", len(acked))
	}
	t.Logf("FIGURE listen: %d acknowledged events, %d kills of the listener and %d of the server: %d lost, %d came again",
		len(acked), listeners, servers, len(a.lost), a.duplicates)

	began := time.Now()
	n.must(http.StatusNoContent, "DELETE", "/v1/keys/"+key.ID, nil)
	select {
	case <-l.done:
	case <-time.After(5 * time.Second):
		t.Fatal("the listener outlived its key by 5 s")
	}
	if code := l.cmd.ProcessState.ExitCode(); code != 22 {
		text, _ := os.ReadFile(l.out)
		t.Errorf("exit code %d, want 22: %s", code, text)
	}
	t.Logf("FIGURE listen: a revoked key ended it after %v", time.Since(began).Round(time.Millisecond))
}

// hasty is an incorrect listener: it acknowledges a delivery before it forwards it.
// Cancelling its context kills it.
func (n *node) hasty(ctx context.Context, k issuedKey, forward string) {
	req, err := http.NewRequestWithContext(ctx, "GET", n.url+"/v1/listen?name=dev", nil)
	if err != nil {
		n.t.Error(err)
		return
	}
	req.Header.Set("Authorization", "Bearer "+k.Key)
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return // killed
	}
	defer resp.Body.Close()
	var under sync.WaitGroup
	defer under.Wait()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for kind := ""; lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			kind = rest
		}
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok || kind != "delivery" {
			continue
		}
		var d struct {
			Token   string
			Body    []byte
			Headers []struct{ Name, Value string }
		}
		if err := json.Unmarshal([]byte(data), &d); err != nil {
			n.t.Error(err)
			return
		}
		if _, err := n.try(ctx, "POST", "/v1/listen/answers", k.Key, []byte(`{"token":"`+d.Token+`","status":200}`)); err != nil {
			return
		}
		under.Go(func() {
			select {
			case <-ctx.Done():
				return
			case <-time.After(30 * time.Millisecond):
			}
			out, err := http.NewRequestWithContext(ctx, "POST", forward, bytes.NewReader(d.Body))
			if err != nil {
				return
			}
			for _, h := range d.Headers {
				out.Header.Set(h.Name, h.Value)
			}
			if resp, err := http.DefaultClient.Do(out); err == nil {
				resp.Body.Close()
			}
		})
	}
}

// TestListenAccountSeesLoss is the control of TestListen: the same load and kills with a
// listener that acknowledges too early must lose events.
func TestListenAccountSeesLoss(t *testing.T) {
	const rounds = 10
	local := newReceiver(t, nil)
	n := startNode(t)
	n.tenant("here")
	key := n.tenantKey("here")
	book := newLedger()
	var w *load
	for range rounds {
		ctx, kill := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { n.hasty(ctx, key, local.url); close(done) }()
		eventually(t, 10*time.Second, "it connects", func() bool { return n.listenerEnabled("here") })
		if w == nil {
			w = startLoad(n, "here", 2, 100*time.Millisecond, book, "h")
		}
		randomly(100, 400)
		kill()
		<-done
		eventually(t, 10*time.Second, "it is away", func() bool { return !n.listenerEnabled("here") })
	}
	w.finish(t, 10*time.Second)
	n.listen(key, local.url)
	acked := book.copy()
	n.allSucceeded("here", len(acked))
	lost := len(settle(acked, sightings(t, local.receipts())).lost)
	if lost == 0 {
		t.Errorf("%d events and none lost by a listener that acknowledges too early: the kills or the account prove nothing", len(acked))
	}
	t.Logf("FIGURE listen, control with a listener that acknowledges too early: %d events, %d kills: %d lost", len(acked), rounds, lost)
}
