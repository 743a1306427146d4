package egress_test

import (
	"net/netip"
	"slices"
	"testing"

	"code.dny.dev/ssrf"

	"github.com/posthorn/posthorn/internal/egress"
)

// lastOf returns the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

func inAny(list []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(addr) })
}

func TestTableEdges(t *testing.T) {
	four, six, global := egress.Tables()
	if len(four) != 19 || len(six) != 5 {
		t.Fatalf("table has %d and %d prefixes, want 19 and 5", len(four), len(six))
	}
	edges := 0
	for _, p := range slices.Concat(four, six) {
		first, last := p.Addr(), lastOf(p)
		for _, addr := range []netip.Addr{first, last} {
			if rule := egress.RefusedBy(addr); rule != p.String() {
				t.Errorf("%s of %s: rule %q", addr, p, rule)
			}
		}
		for _, addr := range []netip.Addr{first.Prev(), last.Next()} {
			if !addr.IsValid() {
				continue // the range ends where the addresses end
			}
			want := inAny(four, addr) || inAny(six, addr) || addr.Is6() && !global.Contains(addr)
			if got := egress.RefusedBy(addr) != ""; got != want {
				t.Errorf("%s beside %s: refused %v, want %v", addr, p, got, want)
			}
			edges++
		}
	}
	if edges < 40 {
		t.Errorf("only %d edges were looked at", edges)
	}
	for _, addr := range []netip.Addr{global.Addr().Prev(), lastOf(global).Next()} {
		if egress.RefusedBy(addr) == "" {
			t.Errorf("%s, just outside %s, is admitted", addr, global)
		}
	}
	for _, addr := range []string{"2000::", "3ffe:ffff::1", "2a00:1450:4001::200e"} {
		if rule := egress.RefusedBy(netip.MustParseAddr(addr)); rule != "" {
			t.Errorf("%s is refused by %s", addr, rule)
		}
	}
}

// special are addresses that guards based on the predicates of the standard library are
// known to get wrong, and their neighbours.
var special = []string{
	"0.0.0.0", "0.0.0.1", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "168.63.129.16",
	"169.254.169.254", "172.31.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.0.1",
	"198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
	"::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
	"64:ff9b:1::7f00:1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::1", "3fff::1",
	"5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1",
}

func TestSpecialAddresses(t *testing.T) {
	naive := 0
	for _, text := range special {
		addr := netip.MustParseAddr(text)
		if egress.RefusedBy(addr) == "" {
			t.Errorf("%s is admitted", addr)
		}
		if !addr.IsPrivate() && !addr.IsLoopback() && !addr.IsLinkLocalUnicast() &&
			!addr.IsLinkLocalMulticast() && !addr.IsMulticast() && !addr.IsUnspecified() {
			naive++
		}
	}
	if naive < 15 {
		t.Errorf("the standard predicates admit only %d of %d: the list proves little", naive, len(special))
	}
	for _, text := range []string{"8.8.8.8", "1.1.1.1", "::ffff:8.8.8.8", "2606:4700::1111", "168.63.129.17"} {
		if rule := egress.RefusedBy(netip.MustParseAddr(text)); rule != "" {
			t.Errorf("%s is refused by %s", text, rule)
		}
	}
	for _, text := range []string{"2606:4700::1111%eth0", "fe80::1%lo"} {
		if rule := egress.RefusedBy(netip.MustParseAddr(text)); rule != "zone" {
			t.Errorf("%s: rule %q, want zone", text, rule)
		}
	}
	for _, text := range []string{"2a00:1450::5efe:a00:1", "2a00:1450::200:5efe:808:808"} {
		if rule := egress.RefusedBy(netip.MustParseAddr(text)); rule != "ISATAP" {
			t.Errorf("%s: rule %q, want ISATAP", text, rule)
		}
	}
	for _, text := range []string{"2a00:1450::100:5efe:808:808", "2a00:1450::5eff:808:808", "2a00:1450:0:5efe::1"} {
		if rule := egress.RefusedBy(netip.MustParseAddr(text)); rule != "" {
			t.Errorf("%s is refused by %s", text, rule)
		}
	}
	if egress.RefusedBy(netip.Addr{}) == "" {
		t.Error("the zero address is admitted")
	}
}

// TestOracle compares the table with an independent one that is generated from the IANA
// registries. The only difference is intended: the Azure platform address, which is in no
// registry.
func TestOracle(t *testing.T) {
	azure := netip.MustParseAddr("168.63.129.16")
	guardian := ssrf.New(ssrf.WithAnyPort())
	var probes []netip.Addr
	four, six, _ := egress.Tables()
	for _, p := range slices.Concat(four, six, ssrf.IPv4DeniedPrefixes, ssrf.IPv6DeniedPrefixes) {
		probes = append(probes, p.Addr(), lastOf(p), p.Addr().Prev(), lastOf(p).Next())
	}
	for _, text := range special {
		probes = append(probes, netip.MustParseAddr(text).Unmap())
	}
	for i := range 256 { // one address of every /8, and one in each of 256 steps through IPv6
		probes = append(probes, netip.AddrFrom4([4]byte{byte(i), 1, 2, 3}))
		probes = append(probes, netip.AddrFrom16([16]byte{byte(i), 0x31, 15: 1}))
	}
	compared := 0
	for _, addr := range probes {
		if !addr.IsValid() {
			continue
		}
		network := "tcp4"
		if addr.Is6() {
			network = "tcp6"
		}
		theirs := guardian.Safe(network, netip.AddrPortFrom(addr, 443).String(), nil) != nil
		ours := egress.RefusedBy(addr) != ""
		if ours != theirs && addr != azure {
			t.Errorf("%s: we refuse %v, the oracle %v", addr, ours, theirs)
		}
		compared++
	}
	if compared < 500 {
		t.Errorf("only %d addresses were compared", compared)
	}
}
