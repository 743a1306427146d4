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
	// Headers are all of them but Host and Content-Length, sent in the spelling
	// given. A name may stand once.
	Headers []hook.Header
	// Body may be read for a moment after Post has returned, when the receiver
	// answered before it had read all. Its memory must not be used again.
	Body []byte
	// Endpoint is whose request it is: a connection is kept for further requests of
	// the same endpoint only.
	Endpoint hook.ID
	Timeout  time.Duration // from the lookup of the name to the last byte of the body; 0 means 30 s
}

// Response is what a receiver answered, whatever the status.
type Response struct {
	Status  int
	Headers []byte // lines of "Name: value\n", sorted by name, within MaxHeader
	Body    []byte // the first MaxBody bytes
	// Truncated says that the body is not whole: it was longer, it did not end
	// within the deadline, or the connection broke.
	Truncated bool
	// TimedOut says that the body was cut because the deadline passed.
	TimedOut bool
	// Repeated says that the request was sent twice, see [Client.Post].
	Repeated bool
	// RetryAfter is what the receiver asked for (RFC 9110 section 10.2.3), at most
	// a year; 0 if it did not.
	RetryAfter time.Duration
	// Address is that of the connection that the answer came on.
	Address netip.Addr
}

// Post sends the request and returns the answer of the receiver. Redirects and
// error statuses are answers. The error is always a *[Failure].
//
// A receiver may close a kept connection in the moment it is used again. If a kept
// connection ends without a byte of an answer, the request is sent once more, on a
// fresh connection and within the same deadline, and the result says so. Nothing
// else is repeated: the transport itself repeats nothing.
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
		// One without a body can always be repeated, and is if a header of the tenant's
		// calls it idempotent.
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

// read takes what is kept of an answer. The connection is used again only if the
// body ended by itself within the bound.
func (c *Client) read(res *http.Response) Response {
	out := Response{
		Status:     res.StatusCode,
		Headers:    headerLines(res.Header, c.opts.MaxHeader),
		RetryAfter: retryAfter(res.Header.Get("Retry-After"), c.opts.Now),
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusSwitchingProtocols || res.ContentLength == 0 {
		return out // after a 101, which nobody asked for, there is no HTTP body
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

// readUpTo fills buf. The error is io.EOF if the end came before buf was full, and
// nil if it was filled.
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

// headerLines writes a header as text. A line stays a line: the transport refuses
// answers with control characters in a header.
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

// retryAfter reads seconds or a date. What is neither, or past, is nothing.
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

// The phases of the dial that an attempt started.
const (
	phaseNone uint32 = iota
	phaseDNS
	phaseConnect
	phaseTLS
	phaseReady
)

// attempt is the context of one request. It travels with the transport's own
// contexts into the dial, which so learns the target and the deadline and notes how
// far it got.
type attempt struct {
	context.Context
	target   *address
	phase    atomic.Uint32
	kept     atomic.Bool // the request went out on a kept connection
	answered atomic.Bool // a byte of an answer came
	data     []byte
	body     *bytes.Reader // of data, the one in use; nil if there is none
	conn     net.Conn      // that the request went out on; nil: it did not
	dialled  atomic.Pointer[netip.Addr]
}

// address returns the address that the request went to, or that was dialled for it. It
// is the zero one if none was.
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

// Value returns the attempt for its key.
func (a *attempt) Value(key any) any {
	if key == (attemptKey{}) {
		return a
	}
	return a.Context.Value(key)
}

// request returns the request for a transport. It has neither GetBody nor a header
// or method that makes it idempotent: with them the transport would repeat it on one
// kept connection after the other. Its URL names the pool of connections; the host that
// is dialled and the Host header come from the target.
func (a *attempt) request(pool *url.URL, header http.Header) *http.Request {
	r := http.Request{
		Method:        http.MethodPost,
		URL:           pool,
		Host:          a.target.url.Host,
		Header:        header,
		ContentLength: int64(len(a.data)),
	}
	if len(a.data) > 0 {
		// It is of a type that the transport knows to be in memory: with any other it
		// would send the header in a packet of its own.
		a.body = bytes.NewReader(a.data)
		r.Body = io.NopCloser(a.body)
	}
	return r.WithContext(httptrace.WithClientTrace(a, &httptrace.ClientTrace{
		GotConn:              func(info httptrace.GotConnInfo) { a.kept.Store(info.Reused); a.conn = info.Conn },
		GotFirstResponseByte: func() { a.answered.Store(true) },
	}))
}

// staleConnection reports whether the request failed because the receiver had closed
// the kept connection that it went out on, as far as anybody can tell.
func (a *attempt) staleConnection(err error) bool {
	return a.kept.Load() && !a.answered.Load() && a.Err() == nil && !isTimeout(a, err)
}

// sent reports whether the transport had a connection and began to send. It may
// be called once RoundTrip has failed, which it does only after it has stopped
// reading the body.
func (a *attempt) sent() bool { return a.body != nil && a.body.Len() < len(a.data) }
