package hook

import "strings"

// LoopHeader is the header that lists the servers through which a request has passed
// (RFC 8586).
const LoopHeader = "CDN-Loop"

// Loop is the id by which an installation recognizes its own deliveries when they arrive
// at its API. It is unique but not secret. Empty means none.
type Loop string

// Value returns the installation's entry in the header: a pseudonym and a parameter (RFC
// 8586 section 2).
func (l Loop) Value() string { return "posthorn; id=" + string(l) }

// In reports whether one of the header's values names the installation. Proxies on the
// path may add entries, join values and change white space, but they keep the id.
func (l Loop) In(values []string) bool {
	if l == "" {
		return false
	}
	for _, v := range values {
		if strings.Contains(v, string(l)) {
			return true
		}
	}
	return false
}
