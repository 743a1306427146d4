package egress

import (
	"hash/maphash"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// period returns the number of the endpoint's current period. A connection is used in the
// period in which it was opened. A request in progress finishes on its connection, so a
// connection is closed between attempts and never during one.
func (c *Client) period(a *address) int64 {
	if a.period == 0 {
		return 0
	}
	return int64((time.Since(c.started) + a.phase) / a.period)
}

// origin returns which connections may carry the requests to the address.
func (a *address) origin() origin {
	return origin{a.endpoint, a.scheme == "https", a.host, a.port}
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
