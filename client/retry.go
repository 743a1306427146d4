package client

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

const (
	defaultAttempts = 4
	firstPause      = 200 * time.Millisecond
	longestPause    = 30 * time.Second // also the longest Retry-After that is honoured
)

// ErrPlainHTTP is returned by a call that would send the key unencrypted to another machine.
// Nothing was sent. Use https, or set [Client.AllowPlainHTTP].
var ErrPlainHTTP = errors.New("the key would be sent over plain http to a host that is not loopback; use https, or set AllowPlainHTTP")

// attempts returns the maximum number of times a request is sent.
func (c *Client) attempts() int {
	if c.Attempts <= 0 {
		return defaultAttempts
	}
	return c.Attempts
}

// newKey returns an Idempotency-Key for a request that creates an object, so that it can be
// retried. The key is empty if requests are sent only once.
func (c *Client) newKey() string {
	if c.attempts() == 1 {
		return ""
	}
	return rand.Text()
}

// again reports whether a failed request may be retried, and after how long. A 429 or 503
// means that the server did not carry out the request. A lost connection leaves that open,
// so only reads and requests with a key are retried after it.
func again(attempt int, err error, harmless bool) (time.Duration, bool) {
	// Exponential backoff with full jitter keeps many clients from returning at the same moment.
	pause := mathrand.N(min(firstPause<<min(attempt, 10), longestPause)) + time.Millisecond
	if p, ok := errors.AsType[*Problem](err); ok {
		if p.Status != http.StatusTooManyRequests && p.Status != http.StatusServiceUnavailable || p.RetryAfter > longestPause {
			return 0, false
		}
		return p.RetryAfter + pause, true
	}
	return pause, harmless && lost(err)
}

// lost reports whether the connection could not be established or broke. A rejected
// certificate does not count, because it would be rejected again.
func lost(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, network := errors.AsType[*net.OpError](err)
	return !certificate && (network || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF))
}

// pause waits for d and reports whether it did. It returns false if the context ends first,
// or at once if the context's deadline comes before the end of the wait.
func pause(ctx context.Context, d time.Duration) bool {
	if until, ok := ctx.Deadline(); ok && time.Until(until) <= d {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Check returns the errors that make every call fail before anything is sent: a URL that
// cannot be parsed, or [ErrPlainHTTP].
func (c *Client) Check() error {
	u, err := url.Parse(c.URL)
	if err != nil {
		return fmt.Errorf("read URL: %w", err)
	}
	return c.guarded(u)
}

// guarded returns an error if the key would be sent where others could read it.
func (c *Client) guarded(u *url.URL) error {
	if c.Key == "" || c.AllowPlainHTTP || u.Scheme != "http" || loopback(u.Hostname()) {
		return nil
	}
	return fmt.Errorf("%s: %w", u.Host, ErrPlainHTTP)
}

func loopback(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback() || host == "localhost" || strings.HasSuffix(host, ".localhost")
}
