package listen

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/hook"
)

// grace is how much longer than the request's timeout the hub waits for an answer. It
// covers the time over the network both ways. A connection that stays silent for longer
// is considered dead.
const grace = 10 * time.Second

// Store holds the status of endpoints. UpdateEndpoint is the method of the store.
type Store interface {
	UpdateEndpoint(ctx context.Context, scope hook.Scope, id hook.ID, update func(old hook.Endpoint) (hook.Endpoint, error), discardHeld bool) (*hook.Endpoint, error)
	// Epoch returns the number of this process among those that share the store.
	Epoch() int64
	// Nodes returns the number of nodes that share the store.
	Nodes() int
}

// Hub tracks the connected receivers. It is safe for concurrent use.
type Hub struct {
	store Store
	log   *slog.Logger

	mu       sync.Mutex
	closed   bool
	sessions map[hook.ID]*Session // by endpoint
	waiting  map[string]*Parcel   // requests without an answer, by token
}

// New returns a hub. A nil logger means [slog.Default].
func New(store Store, log *slog.Logger) *Hub {
	if log == nil {
		log = slog.Default()
	}
	return &Hub{store: store, log: log, sessions: map[hook.ID]*Session{}, waiting: map[string]*Parcel{}}
}

// Reason is a stable word for why a session ended.
type Reason string

// The reasons.
const (
	Replaced Reason = "replaced"          // another connection of the same listener replaced it
	Stalled  Reason = "stalled"           // an answer was overdue
	Stopping Reason = "shutting_down"     // the server is shutting down
	Revoked  Reason = "unauthorized"      // the key is no longer valid
	Disabled Reason = "endpoint_disabled" // by hand, by failures or by a 410
	Deleted  Reason = "endpoint_deleted"
	Left     Reason = "left" // the receiver disconnected
)

// Session is one connection of a receiver.
type Session struct {
	endpoint hook.ID
	scope    hook.Scope
	parcels  chan *Parcel
	ended    chan struct{}
	once     sync.Once
	reason   Reason
}

// Parcels returns the channel of requests to send to the receiver.
func (s *Session) Parcels() <-chan *Parcel { return s.parcels }

// Ended returns a channel that is closed when the session ends.
func (s *Session) Ended() <-chan struct{} { return s.ended }

// Reason returns why the session ended. It must not be called before Ended is closed.
func (s *Session) Reason() Reason { return s.reason }

// End ends the session. Only the first call has an effect.
func (s *Session) End(why Reason) {
	s.once.Do(func() {
		s.reason = why
		close(s.ended)
	})
}

// Parcel is one request to a connected receiver.
type Parcel struct {
	Token    string // secret; proves that an answer comes from the receiver of the request
	Delivery hook.Delivery
	Request  egress.Request

	session *Session
	answer  chan Answer
}

// Answer is the receiver's answer to a request: a response, as in [egress.Response], or
// the class and message of a failure.
type Answer struct {
	Status     int
	Headers    []byte // lines of "Name: value\n"
	Body       []byte
	Truncated  bool
	TimedOut   bool
	RetryAfter time.Duration
	Class      hook.Class // empty: there was a response
	Message    string
}

// Attach creates a session for the endpoint, ends the endpoint's previous session, and
// enables the endpoint, which releases held deliveries. It fails with
// CodeShuttingDown after Close. The caller must Detach the session.
func (h *Hub) Attach(ctx context.Context, ep *hook.Endpoint) (*Session, error) {
	s := &Session{endpoint: ep.ID, scope: ep.Scope, parcels: make(chan *Parcel), ended: make(chan struct{})}
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil, &hook.Error{Code: hook.CodeShuttingDown, Message: "The server is shutting down."}
	}
	old := h.sessions[ep.ID]
	h.sessions[ep.ID] = s
	h.mu.Unlock()
	if old != nil {
		old.End(Replaced)
	}
	if err := h.record(ctx, s.scope, s.endpoint); err != nil {
		h.Detach(s)
		return nil, err
	}
	return s, nil
}

// Detach ends and removes a session. If no other session has replaced it, the endpoint
// is tripped: its pending and new deliveries are held.
func (h *Hub) Detach(s *Session) {
	s.End(Left)
	h.mu.Lock()
	current := h.sessions[s.endpoint] == s
	if current {
		delete(h.sessions, s.endpoint)
	}
	h.mu.Unlock()
	if current {
		h.away(s.scope, s.endpoint)
	}
}

// errAsItIs cancels an update that would change nothing.
var errAsItIs = errors.New("as it is")

// record sets the endpoint's status according to whether its receiver is connected. The
// callback checks the connection inside the store's transaction, and the store makes one
// update after the other, so the last update always reflects the last change. If an
// endpoint was disabled for another reason, its status stays when the receiver
// disconnects.
func (h *Hub) record(ctx context.Context, scope hook.Scope, id hook.ID) error {
	_, err := h.store.UpdateEndpoint(ctx, scope, id, func(e hook.Endpoint) (hook.Endpoint, error) {
		here, me := h.session(id) != nil, h.store.Epoch()
		switch {
		case here && (e.Status != hook.Enabled || e.Home != me):
			e.Status, e.Home = hook.Enabled, me
		case !here && e.Status == hook.Enabled && (e.Home == me || e.Home == 0): // not connected elsewhere
			e.Status, e.Home = hook.Tripped, 0
		default:
			return e, errAsItIs
		}
		return e, nil
	}, false)
	if errors.Is(err, errAsItIs) {
		return nil
	}
	return err
}

// away records that no receiver is connected. If that fails, for instance because the
// disk is full, the endpoint stays enabled, and its next attempt records it again.
func (h *Hub) away(scope hook.Scope, id hook.ID) {
	err := h.record(context.Background(), scope, id)
	if err != nil && hook.CodeOf(err) != hook.CodeNotFound {
		h.log.Warn("note that a listener is away", "endpoint", id, "error", err)
	}
}

func (h *Hub) session(id hook.ID) *Session {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sessions[id]
}

// Forward passes a request to the connected receiver and returns its response, or a
// *[egress.Failure] that the receiver reported. It returns [hook.ErrAway] if no receiver
// is connected, or if the connection ended, the receiver did not answer in time, or ctx
// was cancelled before the answer arrived.
func (h *Hub) Forward(ctx context.Context, target *hook.Endpoint, d *hook.Delivery, r egress.Request) (egress.Response, error) {
	s := h.session(target.ID)
	if s == nil {
		if target.Status == hook.Enabled {
			h.away(target.Scope, target.ID)
		}
		return egress.Response{}, hook.ErrAway
	}
	p := &Parcel{Token: h.mark() + rand.Text(), Delivery: *d, Request: r, session: s, answer: make(chan Answer, 1)}
	h.mu.Lock()
	h.waiting[p.Token] = p
	h.mu.Unlock()
	response, err := p.carry(ctx)
	h.mu.Lock()
	delete(h.waiting, p.Token)
	h.mu.Unlock()
	if errors.Is(err, hook.ErrAway) {
		select {
		case a := <-p.answer: // Answer accepted it at the last moment and told the receiver so
			return a.result()
		default:
		}
	}
	return response, err
}

// carry sends the parcel to the session and waits for its answer.
func (p *Parcel) carry(ctx context.Context) (egress.Response, error) {
	overdue := time.NewTimer(p.Request.Timeout + grace)
	defer overdue.Stop()
	parcels := p.session.parcels
	for {
		select {
		case parcels <- p:
			parcels = nil
		case a := <-p.answer:
			return a.result()
		case <-overdue.C:
			p.session.End(Stalled)
			return egress.Response{}, hook.ErrAway
		case <-ctx.Done():
			return egress.Response{}, hook.ErrAway
		case <-p.session.ended:
			return egress.Response{}, hook.ErrAway
		}
	}
}

func (a Answer) result() (egress.Response, error) {
	if a.Class != hook.ClassNone {
		return egress.Response{}, &egress.Failure{Class: a.Class, Message: a.Message}
	}
	return egress.Response{Status: a.Status, Headers: a.Headers, Body: a.Body, Truncated: a.Truncated, TimedOut: a.TimedOut,
		RetryAfter: a.RetryAfter}, nil
}

// mark returns the prefix of this process's tokens.
func (h *Hub) mark() string { return strconv.FormatInt(h.store.Epoch(), 36) + "." }

// Answer passes an answer to the attempt that waits for it. A scope without a tenant
// means all tenants of the mode. The error has CodeWrongNode if the token belongs to
// another process and there are several nodes, and CodeNotFound if no attempt waits, or
// one of another tenant or mode (S-09).
func (h *Hub) Answer(scope hook.Scope, token string, a Answer) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.waiting[token]
	if p == nil && !strings.HasPrefix(token, h.mark()) && h.store.Nodes() > 1 {
		return &hook.Error{Code: hook.CodeWrongNode, Field: "token", Message: "The stream that this delivery came by is at another node. Send the answer there: " +
			"let the load balancer send requests for /v1/listen with the same key to the same node, or use the address of one node."}
	}
	if p == nil || p.session.scope.Mode != scope.Mode || scope.Tenant != "" && p.session.scope.Tenant != scope.Tenant {
		return hook.NotFound("attempt that waits for an answer")
	}
	delete(h.waiting, token)
	p.answer <- a // never blocks: each token is valid for one answer, and the channel buffers one
	return nil
}

// Close ends all sessions and refuses new ones. The endpoints are recorded as away when
// the sessions are detached.
func (h *Hub) Close() {
	h.mu.Lock()
	h.closed = true
	all := make([]*Session, 0, len(h.sessions))
	for _, s := range h.sessions {
		all = append(all, s)
	}
	h.mu.Unlock()
	for _, s := range all {
		s.End(Stopping)
	}
}
