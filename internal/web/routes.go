package web

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/page"
)

// route is a page (GET) or an action (POST) below /ui/{mode}/ that requires a session with a
// key of the mode. An action returns the path of the page that follows.
type route struct {
	path string // below the mode, a pattern of net/http
	show func(*visit) (*screen, error)
	act  func(*visit) (string, error)
	form func(*visit) (*screen, string, error) // an action that may answer with a page: its form again, or a question
	live bool                                  // the page is kept up to date by a stream
	lone bool                                  // streams of several sessions do not share what is read: it may be in the audit log
}

// table lists every page and action. Tests iterate over it, and a page that is not in it is
// not served.
func table() []route {
	return []route{
		{path: "{$}", show: overview, live: true},
		{path: "search", show: search},
		{path: "deliveries", show: deliveries, live: true},
		{path: "deliveries/many", form: manyDeliveries},
		{path: "deliveries/{id}", show: delivery, live: true, lone: true},
		{path: "deliveries/{id}/report", show: deliveryReport},
		{path: "deliveries/{id}/retry", act: retryDelivery},
		{path: "deliveries/{id}/cancel", show: confirmCancel, act: cancelDelivery},
		{path: "endpoints", show: endpoints, live: true},
		{path: "endpoints/new", show: newEndpoint, form: createEndpoint},
		{path: "endpoints/{id}", show: endpoint, live: true},
		{path: "endpoints/{id}/edit", show: editEndpoint, form: changeEndpoint},
		{path: "endpoints/{id}/test", act: testEndpoint},
		{path: "endpoints/{id}/enable", show: confirmEnable, act: enableEndpoint},
		{path: "endpoints/{id}/disable", show: confirmDisable, act: disableEndpoint},
		{path: "endpoints/{id}/delete", show: confirmDelete, form: deleteEndpoint},
		{path: "endpoints/{id}/rotate", show: confirmRotate, form: rotateSecret},
		{path: "endpoints/{id}/reveal", show: confirmReveal, form: revealSecret},
		{path: "events", show: events, live: true},
		{path: "events/{id}", show: event, live: true, lone: true},
		{path: "events/{id}/data", show: eventData},
		{path: "events/{id}/report", show: eventReport},
		{path: "events/{id}/resend", show: confirmResend, act: resendEvent},
		{path: "tenants", show: tenants},
		{path: "tenants/new", show: newTenant, form: createTenant},
		{path: "tenants/{id}", show: tenant, live: true},
		{path: "tenants/{id}/rename", form: renameTenant},
		{path: "tenants/{id}/portal", show: confirmPortal, form: portalLink},
		{path: "tenants/{id}/customer", form: asCustomer},
		{path: "tenants/{id}/delete", show: confirmDeleteTenant, form: deleteTenant},
		{path: "replays", show: replays, live: true},
		{path: "replays/new", show: newReplay, form: createReplay},
		{path: "replays/{id}", show: replay, live: true},
		{path: "replays/{id}/pause", act: pauseReplay},
		{path: "replays/{id}/resume", act: resumeReplay},
		{path: "replays/{id}/cancel", show: confirmCancelReplay, act: cancelReplay},
		{path: "types", show: types},
		{path: "types/{name...}", show: eventType},
		{path: "type/new", show: newType, form: createType}, // not below types/, where every path is a name
		{path: "type/edit/{name...}", show: editType, form: changeType},
		{path: "type/delete/{name...}", show: confirmDeleteType, act: deleteType},
		{path: "type/drop/{name...}", show: confirmDropVersion, act: dropVersion},
		{path: "profiles", show: profiles},
		{path: "profiles/{name}", show: profileSheet},
		{path: "keys", show: keys},
		{path: "keys/new", show: newKey, form: createKey},
		{path: "keys/{id}/revoke", show: confirmRevoke, act: revokeKey},
		{path: "sessions/{id}/end", show: confirmEndSession, act: endSession},
		{path: "visitors/{id}/end", show: confirmEndVisitor, act: endVisitor},
		{path: "audit", show: auditLog},
		{path: "audit/download", show: auditDownload},
		{path: "nodes", show: nodes, live: true},
		{path: "nodes/reclaim", show: confirmReclaim, form: reclaim},
		{path: "settings", show: settings},
		{path: "shortcuts", show: shortcuts},
	}
}

func (h *Handler) routes() {
	for _, one := range table() {
		for _, mode := range []hook.Mode{hook.Live, hook.Test} {
			pattern := "/ui/" + mode.String() + "/" + one.path
			if one.show != nil {
				h.mux.HandleFunc("GET "+pattern, h.page(mode, one.show))
			}
			if one.act != nil {
				h.mux.HandleFunc("POST "+pattern, h.act(mode, one.act))
			}
			if one.form != nil {
				h.mux.HandleFunc("POST "+pattern, h.form(mode, one.form))
			}
		}
	}
	for _, mode := range []hook.Mode{hook.Live, hook.Test} {
		h.mux.HandleFunc("GET /ui/"+mode.String()+"/stream", h.visited(mode, false, (*visit).live))
	}
	h.mux.HandleFunc("POST /ui/theme", h.plain(setTheme))
	h.mux.HandleFunc("GET /ui/static/{hash}/{name}", h.file)
	h.mux.HandleFunc("GET /ui/enter/{code}", h.plain(h.showEnter))
	h.mux.HandleFunc("POST /ui/enter/{code}", h.plain(h.enter))
	h.mux.HandleFunc("GET /ui/login", h.plain(h.showLogin))
	h.mux.HandleFunc("POST /ui/login", h.plain(h.login))
	h.mux.HandleFunc("POST /ui/logout", h.plain(h.logout))
	h.mux.HandleFunc("POST /ui/session", h.plain(h.goOn))
	h.mux.HandleFunc("/ui/", h.plain(h.home))
	h.mux.HandleFunc("/ui", h.plain(h.home))
}

// plain returns the handler of a route without a session.
func (h *Handler) plain(do func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r = page.Named(r)
		h.serve(w, r, nil, func() error { return do(w, r) })
	}
}

// home redirects to the mode that was viewed last. Any other unknown path is answered with
// 404, but only for logged-in users.
func (h *Handler) home(w http.ResponseWriter, r *http.Request) error {
	one, _, ok, err := h.session(r, 0)
	if err != nil {
		return err
	}
	if !ok {
		h.askLogin(w, r)
		return nil
	}
	rest := strings.Trim(strings.TrimPrefix(r.URL.Path, "/ui"), "/")
	mode, named := hook.ParseMode(rest)
	if rest != "" && !named {
		return errNoPage
	}
	if !named {
		mode = one.Mode
	}
	redirect(w, r, at(mode, ""))
	return nil
}

func (h *Handler) page(mode hook.Mode, show func(*visit) (*screen, error)) http.HandlerFunc {
	return h.visited(mode, false, func(v *visit) error {
		s, err := show(v)
		if err != nil || s == nil { // nil: already answered
			return err
		}
		h.render(v.w, v.r, v, s)
		return nil
	})
}

func (h *Handler) act(mode hook.Mode, act func(*visit) (string, error)) http.HandlerFunc {
	return h.visited(mode, true, func(v *visit) error {
		if err := v.r.ParseForm(); err != nil {
			return errForm
		}
		to, err := act(v)
		if err != nil {
			return err
		}
		redirect(v.w, v.r, to)
		return nil
	})
}

// form serves an action that answers with a page or redirects to one.
func (h *Handler) form(mode hook.Mode, do func(*visit) (*screen, string, error)) http.HandlerFunc {
	return h.visited(mode, true, func(v *visit) error {
		if err := v.r.ParseForm(); err != nil {
			return errForm
		}
		s, to, err := do(v)
		switch {
		case err != nil:
			return err
		case s != nil:
			h.render(v.w, v.r, v, s)
		default:
			redirect(v.w, v.r, to)
		}
		return nil
	})
}

// visited runs do for a session with an active key of the mode. It counts the request
// against the limits of that key, as for a call of the API.
func (h *Handler) visited(mode hook.Mode, write bool, do func(*visit) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r = page.Named(r)
		one, cookie, ok, err := h.session(r, mode)
		if err == nil && !ok {
			h.askLogin(w, r)
			return
		}
		v := &visit{h: h, w: w, r: r, mode: mode, now: h.o.Now(), begun: h.o.Now(), query: r.URL.Query(), cookie: cookie, session: one}
		h.serve(w, r, nil, func() error {
			if err != nil {
				return err
			}
			hash, ok := one.Keys[mode]
			if !ok {
				h.askMode(w, r, mode)
				return nil
			}
			from := addressOf(r)
			caller, err := h.o.Service.Holder(r.Context(), hash, from)
			if code := hook.CodeOf(err); code == hook.CodeUnauthorized || code == hook.CodeKeyExpired || err == nil && (caller.Kind != hook.Operator || caller.Mode != mode) {
				if err := h.o.Service.CloseSession(r.Context(), cookie); err != nil { // the key was revoked or has expired
					return err
				}
				h.askLogin(w, r)
				return nil
			}
			if err != nil {
				return err
			}
			v.quiet = r.Context()
			r := r.WithContext(caller.Acting(r.Context(), from.Unmap().String(), page.RequestID(r)))
			v.caller, v.r = caller, r
			h.serve(w, r, v, func() error {
				err := h.o.Service.Call(r.Context(), caller, write)
				if err == nil {
					err = do(v)
				}
				if err != nil && write {
					h.o.Service.AuditRefused(r.Context(), caller, r.Method, r.URL.EscapedPath(), err)
					h.o.Log.InfoContext(r.Context(), "request refused", "request_id", page.RequestID(r), "code", hook.CodeOf(err))
				}
				return err
			})
			return nil
		})
	}
}

// addressOf returns the address of the connection.
func addressOf(r *http.Request) netip.Addr {
	from, _ := netip.ParseAddrPort(r.RemoteAddr)
	return from.Addr()
}

// askLogin redirects to the log-in and back. A link from another site arrives without the
// cookie, which is SameSite=Strict. The page therefore reloads itself once, as a request
// from this site.
func (h *Handler) askLogin(w http.ResponseWriter, r *http.Request) {
	if !page.Changes(r) && r.Header.Get("Sec-Fetch-Site") == "cross-site" && r.Header.Get("Sec-Fetch-Mode") == "navigate" {
		w.Header().Set("Refresh", "0")
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		return
	}
	to := "/ui/login"
	if !page.Changes(r) && r.URL.Path != "/ui/" && r.URL.Path != "/ui" {
		to += "?next=" + escape(r.URL.RequestURI())
	}
	redirect(w, r, to)
}

// askMode shows the log-in page for a session that has no key of the mode.
func (h *Handler) askMode(w http.ResponseWriter, r *http.Request, mode hook.Mode) {
	to := at(mode, "")
	if !page.Changes(r) {
		to = r.URL.RequestURI()
	}
	h.render(w, r, nil, &screen{Template: "login.html", Title: "Log in", Status: http.StatusForbidden, Heading: "This session has no key of " + mode.String() + " mode",
		Data: loginForm{Next: ours(to), Mode: mode.String(), Back: "/ui/"}})
}

// expire deletes a cookie.
func expire(w http.ResponseWriter, name string, secure bool) {
	http.SetCookie(w, &http.Cookie{Name: name, Path: "/", MaxAge: -1, HttpOnly: true, Secure: secure, SameSite: http.SameSiteStrictMode})
}
