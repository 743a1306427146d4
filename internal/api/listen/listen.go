// Package listen is the HTTP adapter for receivers that connect to the server instead
// of being called: one request opens a stream of server-sent events with their
// deliveries, and another request sends each answer.
//
// A stream ends within a second after its key is revoked or its endpoint is disabled or
// deleted. An answer counts only with the token of its delivery and a key that may see
// the delivery. The package keeps no state: the hub keeps it.
package listen

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/api/adapter"
	"github.com/posthorn/posthorn/internal/api/native"
	"github.com/posthorn/posthorn/internal/api/strict"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/listen"
)

const (
	heartbeat   = 15 * time.Second
	lookAgain   = time.Second // interval between checks of the key and the endpoint (S-10)
	writeWithin = 10 * time.Second
)

// Options configures the handler. Service and Hub are required.
type Options struct {
	Service *app.Service
	Hub     *listen.Hub
	Log     *slog.Logger                  // nil: slog.Default()
	Refused func(status int, code string) // as in [native.Options]
}

type handler struct{ Options }

// Patterns returns the routes of the handler, for the mux on which it is mounted.
func Patterns() []string { return []string{"/v1/listen", "/v1/listen/answers"} }

// New returns the handler. Its streams set their own deadline for each write, in place
// of the server's.
func New(o Options) http.Handler {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	c := &handler{o}
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/listen", c.route(http.MethodGet, c.stream))
	mux.HandleFunc("/v1/listen/answers", c.route(http.MethodPost, c.answer))
	return mux
}

func (c *handler) route(method string, do adapter.Handler) http.HandlerFunc {
	refuse := func(w http.ResponseWriter, r *http.Request, err error) {
		native.Refuse(w, r, native.Options{Service: c.Service, Log: c.Log, Refused: c.Refused}, err)
	}
	return func(w http.ResponseWriter, r *http.Request) {
		adapter.Serve(w, r, func(w http.ResponseWriter, r *http.Request) error {
			if r.Method != method {
				w.Header().Set("Allow", method)
				return &hook.Error{Code: hook.CodeMethodNotAllowed, Message: "This route takes " + method + " only."}
			}
			return do(w, r)
		}, refuse)
	}
}

func (c *handler) caller(r *http.Request) (app.Caller, error) {
	if err := adapter.CheckLoop(r, c.Service.Loop()); err != nil {
		return app.Caller{}, err
	}
	text, _ := adapter.Bearer(r) // an empty text means no key
	return c.Service.Authenticate(r.Context(), text, adapter.Address(r))
}

// asked parses the parameters of a stream.
func asked(r *http.Request) (app.NewListener, error) {
	q, err := strict.Query(r.URL.RawQuery, "name", "types", "profile", "tenant")
	if err != nil {
		return app.NewListener{}, err
	}
	if r.ContentLength != 0 {
		return app.NewListener{}, &hook.Error{Code: hook.CodeInvalidRequest, Message: "This route takes no request body. Send the request without one."}
	}
	in := app.NewListener{Tenant: q.Get("tenant"), Name: q.Get("name"), Profile: q.Get("profile")}
	if types := q.Get("types"); types != "" {
		in.Types = strings.Split(types, ",")
	}
	return in, nil
}

// stream connects a receiver and returns when one side ends the stream.
func (c *handler) stream(w http.ResponseWriter, r *http.Request) error {
	caller, err := c.caller(r)
	if err != nil {
		return err
	}
	in, err := asked(r)
	if err != nil {
		return err
	}
	if err := c.Service.Call(adapter.Metered(w, r), caller, true); err != nil { // it counts as a write
		return err
	}
	made, err := c.Service.Listen(adapter.Acting(w, r, caller), caller, in)
	if err != nil {
		return err
	}
	before, err := c.Service.Endpoint(r.Context(), caller, made.ID)
	if err != nil {
		return err
	}
	session, err := c.Hub.Attach(r.Context(), made.Endpoint)
	if err != nil {
		return err
	}
	defer c.Hub.Detach(session)
	line := &wire{w: w, control: http.NewResponseController(w)}
	if err := line.open(); err != nil {
		return fmt.Errorf("open stream: %w", err)
	}
	hello := client.ListenHello{Endpoint: made.ID.String(), Tenant: made.Scope.Tenant, Mode: made.Scope.Mode.String(), URL: made.URL,
		Profile: made.Profile, EventTypes: made.Types, Secret: made.Secret, Held: before.Held}
	if line.event("hello", hello) == nil {
		c.carry(r, line, session, made.ID)
	}
	return nil // the response has begun: a problem document is no longer possible
}

// carry sends deliveries to the receiver. A write error means that the receiver
// disconnected.
func (c *handler) carry(r *http.Request, line *wire, s *listen.Session, endpoint hook.ID) {
	beat, look := time.NewTicker(heartbeat), time.NewTicker(lookAgain)
	defer beat.Stop()
	defer look.Stop()
	for {
		var err error
		select {
		case <-r.Context().Done():
			return
		case <-s.Ended():
			_ = line.event("end", client.ListenEnd{Code: string(s.Reason()), Message: sentences[s.Reason()]}) // the last event of the stream
			return
		case p := <-s.Parcels():
			err = line.event("delivery", wireParcel(p))
		case <-look.C:
			if why := c.refused(r, endpoint); why != "" {
				s.End(why)
			}
		case <-beat.C:
			err = line.write([]byte(": still here\n\n"))
		}
		if err != nil {
			return
		}
	}
}

// refused returns the reason that a stream must end, or "". An unavailable store is not
// a reason.
func (c *handler) refused(r *http.Request, endpoint hook.ID) listen.Reason {
	caller, err := c.caller(r)
	if err == nil {
		var status hook.Status
		if status, err = c.Service.ListenerStatus(r.Context(), caller, endpoint); err == nil && status != hook.Enabled {
			return listen.Disabled
		}
	}
	switch {
	case err == nil:
		return ""
	case hook.CodeOf(err) == hook.CodeUnauthorized, hook.CodeOf(err) == hook.CodeKeyExpired:
		return listen.Revoked
	case hook.CodeOf(err) == hook.CodeNotFound:
		return listen.Deleted
	}
	return ""
}

var sentences = map[listen.Reason]string{
	listen.Replaced: "Another connection listens under this name now.",
	listen.Stalled:  "An answer did not come in time.",
	listen.Stopping: "The server is shutting down.",
	listen.Revoked:  "The API key is not valid any more.",
	listen.Disabled: "The listener's endpoint was disabled; connecting again enables it.",
	listen.Deleted:  "The listener's endpoint was deleted.",
}

// wire writes server-sent events, each with its own deadline.
type wire struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (l *wire) open() error {
	// The server's read timeout applies to requests; a stream has none.
	if err := l.control.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	h := l.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // some proxies would buffer events
	h.Set("Connection", "close")     // the deadlines set here must not outlive the stream
	l.w.WriteHeader(http.StatusOK)
	return nil
}

func (l *wire) event(name string, v any) error {
	data, err := json.Marshal(v, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	text := make([]byte, 0, len(data)+32)
	text = append(append(text, "event: "...), name...)
	text = append(append(append(text, "\ndata: "...), data...), "\n\n"...)
	return l.write(text)
}

func (l *wire) write(text []byte) error {
	if err := l.control.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := l.w.Write(text); err != nil {
		return err
	}
	return l.control.Flush()
}

func wireParcel(p *listen.Parcel) client.ListenDelivery {
	d := client.ListenDelivery{Token: p.Token, ID: p.Delivery.ID.String(), EventType: p.Delivery.EventType,
		Attempt: p.Delivery.Attempts + 1, Body: p.Request.Body, TimeoutMS: p.Request.Timeout.Milliseconds()}
	for _, h := range p.Request.Headers {
		d.Headers = append(d.Headers, client.ListenHeader{Name: h.Name, Value: h.Value})
	}
	return d
}
