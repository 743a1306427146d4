package egress

import (
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
)

// guard decides which addresses may be dialled. Only what the operator relaxed
// differs from the table.
type guard struct {
	allowLocal bool
	networks   []netip.Prefix
	self       atomic.Pointer[[]netip.AddrPort] // where this process listens
}

func newGuard(allowLocal bool, networks []netip.Prefix) *guard {
	g := &guard{allowLocal: allowLocal}
	for _, p := range networks {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		g.networks = append(g.networks, p.Masked())
	}
	return g
}

// check returns the rule that refuses the destination, or "". The process's own
// listeners come before every way round the table.
func (g *guard) check(to netip.AddrPort) string {
	addr := to.Addr()
	if addr.Zone() != "" {
		return ruleZone
	}
	addr = addr.Unmap()
	if g.isSelf(addr, to.Port()) {
		return ruleSelf
	}
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
		// A dial to the unspecified address reaches this host, and a listener on
		// the unspecified address hears all of loopback.
		if l.Addr() == addr || addr.IsUnspecified() || l.Addr().IsUnspecified() && addr.IsLoopback() {
			return true
		}
	}
	return false
}

// setSelf takes the addresses of listeners. One that listens on all interfaces
// stands for every address this host has now.
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
