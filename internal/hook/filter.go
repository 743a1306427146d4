package hook

import (
	"fmt"
	"unicode/utf8"
)

// Filter is an endpoint's list of event types. An entry is the name of a type, "*" for
// every type, or a wildcard. A wildcard is the beginning of a name, up to and including a
// separator, followed by a star: "invoice.*", "orders/*" or "order:*". The star matches
// one or more parts that are joined by the same separator. So "invoice.*" matches
// invoice.paid and invoice.line.added, but neither invoice nor invoice.line/added. An
// empty filter matches nothing.
type Filter []string

// Match reports whether the filter matches the event type.
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

// joinedBy reports whether the rest of a type has no separator other than this one.
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

// TypeRule is the rule for names of event types, as one sentence.
const TypeRule = "An event type is 1 to 128 characters: parts of letters, digits, underscores and hyphens, joined by dots, colons or slashes."

// ValidType reports whether a name is valid for an event type: 1 to 128 ASCII characters,
// in parts of letters, digits, underscores and hyphens, joined by single dots, colons or
// slashes.
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

// TypeFault returns why a name is not valid for an event type, as words that follow the
// name of the field: "has an empty part at its end". It returns "" for a valid name. The
// text never contains more than one character of the name.
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

// DottedType reports whether a name has the form that Standard Webhooks recommends: parts
// joined only by dots.
func DottedType(name string) bool { return joinedBy('.', name) }

// ValidFilterType reports whether a text is valid as an entry of a filter.
func ValidFilterType(name string) bool {
	if star := len(name) - 1; star > 0 && name[star] == '*' && separates(name[star-1]) {
		return ValidType(name[:star-1])
	}
	return name == "*" || ValidType(name)
}

// MaxGivenID is the length of the longest id that a platform may give a tenant or an event,
// in characters.
const MaxGivenID = 256

// IDRule says in a message what an id that a platform gives must be.
const IDRule = "1 to 256 letters, digits, dots, underscores and hyphens, but not . or .. alone"

// ValidTenantID reports whether a text is valid as a tenant's id: 1 to 256 letters,
// digits, dots, underscores and hyphens, except "." and "..".
func ValidTenantID(id string) bool { return ValidID(id, MaxGivenID) }

// ValidID reports whether a text has 1 to most letters, digits, dots, underscores and
// hyphens, and is neither "." nor "..".
func ValidID(id string, most int) bool {
	if id == "" || len(id) > most || id == "." || id == ".." { // neither can be part of a path
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
