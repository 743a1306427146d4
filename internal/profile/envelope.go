package profile

import (
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// envelope is a compiled body template: a flat list of steps, each of which appends text.
type envelope struct {
	steps []step
	fixed int // bytes of fixed text, for sizing the buffer
}

type stepKind uint8

const (
	stepText     stepKind = iota // fixed bytes
	stepVariable                 // a variable inside a JSON string
	stepMode                     // the mode as a JSON value
	stepData                     // the event's data as a JSON value
	stepSpread                   // the members of the event's data
	stepMember                   // a value of the data, unchanged, or null
	stepString                   // a string that contains values of the data, or null
)

type step struct {
	kind     stepKind
	variable variable
	text     string // of stepMember: a JSON pointer
	parts    []part // of stepString
	spread   *spread
}

// Render appends the body of the request to dst. It appends the event's data byte for byte,
// so member order, spacing, numbers and escapes are preserved. Only a spread drops members,
// namely those whose names the profile sets itself. A missing value of the data is rendered
// as null. The data must be a strict JSON object, as publishing guarantees. Attempt and Now
// have no effect, so every retry renders the same bytes.
func (p *Profile) Render(dst []byte, in Input) []byte {
	// 160 bytes suffice for the variables of the built-in envelopes.
	dst = slices.Grow(dst, p.envelope.fixed+len(in.Event.Data)+160)
	for i := range p.envelope.steps {
		s := &p.envelope.steps[i]
		switch s.kind {
		case stepText:
			dst = append(dst, s.text...)
		case stepVariable:
			start := len(dst)
			dst = escapeTail(p.appendVariable(dst, s.variable, &in), start)
		case stepMode:
			dst = append(dst, p.mode.of(in.Event.Scope.Mode).json...)
		case stepData:
			dst = append(dst, in.Event.Data...)
		case stepSpread:
			dst = s.spread.append(dst, in.Event.Data)
		case stepMember:
			dst = appendOrNull(dst, scalarAt(in.Event.Data, s.text))
		case stepString:
			dst = p.appendString(dst, s.parts, &in)
		}
	}
	return dst
}

func appendOrNull(dst, value []byte) []byte {
	if value == nil {
		return append(dst, "null"...)
	}
	return append(dst, value...)
}

// appendString appends a JSON string that contains values of the data, or null if one of
// them is missing.
func (p *Profile) appendString(dst []byte, parts []part, in *Input) []byte {
	start := len(dst)
	dst = append(dst, '"')
	for _, one := range parts {
		switch one.variable {
		case none:
			dst = append(dst, one.text...) // escaped when the file was loaded
		case eventMember:
			value := scalarAt(in.Event.Data, one.text)
			if value == nil {
				return append(dst[:start], "null"...)
			}
			if value[0] == '"' {
				value = value[1 : len(value)-1]
			}
			dst = append(dst, value...)
		default:
			from := len(dst)
			dst = escapeTail(p.appendVariable(dst, one.variable, in), from)
		}
	}
	return append(dst, '"')
}

// escapeTail escapes the bytes from start on for use inside a JSON string. Accepted names
// need no escaping; this keeps the body valid for any other input.
func escapeTail(dst []byte, start int) []byte {
	for _, c := range dst[start:] {
		if c < ' ' || c == '"' || c == '\\' || c > '~' {
			quoted := quote(string(dst[start:]))
			return append(dst[:start], quoted[1:len(quoted)-1]...)
		}
	}
	return dst
}

// quote returns the text as a JSON string. Bytes that are not valid UTF-8 are replaced.
func quote(text string) string {
	quoted, _ := jsontext.AppendQuote(nil, text)
	return string(quoted)
}
