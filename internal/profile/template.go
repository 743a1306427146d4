package profile

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// Input is the input from which one request is rendered.
type Input struct {
	Event    *hook.Event
	Delivery hook.ID
	Attempt  int       // number of the attempt, from 1; headers only
	Now      time.Time // time of signing
	Sampled  bool      // whether traces of the event are recorded; headers only
}

// variable identifies a variable of templates.
type variable uint8

const (
	none variable = iota
	eventID
	eventType
	eventCreatedAt
	eventCreatedUnix
	eventAcceptedAt
	eventData
	eventMember // a value of the data; the part's text is its JSON pointer
	tenantID
	mode
	deliveryID
	attemptNumber
	traceParent
)

var variables = map[string]struct {
	id    variable
	means string
}{
	"event.id":            {eventID, "The event's id: the platform's own if it gave one. The same over retries and replays."},
	"event.type":          {eventType, "The event's type."},
	"event.created_at":    {eventCreatedAt, "When it happened, as the platform says."},
	"event.created_unix":  {eventCreatedUnix, "The same in whole Unix seconds."},
	"event.accepted_at":   {eventAcceptedAt, "When the server accepted it."},
	"event.data":          {eventData, "The event's data; not in headers."},
	memberPrefix + "NAME": {eventMember, "A string, number or boolean out of the data, such as `$event.data.invoice.id`: see below."},
	"tenant.id":           {tenantID, "The id of the tenant."},
	"mode":                {mode, "The mode, as `mode` spells it."},
	"delivery.id":         {deliveryID, "The id of the delivery: one for each endpoint that gets the event."},
	"trace.parent":        {traceParent, "The attempt as a W3C trace context, for the header `traceparent`; in headers only. Its trace id is the id of the event."},
	"attempt.number":      {attemptNumber, "The number of the attempt, from 1; in headers only, for every retry sends the same body."},
}

// wireTime is RFC 3339 in UTC with exactly six fractional digits.
const wireTime = "2006-01-02T15:04:05.000000Z"

// part is fixed text, or a variable if variable is set.
type part struct {
	variable variable
	text     string // for a value of the data, its JSON pointer
}

// valuesIn counts the values of the data in a template.
func valuesIn(parts []part) int {
	n := 0
	for _, p := range parts {
		if p.variable == eventMember {
			n++
		}
	}
	return n
}

// parseTemplate parses text that contains $name or ${name}; $$ is a dollar sign.
func parseTemplate(text string) ([]part, error) {
	var parts []part
	literal := ""
	for text != "" {
		before, after, found := strings.Cut(text, "$")
		literal += before
		if !found {
			break
		}
		if rest, ok := strings.CutPrefix(after, "$"); ok {
			literal, text = literal+"$", rest
			continue
		}
		name, rest, err := cutName(after)
		if err != nil {
			return nil, err
		}
		named, err := variableNamed(name)
		if err != nil {
			return nil, err
		}
		if literal != "" {
			parts, literal = append(parts, part{text: literal}), ""
		}
		parts, text = append(parts, named), rest
	}
	if literal != "" {
		parts = append(parts, part{text: literal})
	}
	return parts, nil
}

func variableNamed(name string) (part, error) {
	if path, ok := strings.CutPrefix(name, memberPrefix); ok {
		pointer, err := pointerOf(path)
		if err != nil {
			return part{}, fmt.Errorf("$%.150s %w", name, err)
		}
		return part{eventMember, pointer}, nil
	}
	v, known := variables[name]
	if !known {
		return part{}, fmt.Errorf("unknown variable $%.150s", name)
	}
	return part{variable: v.id}, nil
}

func cutName(text string) (name, rest string, err error) {
	if braced, ok := strings.CutPrefix(text, "{"); ok {
		name, rest, ok = strings.Cut(braced, "}")
		if !ok {
			return "", "", errors.New("${ without }")
		}
		return name, rest, nil
	}
	end := 0
	if strings.HasPrefix(text, memberPrefix) {
		for end < len(text) && ('a' <= text[end] && text[end] <= 'z' || 'A' <= text[end] && text[end] <= 'Z' ||
			'0' <= text[end] && text[end] <= '9' || text[end] == '_' || text[end] == '.') {
			end++
		}
		if end == len(memberPrefix) && strings.HasPrefix(text[end:], "/") {
			return "", "", errors.New("write a JSON pointer in braces: ${event.data./invoice/id}")
		}
	}
	for end < len(text) && ('a' <= text[end] && text[end] <= 'z' || text[end] == '_' || text[end] == '.') {
		end++
	}
	for end > 0 && text[end-1] == '.' {
		end--
	}
	if end == 0 {
		return "", "", errors.New("a lone $; write $$ for a dollar sign")
	}
	return text[:end], text[end:], nil
}

// modeTexts are the names of the modes on the wire, indexed by hook.Mode.
type modeTexts [hook.Live + 1]scalar

// scalar is one value, both as plain text and as JSON.
type scalar struct{ text, json string }

func (m *modeTexts) of(in hook.Mode) scalar {
	if int(in) < len(m) {
		return m[in]
	}
	return m[0]
}

// appendVariable appends the plain text of a variable. It consists of characters that need
// no escaping in JSON or in a header, except for the type, the tenant and the mode, which
// callers must check.
func (p *Profile) appendVariable(dst []byte, v variable, in *Input) []byte {
	switch v {
	case eventID:
		dst = append(dst, p.eventID(in.Event)...)
	case deliveryID:
		dst, _ = in.Delivery.AppendText(dst)
	case eventType:
		dst = append(dst, in.Event.Type...)
	case eventCreatedAt:
		dst = in.Event.CreatedAt.UTC().AppendFormat(dst, wireTime)
	case eventAcceptedAt:
		dst = in.Event.AcceptedAt.UTC().AppendFormat(dst, wireTime)
	case eventCreatedUnix:
		dst = strconv.AppendInt(dst, in.Event.CreatedAt.Unix(), 10)
	case tenantID:
		dst = append(dst, in.Event.Scope.Tenant...)
	case mode:
		dst = append(dst, p.mode.of(in.Event.Scope.Mode).text...)
	case traceParent:
		return hook.AppendTraceParent(dst, in.Event.ID, in.Delivery, in.Attempt, in.Sampled)
	case attemptNumber:
		dst = strconv.AppendInt(dst, int64(in.Attempt), 10)
	}
	return dst
}
