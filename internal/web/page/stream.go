package page

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Bounds of streams.
const (
	maxStreams        = 200 // of one Streams
	maxSessionStreams = 10
	streamFor         = 15 * time.Minute
	streamBeat        = 15 * time.Second // between comments that keep proxies from closing it
	streamWrite       = 5 * time.Second  // for one write
	streamStep        = 5 * time.Second  // between reads of a page
	streamSoon        = time.Second      // between reads of a page about something under way
	streamSoonFor     = time.Minute      // since the stream began
	maxPart           = 32 << 10         // bytes; a stream whose page has a larger one ends when it changes
)

// Streams are the open streams that keep pages up to date. The zero value has none. It is safe
// for concurrent use.
type Streams struct {
	mu     sync.Mutex
	open   []*stream // oldest first
	closed bool
}

// stream is one page that is kept up to date.
type stream struct {
	session, holder string
	end             chan string // receives the reason
}

// add opens a stream of a session. Beyond the bound of a session its oldest one ends. Beyond
// the bound of all, the oldest one of the holder that has most ends, so that nobody takes the
// streams of others.
func (s *Streams) add(session, holder string) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := &stream{session, holder, make(chan string, 1)}
	if s.closed {
		one.end <- "restart"
		return one
	}
	of, most, held := 0, "", map[string]int{}
	for _, other := range s.open {
		if other.session == session {
			of++
		}
		held[other.holder]++
		if held[other.holder] > held[most] {
			most = other.holder
		}
	}
	for _, other := range s.open {
		if of >= maxSessionStreams && other.session == session || of < maxSessionStreams && len(s.open) >= maxStreams && other.holder == most {
			s.drop(other)
			other.end <- "limit"
			break
		}
	}
	s.open = append(s.open, one)
	return one
}

func (s *Streams) drop(one *stream) {
	for i, other := range s.open {
		if other == one {
			s.open = append(s.open[:i:i], s.open[i+1:]...)
			return
		}
	}
}

func (s *Streams) remove(one *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(one)
}

// Close ends the streams, and those that are opened later.
func (s *Streams) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, one := range s.open {
		one.end <- "restart"
	}
	s.open = nil
}

// Len returns how many streams are open.
func (s *Streams) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// Now is what a page shows at one moment.
type Now struct {
	End   string   // why the stream ends; empty: it goes on
	Down  bool     // the store cannot be read
	HTML  string   // of the main part; empty: as before
	Rows  []string // ids of a list, newest first
	Said  string   // what a changed page says
	Soon  bool     // something is under way
	parts map[string]string
}

// Follow streams what changes on a page: the parts with data-live, and the number of rows that
// are newer than first, the first one that the browser shows. look reads the page again, with
// the session and checks of the page itself.
func (s *Streams) Follow(w http.ResponseWriter, r *http.Request, session, holder, first string, look func(context.Context) Now) {
	one := s.add(session, holder)
	defer s.remove(one)
	head := w.Header()
	head.Set("Content-Type", "text/event-stream")
	head.Set("X-Accel-Buffering", "no")
	to := sender{w: w, control: http.NewResponseController(w)}
	ctx, cancel := context.WithTimeout(r.Context(), streamFor)
	defer cancel()
	begun, beat := time.Now(), time.Time{}
	var before *Now
	for {
		now := look(ctx)
		if now.End != "" {
			_ = to.send("end", now.End) // the browser may be away
			return
		}
		if to.isDown(now.Down) != nil {
			return
		}
		if !now.Down && now.HTML != "" {
			now.parts, now.HTML = partsOf(now.HTML), ""
			if to.changes(before, &now, first) != nil {
				return
			}
			if before != nil && large(before.parts, now.parts) {
				_ = to.send("end", "large") // the page would show its old part beside new ones
				return
			}
			before = &now
		}
		step := streamStep
		if (now.Soon || now.Down) && time.Since(begun) < streamSoonFor {
			step = streamSoon
		}
		if time.Since(beat) >= streamBeat {
			beat = time.Now()
			if to.write(": still here\n\n") != nil {
				return
			}
		}
		reason := ""
		select {
		case <-ctx.Done():
			reason = "limit"
		case reason = <-one.end:
		case <-time.After(step):
			continue
		}
		_ = to.send("end", reason)
		return
	}
}

// sender writes events.
type sender struct {
	w       http.ResponseWriter
	control *http.ResponseController
	down    bool
}

func (s *sender) write(text string) error {
	if err := s.control.SetWriteDeadline(time.Now().Add(streamWrite)); err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	if _, err := s.w.Write([]byte(text)); err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	if err := s.control.Flush(); err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	return nil
}

// send writes one event, whose data is JSON.
func (s *sender) send(event string, data any) error {
	var text bytes.Buffer
	to := json.NewEncoder(&text)
	to.SetEscapeHTML(false)
	if err := to.Encode(data); err != nil { // one line, and a line feed
		return fmt.Errorf("stream: %w", err)
	}
	return s.write("event: " + event + "\ndata: " + text.String() + "\n")
}

// isDown says that the store went away or came back.
func (s *sender) isDown(down bool) error {
	if down == s.down {
		return nil
	}
	s.down = down
	return s.send("down", down)
}

// changes sends what differs from before. Without before it sends everything, since the page
// may have changed since the browser loaded it.
func (s *sender) changes(before, now *Now, first string) error {
	if before == nil {
		before = &Now{Said: now.Said}
	}
	for name, html := range now.parts {
		if timeless(before.parts[name]) == timeless(html) || len(html) > maxPart {
			continue // the browser itself keeps relative times up to date
		}
		if err := s.send("part", [2]string{name, html}); err != nil {
			return err
		}
	}
	if now.Said != before.Said {
		if err := s.send("said", now.Said); err != nil {
			return err
		}
	}
	if first == "" || len(now.Rows) == 0 || strings.Join(now.Rows, " ") == strings.Join(before.Rows, " ") {
		return nil
	}
	n := len(now.Rows)
	for i, id := range now.Rows {
		if id == first {
			n = i
			break
		}
	}
	return s.send("newer", n)
}

// large reports whether a part changed that is too large to be sent.
func large(before, now map[string]string) bool {
	for name, html := range now {
		if old, ok := before[name]; ok && len(html) > maxPart && timeless(old) != timeless(html) {
			return true
		}
	}
	return false
}

// partsOf returns the inner HTML of the elements with data-live in a page that a template
// of ours made: it is well formed, and "<" and ">" occur in tags only.
func partsOf(page string) map[string]string {
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

var relative = regexp.MustCompile(`(<time[^>]*>)[^<]*`)

// timeless returns a part without its relative times.
func timeless(html string) string { return relative.ReplaceAllString(html, "$1") }

// Read returns a request to read a path and query of ours again, outside of a connection. It
// reports false if the text has a scheme or a host.
func Read(of string) (*http.Request, bool) {
	u, err := url.Parse(of)
	if err != nil || u.Host != "" || u.Scheme != "" {
		return nil, false
	}
	return &http.Request{Method: http.MethodGet, URL: u, Host: "posthorn", Header: http.Header{}}, true
}

// SetPathValues fills in the values of a pattern, as the mux of net/http does.
func SetPathValues(r *http.Request, pattern, path string) {
	have := strings.Split(path, "/")
	for i, part := range strings.Split(pattern, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok && i < len(have) {
			value, err := url.PathUnescape(have[i])
			if err == nil {
				r.SetPathValue(strings.TrimRight(name, "}."), value)
			}
		}
	}
}

// Discard takes what a page would send itself, which a page that is read again never does.
type Discard struct{}

// Header returns a header that nobody sees.
func (Discard) Header() http.Header { return http.Header{} }

// Write drops the bytes.
func (Discard) Write(b []byte) (int, error) { return len(b), nil }

// WriteHeader does nothing.
func (Discard) WriteHeader(int) {}
