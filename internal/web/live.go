package web

import (
	"bytes"
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/live"
	"github.com/posthorn/posthorn/internal/web/page"
)

// How often a page is read again for its stream.
const (
	streamStep    = 5 * time.Second // without a hint
	streamSoon    = time.Second     // at most so often; also for a page about something under way, without a hint
	streamSoonFor = time.Minute     // since the stream began
	streamShare   = 20              // of the time that a page takes to read: how long it is not read again
)

// Streams returns how many pages are kept up to date now.
func (h *Handler) Streams() int { return h.streams.Len() }

// live streams what changes on a page: the parts with data-live, and the number of rows
// that are newer than the first one shown. It runs the reads of the page itself, with the
// same session and checks, and never sends more than the page would show.
func (v *visit) live() error {
	page, show, err := v.h.pageOf(v.mode, v.query.Get("of"))
	if err != nil {
		return err
	}
	if _, err := show(v.copyOf(v.ctx(), page, v.caller)); err != nil && !away(err) {
		return err
	}
	one := v.h.streams.Add(v.cookie)
	defer v.h.streams.Remove(one)
	hints := v.h.o.Hints.Listen()
	defer hints.Close()
	s := live.NewSender(v.w)
	ctx, cancel := context.WithTimeout(v.ctx(), live.For)
	defer cancel()
	begun, beat, seen := time.Now(), time.Now(), v.query.Get("seen")
	var before map[string]string
	for {
		read := time.Now()
		now := v.again(ctx, page, show)
		if now.end != "" {
			return s.Send("end", now.end)
		}
		if err := s.Changes(before, now.parts, v.query.Get("first")); err != nil {
			return nil // the browser went away
		}
		large := live.Large(now.parts)
		if before == nil && seen == "" && large != "" {
			seen = large
			if s.Send("seen", seen) != nil {
				return nil
			}
		}
		if large != seen && now.parts["live-down"] == "" {
			return s.Send("end", "large") // the page would show its old part beside new ones
		}
		before = now.parts
		late, soon := streamStep, max(streamSoon, streamShare*time.Since(read))
		if now.soon && time.Since(begun) < streamSoonFor {
			late = soon
		}
		if time.Since(beat) >= live.Beat || len(now.parts) == 0 {
			beat = time.Now()
			if s.Comment() != nil {
				return nil
			}
		}
		if reason, ended := hints.Wait(ctx, one.End, now.about, soon, max(soon, late)); ended {
			return s.Send("end", cmp.Or(reason, "limit"))
		}
	}
}

// reread is a page that was made again.
type reread struct {
	end   string // why its stream ends
	soon  bool   // something is under way
	parts map[string]string
	about live.About
}

// again makes the page once more for whoever the session stands for now.
func (v *visit) again(ctx context.Context, page *http.Request, show func(*visit) (*screen, error)) reread {
	down := reread{soon: true, parts: map[string]string{"live-down": "down"}, about: live.About{Scope: hook.Scope{Mode: v.mode}}}
	one, ok, err := v.h.o.Service.SessionStands(ctx, hook.WebOperator, v.cookie)
	if err != nil {
		return down // the store is away: it may come back
	}
	if !ok {
		return reread{end: "session"}
	}
	hash, ok := one.Keys[v.mode]
	if !ok {
		return reread{end: "session"}
	}
	caller, err := v.h.o.Service.Holder(ctx, hash, addressOf(v.r))
	if code := hook.CodeOf(err); err != nil && (code == hook.CodeUnauthorized || code == hook.CodeKeyExpired) {
		return reread{end: "session"}
	}
	if err != nil {
		return down
	}
	again := v.copyOf(ctx, page, caller)
	s, err := show(again)
	if err != nil && !away(err) || err == nil && s == nil {
		return reread{end: "gone"}
	}
	if err != nil {
		return down
	}
	var out bytes.Buffer
	if t := v.h.templates[s.Template]; t == nil || t.ExecuteTemplate(&out, "main", v.h.frameOf(again.r, again, s)) != nil {
		return reread{soon: s.Soon, about: down.about}
	}
	parts := live.Parts(out.String())
	if len(s.Rows) > 0 {
		parts["live-first"] = strings.Join(s.Rows, " ")
	}
	parts["live-said"] = s.Heading
	about := s.About
	about.Scope.Mode = v.mode
	return reread{soon: s.Soon, parts: parts, about: about}
}

// away reports whether an error says that the store cannot be read now.
func away(err error) bool {
	return page.Status(hook.CodeOf(err)) >= 500
}

// copyOf returns a visit that makes the page once more.
func (v *visit) copyOf(ctx context.Context, of *http.Request, caller app.Caller) *visit {
	now := v.h.o.Now()
	return &visit{h: v.h, w: discard{}, r: of.WithContext(caller.Acting(ctx, addressOf(v.r).Unmap().String(), page.RequestID(v.r))), caller: caller, mode: v.mode, now: now, begun: now,
		query: of.URL.Query(), cookie: v.cookie, quiet: ctx, streamed: true}
}

// discard takes what a page would send itself, which a streamed page never does.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}

// pageOf returns the page that a path and query of ours lead to.
func (h *Handler) pageOf(mode hook.Mode, of string) (*http.Request, func(*visit) (*screen, error), error) {
	gone := &hook.Error{Code: hook.CodeNotFound, Message: "There is no such page."}
	u, err := url.Parse(of)
	if err != nil || u.Host != "" || u.Scheme != "" {
		return nil, nil, gone
	}
	r := &http.Request{Method: http.MethodGet, URL: u, Host: "posthorn", Header: http.Header{}}
	_, pattern := h.mux.Handler(r)
	prefix := "GET /ui/" + mode.String() + "/"
	path, ours := strings.CutPrefix(pattern, prefix)
	if !ours {
		return nil, nil, gone
	}
	for _, one := range table() {
		if one.path == path && one.show != nil && one.live {
			setPathValues(r, path, strings.TrimPrefix(u.EscapedPath(), "/ui/"+mode.String()+"/"))
			return r, one.show, nil
		}
	}
	return nil, nil, gone
}

// setPathValues fills in the values of a pattern, as the mux does.
func setPathValues(r *http.Request, pattern, path string) {
	have := strings.Split(path, "/")
	for i, part := range strings.Split(pattern, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok && i < len(have) {
			value, err := url.PathUnescape(have[i])
			if err == nil {
				r.SetPathValue(strings.TrimRight(name, "}."), value)
			}
		}
	}
}

// aboutTenant is what a page about a tenant shows, or one about all of them.
func aboutTenant(tenant string) live.About { return live.About{Scope: hook.Scope{Tenant: tenant}} }
