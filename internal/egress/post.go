package egress

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// Request is one POST.
type Request struct {
	URL string // as Admit returned it
	// Headers are all headers except Host and Content-Length. They are sent with the
	// given spelling. A name may occur only once.
	Headers []hook.Header
	// Body may still be read after Post has returned, if the receiver answered before it
	// had read all of it. The caller must not modify or reuse its memory.
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
}

// Post sends the request and returns the receiver's response. Redirects and error
// statuses are responses, too. The error is always a *[Failure].
//
// A receiver may close a kept connection at the moment when it is used again. If a kept
// connection ends without a byte of a response, Post sends the request once more, on a
// fresh connection and within the same deadline, and sets Repeated in the result. Nothing
// else is repeated; the transport itself repeats nothing.
func (c *Client) Post(ctx context.Context, r Request) (Response, error) {
	target, refusal := c.parsed(r.URL, r.Endpoint)
	if refusal != nil {
		return Response{}, &Failure{Class: hook.ClassURLRefused, Message: refusal.Message}
	}
	header, err := outgoing(r.Headers)
	if err != nil {
		return Response{}, &Failure{Class: hook.ClassNotSent, Message: "The request was not sent: " + err.Error() + "."}
	}
	if r.Timeout <= 0 {
		r.Timeout = defaultTimeout
	}
	limited, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	a := &attempt{Context: limited, target: target, data: r.Body}
	transport := c.transport
	if len(r.Body) == 0 {
		// The transport can always repeat a request without a body, and does so if a
		// custom header marks it as idempotent.
		transport = c.fresh
	}
	pool := c.pool(target)
	res, err := transport.RoundTrip(a.request(pool, header))
	repeated := err != nil && a.staleConnection(err)
	if repeated {
		a = &attempt{Context: limited, target: target, data: r.Body}
		res, err = c.fresh.RoundTrip(a.request(pool, header))
	}
	if err != nil {
		f := a.classify(ctx, err)
		if !errors.Is(ctx.Err(), context.Canceled) {
			f = c.attribute(target.host, f)
		}
		said := *f
		if said.Message == wantsCertificate && c.opts.ClientCertificate != nil {
			said.Message = otherCertificate
		}
		said.Repeated, said.Address = repeated, a.address()
		return Response{}, &said
	}
	c.reach.note(target.host, false)
	out := c.read(res)
	out.Repeated, out.Address = repeated, a.address()
	return out, nil
}

// read reads the part of a response that is kept. The connection is reused only if the
// body ended within the bound.
func (c *Client) read(res *http.Response) Response {
	out := Response{
		Status:     res.StatusCode,
		Headers:    headerLines(res.Header, c.opts.MaxHeader),
		RetryAfter: retryAfter(res.Header.Get("Retry-After"), c.opts.Now),
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusSwitchingProtocols || res.ContentLength == 0 {
		return out // after an unrequested 101 there is no HTTP body
	}
	buf := c.buffers.Get().(*[]byte)
	defer c.buffers.Put(buf)
	n, err := readUpTo(res.Body, *buf)
	if n > c.opts.MaxBody {
		n = c.opts.MaxBody
	}
	out.Truncated = !errors.Is(err, io.EOF)
	out.TimedOut = errors.Is(err, context.DeadlineExceeded)
	if n > 0 {
		out.Body = slices.Clone((*buf)[:n])
	}
	return out
}

// readUpTo fills buf. The error is nil if buf was filled, and io.EOF if the data ended
// before.
func readUpTo(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = r.Read(buf[n:])
		n += m
	}
	if n == len(buf) {
		return n, nil
	}
	return n, err
}

// headerLines returns a header as text. A value cannot start a new line, because the
// transport refuses responses with control characters in a header.
func headerLines(h http.Header, limit int) []byte {
	type line struct{ name, value string }
	lines := make([]line, 0, len(h))
	size := 0
	for name, values := range h {
		for _, value := range values {
			lines = append(lines, line{name, value})
			size += len(name) + len(value) + 3
		}
	}
	slices.SortStableFunc(lines, func(a, b line) int { return cmp.Compare(a.name, b.name) })
	out := make([]byte, 0, min(size, limit))
	for _, l := range lines {
		if len(out)+len(l.name)+len(l.value)+3 > limit {
			break
		}
		out = append(out, l.name...)
		out = append(out, ": "...)
		out = append(out, l.value...)
		out = append(out, '\n')
	}
	return out
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

// The phases of a dial that an attempt starts.
const (
	phaseNone uint32 = iota
	phaseDNS
	phaseConnect
	phaseTLS
	phaseReady
)

// attempt is the context of one request. The transport passes it to the dial through its
// own contexts. The dial gets the target and the deadline from it and records its phase
// there.
type attempt struct {
	context.Context
	target   *address
	phase    atomic.Uint32
	kept     atomic.Bool // the request was sent on a kept connection
	answered atomic.Bool // a byte of a response was received
	data     []byte
	body     *bytes.Reader // the reader of data in use; nil: none
	conn     net.Conn      // the request's connection; nil: it got none
	dialled  atomic.Pointer[netip.Addr]
}

// address returns the remote address of the request's connection, or else the address
// that was dialled for it. It returns the zero Addr if there is none.
func (a *attempt) address() netip.Addr {
	if a.conn != nil {
		if tcp, ok := a.conn.RemoteAddr().(*net.TCPAddr); ok {
			return tcp.AddrPort().Addr()
		}
	}
	if to := a.dialled.Load(); to != nil {
		return *to
	}
	return netip.Addr{}
}

type attemptKey struct{}

// Value returns the attempt for attemptKey.
func (a *attempt) Value(key any) any {
	if key == (attemptKey{}) {
		return a
	}
	return a.Context.Value(key)
}

// request returns the request for a transport. It has no GetBody, and no header or
// method that makes it idempotent. Otherwise the transport would repeat it on one kept
// connection after another. Its URL names the pool of connections. The dialled host and
// the Host header come from the target.
func (a *attempt) request(pool *url.URL, header http.Header) *http.Request {
	r := http.Request{
		Method:        http.MethodPost,
		URL:           pool,
		Host:          a.target.url.Host,
		Header:        header,
		ContentLength: int64(len(a.data)),
	}
	if len(a.data) > 0 {
		// The transport knows that a bytes.Reader is in memory. With any other type it
		// would send the header in a separate packet.
		a.body = bytes.NewReader(a.data)
		r.Body = io.NopCloser(a.body)
	}
	return r.WithContext(httptrace.WithClientTrace(a, &httptrace.ClientTrace{
		GotConn:              func(info httptrace.GotConnInfo) { a.kept.Store(info.Reused); a.conn = info.Conn },
		GotFirstResponseByte: func() { a.answered.Store(true) },
	}))
}

// staleConnection reports whether the request failed because the receiver had closed the
// kept connection, as far as can be determined.
func (a *attempt) staleConnection(err error) bool {
	return a.kept.Load() && !a.answered.Load() && a.Err() == nil && !isTimeout(a, err)
}

// sent reports whether the transport had a connection and began to send. It may be
// called after RoundTrip has failed, because RoundTrip returns an error only after it
// has stopped reading the body.
func (a *attempt) sent() bool { return a.body != nil && a.body.Len() < len(a.data) }
