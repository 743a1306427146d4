package server

import (
	"context"
	"net/http"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/deliver"
	"github.com/posthorn/posthorn/internal/dispatch"
	"github.com/posthorn/posthorn/internal/hook"
)

// Tracer records what happens to events. Its methods must not block. Without one, nothing
// is measured or wrapped.
type Tracer interface {
	// Request begins the span of a request that publishes, Commit that of storing events,
	// Attempt that of an attempt. The functions they return end it.
	Request(r *http.Request) (ctx context.Context, end func(status int))
	Commit(ctx context.Context) (end func(made []hook.Published, err error))
	Attempt(ctx context.Context, j *hook.Job) (end func(o *hook.Outcome))
	// Sampled reports whether attempts of an event are recorded.
	Sampled(event hook.ID) bool
}

// tracedStore records commits.
type tracedStore struct {
	app.Store
	tracer Tracer
}

// Publish implements app.Store.
func (s tracedStore) Publish(ctx context.Context, events []hook.NewEvent, profileOf func(*hook.Endpoint) hook.ProfileHash, once *hook.Once) ([]hook.Published, *hook.Replay, error) {
	end := s.tracer.Commit(ctx)
	made, replay, err := s.Store.Publish(ctx, events, profileOf, once)
	end(made, err)
	return made, replay, err
}

// tracedSender records attempts.
type tracedSender struct {
	dispatch.Sender
	tracer Tracer
}

// Send implements dispatch.Sender.
func (s tracedSender) Send(ctx context.Context, j hook.Job) hook.Outcome {
	end := s.tracer.Attempt(ctx, &j)
	o := s.Sender.Send(ctx, j)
	end(&o)
	return o
}

// tracedStore returns the store, or one that records commits if traces are wanted.
func (n *Node) tracedStore(s app.Store) app.Store {
	if n.cfg.Tracer == nil {
		return s
	}
	return tracedStore{s, n.cfg.Tracer}
}

// sender makes attempts, and records them if traces are wanted.
func (n *Node) sender() dispatch.Sender {
	o := deliver.Options{Store: n.store, Profiles: n.profiles, Poster: n.egress, Listeners: n.hub, Mailer: n.mailer(), Log: n.log, Loop: n.loop}
	if n.cfg.Tracer == nil {
		return deliver.New(o)
	}
	o.Sampled = n.cfg.Tracer.Sampled
	return tracedSender{deliver.New(o), n.cfg.Tracer}
}

// traced returns the handler, or one that records the requests that publish if traces are
// wanted.
func (n *Node) traced(h http.Handler) http.Handler {
	tracer := n.cfg.Tracer
	if tracer == nil {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/v1/events" && r.URL.Path != "/v1/events/batch" {
			h.ServeHTTP(w, r)
			return
		}
		ctx, end := tracer.Request(r)
		seen := &statusSeen{ResponseWriter: w, status: http.StatusOK}
		h.ServeHTTP(seen, r.WithContext(ctx))
		end(seen.status)
	})
}

// statusSeen notes the status of a response.
type statusSeen struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (s *statusSeen) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the writer below.
func (s *statusSeen) Unwrap() http.ResponseWriter { return s.ResponseWriter }
