package hook

import (
	"fmt"
	"unicode/utf8"
)

// Filter is an endpoint's list of event types. An entry is the name of a type, "*"
// for every type, or a wildcard: the beginning of a name up to and with one of its
// separators, and a star, such as "invoice.*", "orders/*" or "order:*". The star
// stands for one or more parts that are joined by that same separator, so
// "invoice.*" lets invoice.paid and invoice.line.added pass, but neither invoice nor
// invoice.line/added. An empty filter matches nothing.
type Filter []string

// Match reports whether an event of the type passes.
func (f Filter) Match(eventType string) bool {
	for _, want := range f {
		if want == eventType || want == "*" {
			return true
		}
		star := len(want) - 1
		if star < 1 || want[star] != '*' || len(eventType) <= star || eventType[:star] != want[:star] {
			continue
		}
		if separator := want[star-1]; separates(separator) && joinedBy(separator, eventType[star:]) {
			return true
		}
	}
	return false
}

// joinedBy reports whether the rest of a type has no separator but this one.
func joinedBy(separator byte, rest string) bool {
	for i := 0; i < len(rest); i++ {
		if separates(rest[i]) && rest[i] != separator {
			return false
		}
	}
	return true
}

func separates(c byte) bool { return c == '.' || c == '/' || c == ':' }

// maxTypeLength bounds the name of an event type, in bytes.
const maxTypeLength = 128

// TypeRule says in one sentence what the name of an event type is.
const TypeRule = "An event type is 1 to 128 characters: parts of letters, digits, underscores and hyphens, joined by dots, colons or slashes."

// ValidType reports whether a name can be an event type: 1 to 128 ASCII characters,
// in parts of letters, digits, underscores and hyphens that are joined by single
// dots, colons or slashes.
func ValidType(name string) bool {
	if name == "" || len(name) > maxTypeLength {
		return false
	}
	part := 0
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case partOfType(c):
			part++
		case separates(c) && part > 0:
			part = 0
		default:
			return false
		}
	}
	return part > 0
}

func partOfType(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-'
}

// TypeFault says what keeps a name from being an event type, in words that follow
// the name of the member: "has an empty part at its end". It is empty for a valid
// name, and never holds more of the name than one character.
func TypeFault(name string) string {
	if name == "" {
		return "is empty"
	}
	if len(name) > maxTypeLength {
		return fmt.Sprintf("has %d bytes", len(name))
	}
	before := byte('.')
	for i, r := range name {
		switch {
		case r >= utf8.RuneSelf || !partOfType(byte(r)) && !separates(byte(r)):
			return fmt.Sprintf("has %q as character %d", r, utf8.RuneCountInString(name[:i])+1)
		case separates(byte(r)) && i == 0:
			return "has an empty part at its beginning"
		case separates(byte(r)) && separates(before):
			return fmt.Sprintf("has an empty part before character %d, %q", i+1, r)
		}
		before = byte(r)
	}
	if separates(before) {
		return "has an empty part at its end"
	}
	return ""
}

// DottedType reports whether a name is spelt as Standard Webhooks advises: parts
// joined by dots alone.
func DottedType(name string) bool { return joinedBy('.', name) }

// ValidFilterType reports whether a name can stand in a filter.
func ValidFilterType(name string) bool {
	if star := len(name) - 1; star > 0 && name[star] == '*' && separates(name[star-1]) {
		return ValidType(name[:star-1])
	}
	return name == "*" || ValidType(name)
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
