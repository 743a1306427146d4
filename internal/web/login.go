package web

import (
	"crypto/sha256"
	"maps"
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

func escape(text string) string { return url.QueryEscape(text) }

// loginForm is the content of the log-in page.
type loginForm struct {
	Next    string
	Mode    string // for which a key is required; empty means either
	Back    string
	Problem string
}

func (h *Handler) showLogin(w http.ResponseWriter, r *http.Request) error {
	h.render(w, r, nil, loginScreen(ours(r.URL.Query().Get("next")), "", http.StatusOK))
	return nil
}

func loginScreen(next, problem string, status int) *screen {
	return &screen{Template: "login.html", Title: "Log in", Heading: "Log in to Posthorn", Status: status, Data: loginForm{Next: next, Problem: problem}}
}

// login exchanges an operator key for a session. If a session exists, login adds the key's
// mode to it. The cookie gets a new value each time.
func (h *Handler) login(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return errForm
	}
	next := ours(r.PostForm.Get("next"))
	refuse := func(status int, problem string) error {
		h.render(w, r, nil, loginScreen(next, problem, status))
		return nil
	}
	secure, why := h.cookieFor(r)
	if why != "" {
		return refuse(http.StatusForbidden, why)
	}
	from, _ := netip.ParseAddrPort(r.RemoteAddr)
	text := strings.TrimSpace(r.PostForm.Get("key"))
	caller, err := h.o.Service.Authenticate(r.Context(), text, from.Addr())
	switch {
	case hook.CodeOf(err) == hook.CodeUnauthorized && err != nil:
		refused, first := h.o.Service.WrongKey(from.Addr())
		if refused == nil {
			return refuse(http.StatusUnauthorized, "This key is not valid. Paste the whole key; a revoked one is refused too.")
		}
		if first {
			h.o.Log.InfoContext(r.Context(), "too many log-ins without a valid key: more of them are answered with 429", "address", app.Site(from.Addr()).String(), "for", refused.RetryAfter.String())
		}
		w.Header().Set("Retry-After", strconv.Itoa(int((refused.RetryAfter+time.Second-1)/time.Second)))
		return refuse(http.StatusTooManyRequests, refused.Message)
	case hook.CodeOf(err) == hook.CodeKeyExpired || hook.CodeOf(err) == hook.CodeAddressNotAllowed:
		return refuse(http.StatusForbidden, err.Error())
	case err != nil:
		return err
	case caller.Kind != hook.Operator:
		return refuse(http.StatusForbidden, "This is a "+string(caller.Kind)+" key. These pages take operator keys.")
	}
	if err := h.o.Service.Call(r.Context(), caller, false); err != nil {
		return err
	}
	one := hook.WebSession{Keys: map[hook.Mode][32]byte{}}
	old, cookie, ok, err := h.session(r, 0)
	if err != nil {
		return err
	}
	if ok {
		one.CreatedAt = old.CreatedAt
		maps.Copy(one.Keys, old.Keys)
	}
	one.Keys[caller.Mode], one.Mode = sha256.Sum256([]byte(text)), caller.Mode
	if err := h.begin(w, r, one, cookie, secure); err != nil {
		return err
	}
	h.audit(r, "audit: log-in to the pages", caller, hook.ActUIOpened)
	redirect(w, r, next)
	return nil
}

// cookieFor reports whether the session's cookie is restricted to https, or why there can be
// no cookie. The scheme comes from the Origin header, which the browser sends with a form.
// Headers that a proxy adds or omits have no effect.
func (h *Handler) cookieFor(r *http.Request) (secure bool, why string) {
	origin, err := url.Parse(r.Header.Get("Origin"))
	if err != nil || origin.Scheme != "http" {
		return true, ""
	}
	host := origin.Hostname()
	ip, err := netip.ParseAddr(host)
	if h.o.Dev || host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && ip.IsLoopback() {
		return false, ""
	}
	return false, "You are here over plain http, where others on the way could read the key, so it was not looked at. Put a proxy with TLS in front and come back by https, or use a tunnel: ssh -L 8080:127.0.0.1:8080 HOST, then http://localhost:8080/ui/."
}

func (h *Handler) logout(w http.ResponseWriter, r *http.Request) error {
	one, cookie, ok, err := h.session(r, 0)
	if err != nil {
		return err
	}
	if ok {
		if err := h.o.Service.CloseSession(r.Context(), cookie); err != nil {
			return err
		}
		h.audited(r, "audit: log-out of the pages", &one, hook.ActUIClosed)
	}
	expire(w, cookieSecure, true)
	expire(w, cookiePlain, false)
	redirect(w, r, "/ui/login?done=loggedout")
	return nil
}

// audited is audit for each key of a session.
func (h *Handler) audited(r *http.Request, what string, one *hook.WebSession, act hook.Act) {
	from, _ := netip.ParseAddrPort(r.RemoteAddr)
	for mode, hash := range one.Keys {
		c, err := h.o.Service.Holder(r.Context(), hash, from.Addr())
		if err != nil {
			c = app.Caller{Kind: hook.Operator, Mode: mode}
		}
		h.audit(r, what, c, act)
	}
}

// audit records a session event in the log and the audit log: what was done, and by which
// caller.
func (h *Handler) audit(r *http.Request, what string, c app.Caller, act hook.Act) {
	from, _ := netip.ParseAddrPort(r.RemoteAddr)
	key := c.KeyID.String()
	if c.KeyID.IsZero() {
		key = "bootstrap"
	}
	h.o.Log.WarnContext(r.Context(), what, "mode", c.Mode.String(), "key", key, "address", from.Addr().String(), "request", page.RequestID(r))
	h.o.Service.AuditSession(r.Context(), c, act, from.Addr(), page.RequestID(r))
}
