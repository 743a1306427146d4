package server

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
)

// fakeTracer notes what it was told.
type fakeTracer struct {
	statuses chan int
	commits  chan []hook.Published
	attempts chan hook.Outcome
}

func (f *fakeTracer) Request(r *http.Request) (context.Context, func(int)) {
	return r.Context(), func(status int) { f.statuses <- status }
}

func (f *fakeTracer) Commit(context.Context) func([]hook.Published, error) {
	return func(made []hook.Published, _ error) { f.commits <- made }
}

func (f *fakeTracer) Attempt(context.Context, *hook.Job) func(*hook.Outcome) {
	return func(o *hook.Outcome) { f.attempts <- *o }
}

func (f *fakeTracer) Sampled(hook.ID) bool { return true }

// A tracer is told of the request that publishes, its commit and its attempt, and of no
// other request.
func TestTracerIsTold(t *testing.T) {
	f := &fakeTracer{make(chan int, 9), make(chan []hook.Published, 9), make(chan hook.Outcome, 9)}
	c, err := loaded(t, "", "--listen", "127.0.0.1:0", "--data", t.TempDir(), "--dev", "--operator-key", mountKey)
	if err != nil {
		t.Fatal(err)
	}
	c.Tracer = f
	n, err := Start(t.Context(), c, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Stop(context.Background()) })
	api := &client.Client{URL: n.URL(), Key: c.OperatorKey}
	if _, err := api.CreateTenant(t.Context(), client.NewTenant{ID: "acme"}); err != nil {
		t.Fatal(err)
	}
	if _, err := api.CreateEndpoint(t.Context(), client.NewEndpoint{Tenant: "acme", URL: "http://127.0.0.1:65535/", EventTypes: []string{"*"}}); err != nil {
		t.Fatal(err)
	}
	if len(f.statuses)+len(f.commits) > 0 {
		t.Error("control: requests that publish nothing were told")
	}
	if _, err := api.Publish(t.Context(), client.NewEvent{Tenant: "acme", Type: "a.b", Data: json.RawMessage("{}")}, client.PublishOptions{}); err != nil {
		t.Fatal(err)
	}
	if made, o := <-f.commits, <-f.attempts; len(made) != 1 || o.Class == hook.ClassNone {
		t.Errorf("%v, %+v", made, o)
	}
	if status := <-f.statuses; status != 202 || len(f.statuses) > 0 {
		t.Errorf("status %d", status)
	}
}
