package egress

import "net/netip"

// refused4 lists the IPv4 ranges that no public receiver can have: the IANA
// special-purpose registry (RFC 6890 and its updates), multicast, and one public address
// that is an internal service of a cloud.
var refused4 = prefixes(
	"0.0.0.0/8",        // this network, RFC 791
	"10.0.0.0/8",       // private, RFC 1918
	"100.64.0.0/10",    // carrier-grade NAT, RFC 6598; one cloud's metadata service is here
	"127.0.0.0/8",      // loopback, RFC 1122
	"169.254.0.0/16",   // link-local, RFC 3927; most clouds' metadata services
	"172.16.0.0/12",    // private, RFC 1918
	"192.0.0.0/24",     // IETF protocol assignments, RFC 6890
	"192.0.2.0/24",     // documentation, RFC 5737
	"192.31.196.0/24",  // AS112, RFC 7535
	"192.52.193.0/24",  // AMT, RFC 7450
	"192.88.99.0/24",   // 6to4 relays, RFC 7526
	"192.168.0.0/16",   // private, RFC 1918
	"192.175.48.0/24",  // AS112, RFC 7534
	"198.18.0.0/15",    // benchmarking, RFC 2544
	"198.51.100.0/24",  // documentation, RFC 5737
	"203.0.113.0/24",   // documentation, RFC 5737
	"224.0.0.0/4",      // multicast, RFC 1112
	"240.0.0.0/4",      // reserved and broadcast, RFC 1112
	"168.63.129.16/32", // Azure's platform address: in a public range, but internal
)

// global6 is the only IPv6 range from which public addresses are assigned (RFC 4291).
// Addresses outside it are refused: loopback, unspecified, IPv4-compatible, NAT64,
// discard, SRv6, unique local, link-local, site-local and multicast.
var global6 = netip.MustParsePrefix("2000::/3")

// refused6 lists the ranges inside global6 that are refused.
var refused6 = prefixes(
	"2001::/23",         // IETF protocol assignments, RFC 2928: Teredo, ORCHID, benchmarking
	"2001:db8::/32",     // documentation, RFC 3849
	"2002::/16",         // 6to4, RFC 3056: carries an IPv4 address
	"2620:4f:8000::/48", // AS112, RFC 7534
	"3fff::/20",         // documentation, RFC 9637
)

// Rules that are not a prefix of the table. They appear in logs and metrics.
const (
	ruleZone     = "zone"
	ruleNotIP    = "not an address"
	ruleSelf     = "own listener"
	ruleProxy    = "egress proxy"
	ruleOutside6 = "outside 2000::/3"
	ruleISATAP   = "ISATAP"

	denyNetwork = "--deny-network " // followed by the prefix

	ruleProxyDenies = "denied by the egress proxy"
)

// carriers are the IPv6 formats that embed an IPv4 address, with the positions of its
// bytes. A network may use 64:ff9b:1::/48 with either of two layouts (RFC 6052 section
// 2.2).
var carriers = []struct {
	prefix netip.Prefix
	bytes  [4]int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), [4]int{12, 13, 14, 15}},   // NAT64, RFC 6052
	{netip.MustParsePrefix("64:ff9b:1::/48"), [4]int{12, 13, 14, 15}}, // NAT64 of one network, RFC 8215
	{netip.MustParsePrefix("64:ff9b:1::/48"), [4]int{6, 7, 9, 10}},    // the same
	{netip.MustParsePrefix("2002::/16"), [4]int{2, 3, 4, 5}},          // 6to4, RFC 3056
}

// carried returns the IPv4 addresses that an address may carry.
func carried(addr netip.Addr) []netip.Addr {
	if !addr.Is6() {
		return nil
	}
	var inside []netip.Addr
	raw := addr.As16()
	take := func(at [4]int) {
		if raw[at[0]] != 0 { // otherwise it would be in 0.0.0.0/8, so this is not the format
			inside = append(inside, netip.AddrFrom4([4]byte{raw[at[0]], raw[at[1]], raw[at[2]], raw[at[3]]}))
		}
	}
	for _, c := range carriers {
		if c.prefix.Contains(addr) {
			take(c.bytes)
		}
	}
	if isISATAP(raw) {
		take([4]int{12, 13, 14, 15})
	}
	return inside
}

// isISATAP reports whether the second half of the address is an interface identifier
// that embeds an IPv4 address (RFC 5214 section 6.1).
func isISATAP(raw [16]byte) bool {
	return raw[8]&^2 == 0 && raw[9] == 0 && raw[10] == 0x5e && raw[11] == 0xfe
}

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		list[i] = netip.MustParsePrefix(text)
	}
	return list
}

// refusedBy returns the rule that refuses the address, or "". It checks the address that
// a packet would have: an IPv4-mapped address counts as the IPv4 address in it. It
// refuses every zone. [netip.Prefix.Contains] would report false for both.
func refusedBy(addr netip.Addr) string {
	switch {
	case !addr.IsValid():
		return ruleNotIP
	case addr.Zone() != "":
		return ruleZone
	}
	addr = addr.Unmap()
	table := refused4
	if addr.Is6() {
		if !global6.Contains(addr) {
			return ruleOutside6
		}
		if isISATAP(addr.As16()) {
			return ruleISATAP
		}
		table = refused6
	}
	for _, prefix := range table {
		if prefix.Contains(addr) {
			return prefix.String()
		}
	}
	return ""
}
