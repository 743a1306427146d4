package egress

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/posthorn/posthorn/internal/hook"
)

// maxURL is the longest URL that is admitted, in bytes.
const maxURL = 2048

// address is a URL that has the right form: what S-03 asks of the text, without
// a look at the name service.
type address struct {
	canonical string
	scheme    string
	host      string     // lower-case ASCII name, or the text of ip
	ip        netip.Addr // valid when the host is a literal
	port      uint16
	url       *url.URL // of canonical; never changed
	pool      *url.URL // the same with a host that names the endpoint's own pool of connections; set by parsed
}

// form says which relaxed forms are in force.
type form struct {
	http  bool
	local bool
	allow []HostPattern // admitted although they are not public
	deny  []HostPattern // stronger than allow
}

func refuse(code hook.Code, message string) *hook.Error {
	return &hook.Error{Code: code, Message: message, Field: "url"}
}

func invalid(reason string) *hook.Error {
	return refuse(hook.CodeURLInvalid, "The URL is not valid: "+reason+".")
}

func hostInvalid() *hook.Error {
	return refuse(hook.CodeURLHost, "The host is written in a form that is not accepted.")
}

func notPublic() *hook.Error {
	return refuse(hook.CodeURLNotPublic, "The host is not a public host name. The operator admits others with --allow-host.")
}

// addressRefused words the refusal of an address that stands in the URL. The rule of
// the operator's own is named; nobody learns from it where a name leads.
func addressRefused(rule string) *hook.Error {
	if strings.HasPrefix(rule, denyNetwork) {
		return refuse(hook.CodeURLAddress, "The URL points to an address that the operator denies ("+rule+"). Use another address.")
	}
	return refuse(hook.CodeURLAddress, "The URL points to an address that deliveries may not go to. The operator admits private networks with --allow-network.")
}

// parseAddress takes a URL apart by its own strict rules and puts the canonical
// form together again. URL parsers disagree about odd texts (which of two hosts
// is meant, what a backslash is), so whatever could be read in two ways is
// refused, and the standard parser is only asked to agree in the end.
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

// badText returns why the text as a whole cannot be a URL, or "".
func badText(raw string) string {
	switch {
	case raw == "":
		return "it is empty"
	case len(raw) > maxURL:
		return "it is longer than 2,048 bytes"
	case !utf8.ValidString(raw):
		return "it is not UTF-8"
	}
	for _, r := range raw {
		switch {
		case unicode.IsSpace(r):
			return "it contains white space"
		case !unicode.IsPrint(r): // also the invisible ones that IDNA would drop
			return "it contains a control character"
		case r == '\\':
			return "it contains a backslash"
		case r == '#':
			return "it contains a fragment"
		}
	}
	return ""
}

// cutScheme returns the lower-case scheme (RFC 3986 section 3.1) and what
// follows its colon.
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
			return "", "", false, hostInvalid()
		}
		return host, port, hasPort, nil
	}
	end := strings.IndexByte(authority, ']')
	if end < 0 {
		return "", "", false, hostInvalid()
	}
	host, after := authority[:end+1], authority[end+1:]
	if after == "" {
		return host, "", false, nil
	}
	port, ok := strings.CutPrefix(after, ":")
	if !ok {
		return "", "", false, hostInvalid()
	}
	return host, port, true, nil
}

func (a *address) setHost(text string, f form) *hook.Error {
	if text[0] == '[' {
		ip, err := netip.ParseAddr(text[1 : len(text)-1])
		if err != nil || !ip.Is6() || ip.Zone() != "" {
			return hostInvalid()
		}
		if ip.Is4In6() && refusedBy(ip) == "" {
			return hostInvalid() // an IPv4 address is written as one
		}
		a.ip, a.host = ip, ip.String()
		return nil
	}
	if ip, err := netip.ParseAddr(text); err == nil && ip.Is4() {
		a.ip, a.host = ip, ip.String()
		return nil
	}
	host, err := canonicalName(text)
	if err != nil {
		return err
	}
	if p, denied := matching(f.deny, host); denied {
		return refuse(hook.CodeURLAddress, "The URL has a host that the operator denies (--deny-host "+p.String()+"). Use another host.")
	}
	_, allowed := matching(f.allow, host)
	if !allowed && !(f.local && isLocalName(host)) && !isPublicName(host) {
		return notPublic()
	}
	a.host = host
	return nil
}

// canonicalName maps a host name to lower-case ASCII as browsers do (UTS 46) and
// refuses what then is, or could be read as, an IP address.
func canonicalName(text string) (string, *hook.Error) {
	if strings.Contains(text, "%") {
		return "", hostInvalid()
	}
	host, err := idna.Lookup.ToASCII(text)
	if err != nil {
		return "", hostInvalid()
	}
	host = strings.TrimSuffix(host, ".")
	if len(host) > 253 {
		return "", hostInvalid()
	}
	last := ""
	for label := range strings.SplitSeq(host, ".") {
		if !validLabel(label) {
			return "", hostInvalid()
		}
		last = label
	}
	if strings.HasPrefix(last, "0x") || strings.Trim(last, "0123456789") == "" {
		return "", hostInvalid()
	}
	return host, nil
}

func validLabel(label string) bool {
	if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	for i := 0; i < len(label); i++ {
		if c := label[i]; !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}

// isLocalName reports whether the name means the own host (RFC 6761).
func isLocalName(host string) bool {
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// isPublicName refuses single labels and the names that are set aside for local
// use (RFC 6761, 6762, 7686, 8375 and ICANN's .internal).
func isPublicName(host string) bool {
	if !strings.Contains(host, ".") || host == "home.arpa" {
		return false
	}
	for _, suffix := range []string{".localhost", ".local", ".internal", ".home.arpa", ".onion"} {
		if strings.HasSuffix(host, suffix) {
			return false
		}
	}
	return true
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
		return invalid("the port is not a number")
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return invalid("the port is larger than 65535")
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

// finish builds the canonical form and lets the standard parser confirm it.
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
		return nil, invalid("it is longer than 2,048 bytes")
	}
	u, err := url.Parse(a.canonical)
	if err != nil || u.Host != authority || u.User != nil || u.Opaque != "" {
		return nil, invalid("it cannot be read")
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
