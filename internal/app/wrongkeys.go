package app

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// wrongKeyWindow is the period in which requests without a valid key are counted.
const wrongKeyWindow = time.Minute

// maxAddresses bounds the number of addresses with a counter of their own.
const maxAddresses = 10_000

// WrongKey counts a request without a valid key from the address. Up to
// Options.WrongKeys such requests per minute it returns nil. Beyond that it returns
// CodeRateLimited with RetryAfter, which replaces CodeUnauthorized in the response.
// first is true once a minute for an address: that request is the one to log.
//
// Requests with a valid key are never counted or refused, so nobody can lock out others
// who share the address. IPv6 addresses count by /64.
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

// Site returns the part of an address that belongs to one party: the whole of an IPv4
// address, the /64 of an IPv6 address.
func Site(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	site, _ := addr.Prefix(bits) // fails only for the zero address, which is a site of its own
	return site
}

// failures counts the requests of one site since a time.
type failures struct {
	since time.Time
	n     int
}

// over reports whether the window has ended. It also ends if the clock is set back.
func (f *failures) over(now time.Time) bool {
	return now.Before(f.since) || now.Sub(f.since) >= wrongKeyWindow
}

// knocks holds the failures by site. It is safe for concurrent use. Its size is
// bounded: sites beyond the bound share one counter.
type knocks struct {
	// evict makes room for a new site by forgetting another, so that many sites do not
	// exhaust the shared counter of callers who have done nothing wrong.
	evict bool

	mu    sync.Mutex
	in    map[netip.Prefix]*failures
	swept time.Time // when sweep last ran
}

// count adds a request of the site. It returns the number of requests in the current
// window and the time until the window ends.
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
		switch {
		case len(k.in) < maxAddresses:
		case k.evict:
			for other := range k.in {
				delete(k.in, other)
				break
			}
		default:
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

// so returns the number of requests of the site so far in the current window.
func (k *knocks) so(site netip.Prefix, now time.Time) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	if f := k.in[site]; f != nil && !f.over(now) {
		return f.n
	}
	return 0
}

// sweep removes ended windows. It scans all of them, so it runs at most once a second.
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
