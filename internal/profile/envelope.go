package profile

import (
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// envelope is a compiled body template: a flat list of steps that append.
type envelope struct {
	steps []step
	fixed int // bytes of fixed text, to size the buffer
}

type stepKind uint8

const (
	stepText     stepKind = iota // fixed bytes
	stepVariable                 // a variable inside a JSON string
	stepMode                     // the mode as a JSON value
	stepData                     // the event's data as a JSON value
	stepSpread                   // the members of the event's data
	stepMember                   // a value of the data, as it stands there, or null
	stepString                   // a text with values of the data in it, or null
)

type step struct {
	kind     stepKind
	variable variable
	text     string // of stepMember: a JSON pointer
	parts    []part // of stepString
	spread   *spread
}

// Render appends the body of the request to dst. The event's data goes in byte
// for byte: member order, spacing, numbers and escapes stay. Only a spread drops
// members, those whose name the profile sets itself. A value of the data that is missing is null. The data must be the strict
// JSON object that publishing admits. Attempt and Now do not matter: every retry
// renders the same bytes.
func (p *Profile) Render(dst []byte, in Input) []byte {
	// 160 bytes hold the variables of the built-in envelopes.
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

// appendString appends a JSON string with values of the data in it, and null if one
// of them is missing.
func (p *Profile) appendString(dst []byte, parts []part, in *Input) []byte {
	start := len(dst)
	dst = append(dst, '"')
	for _, one := range parts {
		switch one.variable {
		case none:
			dst = append(dst, one.text...) // escaped when the file was read
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

// escapeTail makes the bytes from start on fit for the inside of a JSON string.
// Admitted names need no escape; this keeps the body valid whatever comes.
func escapeTail(dst []byte, start int) []byte {
	for _, c := range dst[start:] {
		if c < ' ' || c == '"' || c == '\\' || c > '~' {
			quoted := quote(string(dst[start:]))
			return append(dst[:start], quoted[1:len(quoted)-1]...)
		}
	}
	return dst
}

// quote returns the text as a JSON string; bytes that are not UTF-8 are replaced.
func quote(text string) string {
	quoted, _ := jsontext.AppendQuote(nil, text)
	return string(quoted)
}
