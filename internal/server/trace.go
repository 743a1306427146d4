package server

import (
	"context"
	"net/http"

	"github.com/posthorn/posthorn/internal/app"
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

// traced returns a handler that records the requests that publish.
func traced(h http.Handler, tracer Tracer) http.Handler {
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
