package portal

import (
	"bytes"
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/live"
	"github.com/posthorn/posthorn/internal/web/page"
)

// Streams returns how many pages are kept up to date now.
func (h *Handler) Streams() int { return h.streams.Len() }

// Close ends the streams; browsers open them again at the next start.
func (h *Handler) Close() { h.streams.Close() }

// follow streams what changes on a page of the session. It makes the page again with the
// session and checks of the page itself, and never sends more than the page would show. Each
// reading counts against the tenant's limit for reads.
func follow(v *visit) (*screen, error) {
	of, show, ok := v.pageOf(v.query.Get("of"))
	if !ok {
		return nil, hook.NotFound("page")
	}
	if _, err := show(v.copyOf(v.ctx(), of, v.session)); err != nil && page.Status(hook.CodeOf(err)) < 500 {
		return nil, err
	}
	holder := string(v.caller.Tenant) + " " + v.caller.Mode.String()
	v.h.streams.Follow(v.w, v.r, v.session.Short(), holder, v.h.o.Hints, func(ctx context.Context) live.Look { return v.again(ctx, of, show) })
	return nil, nil
}

// again returns how to make the page once more, if the session still stands.
func (v *visit) again(ctx context.Context, of *http.Request, show func(*visit) (*screen, error)) (look live.Look) {
	about := live.About{Scope: hook.Scope{Tenant: v.caller.Tenant, Mode: v.caller.Mode}}
	one, ok, err := v.service().SessionStands(ctx, hook.WebPortal, v.cookie)
	switch {
	case err != nil:
		look.Now = live.Now{Down: true, Soon: true, About: about}
	case !ok || one.Short() != v.session.Short():
		look.End = "session"
	case v.service().Call(ctx, app.PortalCaller(&one), false) != nil:
		look.Now = live.Now{Soon: true, About: about} // too much at once: later
	default:
		look.Read = func(ctx context.Context) live.Now { return v.made(v.copyOf(ctx, of, &one), show, about) }
	}
	return look
}

// made makes the page.
func (v *visit) made(again *visit, show func(*visit) (*screen, error), about live.About) live.Now {
	s, err := show(again)
	switch {
	case err != nil && page.Status(hook.CodeOf(err)) >= 500:
		return live.Now{Down: true, Soon: true, About: about}
	case err != nil || s == nil:
		return live.Now{End: "gone"}
	}
	var out bytes.Buffer
	f := again.frame(s)
	if t := v.h.templates[s.Template]; t == nil || t.ExecuteTemplate(&out, "main", f) != nil {
		return live.Now{About: about}
	}
	return live.Now{HTML: out.String(), Rows: s.Rows, Said: f.Text, Soon: s.Refresh, About: about}
}

// copyOf returns a visit of the session that makes the page once more, in the language of
// the page.
func (v *visit) copyOf(ctx context.Context, of *http.Request, one *hook.WebSession) *visit {
	again := v.h.stranger(of, one)
	again.w, again.cookie, again.caller, again.quiet = live.Discard{}, v.cookie, app.PortalCaller(one), ctx
	from, _ := netip.ParseAddrPort(v.r.RemoteAddr)
	again.r = of.WithContext(again.caller.Acting(ctx, from.Addr().Unmap().String(), page.RequestID(v.r)))
	return again
}

// pageOf returns the page of this session that a path and query lead to, if it can be kept
// up to date.
func (v *visit) pageOf(of string) (*http.Request, func(*visit) (*screen, error), bool) {
	r, ok := live.Page(of)
	if !ok {
		return nil, nil, false
	}
	rest, ours := strings.CutPrefix(r.URL.Path, "/portal/"+v.session.Short()+"/")
	if !ours {
		return nil, nil, false
	}
	escaped := rawRest(r.URL)
	r.URL = &url.URL{Path: "/" + rest, RawPath: escaped, RawQuery: r.URL.RawQuery}
	r.Header.Set("Accept-Language", v.r.Header.Get("Accept-Language"))
	_, pattern := v.h.inner.Handler(r)
	for _, one := range table() {
		if one.live && pattern == "GET /"+one.path {
			live.SetPathValues(r, one.path, strings.TrimPrefix(r.URL.EscapedPath(), "/"))
			return r, one.show, true
		}
	}
	return nil, nil, false
}
