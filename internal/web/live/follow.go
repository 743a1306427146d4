package live

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// How often a page is read again.
const (
	step    = 5 * time.Second // without a hint
	soon    = time.Second     // at most so often; also for a page about something under way, without a hint
	soonFor = time.Minute     // since the stream began
	share   = 20              // of the time that a page takes to read: how long it is not read again
)

// Now is what a page shows at one moment.
type Now struct {
	End   string // why its stream ends; empty: it goes on
	Down  bool   // the store cannot be read
	Soon  bool   // something is under way
	HTML  string // of the main part; empty: not read this time
	Rows  []string
	Said  string // what is said when it changed
	About About
}

// parts returns the parts of the page, with what is not HTML under names that begin with
// "live-".
func (n *Now) parts() map[string]string {
	switch {
	case n.Down:
		return map[string]string{"live-down": "down"}
	case n.HTML == "":
		return nil
	}
	out := Parts(n.HTML)
	if len(n.Rows) > 0 {
		out["live-first"] = strings.Join(n.Rows, " ")
	}
	out["live-said"] = n.Said
	return out
}

// Follow streams what changes on a page: the parts with data-live, and the number of rows that
// are newer than the first one shown. The query of the request has that row, and what was seen
// of parts that are too large to be sent. look reads the page again, with the session and checks
// of the page itself. See Streams.Add for session and holder.
func (s *Streams) Follow(w http.ResponseWriter, r *http.Request, session, holder string, hints *Hints, look func(context.Context) Now) {
	one := s.Add(session, holder)
	defer s.Remove(one)
	wake := hints.Listen()
	defer wake.Close()
	to := NewSender(w)
	ctx, cancel := context.WithTimeout(r.Context(), For)
	defer cancel()
	query := r.URL.Query()
	begun, beat, seen := time.Now(), time.Now(), query.Get("seen")
	var before map[string]string
	for {
		read := time.Now()
		now := look(ctx)
		if now.End != "" {
			_ = to.Send("end", now.End) // the browser may be away
			return
		}
		parts := now.parts()
		if parts != nil {
			if to.Changes(before, parts, query.Get("first")) != nil {
				return // the browser went away
			}
			large := Large(parts)
			if before == nil && seen == "" && large != "" {
				seen = large
				if to.Send("seen", seen) != nil {
					return
				}
			}
			if large != seen && !now.Down {
				_ = to.Send("end", "large") // the page would show its old part beside new ones
				return
			}
			before = parts
		}
		late, early := step, max(soon, share*time.Since(read))
		if now.Soon && time.Since(begun) < soonFor {
			late = early
		}
		if time.Since(beat) >= Beat || len(parts) == 0 {
			beat = time.Now()
			if to.Comment() != nil {
				return
			}
		}
		if reason, ended := wake.Wait(ctx, one.End, now.About, early, max(early, late)); ended {
			_ = to.Send("end", cmp.Or(reason, "limit"))
			return
		}
	}
}

// Page returns a request to read the page of a path and query again. It reports false if the
// text has a scheme or a host.
func Page(of string) (*http.Request, bool) {
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
