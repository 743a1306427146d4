package egress

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/posthorn/posthorn/internal/hook"
)

// Bounds on the custom headers of an endpoint (S-08). Sizes are in bytes.
const (
	maxHeaders     = 20
	maxHeaderName  = 64
	maxHeaderValue = 4 << 10
)

// CheckHeaders checks the custom headers of an endpoint. There may be at most 20. Names
// are tokens (RFC 9110 section 5.6.2) of at most 64 bytes, unique regardless of case.
// Values are printable ASCII, space and tab, at most 4 KiB. Names that frame, route or
// sign the request, or that proxies and servers at the receiver trust, are refused. The
// error is a *[hook.Error] with Field "headers". It never contains a value.
func CheckHeaders(headers []hook.Header) error {
	if len(headers) > maxHeaders {
		return headerError(hook.CodeHeaderInvalid, fmt.Sprintf("At most %d headers can be set.", maxHeaders))
	}
	for i, h := range headers {
		shown := showName(h.Name)
		switch {
		case len(h.Name) > maxHeaderName:
			return headerError(hook.CodeHeaderInvalid, "Header "+shown+" has a name longer than 64 bytes.")
		case h.Name == "":
			return headerError(hook.CodeHeaderInvalid, fmt.Sprintf("Header %d of the list has no name.", i+1))
		case !isToken(h.Name):
			return headerError(hook.CodeHeaderInvalid, fmt.Sprintf("Header %s has %s in its name. Letters, digits and %s are allowed.", shown, characterAt(h.Name, notInToken(h.Name)), tokenMarks))
		case !isPrintable(h.Value):
			return headerError(hook.CodeHeaderInvalid, fmt.Sprintf("Header %s has %s in its value. Printable ASCII, spaces and tabs are allowed.", shown, characterAt(h.Value, notPrintable(h.Value))))
		case len(h.Value) > maxHeaderValue:
			return headerError(hook.CodeHeaderInvalid, "Header "+shown+" has a value longer than 4 KiB.")
		case reserved(strings.ToLower(h.Name)) != "":
			return headerError(hook.CodeHeaderRefused, "Header "+shown+" cannot be set: "+reserved(strings.ToLower(h.Name))+". Leave it out.")
		case repeated(headers[:i], h.Name):
			return headerError(hook.CodeHeaderInvalid, "Header "+shown+" is set twice. Names are compared without regard to case.")
		}
	}
	return nil
}

func headerError(code hook.Code, message string) *hook.Error {
	return &hook.Error{Code: code, Message: message, Field: "headers"}
}

// showName returns a name in a form that is safe in a message, whatever it contains.
func showName(name string) string {
	if len(name) > maxHeaderName {
		name = name[:maxHeaderName]
	}
	if isToken(name) {
		return name
	}
	return strconv.QuoteToASCII(name)
}

// Why tenants may not set a name.
const (
	framesIt   = "the connection itself depends on it"
	sentByUs   = "the server sets it itself"
	saysFrom   = "proxies say with it where a request comes from"
	saysWhat   = "some servers take it for the method or path of the request"
	opensCloud = "metadata services of clouds answer requests that have it"
)

// reservedNames and reservedPrefixes are lower-case.
var (
	reservedNames = map[string]string{
		"forwarded": saysFrom, "via": saysFrom, "x-real-ip": saysFrom, "true-client-ip": saysFrom, "x-client-ip": saysFrom,
		"x-cluster-client-ip": saysFrom, "cf-connecting-ip": saysFrom, "cf-connecting-ipv6": saysFrom, "fastly-client-ip": saysFrom,
		"x-original-url": saysWhat, "x-rewrite-url": saysWhat, "x-http-method-override": saysWhat, "x-http-method": saysWhat,
		"x-method-override": saysWhat, "metadata": opensCloud, "metadata-flavor": opensCloud, "x-google-metadata-request": opensCloud,
		"cookie2": "it is obsolete", "cdn-loop": sentByUs,
	}
	reservedPrefixes = []struct{ prefix, why string }{{"content-", sentByUs}, {"webhook-", sentByUs}, {"posthorn-", sentByUs},
		{"x-posthorn-", sentByUs}, {"x-forwarded-", saysFrom}, {"x-aws-ec2-metadata-token", opensCloud}}
)

// reserved returns why tenants may not set a lower-case name, or "" if they may.
func reserved(name string) string {
	if isFraming(name) {
		return framesIt
	}
	if strings.Contains(name, "_") {
		return "many servers read an underscore in a name as a hyphen, so that it stands for another header"
	}
	for _, r := range reservedPrefixes {
		if strings.HasPrefix(name, r.prefix) {
			return r.why
		}
	}
	return reservedNames[name]
}

// isFraming reports whether a lower-case name determines where a message ends, its
// destination or what happens to the connection. Only the transport sets these.
func isFraming(name string) bool {
	switch name {
	case "host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer",
		"upgrade", "expect", "http2-settings":
		return true
	}
	return strings.HasPrefix(name, "proxy-")
}

func repeated(earlier []hook.Header, name string) bool {
	for _, e := range earlier {
		if len(e.Name) == len(name) && strings.EqualFold(e.Name, name) {
			return true
		}
	}
	return false
}

// characterAt describes the character at byte i and its position. It shows nothing of
// the surrounding text, which may be secret.
func characterAt(s string, i int) string {
	r, size := utf8.DecodeRuneInString(s[i:])
	if r == utf8.RuneError && size < 2 {
		return fmt.Sprintf("a byte that is not UTF-8 (byte %d)", i+1)
	}
	return fmt.Sprintf("%U (byte %d)", r, i+1)
}

const tokenMarks = "!#$%&'*+-.^_`|~"

func isToken(s string) bool { return s != "" && notInToken(s) < 0 }

// notInToken returns the index of the first byte that is not allowed in a token, or -1.
func notInToken(s string) int {
	for i := 0; i < len(s); i++ {
		c := s[i]
		alnum := '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !alnum && strings.IndexByte(tokenMarks, c) < 0 {
			return i
		}
	}
	return -1
}

// isPrintable reports whether a tenant's value has only allowed characters.
func isPrintable(s string) bool { return notPrintable(s) < 0 }

// notPrintable returns the index of the first byte that is not allowed in a tenant's
// value, or -1.
func notPrintable(s string) int {
	for i := 0; i < len(s); i++ {
		if s[i] != '\t' && (s[i] < ' ' || s[i] > '~') {
			return i
		}
	}
	return -1
}

// isFieldValue reports whether a text is a field value by RFC 9110 section 5.5.
func isFieldValue(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] != '\t' && s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}
