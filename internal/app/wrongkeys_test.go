package app

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// guarded returns a service that counts wrong keys with the test's clock.
func guarded(limit int, now *time.Time) *Service {
	return &Service{o: Options{WrongKeys: limit, Now: func() time.Time { return *now }}}
}

// fail makes requests without a valid key. It returns how many were refused because of
// their number, and how many of those are to be logged.
func fail(t *testing.T, s *Service, address string, times int) (refused, logged int) {
	t.Helper()
	for range times {
		err, first := s.WrongKey(netip.MustParseAddr(address))
		if err != nil {
			refused++
			if hook.CodeOf(err) != hook.CodeRateLimited || err.RetryAfter <= 0 || err.RetryAfter > time.Minute || !hook.Logged(err) {
				t.Errorf("%s: %+v", address, err)
			}
		}
		if first {
			logged++
		}
	}
	return refused, logged
}

func TestWrongKeysAreCountedByAddress(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	s := guarded(20, &now)
	for _, step := range []struct {
		what, address           string
		after                   time.Duration
		times, refused, logging int
	}{
		{"up to the limit", "192.0.2.1", 0, 20, 0, 0},
		{"beyond it", "192.0.2.1", 10 * time.Second, 5, 5, 1},
		{"the same in another spelling", "::ffff:192.0.2.1", 0, 1, 1, 0},
		{"a neighbour", "192.0.2.2", 0, 20, 0, 0},
		{"IPv6", "2001:db8:1:2::1", 0, 20, 0, 0},
		{"its /64", "2001:db8:1:2:ffff::9", 0, 2, 2, 1},
		{"another /64", "2001:db8:1:3::1", 0, 20, 0, 0},
		{"just before the minute is over", "192.0.2.1", 49 * time.Second, 1, 1, 0},
		{"after it", "192.0.2.1", time.Second, 21, 1, 1},
		{"after the clock was set back", "192.0.2.1", -time.Hour, 20, 0, 0},
	} {
		now = now.Add(step.after)
		if refused, logged := fail(t, s, step.address, step.times); refused != step.refused || logged != step.logging {
			t.Errorf("%s: %d refused, %d logged", step.what, refused, logged)
		}
	}
	if refused, _ := fail(t, guarded(0, &now), "192.0.2.1", 100); refused != 0 { // control
		t.Errorf("without a limit %d are refused", refused)
	}
}

// The table stays within its bound for any number of addresses. Addresses beyond the
// bound are counted together. A minute later there is room again.
func TestTableOfWrongKeysIsBounded(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	s := guarded(20, &now)
	site := func(n int) string {
		b := [16]byte{0x20, 0x01}
		binary.BigEndian.PutUint32(b[4:], uint32(n))
		return netip.AddrFrom16(b).String()
	}
	refused := 0
	for n := range maxAddresses + 1000 {
		r, _ := fail(t, s, site(n), 1)
		refused += r
	}
	if len(s.wrongKeys.in) > maxAddresses+1 || refused != 1000-20 {
		t.Errorf("%d addresses kept, %d refused", len(s.wrongKeys.in), refused)
	}
	now = now.Add(time.Minute)
	if r, _ := fail(t, s, site(maxAddresses+2000), 20); r != 0 || len(s.wrongKeys.in) != 1 {
		t.Errorf("a minute later: %d refused, %d addresses kept", r, len(s.wrongKeys.in))
	}
}

// Where callers need no key, many sites make room for others and share no counter.
func TestManySitesDoNotExhaustPublicKeys(t *testing.T) {
	now := time.Now()
	open, shared := knocks{evict: true}, knocks{}
	for n := range maxAddresses + 1000 {
		open.count(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 32), now)
		shared.count(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 32), now)
	}
	fresh := netip.MustParsePrefix("203.0.113.7/32")
	if n, _ := open.count(fresh, now); n != 1 || len(open.in) != maxAddresses {
		t.Errorf("request %d of a new site, %d sites are kept", n, len(open.in))
	}
	if n, _ := shared.count(fresh, now); n <= 1000 {
		t.Errorf("control: with a shared counter it was request %d", n)
	}
}
