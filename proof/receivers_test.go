package proof_test

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// example is a running receiver of the guides.
type example struct {
	t    *testing.T
	addr string
	mu   sync.Mutex
	said []string
}

// startExample runs a receiver and waits until it listens.
func startExample(t *testing.T, argv []string, profile, secret string) *example {
	t.Helper()
	x := &example{t: t, addr: freePorts(t, 1)[0]}
	_, port, _ := net.SplitHostPort(x.addr)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "PROFILE="+profile, "SECRET="+secret, "PORT="+port, "PYTHONDONTWRITEBYTECODE=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var trouble bytes.Buffer
	cmd.Stderr = &trouble
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s: %v", argv[0], err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			x.mu.Lock()
			x.said = append(x.said, lines.Text())
			x.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have exited already
		<-read
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%v said on standard error:\n%.3000s", argv, trouble.String())
		}
	})
	eventually(t, 15*time.Second, "the receiver listens", func() bool {
		c, err := net.Dial("tcp", x.addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return x
}

// url uses a host name, which every profile accepts.
func (x *example) url() string {
	_, port, _ := net.SplitHostPort(x.addr)
	return "http://localhost:" + port + "/hook"
}

// lines returns the lines of the output so far that start with the word.
func (x *example) lines(word string) []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	var out []string
	for _, line := range x.said {
		if strings.HasPrefix(line, word+" ") {
			out = append(out, line)
		}
	}
	return out
}

// expect waits for the given numbers of handled events and of recognised duplicates.
func (x *example) expect(handled, duplicates int) {
	x.t.Helper()
	eventually(x.t, 15*time.Second, fmt.Sprintf("%d handled and %d duplicates", handled, duplicates), func() bool {
		return len(x.lines("handled")) >= handled && len(x.lines("duplicate")) >= duplicates
	})
	if h, d := len(x.lines("handled")), len(x.lines("duplicate")); h != handled || d != duplicates {
		x.t.Fatalf("%d handled and %d duplicates, want %d and %d", h, d, handled, duplicates)
	}
}

// deliver sends a request to the program without a server in between.
func (x *example) deliver(r receipt) int {
	req, err := http.NewRequest("POST", "http://"+x.addr+"/hook", bytes.NewReader(r.body))
	if err != nil {
		x.t.Error(err)
		return 0
	}
	req.Header = r.header.Clone()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		x.t.Errorf("receiver: %v", err)
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body) // so that the connection is reused
	return resp.StatusCode
}

// examples returns the command of the receiver in each language.
func examples(t *testing.T) map[string][]string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "receiver")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "./examples/receivers/go")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the Go receiver: %v\n%s", err, out)
	}
	return map[string][]string{
		"go":     {binary},
		"node":   {"node", "../examples/receivers/node/receiver.mjs"},
		"python": {"python3", "../examples/receivers/python/receiver.py"},
	}
}

// TestExampleReceivers runs the programs of the guides unchanged behind the server. Genuine
// requests are accepted whatever they contain, a copy with one flipped bit is refused (the
// control), and an event is handled once however often it arrives.
func TestExampleReceivers(t *testing.T) {
	n := startNode(t)
	for lang, argv := range examples(t) {
		for _, s := range schemes {
			t.Run(lang+" "+s.profile, func(t *testing.T) {
				tenant := lang + "-" + s.profile
				n.tenant(tenant)
				secret := newSecret(s)
				x := startExample(t, argv, s.profile, secret)
				e := n.endpoint(tenant, x.url(), object{"profile": s.profile, "secret": secret, "retry": object{"steps": []string{"1s"}}})
				handled := oddBodies(t, n, tenant, x)
				genuine := lostAnswer(t, n, tenant, e, x)
				handled++
				x.expect(handled, 1)

				if status := x.deliver(genuine); status != http.StatusOK {
					t.Fatalf("the genuine request again: %d", status)
				}
				x.expect(handled, 2)
				refused := forgedCopies(t, s, genuine, x)
				x.expect(handled, 2)

				if s.name == "paywise" {
					other := genuine
					other.header = genuine.header.Clone()
					other.header.Set("X-Paywise-Delivery-ID", "another")
					if status := x.deliver(other); status != http.StatusOK {
						t.Errorf("a replay under another delivery id: %d", status)
					}
					x.expect(handled, 3)
				} else {
					if status := x.deliver(signedAt(t, s, secret, -301*time.Second)); status != http.StatusUnauthorized {
						t.Errorf("a request of 301 s ago: %d", status)
					}
					if status := x.deliver(signedAt(t, s, secret, -290*time.Second)); status != http.StatusOK {
						t.Errorf("a request of 290 s ago: %d", status)
					}
					handled++
					x.expect(handled, 2)
				}
				rotation(t, n, s, tenant, argv, e, secret)
				t.Logf("FIGURE receiver %s, %s: %d events handled once each, %d forged copies refused", lang, s.profile, handled, refused)
			})
		}
	}
}

// oddBodies publishes the matrix of bodies and requires that each is accepted on the first
// attempt.
func oddBodies(t *testing.T, n *node, tenant string, x *example) int {
	t.Helper()
	for _, data := range bodies() {
		n.publish(tenant, "mandate.created", data)
	}
	settled := func() (done int) {
		list(n, "/v1/deliveries?tenant="+tenant, func(d delivery) {
			if d.Attempts > 1 {
				t.Fatalf("delivery %s needed %d attempts: %s", d.ID, d.Attempts, d.LastError)
			}
			if d.State == "succeeded" {
				done++
			}
		})
		return done
	}
	eventually(t, 20*time.Second, "every odd body is accepted", func() bool { return settled() == len(bodies()) })
	x.expect(len(bodies()), 0)
	return len(bodies())
}

// lostAnswer forwards an event to the program and loses the response, so that the server
// repeats the event. It returns the repeated request.
func lostAnswer(t *testing.T, n *node, tenant string, e endpoint, x *example) receipt {
	t.Helper()
	asked := 0
	relay := newReceiver(t, func(r receipt) int {
		asked++ // attempts of one delivery are sequential
		if status := x.deliver(r); status != http.StatusOK || asked > 1 {
			return status
		}
		return http.StatusInternalServerError
	})
	n.must(http.StatusOK, "PATCH", "/v1/endpoints/"+e.ID, object{"url": relay.byName + "/hook"})
	n.publish(tenant, "mandate.created", `{"note": "the answer to this one is lost"}`)
	got := relay.await(t, 1, 20*time.Second)[0]
	if asked := relay.asked.Load(); asked != 2 {
		t.Fatalf("%d attempts, want 2", asked)
	}
	n.must(http.StatusOK, "PATCH", "/v1/endpoints/"+e.ID, object{"url": x.url()})
	return got
}

// forgedCopies flips one bit at a time in the body and in the signed headers, and returns
// how many copies were refused.
func forgedCopies(t *testing.T, s scheme, genuine receipt, x *example) (refused int) {
	t.Helper()
	try := func(what string, r receipt) {
		switch status := x.deliver(r); status {
		case http.StatusBadRequest, http.StatusUnauthorized:
			refused++
		default:
			t.Errorf("%s flipped: answered %d", what, status)
		}
	}
	for range 60 {
		bit := rand.IntN(8 * len(genuine.body))
		forged := genuine
		forged.body = bytes.Clone(genuine.body)
		forged.body[bit/8] ^= 1 << (bit % 8)
		try(fmt.Sprintf("body bit %d", bit), forged)
	}
	for _, name := range s.signed {
		value := genuine.header.Get(name)
		for bit := range 8 * len(value) {
			text := []byte(value)
			text[bit/8] ^= 1 << (bit % 8)
			if c := text[bit/8]; c <= ' ' || c > '~' {
				continue // HTTP itself refuses or trims it, so no program sees it
			}
			forged := genuine
			forged.header = genuine.header.Clone()
			forged.header.Set(name, string(text))
			try(fmt.Sprintf("%s bit %d", name, bit), forged)
		}
	}
	return refused
}

// newSecret generates a secret in the format of the profile.
func newSecret(s scheme) string {
	raw := make([]byte, 32)
	for i := range raw {
		raw[i] = byte(rand.IntN(256))
	}
	switch s.name {
	case "standard":
		return "whsec_" + base64.StdEncoding.EncodeToString(raw)
	case "paysway":
		return base64.StdEncoding.EncodeToString(raw)
	default:
		return hex.EncodeToString(raw)[:40]
	}
}

// signedAt builds a valid request with another time, with its own implementation of the
// steps.
func signedAt(t *testing.T, s scheme, secret string, away time.Duration) receipt {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	at := strconv.FormatInt(time.Now().Add(away).Unix(), 10)
	mac := hmac.New(sha256.New, key)
	r := receipt{header: http.Header{}}
	if s.name == "standard" {
		r.body = []byte(`{"type":"a.b","timestamp":"2026-01-01T00:00:00Z","data":{}}`)
		fmt.Fprintf(mac, "another-time.%s.%s", at, r.body)
		r.header.Set("webhook-id", "another-time")
		r.header.Set("webhook-timestamp", at)
		r.header.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		return r
	}
	r.body = []byte(`{"id":"another-time","createdAt":"2026-01-01T00:00:00Z","eventType":"A.B","object":{}}`)
	fmt.Fprintf(mac, "%s.%s", at, r.body)
	r.header.Set("X-PaySway-Signature", "t="+at+",v1="+hex.EncodeToString(mac.Sum(nil)))
	return r
}

// rotation follows the guides. A receiver that knows both secrets, or only the new one,
// misses nothing when the secret changes. One that knows only the old one continues to work
// where the format allows two signatures, the new one first.
func rotation(t *testing.T, n *node, s scheme, tenant string, argv []string, e endpoint, old string) {
	t.Helper()
	next := newSecret(s)
	both := startExample(t, argv, s.profile, old+" "+next)
	onlyNew := startExample(t, argv, s.profile, next)
	onlyOld := startExample(t, argv, s.profile, old)
	n.must(http.StatusOK, "POST", "/v1/endpoints/"+e.ID+"/secret/rotate", object{"secret": next})
	for _, x := range []*example{both, onlyNew} {
		n.must(http.StatusOK, "PATCH", "/v1/endpoints/"+e.ID, object{"url": x.url()})
		n.publish(tenant, "mandate.created", `{"secret":"new"}`)
		x.expect(1, 0)
	}

	n.must(http.StatusOK, "PATCH", "/v1/endpoints/"+e.ID, object{"url": onlyOld.url()})
	event := n.publish(tenant, "mandate.created", `{"secret":"new"}`)
	if s.name != "paywise" {
		onlyOld.expect(1, 0)
		return
	}
	eventually(t, 15*time.Second, "the old secret alone is refused", func() bool {
		refused := false
		list(n, "/v1/deliveries?tenant="+tenant, func(d delivery) { refused = refused || d.Event == event.ID && d.Attempts > 0 })
		return refused
	})
	onlyOld.expect(0, 0)
}
