package portal

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/page"
)

// The cookies of sessions. Each session has one of its own, so that two sessions in two tabs
// never take each other's place.
const (
	cookieSecure = "__Host-php-" // SameSite=None and Partitioned: sent in frames of other sites
	cookiePlain  = "php-"        // over plain http, to this machine or with Options.Dev
	maxCookies   = 8
)

// themeCookies hold the theme that the page around a frame asked for. They are no secret.
var themeCookies = []string{"__Host-pht", "pht"}

// sessionOf returns the session with the short id and the value of its cookie, if the request
// has it.
func (h *Handler) sessionOf(r *http.Request, sid string) (one hook.WebSession, cookie string, ok bool, err error) {
	for _, name := range []string{cookieSecure + sid, cookiePlain + sid} {
		c, err := r.Cookie(name)
		if err != nil {
			continue
		}
		one, ok, err := h.o.Service.Session(r.Context(), hook.WebPortal, c.Value, 0)
		if err != nil {
			return one, "", false, err
		}
		if ok && one.Short() == sid {
			return one, c.Value, true, nil
		}
	}
	return hook.WebSession{}, "", false, nil
}

// sids returns the short ids of the sessions whose cookies a request has, in its order:
// browsers send the oldest first.
func sids(r *http.Request) (all []string) {
	for _, c := range r.Cookies() {
		for _, prefix := range []string{cookieSecure, cookiePlain} {
			if sid, ok := strings.CutPrefix(c.Name, prefix); ok {
				all = append(all, sid)
			}
		}
	}
	return all
}

// lost answers a request without the session that its path names. If the browser has exactly
// one other session, it leads to the same page there.
func (h *Handler) lost(w http.ResponseWriter, r *http.Request, sid string) error {
	known, err := h.o.Service.PortalShort(r.Context(), sid)
	if err != nil && hook.CodeOf(err) != hook.CodeNotFound {
		return err
	}
	if err == nil {
		h.nobody(w, r, &known)
		return nil
	}
	if others := sids(r); !page.Changes(r) && len(others) > 0 && h.mayLook(r) {
		var living []string
		for _, other := range others[:min(len(others), maxCookies)] {
			_, _, ok, err := h.sessionOf(r, other)
			if err != nil {
				return err
			}
			if ok {
				living = append(living, other)
			}
		}
		if len(living) == 1 {
			http.Redirect(w, r, (&url.URL{Path: "/portal/" + living[0] + "/" + r.PathValue("rest"), RawQuery: r.URL.RawQuery}).String(), http.StatusSeeOther)
			return nil
		}
	}
	h.nobody(w, r, nil)
	return nil
}

// mayLook reports whether the store may be read for each cookie of a request that has proved
// nothing. An address may ask for that as often as it may present wrong keys.
func (h *Handler) mayLook(r *http.Request) bool {
	from, _ := netip.ParseAddrPort(r.RemoteAddr)
	refused, first := h.o.Service.WrongKey(from.Addr())
	if first {
		h.o.Log.InfoContext(r.Context(), "too many requests for sessions that do not exist: other sessions are not looked for", "address", app.Site(from.Addr()).String())
	}
	return refused == nil
}

// closed is the content of a page for somebody without a session.
type closed struct {
	Says   string // a key of the catalogue
	Press  bool   // with the button that opens the session
	Blank  string // the path that opens in a window of its own
	Reason string // for the page around the frame: expired, revoked, signed_out
}

// nobody says that a session is over, or that there is none.
func (h *Handler) nobody(w http.ResponseWriter, r *http.Request, known *hook.WebSession) {
	s := &screen{Template: "closed.html", Heading: "closed.none", Status: http.StatusUnauthorized, Data: closed{Says: "closed.none_says"}}
	if known != nil {
		w.Header().Set("Content-Security-Policy", policy(known.Settings.FrameOrigins))
		if h.o.Service.Over(known) {
			reason := "expired"
			if h.o.Now().Before(known.ExpiresAt) {
				reason = "revoked"
			}
			s.Heading, s.Data = "closed.over", closed{Says: "closed.over_says", Reason: reason}
		}
	}
	h.show(w, h.stranger(r, known), s)
}

// showEnter shows the page of a link. Only its button uses the link, so that previews and
// scanners of mail use up nothing.
func (h *Handler) showEnter(w http.ResponseWriter, r *http.Request) { h.door(w, r, "") }

func (h *Handler) door(w http.ResponseWriter, r *http.Request, problem string) {
	v := h.stranger(r, nil)
	v.w = w
	h.serve(v, func() error {
		of, usable, err := h.o.Service.WebLink(r.Context(), r.PathValue("code"))
		if err != nil {
			return err
		}
		if of.Kind != hook.WebPortal {
			of, usable = hook.WebSession{}, false
		}
		s := &screen{Template: "closed.html", Heading: "closed.enter", Data: closed{Says: "closed.enter_says", Press: true}}
		switch {
		case !usable:
			s.Heading, s.Status, s.Data = "closed.link", http.StatusNotFound, closed{Says: "closed.link_says"}
		case problem != "":
			s.Status, s.Data = http.StatusForbidden, closed{Says: problem}
		}
		if of.ID.IsZero() {
			h.show(w, v, s)
			return nil
		}
		w.Header().Set("Content-Security-Policy", policy(of.Settings.FrameOrigins))
		h.show(w, h.stranger(r, &of), s)
		return nil
	})
}

// enter uses a link, once, and sets the cookie of the session that it opens.
func (h *Handler) enter(w http.ResponseWriter, r *http.Request) {
	v := h.stranger(r, nil)
	v.w = w
	h.serve(v, func() error {
		secure, ok := h.cookieFor(r)
		if !ok {
			h.door(w, r, "closed.plain_says")
			return nil
		}
		from, _ := netip.ParseAddrPort(r.RemoteAddr)
		in, err := h.o.Service.Enter(r.Context(), hook.WebPortal, r.PathValue("code"), from.Addr().Unmap().String(), page.RequestID(r))
		if hook.CodeOf(err) == hook.CodeNotFound && err != nil {
			h.door(w, r, "")
			return nil
		}
		if err != nil {
			return err
		}
		sid := in.Short()
		all := sids(r)
		for i := 0; len(all)-i >= maxCookies; i++ {
			if all[i] != sid {
				setCookie(w, all[i], "", -1, secure)
			}
		}
		setCookie(w, sid, in.Cookie, int(in.ExpiresAt.Sub(h.o.Now()).Seconds()), secure)
		http.Redirect(w, r, "/portal/back/"+sid+"/"+in.Again, http.StatusSeeOther)
		return nil
	})
}

func setCookie(w http.ResponseWriter, sid, value string, age int, secure bool) {
	c := &http.Cookie{Name: cookieSecure + sid, Value: value, Path: "/", MaxAge: age, HttpOnly: true, Secure: true, SameSite: http.SameSiteNoneMode, Partitioned: true}
	if !secure {
		c.Name, c.Secure, c.SameSite, c.Partitioned = cookiePlain+sid, false, http.SameSiteLaxMode, false
	}
	http.SetCookie(w, c)
}

// back sees whether the cookie came back. If it did, the session begins with its first page.
// If it did not, which browsers do in frames, the session can be opened in a window.
func (h *Handler) back(w http.ResponseWriter, r *http.Request) {
	v := h.stranger(r, nil)
	v.w = w
	h.serve(v, func() error {
		sid := r.PathValue("sid")
		one, _, ok, err := h.sessionOf(r, sid)
		if err != nil {
			return err
		}
		if ok {
			http.Redirect(w, r, "/portal/"+sid+"/"+strings.TrimPrefix(one.Settings.Page, "/"), http.StatusSeeOther)
			return nil
		}
		of, usable, err := h.o.Service.WebLink(r.Context(), r.PathValue("code"))
		if err != nil {
			return err
		}
		if !usable || of.Kind != hook.WebPortal || of.Short() != sid {
			return h.lost(w, r, sid)
		}
		w.Header().Set("Content-Security-Policy", policy(of.Settings.FrameOrigins))
		h.show(w, h.stranger(r, &of), &screen{Template: "closed.html", Heading: "closed.blocked", Data: closed{Says: "closed.blocked_says", Blank: "/portal/enter/" + url.PathEscape(r.PathValue("code")), Reason: "blocked"}})
		return nil
	})
}

// cookieFor reports whether the cookie is restricted to https, or that there can be none. The
// scheme comes from the Origin header, which the browser sends with a form.
func (h *Handler) cookieFor(r *http.Request) (secure, ok bool) {
	origin, err := url.Parse(r.Header.Get("Origin"))
	if err != nil || origin.Scheme != "http" {
		return true, true
	}
	host := origin.Hostname()
	ip, err := netip.ParseAddr(host)
	return false, h.o.Dev || host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && ip.IsLoopback()
}

func leave(v *visit) (*screen, error) {
	if err := v.service().LeavePortal(v.ctx(), v.caller); err != nil {
		return nil, err
	}
	for _, secure := range []bool{true, false} {
		setCookie(v.w, v.session.Short(), "", -1, secure)
	}
	v.caller.Kind = ""
	return &screen{Template: "closed.html", Heading: "closed.left", Data: closed{Says: "closed.left_says", Reason: "signed_out"}}, nil
}
