package systemtest

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/deliver"
	"github.com/posthorn/posthorn/internal/dispatch"
	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/server/servertest"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/webhook"
)

// Time in these tests is virtual. The packages are the real ones, with a real SQLite file
// and real HTTP; only the network connection is a pipe.

// pipeNet is a network without sockets: every dial reaches the same server.
type pipeNet struct {
	conns chan net.Conn
	once  sync.Once
}

func (p *pipeNet) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept, Close and Addr implement net.Listener.
func (p *pipeNet) Accept() (net.Conn, error) {
	c, ok := <-p.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p *pipeNet) Close() error   { p.once.Do(func() { close(p.conns) }); return nil }
func (p *pipeNet) Addr() net.Addr { return &net.TCPAddr{} }

// publicNames resolves every name to a public address, to which nothing is sent.
type publicNames struct{}

func (publicNames) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("93.184.216.34")}, nil
}

// world is a node in virtual time.
type world struct {
	t        *testing.T
	store    *store.Store
	dispatch *dispatch.Dispatcher
	profiles *profile.Set
	client   *egress.Client
	server   *http.Server
	wire     *pipeNet

	retryAfter string // header of every response; empty for none

	mu     sync.Mutex
	lookup error           // error of name lookups; nil if they succeed
	answer func(n int) int // status for the n-th request, from 1
	got    []servertest.Arrival
}

func newWorld(t *testing.T, answer func(n int) int) *world {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	dir := t.TempDir()
	keys, err := seal.LoadOrCreate(filepath.Join(dir, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, answer: answer, profiles: profile.Builtin(), wire: &pipeNet{conns: make(chan net.Conn)}}
	w.dispatch = dispatch.New(dispatch.Options{Log: quiet})
	w.store, err = store.Open(t.Context(), store.Options{
		Dir: dir, Keys: keys, Log: quiet, Committed: w.dispatch.Committed, Room: w.dispatch.Room,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.client = egress.New(egress.Options{AllowHTTP: true, Resolver: w, DialContext: w.wire.dial, Log: quiet})
	sender := deliver.New(deliver.Options{Store: w.store, Profiles: w.profiles, Poster: w.client, Log: quiet})
	if err := w.dispatch.Start(t.Context(), w.store, sender); err != nil {
		t.Fatal(err)
	}
	w.server = &http.Server{Handler: w}
	go func() { _ = w.server.Serve(w.wire) }() // ends with the listener
	return w
}

// LookupNetIP resolves every name, or returns the configured error.
func (w *world) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lookup != nil {
		return nil, w.lookup
	}
	return publicNames{}.LookupNetIP(ctx, network, host)
}

// close ends every goroutine of the world, as a synctest bubble requires.
func (w *world) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	w.dispatch.Stop(ctx)
	w.client.CloseIdle()
	_ = w.server.Close()
	if err := w.store.Close(); err != nil {
		w.t.Error(err)
	}
}

// ServeHTTP is the receiver.
func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.t.Error(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.got = append(w.got, servertest.Arrival{At: time.Now(), Header: r.Header, Body: body})
	if w.retryAfter != "" {
		rw.Header().Set("Retry-After", w.retryAfter)
	}
	rw.WriteHeader(w.answer(len(w.got)))
}

func (w *world) arrivals() []servertest.Arrival {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]servertest.Arrival(nil), w.got...)
}

// endpoint creates a tenant with one endpoint of the profile, and returns the endpoint and
// its secret.
func (w *world) endpoint(name string) (*hook.Endpoint, string) {
	w.t.Helper()
	p, ok := w.profiles.Get(name)
	if !ok {
		w.t.Fatalf("no profile %s", name)
	}
	text, encoding, err := p.NewSecret()
	if err != nil {
		w.t.Fatal(err)
	}
	if _, _, err := w.store.CreateTenant(w.t.Context(), hook.Tenant{ID: "acme"}, nil); err != nil {
		w.t.Fatal(err)
	}
	e, _, err := w.store.CreateEndpoint(w.t.Context(), hook.Endpoint{
		Scope: hook.Scope{Tenant: "acme", Mode: hook.Live}, URL: "http://hooks.example.com/in", Types: hook.Filter{"*"},
		Profile: name, Secrets: []hook.Secret{{Text: text, Encoding: encoding}},
	}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return e, text
}

func (w *world) publish(scope hook.Scope, eventType string) {
	w.t.Helper()
	hash := func(e *hook.Endpoint) hook.ProfileHash {
		p, _ := w.profiles.Get(e.Profile)
		return p.Hash()
	}
	got, _, err := w.store.Publish(w.t.Context(), []hook.NewEvent{{Scope: scope, Type: eventType, Data: []byte(`{"id": "x"}`)}}, hash, nil)
	if err != nil || got[0].Err != nil || got[0].Deliveries != 1 {
		w.t.Fatalf("publish: %+v %v", got, err)
	}
}

// The unlimited policy: 10 s, doubling, capped at one hour, with up to 10 % added.
func TestEndlessPolicyOverFortyRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const failures = 41
		w := newWorld(t, func(n int) int {
			if n <= failures {
				return http.StatusNoContent // a failure for this profile
			}
			return http.StatusOK
		})
		defer w.close()
		e, secret := w.endpoint("paysway")
		w.publish(e.Scope, "RECIPIENT.CREATED")
		time.Sleep(50 * time.Hour)

		got := w.arrivals()
		if len(got) != failures+1 {
			t.Fatalf("%d attempts in 50 hours, want %d: after the first success there is none", len(got), failures+1)
		}
		verify, err := webhook.NewVerifier(webhook.PaySway(), secret)
		if err != nil {
			t.Fatal(err)
		}
		capped := 0
		for i, a := range got {
			verify.Now = func() time.Time { return a.At }
			if err := verify.Verify(a.Header, a.Body); err != nil {
				t.Errorf("attempt %d: %v", i+1, err)
			}
			if !bytes.Equal(a.Body, got[0].Body) {
				t.Errorf("attempt %d sent another body", i+1)
			}
			if i == 0 {
				continue
			}
			step := min(10*time.Second<<min(i-1, 20), time.Hour)
			if step == time.Hour {
				capped++
			}
			pause, slack := a.At.Sub(got[i-1].At), 5*time.Millisecond
			if pause < step || pause > step+step/10+slack {
				t.Errorf("retry %d came after %v, its band is %v to %v", i, pause, step, step+step/10)
			}
		}
		if capped < 30 {
			t.Errorf("only %d retries at the cap; the test wants most of them there", capped)
		}
		if d, _ := w.delivery(e.Scope); d.State != hook.Succeeded || d.Attempts != failures+1 {
			t.Errorf("the row says %v after %d attempts", d.State, d.Attempts)
		}
	})
}

func (w *world) delivery(scope hook.Scope) (hook.DeliveryRow, []hook.Attempt) {
	w.t.Helper()
	rows, _, err := w.store.Deliveries(w.t.Context(), hook.DeliveryQuery{Scope: scope})
	if err != nil || len(rows) != 1 {
		w.t.Fatalf("list deliveries: %d rows, %v", len(rows), err)
	}
	d, log, err := w.store.Delivery(w.t.Context(), scope, rows[0].ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return d, log
}

// The standard policy: nine retries, after which the delivery has failed permanently.
func TestStandardPolicyEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(int) int { return http.StatusInternalServerError })
		defer w.close()
		e, _ := w.endpoint("standard")
		w.publish(e.Scope, "payment.settled")
		time.Sleep(10 * 24 * time.Hour)

		steps := []time.Duration{
			5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
			10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
		}
		got := w.arrivals()
		if len(got) != len(steps)+1 {
			t.Fatalf("%d attempts, want %d", len(got), len(steps)+1)
		}
		for i, step := range steps {
			pause := got[i+1].At.Sub(got[i].At)
			if pause < step || pause > step+step/10+5*time.Millisecond {
				t.Errorf("retry %d came after %v, its band is %v to %v", i+1, pause, step, step+step/10)
			}
		}
		d, log := w.delivery(e.Scope)
		if d.State != hook.Failed || d.Reason != hook.ReasonPolicyEnded || len(log) != 10 {
			t.Errorf("the row says %v, %q, with %d attempts logged", d.State, d.Reason, len(log))
		}
	})
}
