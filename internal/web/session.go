package web

import (
	"net/http"

	"github.com/posthorn/posthorn/internal/hook"
)

const (
	cookieSecure = "__Host-posthorn"
	cookiePlain  = "posthorn" // over plain http, to this machine or with Options.Dev
)

// session returns the session of a request and the value of its cookie. It notes that the
// mode is viewed; 0 means none.
func (h *Handler) session(r *http.Request, mode hook.Mode) (hook.WebSession, string, bool, error) {
	for _, name := range []string{cookieSecure, cookiePlain} {
		c, err := r.Cookie(name)
		if err != nil {
			continue
		}
		one, ok, err := h.o.Service.Session(r.Context(), hook.WebOperator, c.Value, mode)
		if ok || err != nil {
			return one, c.Value, ok, err
		}
	}
	return hook.WebSession{}, "", false, nil
}

// begin stores a session and sets its cookie. It ends the session of the old cookie.
func (h *Handler) begin(w http.ResponseWriter, r *http.Request, one hook.WebSession, old string, secure bool) error {
	value, err := h.o.Service.OpenSession(r.Context(), one, old)
	if err == nil {
		setCookie(w, value, secure)
	}
	return err
}

func setCookie(w http.ResponseWriter, value string, secure bool) {
	name := cookieSecure
	if !secure {
		name = cookiePlain
	}
	http.SetCookie(w, &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: int(hook.WebSessionMax.Seconds()),
		HttpOnly: true, Secure: secure, SameSite: http.SameSiteStrictMode})
}
