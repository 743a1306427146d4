package listen

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/hook"
)

type noStore struct{}

func (noStore) Epoch() int64 { return 1 }
func (noStore) Nodes() int   { return 1 }

func (noStore) UpdateEndpoint(context.Context, hook.Scope, hook.ID, func(hook.Endpoint) (hook.Endpoint, error), bool) (*hook.Endpoint, error) {
	return nil, nil
}

// An answer that was accepted (204) must become the result of the attempt.
func TestAnswerTakenCounts(t *testing.T) {
	h := New(noStore{}, nil)
	ep := &hook.Endpoint{ID: hook.ID{1}, Scope: hook.Scope{Tenant: "a", Mode: hook.Live}, URL: "listen:x"}
	lost := 0
	for range 20000 {
		s, _ := h.Attach(t.Context(), ep)
		ctx, cancel := context.WithCancel(t.Context())
		out := make(chan error, 1)
		go func() {
			_, err := h.Forward(ctx, ep, &hook.Delivery{}, egress.Request{Timeout: time.Second})
			out <- err
		}()
		p := <-s.Parcels()
		go s.End(Replaced)
		taken := h.Answer(s.scope, p.Token, Answer{Status: 200}) == nil
		if err := <-out; taken && errors.Is(err, hook.ErrAway) {
			lost++
		}
		cancel()
		h.Detach(s)
	}
	if lost > 0 {
		t.Errorf("%d answers were taken with 204 and then forgotten: the deliveries are sent again", lost)
	}
}
