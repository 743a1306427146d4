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

// grace is how much longer than the receiver's own deadline the hub waits for an
// answer: for the way there and back. A connection that stays silent beyond it is
// taken for dead.
const grace = 10 * time.Second

// Store keeps the status of endpoints. Its UpdateEndpoint is that of the store.
type Store interface {
	UpdateEndpoint(ctx context.Context, scope hook.Scope, id hook.ID, update func(old hook.Endpoint) (hook.Endpoint, error), discardHeld bool) (*hook.Endpoint, error)
	// Epoch is the number of this process among those that share the store.
	Epoch() int64
	// Nodes is how many of those there are.
	Nodes() int
}

// Hub knows the connected receivers. It is safe for concurrent use.
type Hub struct {
	store Store
	log   *slog.Logger

	mu       sync.Mutex
	closed   bool
	sessions map[hook.ID]*Session // by endpoint
	waiting  map[string]*Parcel   // handed over and not answered, by token
}

// New returns a hub. A nil logger stands for slog.Default.
func New(store Store, log *slog.Logger) *Hub {
	if log == nil {
		log = slog.Default()
	}
	return &Hub{store: store, log: log, sessions: map[hook.ID]*Session{}, waiting: map[string]*Parcel{}}
}

// Reason is a stable word for why the server ended a connection.
type Reason string

// The reasons.
const (
	Replaced Reason = "replaced"          // another connection took the name
	Stalled  Reason = "stalled"           // an answer was overdue
	Stopping Reason = "shutting_down"     // the server ends
	Revoked  Reason = "unauthorized"      // the key is not valid any more
	Disabled Reason = "endpoint_disabled" // by hand, by failures or by a 410
	Deleted  Reason = "endpoint_deleted"
	Left     Reason = "left" // the receiver went by itself
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

// Parcels gives what is to be handed to the receiver.
func (s *Session) Parcels() <-chan *Parcel { return s.parcels }

// Ended is closed when the server ended the session.
func (s *Session) Ended() <-chan struct{} { return s.ended }

// Reason says why; it is meaningless before Ended is closed.
func (s *Session) Reason() Reason { return s.reason }

// End ends the session; only the first reason counts.
func (s *Session) End(why Reason) {
	s.once.Do(func() {
		s.reason = why
		close(s.ended)
	})
}

// Parcel is one request on its way to a connected receiver.
type Parcel struct {
	Token    string // proves that an answer is from who was given the request
	Delivery hook.Delivery
	Request  egress.Request

	session *Session
	answer  chan Answer
}

// Answer is what the receiver says came of a request: a status with what goes with
// it, as in [egress.Response], or the class and the sentence of a failure.
type Answer struct {
	Status     int
	Headers    []byte // lines of "Name: value\n"
	Body       []byte
	Truncated  bool
	TimedOut   bool
	RetryAfter time.Duration
	Class      hook.Class // empty: there was an answer
	Message    string
}

// Attach makes a new session the one of its endpoint, ends the one before it, and
// enables the endpoint, which releases what was held. The caller must Detach the
// session.
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

// Detach forgets a session that is over. If no other took its place the endpoint
// is tripped: what waits for it and what comes is held.
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

// errAsItIs stops an update that would change nothing.
var errAsItIs = errors.New("as it is")

// record brings the endpoint's status in line with whether somebody listens. The
// store's writer asks for that inside its transaction, one update after the other,
// so the last word is always about the last change. What was disabled otherwise is
// left as it is when the receiver goes.
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

// away notes that nobody listens. If that fails (a full disk) the endpoint stays
// enabled, its next attempt finds nobody and notes it again.
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

// Forward hands a request to the connected receiver and returns its answer, or a
// *[egress.Failure] that the receiver reported. hook.ErrAway says that nobody is
// connected, or that the connection ended or went silent before the answer came.
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
		case a := <-p.answer: // it was taken in the last moment: whoever gave it was told so
			return a.result()
		default:
		}
	}
	return response, err
}

// carry gives the parcel to the session and waits.
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

// mark begins the tokens of this process.
func (h *Hub) mark() string { return strconv.FormatInt(h.store.Epoch(), 36) + "." }

// Answer gives the answer to the attempt that waits for it. An empty tenant of the
// scope means all of the mode. CodeWrongNode: the token is not of this process, and there
// are others. CodeNotFound: nobody waits, or somebody of another tenant or mode (S-09).
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
	p.answer <- a // never blocks: it has room for the one answer a token is good for
	return nil
}

// Close ends all sessions and refuses new ones. The endpoints are noted as away as
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
