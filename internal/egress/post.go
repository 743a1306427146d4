package egress

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// Request is one POST.
type Request struct {
	URL string // as Admit returned it
	// Headers are all headers except Host and Content-Length. They are sent with the
	// given spelling. A name may occur only once.
	Headers []hook.Header
	// Body must not be modified before Post has returned.
	Body []byte
	// Endpoint owns the request. A kept connection is used for requests of the same
	// endpoint only.
	Endpoint hook.ID
	Timeout  time.Duration // from name lookup to the last byte of the body; 0 means 30 s
}

// Response is a receiver's response, whatever its status.
type Response struct {
	Status  int
	Headers []byte // lines of "Name: value\n", sorted by name, within MaxHeader
	Body    []byte // the first MaxBody bytes
	// Truncated reports whether the body is incomplete: it was longer, it did not end
	// before the deadline, or the connection broke.
	Truncated bool
	// TimedOut reports whether the body is incomplete because the deadline passed.
	TimedOut bool
	// Repeated reports whether the request was sent twice. See [Client.Post].
	Repeated bool
	// RetryAfter is the value of the Retry-After header (RFC 9110 section 10.2.3), at
	// most a year. 0 means none.
	RetryAfter time.Duration
	// Address is the remote address of the connection on which the response came.
	Address netip.Addr
	Timing  hook.Timing
}

// Post sends the request and returns the receiver's response. Redirects and error
// statuses are responses, too. The error is always a *[Failure].
//
// A receiver may close a kept connection at the moment when it is used again. If a kept
// connection ends without a byte of a response, Post sends the request once more, on a
// fresh connection and within the same deadline, and sets Repeated in the result. Nothing
// else is repeated.
func (c *Client) Post(ctx context.Context, r Request) (Response, error) {
	target, refusal := c.parsed(r.URL, r.Endpoint)
	if refusal != nil {
		return Response{}, &Failure{Class: hook.ClassURLRefused, Message: refusal.Message}
	}
	s := c.scratch.Get().(*scratch)
	defer c.release(s)
	if err := s.request(target, r.Headers, len(r.Body)); err != nil {
		return Response{}, &Failure{Class: hook.ClassNotSent, Message: "The request was not sent: " + err.Error() + "."}
	}
	if r.Timeout <= 0 {
		r.Timeout = defaultTimeout
	}
	a := &attempt{caller: ctx, deadline: time.Now().Add(r.Timeout), target: target, data: r.Body, scratch: s}
	if sooner, ok := ctx.Deadline(); ok && sooner.Before(a.deadline) {
		a.deadline = sooner
	}
	of, period := target.origin(), c.period(target)
	repeated := false
	w := c.kept.take(of, period, a.deadline)
	a.timing.Reused = w != nil
	out, err := c.try(a, w, of, period)
	if err != nil && a.staleConnection(err) {
		repeated = true
		a = &attempt{caller: ctx, deadline: a.deadline, target: target, data: r.Body, scratch: s}
		out, err = c.try(a, nil, of, period)
	}
	if err != nil {
		f := a.classify(err)
		if !a.cancelled() {
			f = c.attribute(target.host, f)
		}
		said := *f
		if said.Message == wantsCertificate && c.opts.ClientCertificate != nil {
			said.Message = otherCertificate
		}
		said.Repeated, said.Address, said.Timing = repeated, a.address, a.timing
		return Response{}, &said
	}
	c.reach.note(target.host, false)
	out.Repeated, out.Address, out.Timing = repeated, a.address, a.timing
	return out, nil
}

// try sends the request on a kept connection, or on a new one, and reads the response. It
// keeps the connection if it can be used again.
func (c *Client) try(a *attempt, w *wire, of origin, period int64) (Response, error) {
	if w == nil {
		conn, err := c.dial(a)
		if err != nil {
			return Response{}, err
		}
		w = newWire(conn, a.address, of, period)
	}
	a.address = w.address
	out, again, err := c.exchange(a, w)
	if again && period == c.period(a.target) {
		c.kept.put(w)
	} else {
		w.Close()
	}
	return out, err
}

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// exchange sends the request and reads the response. It reports whether the connection
// can be used again. The error says why there is no response.
func (c *Client) exchange(a *attempt, w *wire) (out Response, again bool, err error) {
	if err := w.SetDeadline(a.deadline); err != nil {
		return Response{}, false, err
	}
	stop := context.AfterFunc(a.caller, func() { _ = w.SetDeadline(longAgo) })
	defer func() { again = stop() && again }()

	begun := time.Now()
	written, err := a.send(w)
	if err != nil {
		return Response{}, false, err
	}
	in := &a.scratch.in
	in.reset(w, c.opts.MaxHeader)
	h, err := in.head()
	if a.answered = !in.since.IsZero(); a.answered {
		a.timing.FirstByte = in.since.Sub(begun)
	}
	if err != nil {
		w.Close() // the request may still be being sent
		written.all()
		return Response{}, false, err
	}
	out = Response{Status: h.status, RetryAfter: retryAfter(h.get("Retry-After"), c.opts.Now)}
	out.Headers = headerLines(h.lines, c.opts.MaxHeader)
	n, err := in.body(&h, a.scratch.body)
	out.Truncated = !errors.Is(err, io.EOF)
	out.TimedOut = errors.Is(err, os.ErrDeadlineExceeded) && !a.cancelled()
	if n = min(n, c.opts.MaxBody); n > 0 {
		out.Body = slices.Clone(a.scratch.body[:n])
	}
	again = !h.close && !out.Truncated && in.r == in.w && written.soon()
	if !again {
		w.Close()
		written.all()
	}
	return out, again, nil
}

// retryAfter parses seconds or a date. It returns 0 for other values and past dates.
func retryAfter(value string, now func() time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds > int64(longestRetryFor/time.Second) {
			return longestRetryFor
		}
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now()), 0), longestRetryFor)
}

// The phases of a dial.
const (
	phaseNone = iota
	phaseDNS
	phaseConnect
	phaseTLS
	phaseReady
)

// attempt is one request on one connection.
type attempt struct {
	caller   context.Context
	deadline time.Time
	target   *address
	data     []byte // the body
	scratch  *scratch

	phase    int
	timing   hook.Timing
	sent     bool       // it was being sent
	answered bool       // a byte of a response was received
	address  netip.Addr // of the connection, or that was dialled for it; zero: none
}

// context returns a context for the dial. It ends at the deadline.
func (a *attempt) context() (context.Context, context.CancelFunc) {
	return context.WithDeadline(a.caller, a.deadline)
}

// over reports whether the deadline has passed.
func (a *attempt) over() bool { return !time.Now().Before(a.deadline) }

// cancelled reports whether the caller has cancelled the attempt.
func (a *attempt) cancelled() bool { return errors.Is(a.caller.Err(), context.Canceled) }

// staleConnection reports whether the request failed because the receiver had closed the
// kept connection, as far as can be determined.
func (a *attempt) staleConnection(err error) bool {
	return a.timing.Reused && !a.answered && a.caller.Err() == nil && !a.timedOut(err)
}
