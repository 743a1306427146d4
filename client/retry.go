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
	longestPause    = 30 * time.Second // also of what Retry-After asks for
)

// ErrPlainHTTP is the error of a call that would send the key unencrypted to another
// machine. Nothing was sent. Use https, or set [Client.AllowPlainHTTP].
var ErrPlainHTTP = errors.New("the key would be sent over plain http to a host that is not loopback; use https, or set AllowPlainHTTP")

// attempts returns how often a call may be made.
func (c *Client) attempts() int {
	if c.Attempts <= 0 {
		return defaultAttempts
	}
	return c.Attempts
}

// newKey returns an Idempotency-Key for a call that makes something, so that the
// call can be repeated. It is empty if calls are made once.
func (c *Client) newKey() string {
	if c.attempts() == 1 {
		return ""
	}
	return rand.Text()
}

// again reports whether a failed call may be made once more, and after how long.
// 429 and 503 say that the server did not do it. A lost connection says nothing, so
// only calls that can be repeated without harm are: reads, and those with a key.
func again(attempt int, err error, harmless bool) (time.Duration, bool) {
	// Exponential with full jitter, so that many clients do not come back together.
	pause := mathrand.N(min(firstPause<<min(attempt, 10), longestPause)) + time.Millisecond
	if p, ok := errors.AsType[*Problem](err); ok {
		if p.Status != http.StatusTooManyRequests && p.Status != http.StatusServiceUnavailable || p.RetryAfter > longestPause {
			return 0, false
		}
		return p.RetryAfter + pause, true
	}
	return pause, harmless && lost(err)
}

// lost reports whether the connection could not be made or broke. A refused
// certificate and the like would be refused again.
func lost(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, network := errors.AsType[*net.OpError](err)
	return !certificate && (network || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF))
}

// pause waits, unless the context ends first or could not last until then.
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

// Check reports what every call would be refused for before anything is sent: a URL
// that cannot be read, or [ErrPlainHTTP].
func (c *Client) Check() error {
	u, err := url.Parse(c.URL)
	if err != nil {
		return fmt.Errorf("read URL: %w", err)
	}
	return c.guarded(u)
}

// guarded refuses to send a key where others could read it.
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
