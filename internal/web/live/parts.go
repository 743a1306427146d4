package live

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Sender writes the events of one stream.
type Sender struct {
	w       http.ResponseWriter
	control *http.ResponseController
	down    bool
	text    bytes.Buffer // not written yet
	failed  error
}

// NewSender begins an answer that is a stream.
func NewSender(w http.ResponseWriter) *Sender {
	head := w.Header()
	head.Set("Content-Type", "text/event-stream")
	head.Set("X-Accel-Buffering", "no")
	return &Sender{w: w, control: http.NewResponseController(w)}
}

// Flush writes what was sent.
func (s *Sender) Flush() error {
	if s.failed != nil || s.text.Len() == 0 {
		return s.failed
	}
	s.failed = s.write(s.text.Bytes())
	if s.text.Reset(); s.text.Cap() > maxPart {
		s.text = bytes.Buffer{} // not kept by each stream
	}
	return s.failed
}

// End sends why the stream ends, and writes it. The browser may be away.
func (s *Sender) End(reason string) {
	s.Send("end", reason)
	_ = s.Flush()
}

func (s *Sender) write(text []byte) error {
	if err := s.control.SetWriteDeadline(time.Now().Add(writeFor)); err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	if _, err := s.w.Write(text); err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	if err := s.control.Flush(); err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	return nil
}

// Comment writes what browsers ignore, so that proxies see traffic.
func (s *Sender) Comment() { s.text.WriteString(": still here\n\n") }

// Send sends one event, whose data is JSON. It is written by Flush.
func (s *Sender) Send(event string, data any) {
	s.text.WriteString("event: " + event + "\ndata: ")
	to := json.NewEncoder(&s.text)
	to.SetEscapeHTML(false)
	if err := to.Encode(data); err != nil { // one line, and a line feed
		s.failed = fmt.Errorf("stream: %w", err)
	}
	s.text.WriteString("\n")
}

// Changes sends the parts that differ from before. first is the first row that the browser
// shows.
func (s *Sender) Changes(before, now map[string]string, first string) {
	if down := now["live-down"] != ""; down != s.down {
		s.down = down
		s.Send("down", down)
	}
	for name, html := range now {
		if _, shown := before[name]; before != nil && !shown {
			continue // the browser has no place for it, such as a row that is newer than its page
		}
		if strings.HasPrefix(name, "live-") || len(html) > maxPart || before[name] == html || timeless(before[name]) == timeless(html) {
			continue // the browser itself keeps relative times up to date
		}
		s.Send("part", [2]string{name, html})
	}
	if said := now["live-said"]; before != nil && said != before["live-said"] && !s.down {
		s.Send("said", said)
	}
	if rows, ok := now["live-first"]; ok && first != "" && rows != before["live-first"] {
		all := strings.Fields(rows)
		n := len(all)
		for i, id := range all {
			if id == first {
				n = i
				break
			}
		}
		s.Send("newer", n)
	}
}

// Large takes out the parts that are too large to be sent, so that a stream does not keep them,
// and returns a word for them, or "" if there are none. It is another one when one of them
// changes.
func Large(parts map[string]string) string {
	sum := sha256.New()
	n := 0
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		if html := parts[name]; len(html) > maxPart {
			n++
			sum.Write([]byte(name + "\x00" + timeless(html) + "\x00"))
			delete(parts, name)
		}
	}
	if n == 0 {
		return ""
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

// Parts returns the inner HTML of the elements with data-live in a page that a template
// of ours made: it is well formed, and "<" and ">" occur in tags only.
func Parts(page string) map[string]string {
	const mark = ` data-live="`
	out := map[string]string{}
	for at := 0; ; {
		i := strings.Index(page[at:], mark)
		if i < 0 {
			return out
		}
		i += at
		at = i + len(mark)
		name, _, _ := strings.Cut(page[at:], `"`)
		open := strings.LastIndexByte(page[:i], '<')
		tag, _, _ := strings.Cut(page[open+1:i], " ")
		begin := at + strings.IndexByte(page[at:], '>') + 1
		if end := endOf(page[begin:], tag); end >= 0 {
			out[name] = strings.Clone(page[begin : begin+end]) // the page is not kept in memory
		}
	}
}

// endOf returns where the element whose content begins the text ends, or -1.
func endOf(text, tag string) int {
	depth, at := 1, 0
	for {
		i := strings.IndexByte(text[at:], '<')
		if i < 0 {
			return -1
		}
		at += i + 1
		rest, closes := strings.CutPrefix(text[at:], "/")
		if !strings.HasPrefix(rest, tag) || len(rest) <= len(tag) || rest[len(tag)] != ' ' && rest[len(tag)] != '>' {
			continue
		}
		if closes {
			depth--
		} else {
			depth++
		}
		if depth == 0 {
			return at - 1
		}
	}
}

// timeless returns a part without its relative times: the text in its elements time.
func timeless(html string) string {
	var out strings.Builder
	for {
		i := strings.Index(html, "<time")
		if i < 0 {
			break
		}
		if end := strings.IndexByte(html[i:], '>'); end >= 0 {
			i += end + 1
		} else {
			break
		}
		out.WriteString(html[:i])
		html = html[i:]
		html = html[max(0, strings.IndexByte(html, '<')):]
	}
	if out.Len() == 0 {
		return html
	}
	out.WriteString(html)
	return out.String()
}
