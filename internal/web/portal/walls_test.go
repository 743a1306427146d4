package portal_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	rules "github.com/posthorn/posthorn/internal/portal"
	"github.com/posthorn/posthorn/internal/web/portal"
)

// Every page and action works in a session with all capabilities. This is the control of the
// tests below: what they refuse is otherwise possible.
func TestEveryRouteWorks(t *testing.T) {
	w := newWorld(t, "")
	b, it := w.open(nordlicht, all), w.of[nordlicht]
	last := func(r portal.Route) int { return map[string]int{"endpoints/{id}/delete": 1, "leave": 2}[r.Path] }
	routes := portal.Routes()
	slices.SortStableFunc(routes, func(x, y portal.Route) int { return last(x) - last(y) })
	for _, r := range routes {
		path := it.path(r)
		switch r.Path { // what the act needs
		case "endpoints/{id}/enable":
			b.post("endpoints/"+it.endpoint.String()+"/disable", nil)
		case "endpoints/{id}/delete", "endpoints/{id}/challenge":
			b.post("endpoints/"+it.endpoint.String()+"/enable", nil)
		}
		if r.Show {
			want := 200
			if r.Path == "logo" {
				want = 404
			}
			if a := b.get(path); a.Code != want {
				t.Errorf("GET %s: %d\n%s", r.Path, a.Code, a.Body)
			}
		}
		if r.Act {
			a := b.post(path, it.form(r.Path, "nordlicht"))
			if a.Code != 200 && a.Code != 303 {
				t.Errorf("POST %s: %d\n%s", r.Path, a.Code, a.Body)
			}
			if a.Code == 303 && a.Header().Get("Location") == "" {
				t.Errorf("POST %s leads nowhere", r.Path)
			}
		}
	}
}

// No route serves anybody but the session in its path: not a browser without its cookie, with
// the cookie of another session, of another tenant or of the other mode, nor after the
// session ended. Nothing of the tenant changes, and nothing of it is shown.
func TestWalls(t *testing.T) {
	w := newWorld(t, "")
	victim, foreign, other := nordlicht, hook.Scope{Tenant: "harbour", Mode: hook.Live}, hook.Scope{Tenant: "nordlicht", Mode: hook.Test}
	owner := w.open(victim, all)
	ended, late := w.open(victim, all), w.open(victim, all, func(x *rules.Wanted) { n := int64(60); x.ExpiresIn = &n })
	thief, twin := w.open(foreign, all), w.open(other, all)
	sessions, _, err := w.app.PortalSessions(w.ctx, w.admins[hook.Live], hook.WebSessionQuery{Scope: victim})
	w.must(err)
	for _, s := range sessions {
		if s.Short() == ended.sid {
			w.must(w.app.EndPortalSession(w.ctx, w.admins[hook.Live], s.ID))
		}
	}
	w.pass(time.Minute)
	value := func(b *browser) string {
		for _, v := range b.cookies {
			return v
		}
		return ""
	}
	with := func(sid string, cookies map[string]string) *browser {
		return &browser{w: w, sid: sid, cookies: cookies}
	}
	name := func(sid string) string { return "__Host-php-" + sid }
	intruders := map[string]*browser{
		"nobody":                               with(owner.sid, map[string]string{}),
		"a forged cookie":                      with(owner.sid, map[string]string{name(owner.sid): strings.Repeat("A", 43)}),
		"an empty cookie":                      with(owner.sid, map[string]string{name(owner.sid): ""}),
		"another tenant's cookie in its place": with(owner.sid, map[string]string{name(owner.sid): value(thief)}),
		"another tenant":                       with(owner.sid, thief.cookies),
		"the other mode's cookie in its place": with(owner.sid, map[string]string{name(owner.sid): value(twin)}),
		"an ended session":                     ended,
		"an expired session":                   late,
		"the owner's cookie under another id":  with(thief.sid, map[string]string{name(thief.sid): value(owner)}),
	}
	before := w.rows(victim)
	for _, r := range portal.Routes() {
		path := w.of[victim].path(r)
		for who, b := range intruders {
			answers := map[string]string{}
			if r.Show {
				a := b.get(path)
				answers["GET"] = a.Body.String()
				if a.Code != 401 && a.Code != 303 && a.Code != 404 {
					t.Errorf("%s: GET %s: %d", who, r.Path, a.Code)
				}
			}
			if r.Act {
				a := b.post(path, w.of[victim].form(r.Path, "nordlicht"))
				answers["POST"] = a.Body.String()
				if a.Code != 401 && a.Code != 403 && a.Code != 404 {
					t.Errorf("%s: POST %s: %d", who, r.Path, a.Code)
				}
			}
			for method, body := range answers {
				if strings.Contains(body, "nordlicht") || strings.Contains(body, w.of[victim].delivery.String()[:13]) {
					t.Errorf("%s: %s %s shows the tenant's data", who, method, r.Path)
				}
			}
		}
		// A foreign session in its own place, with the victim's ids.
		for who, b := range map[string]*browser{"another tenant": thief, "the other mode": twin} {
			if !strings.Contains(r.Path, "{id}") {
				continue
			}
			unknown := things{endpoint: hook.ID{1}, delivery: hook.ID{2}, event: hook.ID{3}, replay: hook.ID{4}}
			if r.Show {
				a, u := b.get(path), b.get(unknown.path(r))
				if a.Code != 404 || strings.Contains(a.Body.String(), "hooks.nordlicht") || main(t, a) != main(t, u) {
					t.Errorf("%s: GET %s: %d, and an unknown id %d", who, r.Path, a.Code, u.Code)
				}
			}
			if r.Act {
				if a := b.post(path, w.of[victim].form(r.Path, "nordlicht")); a.Code != 404 {
					t.Errorf("%s: POST %s: %d", who, r.Path, a.Code)
				}
			}
		}
	}
	for _, form := range []struct{ path, field string }{{"replays/new", "endpoint"}, {"verify", "endpoint"}} {
		for who, b := range map[string]*browser{"another tenant": thief, "the other mode": twin} {
			f := w.of[victim].form(form.path, "nordlicht")
			if a := b.post(form.path, f); a.Code != 404 {
				t.Errorf("%s: POST %s with a foreign id: %d", who, form.path, a.Code)
			}
		}
	}
	if a := thief.post("endpoints/new", url.Values{"url": {"https://x.example/"}, "types": {"*"}, "tenant": {"nordlicht"}}); a.Code != 200 {
		t.Errorf("a form that names a tenant: %d", a.Code)
	}
	if after := w.rows(victim); after != before {
		t.Errorf("something changed:\n%s\nbefore:\n%s", after, before)
	}
	if a := owner.get(""); a.Code != 200 { // the control
		t.Errorf("the owner: %d", a.Code)
	}
}

// Without its capability no action does anything, whatever others the session has, and its
// buttons are not drawn.
func TestWithoutItsCapability(t *testing.T) {
	w := newWorld(t, "")
	names := map[hook.Capabilities]string{hook.MayManage: "manage_endpoints", hook.MaySeeSecret: "see_secret", hook.MayRetry: "retry", hook.MayReplay: "replay", hook.MayTest: "test"}
	viewer, browsers := w.open(nordlicht, nil), map[hook.Capabilities]*browser{}
	for cap, name := range names {
		var others []string
		for _, one := range all {
			if one != name {
				others = append(others, one)
			}
		}
		browsers[cap] = w.open(nordlicht, others)
	}
	before := w.rows(nordlicht)
	it := w.of[nordlicht]
	for _, r := range portal.Routes() {
		if r.Needs == 0 {
			continue
		}
		for who, b := range map[string]*browser{"a viewer": viewer, "all but it": browsers[r.Needs]} {
			if r.Show {
				if a := b.get(it.path(r)); a.Code != 403 {
					t.Errorf("%s: GET %s: %d", who, r.Path, a.Code)
				}
			}
			if r.Act {
				if a := b.post(it.path(r), it.form(r.Path, "nordlicht")); a.Code != 403 {
					t.Errorf("%s: POST %s: %d %s", who, r.Path, a.Code, a.Body)
				}
			}
		}
	}
	if after := w.rows(nordlicht); after != before {
		t.Errorf("something changed:\n%s\nbefore:\n%s", after, before)
	}
	acts := map[hook.Capabilities][]string{hook.MayManage: {"/endpoints/new", "/disable", "/settings"}, hook.MaySeeSecret: {"/rotate", "/reveal"}, hook.MayRetry: {"/retry"}, hook.MayReplay: {"/replays/new", "/resend"}, hook.MayTest: {"/test"}}
	full := w.open(nordlicht, all)
	shown := map[string]string{}
	for _, page := range []string{"", "endpoints/" + it.endpoint.String(), "endpoints/" + it.endpoint.String() + "?tab=settings", "endpoints/" + it.endpoint.String() + "?tab=secret", "deliveries", "deliveries/" + it.delivery.String(), "events/" + it.event.String(), "replays"} {
		shown["full"] += full.get(page).Body.String()
		for cap, b := range browsers {
			shown[names[cap]] += b.get(page).Body.String()
		}
	}
	for cap, paths := range acts {
		for _, path := range paths {
			if strings.Contains(shown[names[cap]], path+`"`) || strings.Contains(shown[names[cap]], path+`?`) {
				t.Errorf("%s is drawn without %s", path, names[cap])
			}
			if !strings.Contains(shown["full"], path+`"`) && !strings.Contains(shown["full"], path+`?`) {
				t.Errorf("control: %s is not drawn with all capabilities", path)
			}
		}
	}
}

// A session ends at once with the key that made it and with its tenant, and can be left.
func TestSessionsEnd(t *testing.T) {
	w := newWorld(t, "")
	admin := w.admins[hook.Live]
	key, _, err := w.app.CreateKey(w.ctx, admin, hook.Key{Kind: hook.TenantKey, Tenant: "nordlicht"}, nil)
	w.must(err)
	caller, err := w.app.Authenticate(w.ctx, key.Text, nowhere)
	w.must(err)
	open := func() *browser {
		s, _, err := w.app.CreatePortalSession(w.ctx, caller, "", rules.Wanted{}, nil)
		w.must(err)
		b := &browser{w: w, sid: s.Short(), cookies: map[string]string{}}
		u, _ := url.Parse(s.URL)
		b.post(u.Path, nil)
		if a := b.get(""); a.Code != 200 {
			t.Fatalf("%d", a.Code)
		}
		return b
	}
	for how, end := range map[string]func(*browser){
		"left": func(b *browser) { b.post("leave", nil) },
		"all ended": func(*browser) {
			w.must(w.app.EndPortalSessions(w.ctx, admin, "nordlicht"))
		},
		"time over": func(*browser) { w.pass(time.Hour) },
	} {
		b := open()
		end(b)
		if a := b.get(""); a.Code != 401 {
			t.Errorf("%s: %d", how, a.Code)
		}
	}
	b := open()
	w.must(w.app.RevokeKey(w.ctx, admin, key.ID))
	if a := b.get(""); a.Code != 401 {
		t.Errorf("its key was revoked: %d", a.Code)
	}
	b = w.open(nordlicht, all)
	w.must(w.app.DeleteTenant(w.ctx, admin, "nordlicht"))
	if a := b.get(""); a.Code != 401 {
		t.Errorf("its tenant was deleted: %d", a.Code)
	}
	var acts []string
	entries, _, err := w.app.AuditEntries(w.ctx, admin, hook.AuditQuery{Scope: hook.Scope{Mode: hook.Live}})
	w.must(err)
	for _, e := range entries {
		if e.Actor.Kind == "portal" {
			acts = append(acts, string(e.Act))
			if e.Actor.ID == "" || e.Tenant != "nordlicht" {
				t.Errorf("%+v", e)
			}
		}
	}
	if text := strings.Join(acts, " "); !strings.Contains(text, "portal_session.opened") || !strings.Contains(text, "portal_session.left") {
		t.Error(text)
	}
}

// A form of another site, and one whose origin is not known, does nothing.
func TestFormsOfOtherSites(t *testing.T) {
	w := newWorld(t, "")
	b := w.open(nordlicht, all)
	before := w.rows(nordlicht)
	_, link := w.link(nordlicht, all)
	for name, mark := range map[string]func(http.Header){
		"cross-site":      func(h http.Header) { h.Set("Sec-Fetch-Site", "cross-site"); h.Set("Origin", "https://evil.example") },
		"same-site":       func(h http.Header) { h.Set("Sec-Fetch-Site", "same-site") },
		"another origin":  func(h http.Header) { h.Del("Sec-Fetch-Site"); h.Set("Origin", "https://evil.example") },
		"no origin":       func(h http.Header) { h.Del("Sec-Fetch-Site"); h.Del("Origin") },
		"an empty origin": func(h http.Header) { h.Del("Sec-Fetch-Site"); h.Set("Origin", "null") },
	} {
		for _, r := range portal.Routes() {
			if r.Act {
				if a := b.post(w.of[nordlicht].path(r), w.of[nordlicht].form(r.Path, "nordlicht"), mark); a.Code != 403 {
					t.Errorf("%s: POST %s: %d", name, r.Path, a.Code)
				}
			}
		}
		if a := b.post(link, nil, mark); a.Code != 403 {
			t.Errorf("%s: the link: %d", name, a.Code)
		}
	}
	if after := w.rows(nordlicht); after != before {
		t.Errorf("something changed:\n%s", after)
	}
	if a := b.post(link, nil); a.Code != 303 {
		t.Errorf("the link was used up: %d", a.Code)
	}
}
