package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/live"
	"github.com/posthorn/posthorn/internal/web/page"
)

// visit is a request for a page by a session that is allowed to see it.
type visit struct {
	h       *Handler
	w       http.ResponseWriter
	r       *http.Request
	caller  app.Caller
	mode    hook.Mode
	now     time.Time
	begun   time.Time
	query   url.Values
	cookie  string // of the session
	session hook.WebSession

	quiet    context.Context // like ctx, but what is read with it is not in the audit log
	streamed bool            // the page is made again for a stream
}

func (v *visit) ctx() context.Context  { return v.r.Context() }
func (v *visit) service() *app.Service { return v.h.o.Service }

// id returns the id in the path, which of an event may be any text that the platform gave
// it. A malformed id is answered like an unknown one.
func (v *visit) id(noun string) (hook.ID, error) {
	id, given, ok := hook.EventID(v.r.PathValue("id"))
	if !ok || given != "" && noun != "event" {
		return id, hook.NotFound(noun)
	}
	return id, nil
}

// at returns the path of a page in the visit's mode, with a query made of pairs. The last
// value of a name counts; an empty one leaves the name out.
func (v *visit) at(path string, pairs ...string) string { return at(v.mode, path, pairs...) }

func at(mode hook.Mode, path string, pairs ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if q.Del(pairs[i]); pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	out := "/ui/" + mode.String() + "/" + path
	if len(q) > 0 {
		out += "?" + q.Encode()
	}
	return out
}

// screen is one page: its template and its content.
type screen struct {
	Template string
	Title    string // of the browser window
	Heading  string // the opening sentence of the page
	Nav      string // path of the current menu entry
	Status   int    // 0 means 200
	Refresh  int    // seconds; 0 means no automatic reload
	Commands []string
	API      []string // the equal requests, such as "GET /v1/deliveries"
	Data     any
	Secret   bool       // shows a secret: never compressed
	Soon     bool       // something is under way
	Rows     []string   // of a list, newest first, for the number of newer ones
	About    live.About // what the page shows, for its stream; the mode is that of the visit
}

// frame is what the layout shows around a screen.
type frame struct {
	screen
	Static    string
	Mode      string // empty if there is no mode, as on the log-in page
	Live      bool
	Other     string // path of the same list in the other mode
	Menu      []entry
	Version   string
	Nodes     string
	Clock     string
	Took      string
	Done      string // result of the preceding action
	Query     string // content of the search box
	SignedIn  bool
	Plain     bool // the cookie may be sent over plain http
	RequestID string
	Theme     string // light, dark; empty: the browser's
	Here      string // path and query of the page
	Stream    string // path of its stream; empty: it has none
	Still     string // path of the page without reloads
	Ends      *ending
}

type entry struct {
	Name, Href, Icon string
	Current, Apart   bool
	N                int // what needs attention
	NWords, NClass   string
}

// menu is the navigation. Paths are relative to the mode.
var menu = []struct {
	path, name, icon string
	apart            bool // starts the second group
}{
	{"", "Overview", "home", false}, {"events", "Events", "bolt", false}, {"deliveries", "Deliveries", "send", false},
	{"endpoints", "Endpoints", "plug", false}, {"tenants", "Tenants", "org", false}, {"replays", "Replays", "replay", false}, {"types", "Event types", "tag", false},
	{"profiles", "Profiles", "file", true}, {"keys", "Keys", "key", false}, {"audit", "Audit log", "list", false}, {"nodes", "Nodes", "node", false}, {"settings", "Settings", "gear", false},
}

// done maps words to the sentences about an action that the following page may show. The URL
// contains the word only, so that it cannot make the page show any other text.
var done = map[string]string{
	"retried":        "One more attempt was asked for.",
	"manyretry":      "One more attempt was asked for, of each.",
	"cancelled":      "The delivery was cancelled.",
	"manyend":        "The deliveries were cancelled, except those that had ended meanwhile.",
	"resent":         "The event was resent.",
	"enabled":        "The endpoint was enabled. What was held is on its way.",
	"discarded":      "The endpoint was enabled. What was held was cancelled.",
	"disabled":       "The endpoint was disabled.",
	"changed":        "The change was saved.",
	"deleted":        "The endpoint was deleted, and what waited for it was cancelled.",
	"tested":         "This is the delivery of the test event.",
	"revoked":        "The key was revoked.",
	"renamed":        "The tenant was renamed.",
	"erased":         "The tenant was deleted, with its endpoints and keys.",
	"made":           "The tenant was made.",
	"typemade":       "The event type was made.",
	"typechanged":    "The event type was changed.",
	"typedeleted":    "The event type was deleted from the catalogue.",
	"reclaimed":      "Free space was given back to the file system.",
	"ended":          "The session was ended.",
	"versiondropped": "The version was removed.",
	"started":        "The replay was started.",
	"paused":         "The replay was paused.",
	"resumed":        "The replay goes on.",
	"stopped":        "The replay was cancelled.",
	"loggedout":      "You are logged out.",
}

func (h *Handler) frameOf(r *http.Request, v *visit, s *screen) *frame {
	f := &frame{screen: *s, Static: h.static, Version: h.o.Version, Plain: h.o.Dev, RequestID: page.RequestID(r),
		Clock: h.o.Now().UTC().Format("15:04:05"), Done: done[r.URL.Query().Get("done")]}
	f.Theme, f.Here = themeOf(r), r.URL.RequestURI()
	if v == nil {
		return f
	}
	other := hook.Live
	if f.Live = v.mode == hook.Live; f.Live {
		other = hook.Test
	}
	f.Ends = endOf(&v.session, v.now)
	f.Mode, f.SignedIn, f.Other = v.mode.String(), true, at(other, s.Nav)
	if s.Template == "search.html" {
		f.Query = v.query.Get("q")
	}
	f.Took = strconv.FormatInt(h.o.Now().Sub(v.begun).Milliseconds(), 10) + " ms"
	f.Commands, f.API = s.Commands, s.API
	if h.o.Node != nil {
		if n := h.o.Node().Alive; n == 1 {
			f.Nodes = "1 node"
		} else {
			f.Nodes = strconv.Itoa(n) + " nodes"
		}
	}
	if v.streamed {
		return f
	}
	if _, _, err := h.pageOf(v.mode, f.Here); err == nil && !page.Changes(r) && f.Status < 400 {
		f.Stream = v.at("stream", "of", f.Here)
		if s.Soon && v.query.Get("refresh") != "off" {
			q := r.URL.Query()
			q.Set("refresh", "off")
			f.Still = r.URL.Path + "?" + q.Encode()
		}
	}
	failing, running := v.counts()
	for _, m := range menu {
		e := entry{Name: m.name, Icon: m.icon, Href: v.at(m.path), Current: m.path == s.Nav, Apart: m.apart}
		switch {
		case m.path == "endpoints" && failing > 0:
			e.N, e.NClass, e.NWords = failing, "bad", plural(failing, "needs", "need")+" attention"
		case m.path == "replays" && running > 0:
			e.N, e.NWords = running, plural(running, "is", "are")+" under way"
		}
		f.Menu = append(f.Menu, e)
	}
	return f
}

// themeOf returns the theme that the browser was set to.
func themeOf(r *http.Request) string {
	if c, err := r.Cookie(cookieTheme); err == nil && (c.Value == "light" || c.Value == "dark") {
		return c.Value
	}
	return ""
}

// cookieTheme holds the theme of a browser. It is no secret.
const cookieTheme = "posthorn-theme"

// setTheme sets the theme of the browser and returns to the page.
func setTheme(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return errForm
	}
	c := &http.Cookie{Name: cookieTheme, Value: r.PostForm.Get("theme"), Path: "/", MaxAge: int((365 * 24 * time.Hour).Seconds()), HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if c.Value != "light" && c.Value != "dark" {
		c.Value, c.MaxAge = "", -1
	}
	http.SetCookie(w, c)
	redirect(w, r, ours(r.PostForm.Get("next")))
	return nil
}

// render sends a screen. It renders the complete page before it sends anything, so an error
// never leaves a partial page.
func (h *Handler) render(w http.ResponseWriter, r *http.Request, v *visit, s *screen) {
	var out bytes.Buffer
	t := h.templates[s.Template]
	err := fmt.Errorf("web: no template %q", s.Template)
	if t != nil {
		err = t.ExecuteTemplate(&out, "layout.html", h.frameOf(r, v, s))
	}
	if err != nil {
		h.o.Log.ErrorContext(r.Context(), "make page", "path", loggedPath(r), "error", err)
		http.Error(w, "This page cannot be made. The server's log says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Vary", "Accept-Encoding")
	if v != nil {
		w.Header().Set("Server-Timing", "page;dur="+strconv.FormatInt(h.o.Now().Sub(v.begun).Milliseconds(), 10))
	}
	if takesGzip(r) && !s.Secret {
		w.Header().Set("Content-Encoding", "gzip")
		out = *bytes.NewBuffer(zip(out.Bytes()))
	}
	w.Header().Set("Content-Length", strconv.Itoa(out.Len()))
	if s.Refresh > 0 {
		w.Header().Set("Refresh", strconv.Itoa(s.Refresh))
	}
	status := s.Status
	if status == 0 {
		status = http.StatusOK
	}
	w.WriteHeader(status)
	_, _ = out.WriteTo(w) // the client disconnected
}

// errNoPage is the answer to an address that no page has.
var errNoPage = &hook.Error{Code: hook.CodeNotFound, Message: "There is no such page."}

// fault is the content of an error page.
type fault struct {
	Message, Code, Back string
}

// fail sends an error page. Internal details go only to the log.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, v *visit, err error) {
	status := page.Status(hook.CodeOf(err))
	shown := fault{Code: string(hook.CodeOf(err)), Message: "Something went wrong in the server. Its log says more; name the request id below."}
	s := &screen{Template: "error.html", Title: "Error", Heading: "This did not work", Status: status, Nav: "-"}
	if e, ok := errors.AsType[*hook.Error](err); ok && status != http.StatusInternalServerError {
		shown.Message = e.Message
		if e.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
		}
	}
	switch status {
	case http.StatusNotFound:
		s.Title, s.Heading = "Not found", "There is nothing here"
		if !errors.Is(err, errNoPage) {
			shown.Message += " It may have been removed after its retention, belong to the other mode, or never have existed."
		}
	case http.StatusServiceUnavailable:
		s.Title, s.Heading = "Not available", "The server cannot answer just now"
		shown.Message += " This page asks again every 5 seconds."
		s.Refresh = 5
		if w.Header().Get("Retry-After") == "" {
			w.Header().Set("Retry-After", "5")
		}
	}
	if page.Changes(r) {
		s.Refresh = 0
	}
	if status >= 500 && !hook.Logged(err) {
		h.o.Log.ErrorContext(r.Context(), "page failed", "path", loggedPath(r), "request", page.RequestID(r), "error", err)
	}
	if v != nil {
		shown.Back = v.at("")
	}
	s.Data = shown
	h.render(w, r, v, s)
}

// serve runs the handler of a route and sends an error page for its error or panic.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, v *visit, do func() error) {
	page.Run(do, func(err error) { h.fail(w, r, v, err) })
}

// redirect redirects to one of these pages after an action.
func redirect(w http.ResponseWriter, r *http.Request, to string) {
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// ours returns the address if it is a path of these pages, and otherwise the path of the
// start page.
func ours(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Host != "" || u.Scheme != "" || u.Opaque != "" || !strings.HasPrefix(u.Path, "/ui/") || strings.Contains(next, "\\") || strings.HasPrefix(next, "//") {
		return "/ui/"
	}
	return u.RequestURI()
}
