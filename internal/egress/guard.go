package egress

import (
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
)

// guard decides which addresses may be dialled: those that the table permits, with the
// operator's exceptions.
type guard struct {
	allowLocal bool
	networks   []netip.Prefix                   // allowed
	denied     []netip.Prefix                   // takes precedence over what is allowed
	self       atomic.Pointer[[]netip.AddrPort] // where this process listens
	proxy      *Proxy                           // nil: none
}

func newGuard(allowLocal bool, networks, denied []netip.Prefix) *guard {
	return &guard{allowLocal: allowLocal, networks: unmapped(networks), denied: unmapped(denied)}
}

// unmapped converts prefixes as [netip.Addr.Unmap] converts addresses, so that they can
// be compared.
func unmapped(prefixes []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range prefixes {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		out = append(out, p.Masked())
	}
	return out
}

// check returns the rule that refuses the destination, or "". The process's own
// listeners, its proxy and denied networks are refused even if an option allows them. An
// address that carries an IPv4 address is checked as both, because a translator on the
// path would connect to the IPv4 address.
func (g *guard) check(to netip.AddrPort) string {
	addr := to.Addr()
	if addr.Zone() != "" {
		return ruleZone
	}
	addr = addr.Unmap()
	inside := carried(addr)
	for _, a := range append(inside, addr) {
		if g.isSelf(a, to.Port()) {
			return ruleSelf
		}
		if g.proxy.is(a, to.Port()) {
			return ruleProxy
		}
		for _, p := range g.denied {
			if p.Contains(a) {
				return denyNetwork + p.String()
			}
		}
	}
	rule := g.judge(addr)
	for _, a := range inside {
		if rule == "" {
			rule = g.judge(a)
		}
	}
	return rule
}

// judge returns the rule of the table that refuses the address, or "" if none does or an
// option allows the address.
func (g *guard) judge(addr netip.Addr) string {
	if g.allowLocal && addr.IsLoopback() {
		return ""
	}
	for _, p := range g.networks {
		if p.Contains(addr) {
			return ""
		}
	}
	return refusedBy(addr)
}

// isSelf reports whether a connection there would end in this process.
func (g *guard) isSelf(addr netip.Addr, port uint16) bool {
	own := g.self.Load()
	if own == nil {
		return false
	}
	for _, l := range *own {
		if l.Port() != port {
			continue
		}
		// A dial to the unspecified address reaches this host, and a listener on the
		// unspecified address accepts connections to all loopback addresses.
		if l.Addr() == addr || addr.IsUnspecified() || l.Addr().IsUnspecified() && addr.IsLoopback() {
			return true
		}
	}
	return false
}

// setSelf sets the addresses of the process's listeners. A listener on all interfaces
// means every address that this host has now.
func (g *guard) setSelf(listeners []netip.AddrPort) error {
	var own []netip.AddrPort
	for _, l := range listeners {
		addr := l.Addr().Unmap().WithZone("")
		own = append(own, netip.AddrPortFrom(addr, l.Port()))
		if !addr.IsUnspecified() {
			continue
		}
		hosts, err := net.InterfaceAddrs()
		if err != nil {
			return fmt.Errorf("list own addresses: %w", err)
		}
		for _, host := range hosts {
			if p, err := netip.ParsePrefix(host.String()); err == nil {
				own = append(own, netip.AddrPortFrom(p.Addr().Unmap().WithZone(""), l.Port()))
			}
		}
	}
	g.self.Store(&own)
	return nil
}
