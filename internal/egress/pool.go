package egress

import (
	"fmt"
	"hash/maphash"
	"net/url"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// pool identifies the connections that an endpoint may use in one period. The transport
// keeps connections by the host of the URL. When the period is over, requests use a new
// pool. Requests in progress finish on their connections. Connections in the old pool
// are closed after they have been idle for idleTimeout. So a connection is closed
// between attempts and never during one.
type pool struct {
	number int64 // of the period
	url    *url.URL
}

// pool returns the URL of the pool for a request to the address now.
func (c *Client) pool(a *address) *url.URL {
	number := int64(0)
	if a.period > 0 {
		number = int64((time.Since(c.started) + a.phase) / a.period)
	}
	if p := a.pooled.Load(); p != nil && p.number == number {
		return p.url
	}
	u := *a.url
	u.Host = fmt.Sprintf("%x.%d.%s:%d", a.endpoint, number, strings.ReplaceAll(a.host, ":", "-"), a.port)
	a.pooled.Store(&pool{number, &u})
	return &u
}

// periods returns how long the connections of an endpoint may be used, which is up to a
// fifth less than MaxAge, and how much of the first period was over when the client was
// created. Both differ by endpoint and process, so that connections to one host are not
// all closed at once. Zero: connections may be used for any time.
func (c *Client) periods(endpoint hook.ID) (period, phase time.Duration) {
	if c.opts.MaxAge < 0 {
		return 0, 0
	}
	random := maphash.Comparable(c.seed, endpoint)
	share := func(of time.Duration, bits uint64) time.Duration {
		return time.Duration(float64(of) * float64(bits&0xffffffff) / (1 << 32))
	}
	period = max(c.opts.MaxAge-share(c.opts.MaxAge/5, random), 1)
	return period, share(period, random>>32)
}
