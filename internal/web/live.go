package web

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

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/page"
)

// Bounds of streams.
const (
	maxStreams        = 200 // on one node; beyond it the oldest ends
	maxSessionStreams = 10
	streamFor         = 15 * time.Minute
	streamBeat        = 15 * time.Second // between comments that keep proxies from closing it
	streamWrite       = 5 * time.Second  // for one write
	streamStep        = 5 * time.Second  // between reads of a page
	streamSoon        = time.Second      // between reads of a page about something under way
	streamSoonFor     = time.Minute      // since the stream began
	maxPart           = 32 << 10         // bytes; a stream whose page has a larger one ends when it changes
)

// stream is one page that is kept up to date.
type stream struct {
	session string
	end     chan string // receives the reason
}

// streams are the open streams, oldest first. They are safe for concurrent use.
type streams struct {
	mu     sync.Mutex
	open   []*stream
	closed bool
}

// add opens a stream. Beyond a bound the oldest one ends, of the same session if it has too
// many.
func (s *streams) add(session string) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := &stream{session, make(chan string, 1)}
	if s.closed {
		one.end <- "restart"
		return one
	}
	of := 0
	for _, other := range s.open {
		if other.session == session {
			of++
		}
	}
	for _, other := range s.open {
		if of >= maxSessionStreams && other.session == session || of < maxSessionStreams && len(s.open) >= maxStreams {
			s.drop(other)
			other.end <- "limit"
			break
		}
	}
	s.open = append(s.open, one)
	return one
}

func (s *streams) drop(one *stream) {
	for i, other := range s.open {
		if other == one {
			s.open = append(s.open[:i:i], s.open[i+1:]...)
			return
		}
	}
}

func (s *streams) remove(one *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(one)
}

func (s *streams) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, one := range s.open {
		one.end <- "restart"
	}
	s.open = nil
}

// Streams returns how many pages are kept up to date now.
func (h *Handler) Streams() int {
	more := h.portal.Streams()
	h.streams.mu.Lock()
	defer h.streams.mu.Unlock()
	return len(h.streams.open) + more
}

// live streams what changes on a page: the parts with data-live, and the number of rows
// that are newer than the first one shown. It runs the reads of the page itself, with the
// same session and checks, and never sends more than the page would show.
func (v *visit) live() error {
	page, show, err := v.h.pageOf(v.mode, v.query.Get("of"))
	if err != nil {
		return err
	}
	if _, err := show(v.copyOf(v.ctx(), page, v.caller)); err != nil && !away(err) {
		return err
	}
	one := v.h.streams.add(v.cookie)
	defer v.h.streams.remove(one)
	head := v.w.Header()
	head.Set("Content-Type", "text/event-stream")
	head.Set("X-Accel-Buffering", "no")
	s := sender{w: v.w, control: http.NewResponseController(v.w)}
	ctx, cancel := context.WithTimeout(v.ctx(), streamFor)
	defer cancel()
	begun, beat := time.Now(), time.Now()
	var before map[string]string
	for {
		reason, soon, parts := v.again(ctx, page, show)
		if reason != "" {
			return s.send("end", reason)
		}
		if err := s.changes(before, parts, v.query.Get("first")); err != nil {
			return nil // the browser went away
		}
		if large(before, parts) {
			return s.send("end", "large") // the page would show its old part beside new ones
		}
		before = parts
		step := streamStep
		if soon && time.Since(begun) < streamSoonFor {
			step = streamSoon
		}
		if time.Since(beat) >= streamBeat || len(parts) == 0 {
			beat = time.Now()
			if s.comment() != nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return s.send("end", "limit")
		case reason := <-one.end:
			return s.send("end", reason)
		case <-time.After(step):
		}
	}
}

// again makes the page once more for whoever the session stands for now.
func (v *visit) again(ctx context.Context, page *http.Request, show func(*visit) (*screen, error)) (end string, soon bool, parts map[string]string) {
	one, ok, err := v.h.o.Service.SessionStands(ctx, hook.WebOperator, v.cookie)
	if err != nil {
		return "", true, map[string]string{"live-down": "down"} // the store is away: it may come back
	}
	if !ok {
		return "session", false, nil
	}
	hash, ok := one.Keys[v.mode]
	if !ok {
		return "session", false, nil
	}
	caller, err := v.h.o.Service.Holder(ctx, hash, addressOf(v.r))
	if code := hook.CodeOf(err); err != nil && (code == hook.CodeUnauthorized || code == hook.CodeKeyExpired) {
		return "session", false, nil
	}
	if err != nil {
		return "", true, map[string]string{"live-down": "down"}
	}
	again := v.copyOf(ctx, page, caller)
	s, err := show(again)
	if err != nil && !away(err) || err == nil && s == nil {
		return "gone", false, nil
	}
	if err != nil {
		return "", true, map[string]string{"live-down": "down"}
	}
	var out bytes.Buffer
	if t := v.h.templates[s.Template]; t == nil || t.ExecuteTemplate(&out, "main", v.h.frameOf(again.r, again, s)) != nil {
		return "", s.Soon, nil
	}
	parts = partsOf(out.String())
	if len(s.Rows) > 0 {
		parts["live-first"] = strings.Join(s.Rows, " ")
	}
	parts["live-said"] = s.Heading
	return "", s.Soon, parts
}

// away reports whether an error says that the store cannot be read now.
func away(err error) bool {
	return page.Status(hook.CodeOf(err)) >= 500
}

// copyOf returns a visit that makes the page once more.
func (v *visit) copyOf(ctx context.Context, of *http.Request, caller app.Caller) *visit {
	now := v.h.o.Now()
	return &visit{h: v.h, w: discard{}, r: of.WithContext(caller.Acting(ctx, addressOf(v.r).Unmap().String(), page.RequestID(v.r))), caller: caller, mode: v.mode, now: now, begun: now,
		query: of.URL.Query(), cookie: v.cookie, quiet: ctx, streamed: true}
}

// discard takes what a page would send itself, which a streamed page never does.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}

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

func (s *sender) comment() error { return s.write(": still here\n\n") }

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

// changes sends the parts that differ from before. first is the first row that the browser
// shows.
func (s *sender) changes(before, now map[string]string, first string) error {
	if down := now["live-down"] != ""; down != s.down {
		s.down = down
		if err := s.send("down", down); err != nil {
			return err
		}
	}
	for name, html := range now {
		if strings.HasPrefix(name, "live-") || timeless(before[name]) == timeless(html) || len(html) > maxPart {
			continue // the browser itself keeps relative times up to date
		}
		if err := s.send("part", [2]string{name, html}); err != nil {
			return err
		}
	}
	if said := now["live-said"]; before != nil && said != before["live-said"] && !s.down {
		if err := s.send("said", said); err != nil {
			return err
		}
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
		return s.send("newer", n)
	}
	return nil
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

// pageOf returns the page that a path and query of ours lead to.
func (h *Handler) pageOf(mode hook.Mode, of string) (*http.Request, func(*visit) (*screen, error), error) {
	gone := &hook.Error{Code: hook.CodeNotFound, Message: "There is no such page."}
	u, err := url.Parse(of)
	if err != nil || u.Host != "" || u.Scheme != "" {
		return nil, nil, gone
	}
	r := &http.Request{Method: http.MethodGet, URL: u, Host: "posthorn", Header: http.Header{}}
	_, pattern := h.mux.Handler(r)
	prefix := "GET /ui/" + mode.String() + "/"
	path, ours := strings.CutPrefix(pattern, prefix)
	if !ours {
		return nil, nil, gone
	}
	for _, one := range table() {
		if one.path == path && one.show != nil && one.live {
			setPathValues(r, path, strings.TrimPrefix(u.EscapedPath(), "/ui/"+mode.String()+"/"))
			return r, one.show, nil
		}
	}
	return nil, nil, gone
}

// setPathValues fills in the values of a pattern, as the mux does.
func setPathValues(r *http.Request, pattern, path string) {
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
