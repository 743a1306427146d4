package hook

import "strings"

// LoopHeader is the header in which a request says whose servers it passed already
// (RFC 8586).
const LoopHeader = "CDN-Loop"

// Loop is the id by which an installation knows its own deliveries when they come
// back to its API. It is unique, not secret, and empty for none.
type Loop string

// Value is the installation's entry in the header: a pseudonym and a parameter (RFC
// 8586 section 2).
func (l Loop) Value() string { return "posthorn; id=" + string(l) }

// In reports whether one of the header's values names the installation. Proxies on
// the way may add entries, join values and change white space; the id stays.
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
