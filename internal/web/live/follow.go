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
// of parts that are too large to be sent. look checks the session as the page itself does, and
// says how to read the page again. See Streams.Add for session and holder.
func (s *Streams) Follow(w http.ResponseWriter, r *http.Request, session, holder string, hints *Hints, look func(context.Context) Look) {
	one := s.Add(session, holder)
	defer s.Remove(one)
	wake := hints.Listen()
	defer wake.Close()
	to := NewSender(w)
	ctx, cancel := context.WithTimeout(r.Context(), For)
	defer cancel()
	query := r.URL.Query()
	begun, beat, known := time.Now(), time.Now(), query.Get("seen")
	var before map[string]string
	var woken time.Time // by a hint
	for {
		how, checked := look(ctx), time.Now()
		now, reason := s.looks.see(ctx, one.End, s.Len, &how)
		if now != nil && time.Since(checked) > soon { // it waited for its turn: the session may be over
			how = look(ctx)
		}
		if how.End != "" {
			to.End(how.End)
			return
		}
		if now == nil {
			to.End(cmp.Or(reason, "limit"))
			return
		}
		if now.End != "" {
			to.End(now.End)
			return
		}
		if now.parts != nil {
			if before == nil && known == "" && now.large != "" {
				known = now.large
				to.Send("seen", known)
			}
			to.Changes(before, now.parts, query.Get("first"))
			if now.large != known && !now.Down {
				to.End("large") // the page would show its old part beside new ones
				return
			}
			if !now.Down {
				before = now.parts
			}
		}
		if time.Since(beat) >= Beat || len(now.parts) == 0 {
			beat = time.Now()
			to.Comment()
		}
		if to.Flush() != nil {
			return // the browser went away
		}
		late := step
		if now.Soon && time.Since(begun) < soonFor || now.began.Before(woken) {
			late = soon
		}
		woken = time.Time{}
		reason, ended, hit := wake.Wait(ctx, one.End, now.About, soon, late)
		if ended {
			to.End(cmp.Or(reason, "limit"))
			return
		}
		if hit {
			woken = time.Now()
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
