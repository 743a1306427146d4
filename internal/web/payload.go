package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"strings"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/page"
)

// payload is the data of an event, or why it is not shown.
type payload struct {
	text
	Lines []jsonLine // a foldable tree; nil: Body is shown as it is
	Why   string     // why nothing is shown
	Ask   string     // path that shows it
	// Redacted says which values are not shown. Empty: none.
	Redacted string
}

// note fills in the size of an event's data, and what is redacted of it.
func (p *payload) note(e *hook.Event) {
	p.Size = page.Size(len(e.Data))
	if len(e.Redacted) > 0 && p.Why == "" {
		p.Redacted = "Redacted for display: " + strings.Join(e.Redacted, ", ") + ". Receivers get the values."
	}
}

// payloadName returns the name of a file with the data of an event.
func payloadName(e *hook.Event) string {
	if len(e.Redacted) > 0 {
		return "event-" + e.PublicID.String() + "-redacted.json"
	}
	return "event-" + e.PublicID.String() + ".json"
}

// maxLines limits the lines of a tree.
const maxLines = 2000

// view reports whether a page may show a payload or the answers of a receiver, and records
// that it does. If it does not, payload says why.
func (v *visit) view(act hook.Act, object string, id hook.ID, scope hook.Scope) (ok bool, why payload) {
	q := v.r.URL.Query()
	switch {
	case v.h.o.Payloads == PayloadsNever:
		return false, payload{Why: "The server is set not to show payloads on pages (--ui-payloads never)."}
	case v.h.o.Payloads == PayloadsAsked && q.Get("payload") != "show":
		q.Set("payload", "show")
		return false, payload{Why: "Payloads are shown when asked for. The audit log records who looked.", Ask: v.r.URL.Path + "?" + q.Encode()}
	}
	err := v.service().View(v.ctx(), v.caller, app.Viewed{Session: sha256.Sum256([]byte(v.cookie)), Act: act, Object: object, ID: id, Scope: scope})
	switch {
	case err == nil:
		return true, payload{}
	case hook.CodeOf(err) == hook.CodeRateLimited:
		return false, payload{Why: err.Error()}
	}
	if !hook.Logged(err) {
		v.h.o.Log.WarnContext(v.ctx(), "page without its payload: the audit log cannot be written", "object", object, "id", id.String(), "error", err)
	}
	return false, payload{Why: "The audit log cannot be written just now, and nobody sees a payload without an entry there. Load the page again later."}
}

// removed says when retention removed the data of an event.
func (v *visit) removed(e *hook.Event) payload {
	return payload{text: text{Size: "removed"}, Why: "The payload was removed at " + when(e.PayloadRemovedAt, v.now).Exact + ", because its retention had passed. The event cannot be sent again."}
}

// payloadOf prepares the data of an event for display.
func payloadOf(data []byte, raw bool) payload {
	p := payload{text: foreign(data, page.MaxShown)}
	if raw || p.Cut || p.Hex {
		return p
	}
	tree := jsonTree{raw: data, dec: json.NewDecoder(bytes.NewReader(data))}
	if lines, ok := tree.read(); ok {
		p.Lines = lines
	}
	return p
}

// jsonLine is a line of JSON as it was written: a value, or the opening of an object or array
// with the lines inside.
type jsonLine struct {
	Key, Text   string // as written, with quotes
	Class       string // of Text: s for a string, d for others
	Open, Close string // brackets; empty for a value
	Comma       bool
	In          []jsonLine
}

// N is the number of members.
func (l jsonLine) N() int { return len(l.In) }

// jsonTree reads JSON into lines. Texts, numbers and the order of members stay as they are.
type jsonTree struct {
	raw   []byte
	dec   *json.Decoder
	lines int
}

func (t *jsonTree) read() ([]jsonLine, bool) {
	line, ok := t.value("")
	if !ok || t.dec.More() {
		return nil, false
	}
	return []jsonLine{line}, true
}

// token returns the next token and its text as written.
func (t *jsonTree) token() (json.Token, string, bool) {
	from := t.dec.InputOffset()
	token, err := t.dec.Token()
	if err != nil {
		return nil, "", false
	}
	text := bytes.TrimLeft(t.raw[from:t.dec.InputOffset()], " \t\r\n:,")
	return token, page.Visible(text), true
}

func (t *jsonTree) value(key string) (jsonLine, bool) {
	if t.lines++; t.lines > maxLines {
		return jsonLine{}, false
	}
	token, text, ok := t.token()
	if !ok {
		return jsonLine{}, false
	}
	line := jsonLine{Key: key, Text: text, Class: "d"}
	switch token := token.(type) {
	case string:
		line.Class = "s"
	case json.Delim:
		return t.inside(line, token)
	}
	return line, true
}

func (t *jsonTree) inside(line jsonLine, open json.Delim) (jsonLine, bool) {
	line.Open, line.Close, line.Text = "{", "}", ""
	if open == '[' {
		line.Open, line.Close = "[", "]"
	}
	for t.dec.More() {
		key := ""
		if open == '{' {
			var ok bool
			if _, key, ok = t.token(); !ok {
				return line, false
			}
		}
		member, ok := t.value(key)
		if !ok {
			return line, false
		}
		line.In = append(line.In, member)
	}
	for i := range line.In {
		line.In[i].Comma = i < len(line.In)-1
	}
	_, _, ok := t.token()
	return line, ok
}
