package web

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/page"
)

// doorway is the content of the page of a link.
type doorway struct {
	Open    bool // the link can be used
	Problem string
}

// showEnter shows the page of a link. Only its button uses the link, so that previews and
// scanners of mail use up nothing.
func (h *Handler) showEnter(w http.ResponseWriter, r *http.Request) error {
	of, usable, err := h.o.Service.WebLink(r.Context(), r.PathValue("code"))
	if err != nil {
		return err
	}
	h.door(w, r, usable && of.Kind == hook.WebOperator, "")
	return nil
}

func (h *Handler) door(w http.ResponseWriter, r *http.Request, open bool, problem string) {
	s := &screen{Template: "enter.html", Title: "Log in", Heading: "Log in to Posthorn", Data: doorway{Open: open, Problem: problem}}
	switch {
	case !open:
		s.Status, s.Heading = http.StatusNotFound, "This link cannot be used any more"
	case problem != "":
		s.Status = http.StatusForbidden
	}
	h.render(w, r, nil, s)
}

// enter uses a link, once, and sets the cookie of the session that it opens. It ends the
// session that the browser had.
func (h *Handler) enter(w http.ResponseWriter, r *http.Request) error {
	secure, why := h.cookieFor(r)
	if why != "" {
		h.door(w, r, true, why)
		return nil
	}
	from, _ := netip.ParseAddrPort(r.RemoteAddr)
	in, err := h.o.Service.Enter(r.Context(), hook.WebOperator, r.PathValue("code"), from.Addr().Unmap().String(), page.RequestID(r))
	if hook.CodeOf(err) == hook.CodeNotFound && err != nil {
		h.door(w, r, false, "")
		return nil
	}
	if err != nil {
		return err
	}
	if _, old, ok, err := h.session(r, 0); err != nil {
		return err
	} else if ok {
		if err := h.o.Service.CloseSession(r.Context(), old); err != nil {
			return err
		}
	}
	setCookie(w, in.Cookie, secure)
	h.audited(r, "audit: log-in to the pages by a link", &in.WebSession, hook.ActUIOpened)
	redirect(w, r, "/ui/")
	return nil
}

// loggedPath returns the path of a request without the code of a link.
func loggedPath(r *http.Request) string {
	if strings.HasPrefix(r.URL.Path, "/ui/enter/") {
		return "/ui/enter/{code}"
	}
	return r.URL.Path
}
