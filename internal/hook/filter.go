package hook

import "strings"

// Filter is an endpoint's list of event types: exact names, "*" for every type,
// or a prefix that ends in ".*". An empty filter matches nothing.
type Filter []string

// Match reports whether an event of the type passes.
func (f Filter) Match(eventType string) bool {
	for _, want := range f {
		if want == eventType || want == "*" {
			return true
		}
		if prefix, ok := strings.CutSuffix(want, "*"); ok && strings.HasSuffix(prefix, ".") &&
			strings.HasPrefix(eventType, prefix) {
			return true
		}
	}
	return false
}

// maxTypeLength bounds the name of an event type, in bytes.
const maxTypeLength = 128

// ValidType reports whether a name can be an event type: 1 to 128 characters of
// letters, digits, underscore, hyphen and dot, with no empty part between dots.
func ValidType(name string) bool {
	if name == "" || len(name) > maxTypeLength {
		return false
	}
	part := 0
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c == '.':
			if part == 0 {
				return false
			}
			part = 0
		case c == '_', c == '-', '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
			part++
		default:
			return false
		}
	}
	return part > 0
}

// ValidFilterType reports whether a name can stand in a filter.
func ValidFilterType(name string) bool {
	if name == "*" {
		return true
	}
	if prefix, ok := strings.CutSuffix(name, ".*"); ok {
		name = prefix
	}
	return ValidType(name)
}

// ValidTenantID reports whether a text can name a tenant: 1 to 64 characters of
// letters, digits, dot, underscore and hyphen.
func ValidTenantID(id string) bool {
	if id == "" || len(id) > 64 || id == "." || id == ".." { // the dots alone cannot stand in a path
		return false
	}
	for i := 0; i < len(id); i++ {
		c := id[i]
		if !(c == '.' || c == '_' || c == '-' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z') {
			return false
		}
	}
	return true
}
