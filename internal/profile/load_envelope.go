package profile

import (
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"

	"github.com/posthorn/posthorn/internal/hook"
)

// Limits of an envelope: levels of nesting, and bytes of its own text, which every delivery
// carries.
const (
	maxEnvelopeDepth = 16
	maxEnvelopeText  = 64 << 10
)

// spreadName is the member name that represents the members of the event's data.
const spreadName = "..."

func (p *Profile) readMode(v value) {
	p.mode = modeTexts{{"unknown", `"unknown"`}, hook.Test: {"test", `"test"`}, hook.Live: {"live", `"live"`}}
	if !v.present() {
		return
	}
	m := v.section(&modeFields)
	for i, key := range m.keys {
		if in, ok := hook.ParseMode(key.node.Value); ok {
			p.mode[in] = readScalar(m.vals[i])
		}
	}
}

// readScalar reads a literal text, boolean or number.
func readScalar(v value) scalar {
	text := v.node.Value
	if v.node.Kind == yaml.ScalarNode && visible(text) {
		switch v.node.ShortTag() {
		case "!!str":
			return scalar{text, quote(text)}
		case "!!bool", "!!int", "!!float":
			if jsontext.Value(text).IsValid() {
				return scalar{text, text}
			}
		}
	}
	v.fail("must be a printable text, true, false or a number as JSON writes it")
	return scalar{}
}

// envelopeReader compiles the template during a walk of its nodes.
type envelopeReader struct {
	steps   []step
	profile *Profile
}

func (p *Profile) readEnvelope(v value) {
	if !v.present() {
		return
	}
	r := &envelopeReader{profile: p}
	if v.node.Kind == yaml.ScalarNode {
		v.word("raw")
		r.steps = []step{{kind: stepData}}
	} else {
		r.object(v, 0)
	}
	p.envelope.steps = r.steps
	for _, s := range r.steps {
		p.envelope.fixed += len(s.text)
		for _, part := range s.parts {
			p.envelope.fixed += len(part.text)
		}
	}
	if p.envelope.fixed > maxEnvelopeText {
		v.fail("holds more than %d bytes of its own", maxEnvelopeText)
	}
	if v.file.err == nil {
		p.tryEnvelope(v)
	}
}

// tryEnvelope renders awkward data. An envelope that loads must render strict JSON.
func (p *Profile) tryEnvelope(v value) {
	event := &hook.Event{Scope: hook.Scope{Tenant: "t", Mode: hook.Live}, Type: "a.b", CreatedAt: time.Unix(0, 0), AcceptedAt: time.Unix(0, 0)}
	for _, data := range []string{`{}`, `{ }`, `{"\u0061":{"a":[1,{}],"b":"\",}"},"b":1 }`} {
		event.Data = []byte(data)
		if !jsontext.Value(p.Render(nil, Input{Event: event})).IsValid() {
			v.fail("does not render to JSON")
		}
	}
}

// text appends fixed bytes, merging them with the previous step if that is fixed, too.
func (r *envelopeReader) text(s string) {
	if last := len(r.steps) - 1; last >= 0 && r.steps[last].kind == stepText {
		r.steps[last].text += s
		return
	}
	r.steps = append(r.steps, step{kind: stepText, text: s})
}

func (r *envelopeReader) value(v value, depth int) {
	if depth > maxEnvelopeDepth {
		v.fail("is nested more than %d levels deep", maxEnvelopeDepth)
		return
	}
	switch v.node.Kind {
	case yaml.MappingNode:
		r.object(v, depth)
	case yaml.SequenceNode:
		r.text("[")
		for i, item := range v.list() {
			if i > 0 {
				r.text(",")
			}
			r.value(item, depth+1)
		}
		r.text("]")
	default:
		r.scalar(v)
	}
}

func (r *envelopeReader) object(v value, depth int) {
	m := v.mapping()
	var own []string
	at := -1
	for i, key := range m.keys {
		if key.node.Value == spreadName {
			at = i
			continue
		}
		own = append(own, key.node.Value)
	}
	r.text("{")
	for i, key := range m.keys {
		if i == at {
			if m.vals[i].text() != "$event.data" {
				m.vals[i].fail("only $event.data can be spread")
			}
			r.steps = append(r.steps, step{kind: stepSpread, spread: newSpread(own, at > 0, at < len(m.keys)-1)})
			continue
		}
		// After a leading spread, the spread adds the comma.
		if i > 0 && !(i == 1 && at == 0) {
			r.text(",")
		}
		r.text(quote(key.node.Value) + ":")
		r.value(m.vals[i], depth+1)
	}
	r.text("}")
}

func (r *envelopeReader) scalar(v value) {
	switch v.node.ShortTag() {
	case "!!null":
		r.text("null")
		return
	case "!!str":
	default:
		r.text(readScalar(v).json)
		return
	}
	parts, err := parseTemplate(v.text())
	if err != nil {
		v.fail("%s", err)
		return
	}
	if slices.Contains(parts, part{variable: attemptNumber}) {
		v.fail("$attempt.number is for headers: every retry sends the same body")
		return
	}
	if slices.Contains(parts, part{variable: traceParent}) {
		v.fail("$trace.parent is for headers: every retry sends the same body")
		return
	}
	r.profile.countMembers(v, valuesIn(parts))
	if len(parts) == 1 {
		switch parts[0].variable {
		case eventMember:
			r.steps = append(r.steps, step{kind: stepMember, text: parts[0].text})
			return
		case eventData:
			r.steps = append(r.steps, step{kind: stepData})
			return
		case mode:
			r.steps = append(r.steps, step{kind: stepMode})
			return
		case eventCreatedUnix:
			r.steps = append(r.steps, step{kind: stepVariable, variable: eventCreatedUnix})
			return
		}
	}
	if slices.Contains(parts, part{variable: eventData}) {
		v.fail("$event.data must stand alone")
		return
	}
	for i, p := range parts {
		if quoted := quote(p.text); p.variable == none {
			parts[i].text = quoted[1 : len(quoted)-1]
		}
	}
	if valuesIn(parts) > 0 {
		r.steps = append(r.steps, step{kind: stepString, parts: parts})
		return
	}
	r.text(`"`)
	for _, p := range parts {
		if p.variable == none {
			r.text(p.text)
			continue
		}
		r.steps = append(r.steps, step{kind: stepVariable, variable: p.variable})
	}
	r.text(`"`)
}
