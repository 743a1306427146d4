package egress

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/posthorn/posthorn/internal/hook"
)

// maxURL is the longest URL that is admitted, in bytes.
const maxURL = 2048

// address is a URL that has the form that S-03 requires. Its name has not been looked
// up.
type address struct {
	canonical string
	scheme    string
	host      string     // lower-case ASCII name, or the text of ip
	ip        netip.Addr // valid if the host is an address
	port      uint16
	url       *url.URL // of canonical; never changed

	// Set by parsed. See Client.period.
	path          string // of the request line
	endpoint      hook.ID
	period, phase time.Duration
}

// form is which exceptions to the form of URLs are in force.
type form struct {
	http  bool
	local bool
	allow []HostPattern // admitted although they are not public
	deny  []HostPattern // takes precedence over allow
}

func refuse(code hook.Code, message string) *hook.Error {
	return &hook.Error{Code: code, Message: message, Field: "url"}
}

func invalid(reason string) *hook.Error {
	return refuse(hook.CodeURLInvalid, "The URL is not valid: "+reason+".")
}

func hostInvalid(reason string) *hook.Error {
	return refuse(hook.CodeURLHost, "The URL's host is not accepted: "+reason+".")
}

// notPublic returns the refusal of a name that is not public: it has only one label, or
// it has an ending that is reserved for local use.
func notPublic(host, ending string) *hook.Error {
	why := "it has no dot"
	if ending != "" {
		why = "names that end in " + ending + " are for local use"
	}
	return refuse(hook.CodeURLNotPublic, "The URL's host "+strconv.Quote(host)+" is not a public host name: "+why+". The operator admits such names with --allow-host.")
}

// addressRefused returns the refusal of an address in the URL. It names the rule, which
// reveals nothing about a name. It does not reveal that this process or its proxy listens
// at the address.
func addressRefused(addr netip.Addr, rule string) *hook.Error {
	if strings.HasPrefix(rule, denyNetwork) {
		return refuse(hook.CodeURLAddress, "The URL points to an address that the operator denies ("+rule+"). Use another address.")
	}
	if rule == ruleSelf || rule == ruleProxy {
		if rule = ""; addr.IsValid() {
			rule = refusedBy(addr)
		}
	}
	if rule != "" {
		rule = " (" + rule + ")"
	}
	return refuse(hook.CodeURLAddress, "The URL points to an address that deliveries may not go to"+rule+". The operator admits private networks with --allow-network.")
}

// printable returns a part of a URL, shortened, in a form that is safe in a message.
func printable(text string) string {
	const most = 63
	if len(text) > most {
		cut := most
		for !utf8.RuneStart(text[cut]) {
			cut--
		}
		return strconv.QuoteToASCII(text[:cut]) + "..."
	}
	return strconv.QuoteToASCII(text)
}

// parseAddress parses a URL by its own strict rules and builds the canonical form. URL
// parsers disagree about unusual texts (which of two hosts counts, what a backslash
// means). So it refuses texts that could be read in two ways. The standard parser only
// confirms the result.
func parseAddress(raw string, f form) (*address, *hook.Error) {
	if reason := badText(raw); reason != "" {
		return nil, invalid(reason)
	}
	scheme, rest, ok := cutScheme(raw)
	if !ok {
		if f.http {
			return nil, invalid("it must start with http:// or https://")
		}
		return nil, invalid("it must start with https://")
	}
	if scheme != "https" && !(scheme == "http" && f.http) {
		if f.http {
			return nil, refuse(hook.CodeURLScheme, "The URL must start with http:// or https://.")
		}
		return nil, refuse(hook.CodeURLScheme, "The URL must start with https://.")
	}
	rest, ok = strings.CutPrefix(rest, "//")
	if !ok {
		return nil, invalid("two slashes must follow the scheme")
	}
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	if strings.Contains(authority, "@") {
		return nil, refuse(hook.CodeURLCredentials,
			"The URL must not contain a user name or password. Use a custom header instead.")
	}
	hostText, portText, hasPort, err := splitPort(authority)
	if err != nil {
		return nil, err
	}
	a := &address{scheme: scheme}
	if err := a.setHost(hostText, f); err != nil {
		return nil, err
	}
	if err := a.setPort(portText, hasPort, f); err != nil {
		return nil, err
	}
	return a.finish(tail)
}

// badText returns why a text cannot be a URL, or "". It checks the text as a whole.
func badText(raw string) string {
	switch {
	case raw == "":
		return "it is empty"
	case len(raw) > maxURL:
		return "it is longer than 2,048 bytes"
	case !utf8.ValidString(raw):
		return "it is not UTF-8"
	}
	for i, r := range raw {
		is := ""
		switch {
		case unicode.IsSpace(r):
			is = "white space"
		case !unicode.IsPrint(r): // includes invisible characters that IDNA would drop
			is = "a control character or another that cannot be seen"
		case r == '\\':
			is = "a backslash"
		case r == '#':
			is = "a fragment, which is never sent to a server"
		default:
			continue
		}
		return fmt.Sprintf("it contains %s (%U, byte %d)", is, r, i+1)
	}
	return ""
}

// cutScheme returns the scheme in lower case (RFC 3986 section 3.1) and the text after
// its colon.
func cutScheme(raw string) (scheme, rest string, ok bool) {
	scheme, rest, ok = strings.Cut(raw, ":")
	if !ok || scheme == "" {
		return "", "", false
	}
	for i := 0; i < len(scheme); i++ {
		c := scheme[i] | 0x20
		letter := 'a' <= c && c <= 'z'
		other := '0' <= scheme[i] && scheme[i] <= '9' || strings.IndexByte("+-.", scheme[i]) >= 0
		if !letter && (i == 0 || !other) {
			return "", "", false
		}
	}
	return strings.ToLower(scheme), rest, true
}

func splitPort(authority string) (host, port string, hasPort bool, err *hook.Error) {
	if authority == "" || authority[0] == ':' {
		return "", "", false, invalid("it has no host")
	}
	if authority[0] != '[' {
		host, port, hasPort = strings.Cut(authority, ":")
		if strings.ContainsAny(authority, "[]") || strings.Contains(port, ":") {
			return "", "", false, hostInvalid("brackets stand around an IPv6 address and nowhere else, and a colon only before the port")
		}
		return host, port, hasPort, nil
	}
	end := strings.IndexByte(authority, ']')
	if end < 0 {
		return "", "", false, hostInvalid("the bracket that closes the IPv6 address is missing")
	}
	host, after := authority[:end+1], authority[end+1:]
	if after == "" {
		return host, "", false, nil
	}
	port, ok := strings.CutPrefix(after, ":")
	if !ok {
		return "", "", false, hostInvalid("only a port may follow the bracket of an IPv6 address")
	}
	return host, port, true, nil
}

func (a *address) setHost(text string, f form) *hook.Error {
	if text[0] == '[' {
		ip, err := netip.ParseAddr(text[1 : len(text)-1])
		switch {
		case err != nil || !ip.Is6():
			return hostInvalid(printable(text) + " is no IPv6 address")
		case ip.Zone() != "":
			return hostInvalid("an address with a zone (%) means something on one machine only")
		case ip.Is4In6() && refusedBy(ip) == "":
			return hostInvalid("write the IPv4 address " + ip.Unmap().String() + " without ::ffff: and brackets")
		}
		a.ip, a.host = ip, ip.String()
		return nil
	}
	if ip, err := netip.ParseAddr(text); err == nil && ip.Is4() {
		a.ip, a.host = ip, ip.String()
		return nil
	}
	host, reason := canonicalName(text)
	if reason != "" {
		return hostInvalid(reason)
	}
	if p, denied := matching(f.deny, host); denied {
		return refuse(hook.CodeURLAddress, "The URL has a host that the operator denies (--deny-host "+p.String()+"). Use another host.")
	}
	_, allowed := matching(f.allow, host)
	if !allowed && !(f.local && isLocalName(host)) {
		if public, ending := isPublicName(host); !public {
			return notPublic(host, ending)
		}
	}
	a.host = host
	return nil
}

// canonicalName maps a host name to lower-case ASCII as browsers do (UTS 46). It refuses
// names that then are, or could be read as, an IP address.
func canonicalName(text string) (host, reason string) {
	if strings.Contains(text, "%") {
		return "", "percent-encoding is not for host names"
	}
	host, err := lookup.ToASCII(text)
	if err != nil {
		return "", mappingFault(text)
	}
	host = strings.TrimSuffix(host, ".")
	if len(host) > 253 {
		return "", "it is longer than 253 bytes"
	}
	last := ""
	for label := range strings.SplitSeq(host, ".") {
		if why := labelFault(label); why != "" {
			return "", why
		}
		last = label
	}
	if strings.HasPrefix(last, "0x") || strings.Trim(last, "0123456789") == "" {
		return "", "the last label " + printable(last) + " is a number; an IPv4 address is written as four decimal numbers of 0 to 255, without leading zeros"
	}
	return host, ""
}

// lookup maps names as browsers do. It accepts underscores, as DNS and browsers do.
// labelFault checks which characters are allowed.
var lookup = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(false))

// mappingFault returns which label of a name cannot be mapped, and why, as far as is
// known.
func mappingFault(text string) string {
	const rule = " cannot be part of an internationalized name (UTS 46)"
	for label := range strings.SplitSeq(text, ".") {
		if _, err := lookup.ToASCII(label); err == nil || label == "" {
			continue
		}
		if why := labelFault(strings.ToLower(label)); why != "" && strings.IndexFunc(label, func(r rune) bool { return r >= utf8.RuneSelf }) < 0 {
			return why
		}
		return "the label " + printable(label) + rule
	}
	return printable(text) + rule
}

// labelFault returns what is wrong with a label of a lower-case ASCII name, or "".
func labelFault(label string) string {
	switch {
	case label == "":
		return "a label is empty: it begins with a dot, or has two in a row"
	case len(label) > 63:
		return "the label " + printable(label) + " is longer than 63 bytes"
	case label[0] == '-' || label[len(label)-1] == '-':
		return "the label " + printable(label) + " begins or ends with a hyphen"
	}
	for _, r := range label {
		if !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '_') {
			return "the label " + printable(label) + " has the character " + strconv.QuoteRuneToASCII(r) + "; letters, digits, hyphens and underscores are accepted"
		}
	}
	return ""
}

// isLocalName reports whether the name means the local host (RFC 6761).
func isLocalName(host string) bool {
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// isPublicName reports whether a name is public. Single labels and names that are
// reserved for local use (RFC 6761, 6762, 7686, 8375 and ICANN's .internal) are not. For
// the latter it returns the reserved ending.
func isPublicName(host string) (public bool, ending string) {
	for _, ending := range []string{".localhost", ".local", ".internal", ".home.arpa", ".onion"} {
		if strings.HasSuffix("."+host, ending) {
			return false, ending
		}
	}
	return strings.Contains(host, "."), ""
}

func (a *address) setPort(text string, given bool, f form) *hook.Error {
	a.port = 443
	if a.scheme == "http" {
		a.port = 80
	}
	if !given {
		return nil
	}
	if text == "" || text[0] == '0' && text != "0" || strings.Trim(text, "0123456789") != "" {
		return invalid("the port " + printable(text) + " is not a decimal number without leading zeros")
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return invalid("the port " + printable(text) + " is larger than 65535")
	}
	a.port = uint16(n)
	if !portAllowed(a.scheme, a.port, f.local) {
		step := "Use 443, 80 with http, or a port from 1024 on."
		if a.port >= 1024 {
			step = "It belongs to another protocol; use another port."
		}
		return refuse(hook.CodeURLPort, "Port "+text+" is not allowed. "+step)
	}
	return nil
}

// finish builds the canonical form and confirms it with the standard parser.
func (a *address) finish(tail string) (*address, *hook.Error) {
	authority := a.host
	if a.ip.Is6() {
		authority = "[" + a.host + "]"
	}
	if a.scheme == "https" && a.port != 443 || a.scheme == "http" && a.port != 80 {
		authority += ":" + strconv.Itoa(int(a.port))
	}
	a.canonical = a.scheme + "://" + authority + escapeNonASCII(tail)
	if len(a.canonical) > maxURL {
		return nil, invalid("it is longer than 2,048 bytes once it is percent-encoded")
	}
	u, err := url.Parse(a.canonical)
	switch {
	case err != nil:
		return nil, invalid("a % in its path is not followed by two hexadecimal digits")
	case u.Host != authority || u.User != nil || u.Opaque != "":
		return nil, invalid("it can be read in two ways")
	}
	a.url = u
	return a, nil
}

// escapeNonASCII percent-encodes the bytes that a request line cannot carry.
func escapeNonASCII(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] < utf8.RuneSelf {
			b.WriteByte(s[i])
			continue
		}
		b.WriteByte('%')
		b.WriteByte(digits[s[i]>>4])
		b.WriteByte(digits[s[i]&15])
	}
	return b.String()
}
