package app

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// wrongKeyWindow is the time in which requests without a valid key are counted.
const wrongKeyWindow = time.Minute

// maxAddresses bounds the addresses that are counted one by one.
const maxAddresses = 10_000

// WrongKey counts a request from the address that came without a valid key. Beyond
// Options.WrongKeys in a minute it returns CodeRateLimited, with RetryAfter, to be
// answered in place of CodeUnauthorized; nil before. first is true once a minute for an
// address: that is the one to log.
//
// It knows nothing of requests with a valid key, so nobody can lock out others who
// come from the same address. IPv6 addresses count by /64.
func (s *Service) WrongKey(from netip.Addr) (refused *hook.Error, first bool) {
	if s.o.WrongKeys <= 0 {
		return nil, false
	}
	n, left := s.wrongKeys.count(Site(from), s.o.Now())
	if n <= s.o.WrongKeys {
		return nil, false
	}
	return &hook.Error{Code: hook.CodeRateLimited, RetryAfter: left, Logged: true, Message: fmt.Sprintf(
		"More than %d requests without a valid key came from your address within a minute. Requests with a valid key are served. Check the key, or wait %d s.",
		s.o.WrongKeys, (left+time.Second-1)/time.Second)}, n == s.o.WrongKeys+1
}

// Site is the part of an address that one party has to itself: all of IPv4, the /64
// of IPv6.
func Site(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	site, _ := addr.Prefix(bits) // fails for the zero address only, which is a site of its own
	return site
}

// failures are the requests without a valid key of one site since a time.
type failures struct {
	since time.Time
	n     int
}

// over reports whether they no longer count. A clock that was set back ends them too.
func (f *failures) over(now time.Time) bool {
	return now.Before(f.since) || now.Sub(f.since) >= wrongKeyWindow
}

// knocks are the failures by site. They are safe for concurrent use, and their number
// is bounded: sites that find no room are counted together.
type knocks struct {
	mu    sync.Mutex
	in    map[netip.Prefix]*failures
	swept time.Time // when those that are over were last looked for
}

// count adds a failure. It returns how many there were since the first of the last
// minute, and how long until they are forgotten.
func (k *knocks) count(site netip.Prefix, now time.Time) (n int, left time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.in == nil {
		k.in = map[netip.Prefix]*failures{}
	}
	f := k.in[site]
	if f == nil {
		if len(k.in) >= maxAddresses {
			k.sweep(now)
		}
		if len(k.in) >= maxAddresses {
			site = netip.Prefix{}
		}
		if f = k.in[site]; f == nil {
			f = &failures{since: now}
			k.in[site] = f
		}
	}
	if f.over(now) {
		*f = failures{since: now}
	}
	f.n++
	return f.n, f.since.Add(wrongKeyWindow).Sub(now)
}

// sweep forgets what is over, once a second at most, as it looks at all of it.
func (k *knocks) sweep(now time.Time) {
	if since := now.Sub(k.swept); since >= 0 && since < time.Second {
		return
	}
	k.swept = now
	for site, f := range k.in {
		if f.over(now) {
			delete(k.in, site)
		}
	}
}
