package hook

import (
	"net/mail"
	"strings"
)

// mailScheme is the scheme in the URL of an operational endpoint that gets its alerts by
// e-mail.
const mailScheme = "mailto:"

const maxMailAddress, maxMailLocal = 254, 64 // RFC 5321 section 4.5.3.1, in bytes

// Mail reports whether the endpoint gets its alerts by e-mail.
func (e *Endpoint) Mail() bool { return MailURL(e.URL) }

// MailURL reports whether a URL is that of an e-mail address.
func MailURL(url string) bool {
	return len(url) >= len(mailScheme) && strings.EqualFold(url[:len(mailScheme)], mailScheme)
}

// MailAddress returns the address in a URL that ParseMailURL returned.
func MailAddress(url string) string { return strings.TrimPrefix(url, mailScheme) }

// ParseMailURL returns the canonical form of the URL of an e-mail address. It accepts one
// plain ASCII address, without a name, quotes or header fields, because the address is
// written to a mail server.
func ParseMailURL(raw string) (string, error) {
	if !MailURL(raw) {
		return "", errMailURL
	}
	local, domain, ok := CheckMailAddress(raw[len(mailScheme):])
	if !ok {
		return "", errMailURL
	}
	return mailScheme + local + "@" + domain, nil
}

var errMailURL = &Error{Code: CodeURLInvalid, Field: "url",
	Message: "The URL of an e-mail address must be \"mailto:\" and one plain address, such as mailto:ops@example.com."}

// CheckMailAddress reports whether a text is one plain e-mail address, and returns its
// parts, the domain in lower case.
func CheckMailAddress(text string) (local, domain string, ok bool) {
	if len(text) > maxMailAddress {
		return "", "", false
	}
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"<>()[]\,;:?&%`, c) >= 0 {
			return "", "", false
		}
	}
	local, domain, _ = strings.Cut(text, "@")
	parsed, err := mail.ParseAddress(text)
	if err != nil || parsed.Address != text || len(local) > maxMailLocal || !mailDomain(domain) {
		return "", "", false
	}
	return local, strings.ToLower(domain), true
}

// mailDomain reports whether a text is a host name: labels of letters, digits and hyphens.
func mailDomain(domain string) bool {
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i] | 0x20; !(c >= 'a' && c <= 'z' || label[i] >= '0' && label[i] <= '9' || label[i] == '-') {
				return false
			}
		}
	}
	return true
}
