package web

import (
	"fmt"
	"net/http"
	"time"

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

// ending says when a session ends.
type ending struct {
	At         moment
	Last       bool  // nothing makes it longer
	Idle, Hard int64 // milliseconds until it ends without use, and in any case
}

// endOf returns the end of a session that was used now.
func endOf(one *hook.WebSession, now time.Time) *ending {
	idle := one.SeenAt.Add(hook.WebSessionIdle)
	e := ending{Last: !idle.Before(one.ExpiresAt), Idle: max(0, idle.Sub(now).Milliseconds()), Hard: max(0, one.ExpiresAt.Sub(now).Milliseconds())}
	if e.At = when(idle, now); e.Last {
		e.At = when(one.ExpiresAt, now)
	}
	return &e
}

// goOn notes the use of a session, for a person who reads a page for long. A script gets the
// milliseconds until the session ends without use and in any case; a form returns to its page.
func (h *Handler) goOn(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return errForm
	}
	one, _, ok, err := h.session(r, 0)
	if err != nil {
		return err
	}
	if !ok {
		h.askLogin(w, r)
		return nil
	}
	if r.Header.Get("Accept") != "text/plain" {
		redirect(w, r, ours(r.PostForm.Get("next")))
		return nil
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	e := endOf(&one, h.o.Now())
	_, err = fmt.Fprintf(w, "%d %d", e.Idle, e.Hard)
	return err
}

// begin stores a session and sets its cookie. It ends the session of the old cookie.
func (h *Handler) begin(w http.ResponseWriter, r *http.Request, one hook.WebSession, old string, secure bool) error {
	value, err := h.o.Service.OpenSession(r.Context(), one, old, addressOf(r))
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
