package web

import (
	"bytes"
	"context"
	"net/http"
	"strings"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/live"
	"github.com/posthorn/posthorn/internal/web/page"
)

// Streams returns how many pages are kept up to date now.
func (h *Handler) Streams() int { return h.streams.Len() + h.portal.Streams() }

// live streams what changes on a page. It runs the reads of the page itself, with the same
// session and checks, and never sends more than the page would show.
func (v *visit) live() error {
	of, route, err := v.h.pageOf(v.mode, v.query.Get("of"))
	if err != nil {
		return err
	}
	if _, err := route.show(v.copyOf(v.ctx(), of, v.caller)); err != nil && !away(err) {
		return err
	}
	v.h.streams.Follow(v.w, v.r, v.cookie, "", v.h.o.Hints, func(ctx context.Context) live.Look { return v.again(ctx, of, &route) })
	return nil
}

// again returns how to make the page once more for whoever the session stands for now. Sessions
// with the same key see the same lists, so their streams share what is read.
func (v *visit) again(ctx context.Context, of *http.Request, route *route) (look live.Look) {
	down := live.Now{Down: true, Soon: true, About: live.About{Scope: hook.Scope{Mode: v.mode}}}
	one, ok, err := v.h.o.Service.SessionStands(ctx, hook.WebOperator, v.cookie)
	if err != nil {
		look.Now = down // the store is away: it may come back
		return look
	}
	hash, held := one.Keys[v.mode]
	if !ok || !held {
		look.End = "session"
		return look
	}
	caller, err := v.h.o.Service.Holder(ctx, hash, addressOf(v.r))
	if code := hook.CodeOf(err); err != nil && (code == hook.CodeUnauthorized || code == hook.CodeKeyExpired) {
		look.End = "session"
		return look
	}
	if err != nil {
		look.Now = down
		return look
	}
	if !route.lone {
		look.Key = string(hash[:]) + of.URL.RequestURI()
	}
	look.Read = func(ctx context.Context) live.Now { return v.made(v.copyOf(ctx, of, caller), route.show, down) }
	return look
}

// made makes the page.
func (v *visit) made(again *visit, show func(*visit) (*screen, error), down live.Now) live.Now {
	s, err := show(again)
	if err != nil && !away(err) || err == nil && s == nil {
		return live.Now{End: "gone"}
	}
	if err != nil {
		return down
	}
	var out bytes.Buffer
	if t := v.h.templates[s.Template]; t == nil || t.ExecuteTemplate(&out, "main", v.h.frameOf(again.r, again, s)) != nil {
		return live.Now{Soon: s.Soon, About: down.About}
	}
	about := s.About
	about.Scope.Mode = v.mode
	return live.Now{HTML: out.String(), Rows: s.Rows, Said: s.Heading, Soon: s.Soon, About: about}
}

// away reports whether an error says that the store cannot be read now.
func away(err error) bool {
	return page.Status(hook.CodeOf(err)) >= 500
}

// copyOf returns a visit that makes the page once more.
func (v *visit) copyOf(ctx context.Context, of *http.Request, caller app.Caller) *visit {
	now := v.h.o.Now()
	return &visit{h: v.h, w: live.Discard{}, r: of.WithContext(caller.Acting(ctx, addressOf(v.r).Unmap().String(), page.RequestID(v.r))), caller: caller, mode: v.mode, now: now, begun: now,
		query: of.URL.Query(), cookie: v.cookie, quiet: ctx, streamed: true}
}

// pageOf returns the page that a path and query of ours lead to.
func (h *Handler) pageOf(mode hook.Mode, of string) (*http.Request, route, error) {
	gone := errNoPage
	r, ok := live.Page(of)
	if !ok {
		return nil, route{}, gone
	}
	_, pattern := h.mux.Handler(r)
	prefix := "GET /ui/" + mode.String() + "/"
	path, ours := strings.CutPrefix(pattern, prefix)
	if !ours {
		return nil, route{}, gone
	}
	for _, one := range table() {
		if one.path == path && one.show != nil && one.live {
			live.SetPathValues(r, path, strings.TrimPrefix(r.URL.EscapedPath(), "/ui/"+mode.String()+"/"))
			return r, one, nil
		}
	}
	return nil, route{}, gone
}

// aboutTenant is what a page about a tenant shows, or one about all of them.
func aboutTenant(tenant string) live.About { return live.About{Scope: hook.Scope{Tenant: tenant}} }
