package listen_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/listen"
)

// shelf is a store with one endpoint. As in the real store, updates run one at a time.
type shelf struct {
	mu     sync.Mutex
	e      hook.Endpoint
	writes int
	fail   error
}

func (s *shelf) Epoch() int64 { return 1 }
func (s *shelf) Nodes() int   { return 1 }

func (s *shelf) UpdateEndpoint(_ context.Context, _ hook.Scope, id hook.ID, update func(hook.Endpoint) (hook.Endpoint, error), _ bool) (*hook.Endpoint, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return nil, s.fail
	}
	next, err := update(s.e)
	if err != nil {
		return nil, err
	}
	s.e, s.writes = next, s.writes+1
	return &next, nil
}

func (s *shelf) now() (hook.Status, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.e.Status, s.writes
}

var (
	acme = hook.Scope{Tenant: "acme", Mode: hook.Live}
	ping = egress.Request{Body: []byte("{}"), Timeout: time.Second}
)

func setup() (*shelf, *listen.Hub, *hook.Endpoint) {
	s := &shelf{e: hook.Endpoint{ID: hook.ID{1}, Scope: acme, URL: hook.ListenURL("dev"), Status: hook.Tripped}}
	return s, listen.New(s, slog.New(slog.DiscardHandler)), &s.e
}

func attach(t *testing.T, h *listen.Hub, e *hook.Endpoint) *listen.Session {
	t.Helper()
	s, err := h.Attach(t.Context(), &hook.Endpoint{ID: e.ID, Scope: acme, URL: e.URL})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type result struct {
	response egress.Response
	err      error
}

// forward begins an attempt and returns the parcel that the session received.
func forward(t *testing.T, h *listen.Hub, e *hook.Endpoint, s *listen.Session) (*listen.Parcel, chan result) {
	t.Helper()
	done := make(chan result, 1)
	go func() {
		r, err := h.Forward(context.Background(), &hook.Endpoint{ID: e.ID, Scope: acme, Status: hook.Enabled}, &hook.Delivery{ID: hook.ID{2}}, ping)
		done <- result{r, err}
	}()
	select {
	case p := <-s.Parcels():
		return p, done
	case <-time.After(5 * time.Second):
		t.Fatal("the session was given nothing")
		return nil, nil
	}
}

func TestStatusFollowsWhoListens(t *testing.T) {
	store, h, e := setup()
	first := attach(t, h, e)
	if status, _ := store.now(); status != hook.Enabled {
		t.Fatalf("status %d with a listener", status)
	}
	second := attach(t, h, e)
	<-first.Ended()
	if first.Reason() != listen.Replaced {
		t.Errorf("the first was ended for %q", first.Reason())
	}
	h.Detach(first) // late: it is no longer the current one
	if status, writes := store.now(); status != hook.Enabled || writes != 1 {
		t.Errorf("status %d after %d writes: the one that was replaced counts", status, writes)
	}
	h.Detach(second)
	if status, _ := store.now(); status != hook.Tripped {
		t.Errorf("status %d without a listener", status)
	}
}

func TestWhatSomebodyDisabledStaysSo(t *testing.T) {
	store, h, e := setup()
	s := attach(t, h, e)
	store.e.Status = hook.Disabled
	h.Detach(s)
	if status, writes := store.now(); status != hook.Disabled || writes != 1 {
		t.Errorf("status %d after %d writes", status, writes)
	}
	h.Detach(attach(t, h, e)) // connecting enables it again
	if _, writes := store.now(); writes != 3 {
		t.Errorf("%d writes, want enabled and away once more", writes)
	}
}

func TestAnswers(t *testing.T) {
	_, h, e := setup()
	s := attach(t, h, e)
	p, done := forward(t, h, e, s)
	answer := listen.Answer{Status: 204, Headers: []byte("A: b\n"), RetryAfter: time.Second}
	for name, scope := range map[string]hook.Scope{
		"another tenant":             {Tenant: "rival", Mode: hook.Live},
		"another mode":               {Tenant: "acme", Mode: hook.Test},
		"operator of the other mode": {Mode: hook.Test},
	} {
		if err := h.Answer(scope, p.Token, answer); hook.CodeOf(err) != hook.CodeNotFound {
			t.Errorf("%s may answer: %v", name, err)
		}
	}
	if err := h.Answer(acme, p.Token+"x", answer); hook.CodeOf(err) != hook.CodeNotFound {
		t.Errorf("a made-up token: %v", err)
	}
	select {
	case r := <-done:
		t.Fatalf("the attempt ended with %+v", r)
	default:
	}
	if err := h.Answer(acme, p.Token, answer); err != nil { // control: its own tenant may answer
		t.Fatal(err)
	}
	if r := <-done; r.err != nil || r.response.Status != 204 || string(r.response.Headers) != "A: b\n" || r.response.RetryAfter != time.Second {
		t.Errorf("%+v", r)
	}
	if err := h.Answer(acme, p.Token, answer); hook.CodeOf(err) != hook.CodeNotFound {
		t.Errorf("a second answer: %v", err)
	}

	p, done = forward(t, h, e, s)
	if err := h.Answer(hook.Scope{Mode: hook.Live}, p.Token, listen.Answer{Class: hook.ClassRefused, Message: "no"}); err != nil {
		t.Fatal(err)
	}
	r := <-done
	if f, ok := errors.AsType[*egress.Failure](r.err); !ok || f.Class != hook.ClassRefused || f.Message != "no" {
		t.Errorf("%+v", r)
	}
}

// A receiver that disconnects during an attempt causes no failure, because that does not
// count as an attempt.
func TestAwayIsNoFailure(t *testing.T) {
	store, h, e := setup()
	s := attach(t, h, e)
	p, done := forward(t, h, e, s)
	h.Detach(s)
	if r := <-done; !errors.Is(r.err, hook.ErrAway) {
		t.Errorf("%+v", r)
	}
	if err := h.Answer(acme, p.Token, listen.Answer{Status: 200}); hook.CodeOf(err) != hook.CodeNotFound {
		t.Errorf("an answer after the end: %v", err)
	}
	if _, err := h.Forward(t.Context(), e, &hook.Delivery{}, ping); !errors.Is(err, hook.ErrAway) {
		t.Errorf("nobody connected: %v", err)
	}

	store.e.Status = hook.Enabled // as if recording it had failed
	if _, err := h.Forward(t.Context(), e, &hook.Delivery{}, ping); !errors.Is(err, hook.ErrAway) {
		t.Errorf("nobody connected: %v", err)
	}
	if status, _ := store.now(); status != hook.Tripped {
		t.Errorf("status %d: an attempt that finds nobody notes it", status)
	}
}

func TestReplacedSessionsAttemptsComeAgain(t *testing.T) {
	_, h, e := setup()
	s := attach(t, h, e)
	_, done := forward(t, h, e, s)
	attach(t, h, e)
	if r := <-done; !errors.Is(r.err, hook.ErrAway) {
		t.Errorf("%+v", r)
	}
}

// A connection that accepts requests but does not answer is dead. It is ended, and that
// does not count against the endpoint.
func TestSilentConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h, e := setup()
		s := attach(t, h, e)
		began := time.Now()
		_, done := forward(t, h, e, s)
		time.Sleep(10 * time.Second) // within the timeout and the grace
		select {
		case <-s.Ended():
			t.Fatal("ended too early")
		default:
		}
		if r := <-done; !errors.Is(r.err, hook.ErrAway) || time.Since(began) != 11*time.Second {
			t.Errorf("%+v after %v", r, time.Since(began))
		}
		<-s.Ended()
		if s.Reason() != listen.Stalled {
			t.Errorf("ended for %q", s.Reason())
		}
	})
}

func TestClosedHub(t *testing.T) {
	_, h, e := setup()
	s := attach(t, h, e)
	h.Close()
	<-s.Ended()
	if s.Reason() != listen.Stopping {
		t.Errorf("ended for %q", s.Reason())
	}
	if _, err := h.Attach(t.Context(), e); hook.CodeOf(err) != hook.CodeShuttingDown {
		t.Errorf("attached to a closed hub: %v", err)
	}
}

func TestStoreRefuses(t *testing.T) {
	store, h, e := setup()
	store.fail = &hook.Error{Code: hook.CodeStorageFull}
	if _, err := h.Attach(t.Context(), e); hook.CodeOf(err) != hook.CodeStorageFull {
		t.Errorf("%v", err)
	}
	if _, err := h.Forward(t.Context(), e, &hook.Delivery{}, ping); !errors.Is(err, hook.ErrAway) {
		t.Errorf("the session stayed: %v", err)
	}
}
