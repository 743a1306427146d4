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
)

type step struct {
	kind     stepKind
	variable variable
	text     string
	spread   *spread
}

// Render appends the body of the request to dst. The event's data goes in byte
// for byte: member order, spacing, numbers and escapes stay. Only a spread drops
// members, those whose name the profile sets itself. The data must be the strict
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
		}
	}
	return dst
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
