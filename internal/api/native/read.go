package native

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/posthorn/posthorn/internal/api/strict"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

// decoders are reused: a new one costs more than parsing a small event.
var decoders = sync.Pool{New: func() any { return jsontext.NewDecoder(nothing) }}

var nothing = bytes.NewReader(nil)

// readOne parses the body of a publish.
func readOne(text []byte) (app.Event, error) {
	if err := strict.CheckDepth(text, strict.MaxDepth+1); err != nil { // data is nested one level down
		return app.Event{}, err
	}
	d := decoders.Get().(*jsontext.Decoder)
	defer giveBack(d)
	d.Reset(bytes.NewBuffer(text))
	event, err := readEvent(d, text)
	if err != nil {
		return app.Event{}, strict.Syntax(err)
	}
	if err := readEnd(d); err != nil {
		return app.Event{}, err
	}
	return event, event.Err
}

// giveBack returns a decoder to the pool without its reference to the text.
func giveBack(d *jsontext.Decoder) {
	d.Reset(nothing)
	decoders.Put(d)
}

// readEnd refuses anything after the value.
func readEnd(d *jsontext.Decoder) error {
	_, err := d.ReadToken()
	switch {
	case err == io.EOF:
		return nil
	case err != nil:
		return strict.Syntax(err)
	}
	return &hook.Error{Code: hook.CodeInvalidJSON, Message: "The request body is not strict JSON: something follows the value."}
}

// readEvent parses the next value as an event. It returns an error if the text is not
// strict JSON; any other error of the event is in its Err. Data is a part of text,
// unchanged. Package app decides about a missing tenant, because the key may belong to
// one.
func readEvent(d *jsontext.Decoder, text []byte) (app.Event, error) {
	var e app.Event
	if d.PeekKind() != '{' {
		e.Err = strict.Wrong("", "an object")
		return e, d.SkipValue()
	}
	if _, err := d.ReadToken(); err != nil {
		return e, err
	}
	for d.PeekKind() != '}' {
		name, err := d.ReadValue()
		if err != nil {
			return e, err
		}
		if err := readMember(d, text, &e, unquoted(name)); err != nil {
			return e, err
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return e, err
	}
	switch {
	case e.Err != nil:
	case e.Type == "":
		e.Err = strict.Missing("type")
	case e.Data == nil:
		e.Err = strict.Missing("data")
	}
	return e, nil
}

func readMember(d *jsontext.Decoder, text []byte, e *app.Event, name string) error {
	isObject := d.PeekKind() == '{'
	value, err := d.ReadValue()
	if err != nil {
		return err
	}
	if e.Err != nil {
		return nil // only the first error is reported
	}
	switch name {
	case "tenant":
		e.Tenant, e.Err = readString(name, value)
	case "type":
		e.Type, e.Err = readString(name, value)
	case "data":
		end := int(d.InputOffset())
		if e.Data = text[end-len(value) : end : end]; !isObject {
			e.Err = strict.Wrong(name, "an object")
		}
	case "id":
		e.ID, e.GivenID, e.Err = readID(name, value)
	case "created_at":
		e.CreatedAt, e.Err = readTime(name, value)
	case "deliver_at":
		e.DeliverAt, e.Err = readTime(name, value)
	case "payload_retention":
		var text string
		if text, e.Err = readString(name, value); e.Err == nil {
			var keep time.Duration
			keep, e.Err = readKept(name, text)
			e.PayloadRetention = &keep
		}
	case "type_version":
		e.Version, e.Err = readVersion(name, value)
	case "require_match":
		switch value.Kind() {
		case 't', 'f':
			e.RequireMatch = value.Kind() == 't'
		default:
			e.Err = strict.Wrong(name, "true or false")
		}
	case "channels":
		e.Channels, e.Err = readChannels(name, value)
	case "tags":
		e.Tags, e.Err = readTags(name, value)
	case "event_type": // its name in deliveries and filters
		e.Err = &hook.Error{Code: hook.CodeUnknownField, Field: name, Message: "The member \"event_type\" is not known. Did you mean \"type\"?"}
	default:
		e.Err = strict.Unknown(name)
	}
	return nil
}

func readString(name string, value jsontext.Value) (string, error) {
	if value.Kind() != '"' {
		return "", strict.Wrong(name, "a string")
	}
	text := unquoted(value)
	if text == "" {
		return "", strict.Wrong(name, "a string that is not empty")
	}
	return text, nil
}

// readTags parses the tags of an event. null means none. Package app checks names and
// values.
func readTags(name string, value jsontext.Value) (hook.Tags, error) {
	if value.Kind() == 'n' {
		return nil, nil
	}
	wrong := strict.Wrong(name, fmt.Sprintf("an object with 1 to %d members, each a string", hook.MaxTags))
	if value.Kind() != '{' {
		return nil, wrong
	}
	d := jsontext.NewDecoder(bytes.NewReader(value))
	_, _ = d.ReadToken() // the decoder of the event has accepted the text
	var tags hook.Tags
	for d.PeekKind() == '"' {
		key, _ := d.ReadValue()
		tag := hook.Tag{Name: unquoted(key)}
		text, _ := d.ReadValue()
		if text.Kind() != '"' || len(tags) == hook.MaxTags {
			return nil, wrong
		}
		tag.Value = unquoted(text)
		tags = append(tags, tag)
	}
	if len(tags) == 0 {
		return nil, wrong
	}
	return hook.NewTags(tags...), nil
}

// readChannels parses the channels of an event. null means none. Package app checks their
// names and their number.
func readChannels(name string, value jsontext.Value) ([]string, error) {
	if value.Kind() == 'n' {
		return nil, nil
	}
	if value.Kind() != '[' {
		return nil, strict.Wrong(name, fmt.Sprintf("an array of 1 to %d strings", hook.MaxChannels))
	}
	d := jsontext.NewDecoder(bytes.NewReader(value))
	_, _ = d.ReadToken() // the decoder of the event has accepted the text
	channels := []string{}
	for d.PeekKind() != ']' {
		text, _ := d.ReadValue()
		if text.Kind() != '"' {
			return nil, strict.Wrong(name+"/"+strconv.Itoa(len(channels)), "a string")
		}
		channels = append(channels, unquoted(text))
	}
	return channels, nil
}

// readVersion parses the version of an event's type. null means none.
func readVersion(name string, value jsontext.Value) (int, error) {
	if value.Kind() == 'n' {
		return 0, nil
	}
	n, err := strconv.Atoi(string(value))
	if err != nil || n < 1 || n > hook.MaxTypeVersion {
		return 0, strict.Wrong(name, "a whole number from 1 to 10000")
	}
	return n, nil
}

// readID parses the platform's own id of an event. null means none.
func readID(name string, value jsontext.Value) (hook.ID, string, error) {
	if value.Kind() == 'n' {
		return hook.ID{}, "", nil
	}
	text, err := readString(name, value)
	if err != nil {
		return hook.ID{}, "", err
	}
	id, given, ok := hook.EventID(text)
	if !ok {
		return hook.ID{}, "", strict.Wrong(name, hook.IDRule+", or a UUID that is not zero")
	}
	return id, given, nil
}

// readTime parses the platform's time of an event. null means none.
func readTime(name string, value jsontext.Value) (time.Time, error) {
	if value.Kind() == 'n' {
		return time.Time{}, nil
	}
	text, err := readString(name, value)
	if err != nil {
		return time.Time{}, err
	}
	at, err := hook.ParseTime(text)
	if err != nil || at.UnixMicro() == 0 { // the store uses 0 for none
		return time.Time{}, strict.Wrong(name, "a time of RFC 3339 such as 2026-01-31T12:00:00Z, after 1970-01-01T00:00:00Z and before the year 10000 of UTC")
	}
	return at, nil
}

// unquoted returns the text of a JSON string that the decoder accepted.
func unquoted(value jsontext.Value) string {
	if bytes.IndexByte(value, '\\') < 0 && len(value) >= 2 {
		return string(value[1 : len(value)-1])
	}
	text, err := jsontext.AppendUnquote(nil, value)
	if err != nil {
		return "" // cannot happen: the decoder checked it
	}
	return string(text)
}
