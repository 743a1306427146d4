package portal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/page"
)

// visit is a request of a session, or of nobody, with the language of its answer.
type visit struct {
	h       *Handler
	w       http.ResponseWriter
	r       *http.Request
	session *hook.WebSession // nil: nobody's
	caller  app.Caller
	now     time.Time
	query   url.Values
	lang    string
	words   *catalogue
	cookie  string          // of the session
	quiet   context.Context // like ctx, but what is read with it is not in the audit log
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

// At returns the path of a page of the session, with a query made of pairs. Pairs with empty
// values are omitted. A language that was chosen stays chosen.
func (v *visit) At(path string, pairs ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	if lang := v.query.Get("lang"); lang != "" && v.h.words[lang] != nil && !q.Has("lang") {
		q.Set("lang", lang)
	}
	out := "/portal/" + v.session.Short() + "/" + path
	if len(q) > 0 {
		out += "?" + q.Encode()
	}
	return out
}

// May reports whether the session has a capability, by its word in the API.
func (v *visit) May(name string) bool {
	one, ok := hook.ParseCapability(name)
	return ok && v.session != nil && v.caller.Capabilities.Has(one)
}

// T returns a text of the catalogue. Arguments are names and values of its places.
func (v *visit) T(key string, args ...any) string { return v.words.text(key, args...) }

// screen is one page: its template and its content. Heading is a key of the catalogue, or
// finished text in Title.
type screen struct {
	Template string
	Heading  string   // a key of the catalogue
	Title    string   // finished text that replaces Heading
	Nav      string   // of the current menu entry
	Status   int      // 0 means 200
	Refresh  bool     // the page shows something that is under way
	Rows     []string // of a list, newest first, for the number of newer ones
	Goto     string   // of an action: the page that follows
	Data     any
}

// to is the answer of an action that leads to a page.
func to(path string) *screen { return &screen{Goto: path} }

// frame is what the layout shows around a screen.
type frame struct {
	*visit
	*screen
	Text       string // of the heading
	Menu       []entry
	Languages  []entry
	Test       bool
	Bare       bool
	Name       string
	HasLogo    bool
	Back       string // return_url
	BackHost   string
	Origins    string
	Scheme     string // light, dark or empty
	Done       string
	Stop       string // the page without its refresh
	Stream     string // path of its stream; empty: it has none
	Left       string // of the session, in ms
	EndsAt     string // when the session ends, in words
	AsCustomer bool   // an operator looks
	RequestID  string
}

type entry struct {
	Name, Href, Icon string
	Current          bool
}

var menu = []struct{ path, icon string }{{"", "home"}, {"endpoints", "plug"}, {"deliveries", "send"}, {"types", "tag"}, {"verify", "ok"}}

// done are the words about an action that the following page may show. The URL has the word
// only, so that it cannot make the page show any other text.
var done = map[string]bool{"retried": true, "resent": true, "enabled": true, "discarded": true, "disabled": true, "deleted": true, "tested": true, "saved": true, "challenged": true}

func (v *visit) frame(s *screen) *frame {
	f := &frame{visit: v, screen: s, Text: s.Title, RequestID: page.RequestID(v.r)}
	if f.Text == "" {
		f.Text = v.T(s.Heading)
	}
	one := v.session
	if one == nil {
		return f
	}
	f.AsCustomer = one.Settings.AsCustomer
	f.Test, f.Bare, f.Name, f.HasLogo = one.Mode == hook.Test, one.Settings.Theme.Chrome == "bare", one.Settings.Theme.Name, one.Settings.Theme.Logo != ""
	f.Back, f.Origins = one.Settings.ReturnURL, strings.Join(one.Settings.FrameOrigins, " ")
	if u, err := url.Parse(f.Back); err == nil {
		f.BackHost = u.Host
	}
	if mode := one.Settings.Theme.Mode; mode != "auto" {
		f.Scheme = mode
	}
	for _, name := range themeCookies {
		if c, err := v.r.Cookie(name); err == nil && (c.Value == "light" || c.Value == "dark") {
			f.Scheme = c.Value
		}
	}
	if v.caller.Kind == "" {
		return f // its session is over: only the frame is its own
	}
	f.Left = strconv.FormatInt(one.ExpiresAt.Sub(v.now).Milliseconds(), 10)
	if end := one.ExpiresAt.UTC(); end.YearDay() == v.now.UTC().YearDay() {
		f.EndsAt = end.Format("15:04 UTC")
	} else {
		f.EndsAt = v.when(end).Exact
	}
	if word := v.query.Get("done"); done[word] {
		f.Done = v.T("done." + word)
	}
	for _, m := range menu {
		name := m.path
		if name == "" {
			name = "home"
		}
		f.Menu = append(f.Menu, entry{Name: v.T("menu." + name), Icon: m.icon, Href: v.At(m.path), Current: m.path == s.Nav})
	}
	for _, lang := range languages {
		q := v.r.URL.Query()
		q.Set("lang", lang)
		q.Del("done")
		f.Languages = append(f.Languages, entry{Name: v.h.words[lang].text("language"), Href: v.here(q), Icon: lang, Current: lang == v.lang})
	}
	if here := v.here(v.r.URL.Query()); v.r.Method == http.MethodGet && s.Status < 400 {
		if _, _, ok := v.pageOf(here); ok {
			f.Stream = v.At("stream", "of", here)
		}
	}
	if s.Refresh && v.query.Get("still") == "" {
		q := v.r.URL.Query()
		q.Set("still", "yes")
		f.Stop = v.here(q)
	}
	return f
}

// here returns the path of the page with another query. After an action it is the start page.
func (v *visit) here(q url.Values) string {
	if page.Changes(v.r) {
		return v.At("", "lang", q.Get("lang"))
	}
	out := "/portal/" + v.session.Short() + v.r.URL.EscapedPath()
	if len(q) > 0 {
		out += "?" + q.Encode()
	}
	return out
}

// show sends a screen. It renders the complete page before it sends anything, so an error
// never leaves a partial page.
func (h *Handler) show(w http.ResponseWriter, v *visit, s *screen) {
	var out bytes.Buffer
	t := h.templates[s.Template]
	err := fmt.Errorf("portal: no template %q", s.Template)
	if t != nil {
		err = t.ExecuteTemplate(&out, "layout.html", v.frame(s))
	}
	if err != nil {
		h.o.Log.ErrorContext(v.ctx(), "make page of the portal", "error", err)
		http.Error(w, v.T("fault.page"), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Language", v.lang)
	w.Header().Set("Content-Length", strconv.Itoa(out.Len()))
	status := s.Status
	if status == 0 {
		status = http.StatusOK
	}
	w.WriteHeader(status)
	_, _ = out.WriteTo(w) // the client disconnected
}

// page returns the handler of a route of a session.
func (h *Handler) page(do func(*visit) (*screen, error), write bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, _ := r.Context().Value(visitKey{}).(*visit)
		v.w, v.r = w, r
		h.serve(v, func() error {
			err := v.service().Call(r.Context(), v.caller, write)
			var s *screen
			if err == nil && write {
				if err = r.ParseForm(); err != nil {
					err = unreadable(err)
				}
			}
			if err == nil {
				s, err = do(v)
			}
			if err != nil && write {
				v.service().AuditRefused(r.Context(), v.caller, r.Method, "/portal/{sid}"+r.URL.EscapedPath(), err)
			}
			switch {
			case err != nil:
				return err
			case s == nil: // answered
			case s.Goto != "":
				http.Redirect(w, r, s.Goto, http.StatusSeeOther)
			default:
				h.show(w, v, s)
			}
			return nil
		})
	}
}

// unreadable is the error for a form that is too large, or is no form.
func unreadable(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &hook.Error{Code: hook.CodeTooLarge, Message: "The form is too large."}
	}
	return &hook.Error{Code: hook.CodeInvalidRequest, Message: "This is not a form of these pages. Nothing was done."}
}

type visitKey struct{}

// visited finds the session of a request by the short id in its path and its cookie, and
// serves the page below. The policy names the origins of the session.
func (h *Handler) visited(w http.ResponseWriter, r *http.Request) {
	sid := r.PathValue("sid")
	v := h.stranger(r, nil)
	v.w = w
	h.serve(v, func() error {
		one, cookie, ok, err := h.sessionOf(r, sid)
		if err != nil {
			return err
		}
		if !ok {
			return h.lost(w, r, sid)
		}
		from, _ := netip.ParseAddrPort(r.RemoteAddr)
		v := h.stranger(r, &one)
		v.caller, v.quiet, v.cookie = app.PortalCaller(&one), r.Context(), cookie
		ctx := v.caller.Acting(r.Context(), from.Addr().Unmap().String(), page.RequestID(r))
		w.Header().Set("Content-Security-Policy", policy(one.Settings.FrameOrigins))
		inner := r.WithContext(context.WithValue(ctx, visitKey{}, v))
		inner.URL = &url.URL{Path: "/" + r.PathValue("rest"), RawPath: rawRest(r.URL), RawQuery: r.URL.RawQuery}
		h.inner.ServeHTTP(w, inner)
		return nil
	})
}

// rawRest returns the escaped path below the session, so that a slash inside a name stays one.
func rawRest(u *url.URL) string {
	if u.RawPath == "" {
		return ""
	}
	parts := strings.SplitN(u.RawPath, "/", 4)
	if len(parts) < 4 {
		return ""
	}
	return "/" + parts[3]
}

// stranger returns the visit of a request without a caller. The session, if there is one,
// gives language and looks.
func (h *Handler) stranger(r *http.Request, one *hook.WebSession) *visit {
	v := &visit{h: h, r: r, session: one, now: h.o.Now(), query: r.URL.Query()}
	v.lang = h.language(r, one)
	v.words = h.words[v.lang]
	return v
}

// fault is the content of an error page.
type fault struct{ Says, Code, Back string }

// worded is an error about input whose message is in the language of the page.
type worded struct{ of *hook.Error }

// Error returns the message.
func (w worded) Error() string { return w.of.Message }

// Unwrap returns the error with its code and field.
func (w worded) Unwrap() error { return w.of }

// refuse returns an error about a field, in the words of the catalogue.
func (v *visit) refuse(code hook.Code, field, key string) error {
	return worded{&hook.Error{Code: code, Field: field, Message: v.T(key)}}
}

// Says returns the sentence for an error. What the API says is shown to English readers where
// it is about their input; everything else is in the catalogue.
func (v *visit) says(err error) string {
	if own, ok := errors.AsType[worded](err); ok {
		return own.Error()
	}
	code := hook.CodeOf(err)
	e, ok := errors.AsType[*hook.Error](err)
	about := code == hook.CodeInvalidRequest || strings.HasPrefix(string(code), "endpoint_url_") || strings.HasPrefix(string(code), "endpoint_header_")
	if ok && v.lang == "en" && about {
		return e.Message
	}
	key := "error." + string(code)
	if !v.words.has(key) {
		key = "error.other"
	}
	return v.T(key)
}

// fail sends an error page. Details go only to the log.
func (h *Handler) fail(v *visit, err error) {
	code := hook.CodeOf(err)
	status := page.Status(code)
	s := &screen{Template: "error.html", Heading: "fault.title", Status: status, Nav: "-"}
	shown := fault{Code: string(code), Says: v.says(err)}
	if e, ok := errors.AsType[*hook.Error](err); ok && e.RetryAfter > 0 {
		v.w.Header().Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
	}
	switch status {
	case http.StatusNotFound:
		s.Heading, shown.Says, shown.Code = "fault.missing", v.T("fault.missing_says"), ""
	case http.StatusServiceUnavailable:
		s.Heading = "fault.away"
		if v.w.Header().Get("Retry-After") == "" {
			v.w.Header().Set("Retry-After", "5")
		}
		if !page.Changes(v.r) {
			v.w.Header().Set("Refresh", "5")
		}
	}
	if status >= 500 && !hook.Logged(err) {
		h.o.Log.ErrorContext(v.ctx(), "page of the portal failed", "request", page.RequestID(v.r), "error", err)
	}
	if v.session != nil {
		shown.Back = v.At("")
	}
	s.Data = shown
	h.show(v.w, v, s)
}

// serve runs do and sends an error page for its error or panic.
func (h *Handler) serve(v *visit, do func() error) {
	page.Run(do, func(err error) { h.fail(v, err) })
}

// rows is what the templates of lists take.
type rows struct {
	Visit *frame
	Rows  any
}

// With returns rows for a template of a list.
func (f *frame) With(all any) rows { return rows{f, all} }

// formOn is what the template of a form takes.
type formOn struct {
	Visit *frame
	Form  *endpointForm
}

// WithForm returns a form for its template.
func (f *frame) WithForm(form *endpointForm) formOn { return formOn{f, form} }

// copyOf is what the template of a copy button takes.
type copyOf struct{ ID, Name, Done string }

// Copy returns a button that copies the element with the id.
func (f *frame) Copy(id string) copyOf { return copyOf{id, f.T("copy"), f.T("copied")} }

// Chosen returns the language that was chosen in the URL, for forms that use GET.
func (v *visit) Chosen() string {
	if lang := v.query.Get("lang"); v.h.words[lang] != nil {
		return lang
	}
	return ""
}
