package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/server/servertest"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/webhook"
)

// A listener is run in this process; ending its context in the middle of whatever
// it does stands for Ctrl-C. The proof module kills the built binary.

// run is one running posthorn listen.
type listenRun struct {
	out  servertest.LogBook
	stop context.CancelFunc
	done chan error
}

func (l *live) tenantKey() client.Key {
	l.T.Helper()
	k, err := l.API.CreateKey(l.T.Context(), client.NewKey{Kind: "tenant", Tenant: "acme"})
	if err != nil {
		l.T.Fatal(err)
	}
	return k
}

// local is the address of the local handler.
func (l *live) local() string { return l.Receiver.URL + "/hook" }

// listens starts the command and waits until it is connected.
func (l *live) listens(key string, args ...string) *listenRun {
	l.T.Helper()
	r := &listenRun{done: make(chan error, 1)}
	ctx, stop := context.WithCancel(l.T.Context())
	r.stop = stop
	cmd := newListen()
	cmd.SetArgs(append([]string{"--server", l.API.URL, "--key", key}, args...))
	cmd.SetOut(&r.out)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	go func() { r.done <- cmd.ExecuteContext(ctx) }()
	l.T.Cleanup(stop)
	l.Until("the listener connects", func() bool { return strings.Contains(r.out.String(), "isten") })
	return r
}

func (r *listenRun) secret(t *testing.T) string {
	t.Helper()
	_, rest, ok := strings.Cut(r.out.String(), "Signing secret: ")
	secret, _, _ := strings.Cut(rest, "\n")
	if !ok {
		t.Fatalf("no secret in %s", r.out.String())
	}
	return secret
}

// lost returns the published events that never reached the local handler, and how
// often one came again.
func lost(published []string, got []servertest.Arrival) (missing []string, again int) {
	seen := map[string]int{}
	for _, a := range got {
		seen[a.Header.Get("webhook-id")]++
	}
	for _, id := range published {
		if seen[id] == 0 {
			missing = append(missing, id)
		}
		again += max(0, seen[id]-1)
	}
	return missing, again
}

// publishes publishes an event every 50 ms until stop is closed.
func (l *live) publishes(stop chan struct{}) chan []string {
	all := make(chan []string, 1)
	go func() {
		var ids []string
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				all <- ids
				return
			case <-tick.C:
			}
			e, err := l.API.Publish(l.T.Context(), client.NewEvent{Tenant: "acme", Type: "payment.settled", Data: json.RawMessage(`{"n":1}`)}, client.PublishOptions{})
			if err != nil {
				l.T.Errorf("publish: %v", err)
				continue
			}
			ids = append(ids, e.ID)
		}
	}()
	return all
}

// allSucceeded waits until the server says of every event that it was delivered.
// Asking for what is still open would not do: while listeners come and go a row
// changes its state between two questions.
func (l *live) allSucceeded(events []string) {
	l.T.Helper()
	l.Until("all is delivered", func() bool {
		page, err := l.API.Deliveries(l.T.Context(), client.DeliveryQuery{ListOptions: client.ListOptions{Limit: 250}, State: client.StateSucceeded})
		return err == nil && len(page.Data) >= len(events)
	})
}

// Ten restarts under twenty events a second lose nothing, and every request
// verifies with the secret that was printed.
func TestListenIsRestarted(t *testing.T) {
	l := startLive(t, "--dev")
	l.Answers(func(w http.ResponseWriter, r *http.Request) {
		select { // a handler that takes its time is often interrupted
		case <-time.After(time.Duration(rand.IntN(40)) * time.Millisecond):
		case <-r.Context().Done():
		}
	})
	key := l.tenantKey()
	secret := ""
	stop := make(chan struct{})
	published := make(chan []string, 1)
	for i := range 10 {
		r := l.listens(key.Key, "--forward", l.local())
		if i == 0 {
			secret = r.secret(t)
			published = l.publishes(stop) // from now on there is somebody to keep it for
		}
		<-time.After(time.Duration(50+rand.IntN(250)) * time.Millisecond)
		r.stop()
		if err := <-r.done; err != nil {
			t.Fatalf("stopped: %v", err)
		}
		<-time.After(time.Duration(rand.IntN(100)) * time.Millisecond)
	}
	close(stop)
	ids := <-published
	if len(ids) < 20 {
		t.Errorf("only %d events: too few to show anything", len(ids))
	}
	last := l.listens(key.Key, "--forward", l.local())
	l.allSucceeded(ids)
	missing, again := lost(ids, l.Arrivals())
	for _, id := range missing {
		t.Errorf("lost: %s, whose delivery is %+v", id, l.deliveryOf(id))
	}
	t.Logf("%d events, 10 restarts: %d lost, %d came again", len(ids), len(missing), again)
	if last.secret(t) != secret {
		t.Error("the secret did not stay the same")
	}
	verifier, err := webhook.NewVerifier(webhook.Standard(), secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range l.Arrivals() {
		verifier.Now = func() time.Time { return a.At }
		if err := verifier.Verify(a.Header, a.Body); err != nil {
			t.Errorf("%s: %v", a.Body, err)
		}
		if verifier.Verify(a.Header, append(slices.Clone(a.Body), ' ')) == nil {
			t.Error("a changed body verifies too")
		}
	}
}

// The control: a listener that answers before it forwards loses what it held in
// its hands when it was stopped, and the account sees it.
func TestListenAccountSeesLoss(t *testing.T) {
	l := startLive(t, "--dev")
	key := l.tenantKey()
	api := &client.Client{URL: l.API.URL, Key: key.Key}
	var ids []string
	for i := range 6 {
		s, err := api.Listen(t.Context(), client.ListenOptions{Name: "dev"})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, l.Publish("payment.settled", fmt.Sprintf(`{"n":%d}`, i)).ID)
		d, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if err := api.AnswerListen(t.Context(), client.ListenAnswer{Token: d.Token, Status: 200}); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 { // in the other half of the cases it is stopped here
			r, err := http.NewRequestWithContext(t.Context(), "POST", l.local(), strings.NewReader(string(d.Body)))
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range d.Headers {
				r.Header.Set(h.Name, h.Value)
			}
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}
		s.Close()
	}
	l.listens(key.Key, "--forward", l.local())
	l.allSucceeded(ids)
	if missing, again := lost(ids, l.Arrivals()); len(missing) != 3 || again != 0 {
		t.Errorf("%d lost and %d again, want 3 lost: the account cannot be trusted", len(missing), again)
	}
}

func exitCodeOf(err error) int {
	if e, ok := errors.AsType[*exit.Error](err); ok {
		return e.Code
	}
	return -1
}

func TestListenEnds(t *testing.T) {
	l := startLive(t, "--dev")
	key := l.tenantKey()
	first := l.listens(key.Key, "--print-only")
	second := l.listens(key.Key, "--print-only")
	if err := <-first.done; exitCodeOf(err) != exit.Replaced || !strings.Contains(err.Error(), "--name") {
		t.Errorf("replaced: %v", err)
	}
	beside := l.listens(key.Key, "--print-only", "--name", "other")
	if err := l.API.RevokeKey(t.Context(), key.ID); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for _, r := range []*listenRun{second, beside} {
		if err := <-r.done; exitCodeOf(err) != exit.KeyRevoked {
			t.Errorf("revoked: %v", err)
		}
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("a revoked key listened for %v", took)
	}
	for _, args := range [][]string{
		{"--key", key.Key},
		{"--key", key.Key, "--print-only", "--forward", l.local()},
		{"--key", key.Key, "--forward", "ftp://localhost/"},
		{"--print-only"},
	} {
		t.Setenv("POSTHORN_KEY", "")
		cmd := newListen()
		cmd.SetArgs(args)
		cmd.SilenceUsage, cmd.SilenceErrors = true, true
		if err := cmd.ExecuteContext(t.Context()); exitCodeOf(err) != exit.Usage {
			t.Errorf("%v: %v", args, err)
		}
	}
	cmd := newListen() // the key that was revoked, again
	cmd.SetArgs([]string{"--server", l.API.URL, "--key", key.Key, "--print-only"})
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	if err := cmd.ExecuteContext(t.Context()); exitCodeOf(err) != exit.KeyRevoked {
		t.Errorf("a revoked key: %v", err)
	}
}

// The filter decides, the whole request is shown, and what the local handler says
// is in the log of attempts like any receiver's answer.
func TestListenShowsAndReports(t *testing.T) {
	l := startLive(t, "--dev")
	key := l.tenantKey()
	r := l.listens(key.Key, "--print-only", "--types", "payment.*,refund.settled")
	l.Publish("payout.settled", `{"not":"wanted"}`)
	l.Publish("refund.settled", `{"n":1}`)
	l.Publish("payment.settled", "{\"n\":2,\"bell\":\"\\u0007\"}")
	l.Until("both are shown", func() bool { return strings.Contains(r.out.String(), `"n":2`) })
	for _, text := range []string{`"n":1`, "webhook-signature: v1,", "Content-Type: application/json", "refund.settled", "types payment.*,refund.settled"} {
		if !strings.Contains(r.out.String(), text) {
			t.Errorf("%q is not shown in\n%s", text, r.out.String())
		}
	}
	if strings.Contains(r.out.String(), "not") {
		t.Errorf("a type that was not asked for came:\n%s", r.out.String())
	}
	r.stop()
	<-r.done

	l.Answers(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Why", strings.Repeat("<", 9000))
		w.WriteHeader(418)
		_, _ = w.Write([]byte(strings.Repeat("<", 20_000)))
	})
	r = l.listens(key.Key, "--forward", l.local(), "--json", "--profile", "paywise")
	teapot := l.Publish("payment.settled", `{"n":3}`)
	l.Until("the attempt is logged", func() bool { return l.firstAttempt(teapot).Status != nil })
	if a := l.firstAttempt(teapot); *a.Status != 418 || a.Trigger != "schedule" || a.ResponseBody != "" {
		t.Errorf("an answer too large to report keeps its status alone: %+v", a)
	}
	l.Answers(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<thanks>")) })
	thanked := l.Publish("payment.settled", `{"n":3}`)
	l.Until("the attempt is logged", func() bool { return l.firstAttempt(thanked).Status != nil })
	if a := l.firstAttempt(thanked); *a.Status != 200 || a.ResponseBody != "<thanks>" || a.ResponseHeaders["Content-Length"] != "8" {
		t.Errorf("%+v", a)
	}
	if got := l.Arrivals(); len(got) != 2 || got[0].Header.Get("X-Paywise-Signature") == "" {
		t.Errorf("%d arrivals, not in the format that was asked for", len(got))
	}
	l.Receiver.Close()
	refused := l.Publish("payment.settled", `{"n":4}`)
	l.Until("the attempt is logged", func() bool { return l.firstAttempt(refused).Error != nil })
	if a := l.firstAttempt(refused); *a.Error != "connection_refused" {
		t.Errorf("%+v", a)
	}
	for line := range strings.Lines(r.out.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
	if !strings.Contains(r.out.String(), `"error":"connection_refused"`) {
		t.Errorf("%s", r.out.String())
	}
}

// deliveryOf returns the event's one delivery.
func (l *live) deliveryOf(event string) client.Delivery {
	l.T.Helper()
	page, err := l.API.Deliveries(l.T.Context(), client.DeliveryQuery{Event: event})
	if err != nil || len(page.Data) != 1 {
		l.T.Fatalf("%d deliveries, %v", len(page.Data), err)
	}
	d, err := l.API.Delivery(l.T.Context(), page.Data[0].ID)
	if err != nil {
		l.T.Fatal(err)
	}
	return d
}

// firstAttempt returns the first attempt of the event's delivery to the listener.
func (l *live) firstAttempt(e client.Published) client.Attempt {
	l.T.Helper()
	d := l.deliveryOf(e.ID)
	if len(d.AttemptLog) == 0 {
		return client.Attempt{}
	}
	return d.AttemptLog[0]
}

// A server that restarts ends quickly although somebody listens, notes that they
// are away, and they come back by themselves.
func TestListenOutlivesTheServer(t *testing.T) {
	l := startLive(t, "--dev")
	key := l.tenantKey()
	r := l.listens(key.Key, "--forward", l.local())
	l.Config.Listen = strings.TrimPrefix(l.Node.URL(), "http://")
	began := time.Now()
	l.Stop()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("the stream held the server up for %v", took)
	}
	http.DefaultClient.CloseIdleConnections() // to the server that is no more: a POST on one would fail
	l.Start()
	e := l.Publish("payment.settled", `{"n":1}`)
	l.Await(1)
	if missing, _ := lost([]string{e.ID}, l.Arrivals()); len(missing) != 0 {
		t.Error("another event came")
	}
	if !strings.Contains(r.out.String(), "reconnecting in") {
		t.Errorf("%s", r.out.String())
	}
	r.stop()
	if err := <-r.done; err != nil {
		t.Error(err)
	}
	away := func() bool {
		page, err := l.API.Endpoints(t.Context(), client.EndpointQuery{})
		return err == nil && len(page.Data) == 1 && !page.Data[0].Enabled && *page.Data[0].DisabledReason == "listener_away"
	}
	l.Until("the listener is away", away)

	// As a crash would leave it: connected to a process that is no more.
	id, err := hook.ParseID(l.deliveryOf(e.ID).Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	l.Stop() // a running server would find out at once
	keys, err := seal.LoadOrCreate(filepath.Join(l.Config.Data, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Options{Dir: l.Config.Data, Keys: keys, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	changed, err := s.UpdateEndpoint(t.Context(), hook.Scope{Tenant: "acme", Mode: hook.Live}, id, func(e hook.Endpoint) (hook.Endpoint, error) {
		e.Status = hook.Enabled
		return e, nil
	}, false)
	if err := errors.Join(err, s.Close()); err != nil || changed.Status != hook.Enabled {
		t.Fatalf("the test could not pretend: %v", err)
	}
	http.DefaultClient.CloseIdleConnections()
	l.Start()
	if !away() {
		t.Error("a server that has just started says that somebody listens")
	}
}
