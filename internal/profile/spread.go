package profile

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// spread appends the members of the event's data to an object of the envelope.
type spread struct {
	own    []string // names that the object sets itself; they take precedence
	traces [][]byte // for each own name, the bytes that must occur in the data if the data has that name
	before bool     // own members precede it, so it starts with a comma
	after  bool     // own members follow it and none precede it, so it ends with a comma
}

func newSpread(own []string, before, after bool) *spread {
	s := &spread{own: own, before: before, after: after && !before}
	for _, name := range own {
		// Without the opening quote: a search for a text that starts with the most common byte of
		// JSON is thirty times slower.
		s.traces = append(s.traces, []byte(name+`"`))
	}
	return s
}

// append appends the data's members with the commas they need. It appends nothing for {}.
func (s *spread) append(dst, data []byte) []byte {
	inner, ok := membersOf(data)
	if !ok {
		return dst
	}
	start := len(dst)
	if s.before {
		dst = append(dst, ',')
	}
	first := len(dst)
	if s.mayCollide(inner) {
		dst = s.appendOthers(dst, inner)
	} else {
		dst = append(dst, inner...)
	}
	if len(dst) == first {
		return dst[:start]
	}
	if s.after {
		dst = append(dst, ',')
	}
	return dst
}

// membersOf returns the text between the braces of an object, and whether there is any.
func membersOf(data []byte) ([]byte, bool) {
	data = bytes.TrimSpace(data)
	if len(data) < 2 || data[0] != '{' || data[len(data)-1] != '}' {
		return nil, false
	}
	inner := data[1 : len(data)-1]
	return inner, len(bytes.TrimSpace(inner)) > 0
}

// mayCollide is a quick test. A member can have an own name only if that name occurs in the
// data directly before a quote, or if a name is written with an escape.
func (s *spread) mayCollide(inner []byte) bool {
	if len(s.own) == 0 {
		return false
	}
	if bytes.IndexByte(inner, '\\') >= 0 {
		return true
	}
	for _, trace := range s.traces {
		if bytes.Contains(inner, trace) {
			return true
		}
	}
	return false
}

// appendOthers appends the members whose names are not own names, each with the white space
// around it.
func (s *spread) appendOthers(dst, inner []byte) []byte {
	first := len(dst)
	for len(inner) > 0 {
		name, end := scanMember(inner)
		if !s.owns(name) {
			if len(dst) > first {
				dst = append(dst, ',')
			}
			dst = append(dst, inner[:end]...)
		}
		inner = inner[min(end+1, len(inner)):]
	}
	return dst
}

// scanMember returns the quoted name of the first member, and the end of the member: the
// index of the comma that follows, or the length of the text.
func scanMember(text []byte) (name []byte, end int) {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			after := skipString(text, i)
			if name == nil {
				name = text[i:after]
			}
			i = after - 1
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ',':
			if depth == 0 {
				return name, i
			}
		}
	}
	return name, len(text)
}

// skipString returns the index after the closing quote of the string at i.
func skipString(text []byte, i int) int {
	for start := i + 1; ; {
		next := bytes.IndexByte(text[start:], '"')
		if next < 0 {
			return len(text)
		}
		end := start + next
		slashes := 0
		for text[end-slashes-1] == '\\' {
			slashes++
		}
		start = end + 1
		if slashes%2 == 0 {
			return start
		}
	}
}

// owns reports whether the object itself sets a member with this quoted name.
func (s *spread) owns(quoted []byte) bool {
	if len(quoted) < 2 {
		return false
	}
	plain := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(plain, '\\') >= 0 {
		plain, _ = jsontext.AppendUnquote(nil, quoted)
	}
	for _, name := range s.own {
		if name == string(plain) {
			return true
		}
	}
	return false
}
