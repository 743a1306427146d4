package webhook

import (
	"fmt"
	"strings"
)

// field identifies what a segment of a template represents.
type field uint8

const (
	fixed field = iota
	fieldID
	fieldTimestamp
	fieldBody
	fieldSignature
	fieldHeader
)

var fieldNames = map[string]field{
	"id": fieldID, "timestamp": fieldTimestamp, "body": fieldBody, "signature": fieldSignature,
}

// headerPrefix starts the placeholder for the value of another header.
const headerPrefix = "header:"

type segment struct {
	field field
	text  string // the fixed text, or the name of a header
}

type template []segment

// parseTemplate splits text into segments. It requires fixed text between two placeholders,
// whose first character cannot be part of a value. Otherwise bytes could move from one value
// into the next without changing the signed bytes.
func parseTemplate(text string) (template, error) {
	var t template
	for rest := text; rest != ""; {
		open := strings.IndexAny(rest, "{}")
		if open < 0 {
			open = len(rest)
		}
		if open > 0 {
			t = append(t, segment{text: rest[:open]})
			rest = rest[open:]
			continue
		}
		name, after, ok := strings.Cut(rest[1:], "}")
		f, known := fieldNames[name]
		header, isHeader := strings.CutPrefix(name, headerPrefix)
		if isHeader && validName(header) {
			f, known = fieldHeader, true
		}
		if rest[0] != '{' || !ok || !known {
			return nil, fmt.Errorf("%q has a brace that is not {id}, {timestamp}, {body}, {signature} or {header:NAME}", text)
		}
		if f != fieldHeader {
			header = ""
		}
		t = append(t, segment{field: f, text: header})
		rest = after
	}
	return t, t.checkBoundaries(text)
}

func (t template) checkBoundaries(text string) error {
	for i, s := range t {
		if s.field == fixed && !printable(s.text) {
			return fmt.Errorf("%q holds a character outside printable ASCII", text)
		}
		if i == 0 || t[i-1].field == fixed || t[i-1].field == fieldBody {
			continue
		}
		last := i == len(t)-1
		if s.field != fixed || !last && !separates(s.text) {
			return fmt.Errorf("%q needs a separator, such as a dot, between two placeholders", text)
		}
	}
	return nil
}

// count returns how often the template contains the field.
func (t template) count(f field) int {
	n := 0
	for _, s := range t {
		if s.field == f {
			n++
		}
	}
	return n
}

// split splits the template at the separator, which occurs in fixed text.
func (t template) split(separator string) []template {
	if separator == "" {
		return []template{t}
	}
	parts := []template{nil}
	for _, s := range t {
		if s.field != fixed {
			parts[len(parts)-1] = append(parts[len(parts)-1], s)
			continue
		}
		for i, piece := range strings.Split(s.text, separator) {
			if i > 0 {
				parts = append(parts, nil)
			}
			if piece != "" {
				parts[len(parts)-1] = append(parts[len(parts)-1], segment{text: piece})
			}
		}
	}
	return parts
}

// separates reports whether the text ends every value that precedes it: its first character
// is in no alphabet of ids, numbers, hex or base64.
func separates(text string) bool {
	return text != "" && !alphanumeric(text[0]) && !strings.ContainsRune("_-+/=", rune(text[0]))
}

// validID reports whether a text can be a signed message id: 1 to 256 letters, digits,
// underscores and hyphens. A dot in an id could move the boundaries between id, timestamp
// and body (S-12).
func validID(id string) bool {
	if id == "" || len(id) > 256 {
		return false
	}
	for i := 0; i < len(id); i++ {
		if c := id[i]; !alphanumeric(c) && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// maxSignedHeader limits the value of another header that is signed, in bytes.
const maxSignedHeader = 256

// validHeader reports whether a text can be the signed value of another header: up to 256
// characters of printable ASCII, without the character that ends the value in the signed
// bytes. Leading and trailing spaces are refused, because they are lost in transit.
func validHeader(value string, end byte) bool {
	return len(value) <= maxSignedHeader && printable(value) && strings.TrimSpace(value) == value && strings.IndexByte(value, end) < 0
}

// validName reports whether a text is a token as defined in RFC 9110, section 5.6.2.
func validName(name string) bool {
	for i := 0; i < len(name); i++ {
		if c := name[i]; !alphanumeric(c) && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return name != ""
}

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func printable(text string) bool {
	for i := 0; i < len(text); i++ {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}
