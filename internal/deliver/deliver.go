// Package deliver makes one attempt. It reads the endpoint's current snapshot, renders
// and signs the request with the delivery's profile, sends it through the guarded client
// and returns the result as a [hook.Outcome].
//
// It guarantees that no request is sent unsigned, that every retry of a delivery carries
// the same body, and that the status of a response alone decides whether it is a
// success. It neither schedules nor stores anything.
package deliver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
)

// Store returns what an attempt needs: the endpoint's current snapshot, and an event
// whose body is no longer in memory.
type Store interface {
	Endpoint(ctx context.Context, scope hook.Scope, id hook.ID) (*hook.Endpoint, error)
	Event(ctx context.Context, scope hook.Scope, id hook.ID) (*hook.Event, error)
}

// Profiles finds wire formats: by the hash of the exact text that a delivery was accepted
// with, or the current one by its name.
type Profiles interface {
	ByHash(hash hook.ProfileHash) (*profile.Profile, bool)
	Get(name string) (*profile.Profile, bool)
}

// Poster sends one request to an address that a tenant chose. Its error is a
// *[egress.Failure].
type Poster interface {
	Post(ctx context.Context, r egress.Request) (egress.Response, error)
}

// Listeners passes a request to the receiver that is connected for a listener.
// [hook.ErrAway] means that no receiver is connected, or that it disconnected before it
// answered; this is not an attempt. Any other error is a *[egress.Failure].
type Listeners interface {
	Forward(ctx context.Context, target *hook.Endpoint, d *hook.Delivery, r egress.Request) (egress.Response, error)
}

// Mailer sends an event to the e-mail address of an operational endpoint. ctx bounds the
// attempt. The outcome has Success, Status, Class and Message.
type Mailer interface {
	Mail(ctx context.Context, target *hook.Endpoint, event *hook.Event, delivery hook.ID) hook.Outcome
}

// Options configure a Sender. A zero value means the default given in the comment.
type Options struct {
	Store     Store
	Profiles  Profiles
	Poster    Poster
	Listeners Listeners                // nil: every listener is away
	Mailer    Mailer                   // nil: no mail is sent
	Now       func() time.Time         // time.Now
	Log       *slog.Logger             // slog.Default
	Sampled   func(event hook.ID) bool // whether traces of an event are recorded; nil: none are
	Loop      hook.Loop                // this installation's id, sent in every request; empty: none
}

// Sender makes attempts. It is safe for concurrent use.
type Sender struct {
	opts Options
	loop string // opts.Loop as a header value

	mu       sync.RWMutex
	prepared map[preparedKey]*prepared

	faults faults
}

// New returns a sender.
func New(o Options) *Sender {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &Sender{opts: o, loop: o.Loop.Value(), prepared: map[preparedKey]*prepared{}}
}

// Send makes the attempt. The outcome is Skipped if the endpoint no longer receives
// deliveries, if it is a listener that is away, if it is damaged and the schedule made
// the attempt, if the store cannot read it or its event, or if this machine is at fault.
func (s *Sender) Send(ctx context.Context, j hook.Job) hook.Outcome {
	d := &j.Delivery
	target, err := s.opts.Store.Endpoint(ctx, d.Scope, d.Endpoint)
	if err != nil {
		return s.skip("read endpoint", d, err)
	}
	if target.Status == hook.Deleted || target.Status != hook.Enabled && !j.Passes() {
		return hook.Outcome{Skipped: true}
	}
	start := s.opts.Now()
	if !target.MayGet(d.Event) { // a test event that was requested before the URL changed
		return hook.Outcome{StartedAt: start, Class: hook.ClassNotSent, Enablings: target.Enablings,
			Message: "The endpoint was not verified any more, so nothing was sent. Test it again when it is."}
	}
	if target.Damage != 0 {
		if j.Trigger == hook.BySchedule {
			return s.skip("endpoint is damaged: no attempt is made", d, errDamaged)
		}
		return s.notSent(target, nil, start, errDamaged) // a requested attempt shows that it failed
	}
	p, err := s.prepare(target, d.Profile, start)
	if err != nil {
		return s.notSent(target, p, start, err)
	}
	event := j.Event
	if event == nil {
		event, err = s.opts.Store.Event(ctx, d.Scope, d.Event)
		if hook.CodeOf(err) == hook.CodeInternal && err != nil && ctx.Err() == nil {
			return s.notSent(target, p, start, err) // damaged: an immediate retry would not help
		}
		if err != nil {
			return s.skip("read event", d, err)
		}
	}
	if !event.PayloadRemovedAt.IsZero() { // retention keeps what is needed: somebody changed the database
		return s.notSent(target, p, start, hook.PayloadGone(event.PayloadRemovedAt))
	}
	if target.Mail() {
		return s.mail(ctx, target, event, d, p, start)
	}
	in := profile.Input{Event: event, Delivery: d.ID, Attempt: d.Attempts + 1, Now: start,
		Sampled: s.opts.Sampled != nil && s.opts.Sampled(d.Event)}
	body := p.format.Render(make([]byte, 0, len(event.Data)+256), in)
	headers, err := p.format.Headers(make([]hook.Header, 0, 9+len(target.Headers)), in, body, p.signer)
	if err != nil {
		return s.notSent(target, p, start, err)
	}
	if s.opts.Loop != "" {
		headers = append(headers, hook.Header{Name: hook.LoopHeader, Value: s.loop})
	}
	if len(target.Headers) > 0 {
		headers = addCustom(headers, p.format.HeaderNames(), target.Headers)
	}
	answer, err := s.send(ctx, target, d, egress.Request{
		URL: target.URL, Headers: headers, Body: body, Timeout: p.policy.Timeout, Endpoint: target.ID,
	})
	if errors.Is(err, hook.ErrAway) {
		return hook.Outcome{Skipped: true}
	}
	if f, ok := errors.AsType[*egress.Failure](err); ok && f.Class.Ours() {
		return s.putOff(f)
	}
	o := hook.Outcome{
		StartedAt: start, Duration: s.opts.Now().Sub(start),
		Policy: &p.policy, Enablings: target.Enablings, DeliverAt: event.DeliverAt,
	}
	if err != nil {
		classify(&o, err)
	} else {
		judge(&o, answer, &p.policy)
	}
	if o.Repeated {
		o.Message = strings.TrimSpace(o.Message + " The endpoint had closed a kept connection without an answer, so the request was sent once more.")
	}
	return o
}

var errDamaged = errors.New("its secrets, its headers or the query of its URL cannot be opened")

// send sends the request: to an address, or to the connected receiver of a listener.
func (s *Sender) send(ctx context.Context, target *hook.Endpoint, d *hook.Delivery, r egress.Request) (egress.Response, error) {
	switch {
	case !target.Listener():
		return s.opts.Poster.Post(ctx, r)
	case s.opts.Listeners == nil:
		return egress.Response{}, hook.ErrAway
	}
	return s.opts.Listeners.Forward(ctx, target, d, r)
}

// mail makes the attempt by e-mail. The mail has a form of its own; the profile gives the
// policy.
func (s *Sender) mail(ctx context.Context, target *hook.Endpoint, event *hook.Event, d *hook.Delivery, p *prepared, start time.Time) hook.Outcome {
	if s.opts.Mailer == nil {
		return s.notSent(target, p, start, errNoMail)
	}
	limited, cancel := context.WithTimeout(ctx, p.policy.Timeout)
	defer cancel()
	o := s.opts.Mailer.Mail(limited, target, event, d.ID)
	o.StartedAt, o.Duration, o.Policy, o.Enablings = start, s.opts.Now().Sub(start), &p.policy, target.Enablings
	return o
}

var errNoMail = errors.New("the endpoint is an e-mail address, and the server was started without --smtp-url")

// addCustom adds the endpoint's custom headers. It omits those whose name the format
// uses, even if the format does not set that header in this request: a name may occur
// only once and must always mean the same.
func addCustom(headers []hook.Header, reserved []string, custom []hook.Header) []hook.Header {
	own := len(headers)
	for _, h := range custom {
		if !slices.ContainsFunc(headers[:own], func(o hook.Header) bool { return strings.EqualFold(o.Name, h.Name) }) &&
			!slices.ContainsFunc(reserved, func(name string) bool { return strings.EqualFold(name, h.Name) }) {
			headers = append(headers, h)
		}
	}
	return headers
}

func (s *Sender) skip(act string, d *hook.Delivery, err error) hook.Outcome {
	if hook.CodeOf(err) != hook.CodeNotFound && !errors.Is(err, context.Canceled) {
		s.opts.Log.Error(act, "delivery", d.ID, "endpoint", d.Endpoint, "error", err)
	}
	return hook.Outcome{Skipped: true}
}

// notSent returns the outcome of a request that could not be built, because a secret, a
// profile or the event cannot be used. It counts as an attempt, so that the reason is
// shown and the retry policy continues.
func (s *Sender) notSent(target *hook.Endpoint, p *prepared, start time.Time, err error) hook.Outcome {
	s.opts.Log.Error("build request", "endpoint", target.ID, "profile", target.Profile, "error", err)
	o := hook.Outcome{
		StartedAt: start, Class: hook.ClassNotSent, Enablings: target.Enablings,
		Message: "The request could not be built, so nothing was sent. The operator's log names the cause.",
		Policy:  &hook.Policy{Retry: hook.Retry{First: time.Minute, Factor: 2, Cap: time.Hour}},
	}
	if p != nil {
		o.Policy = &p.policy
	}
	return o
}

// judge sets the outcome from the receiver's response. The status alone decides whether
// it is a success.
func judge(o *hook.Outcome, a egress.Response, p *hook.Policy) {
	o.Status = a.Status
	o.ResponseHeaders, o.ResponseBody, o.Truncated = a.Headers, a.Body, a.Truncated
	o.RetryAfter, o.Repeated, o.Address, o.Timing = a.RetryAfter, a.Repeated, a.Address, a.Timing
	o.Success = p.Success.Has(a.Status)
	switch {
	case o.Success && a.TimedOut:
		o.Class = hook.ClassTruncated
		o.Message = fmt.Sprintf("The endpoint answered %d in time, but its body was still coming when the time was up.", a.Status)
	case o.Success:
	case a.Status >= 300 && a.Status < 400:
		o.Class = hook.ClassRedirect
		o.Message = fmt.Sprintf("The endpoint answered %d. Redirects are not followed; set the endpoint's URL to the final address.", a.Status)
	case a.Status == http.StatusGone && p.GoneDisables:
		o.Class = hook.ClassGone
		o.Message = "The endpoint answered 410 Gone and is disabled. Enable it again when it is back."
	case a.Status >= 200 && a.Status < 300:
		o.Class = hook.ClassStatus
		o.Message = fmt.Sprintf("The endpoint answered %d, which its profile does not count as success. Answer %s.", a.Status, words(p.Success))
	default:
		o.Class = hook.ClassStatus
		o.Message = fmt.Sprintf("The endpoint answered %d.", a.Status)
	}
}

// words returns a set of statuses as text for a sentence.
func words(set hook.StatusSet) string {
	text := ""
	for i, r := range set {
		if i > 0 {
			text += " or "
		}
		if r.From == r.To {
			text += fmt.Sprint(r.From)
		} else {
			text += fmt.Sprintf("%d to %d", r.From, r.To)
		}
	}
	return text
}

// classify sets the class and message of an attempt without a response.
func classify(o *hook.Outcome, err error) {
	o.Class, o.Message = hook.ClassConnectFailed, "The connection failed."
	if f, ok := errors.AsType[*egress.Failure](err); ok {
		o.Class, o.Message, o.Repeated, o.Address, o.Timing = f.Class, f.Message, f.Repeated, f.Address, f.Timing
	}
}
