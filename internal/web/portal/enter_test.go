package portal_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	rules "github.com/posthorn/posthorn/internal/portal"
	"github.com/posthorn/posthorn/internal/web/portal"
)

var nowhere = netip.Addr{}

func settings(s hook.PortalSettings) wanted {
	return func(w *rules.Wanted) { w.PortalSettings = s }
}

// A link opens its session once, within five minutes. Looking at it uses nothing up. A used,
// late or unknown one says so, with the way back where it is known.
func TestLinks(t *testing.T) {
	w := newWorld(t, "")
	back := settings(hook.PortalSettings{ReturnURL: "https://app.example/settings", FrameOrigins: []string{"https://app.example"}, Page: "/deliveries?state=failed"})
	s, path := w.link(nordlicht, all, back)
	b := &browser{w: w, sid: s.Short(), cookies: map[string]string{}}
	for range 3 {
		if a := b.get(path); a.Code != 200 || len(b.cookies) > 0 || !strings.Contains(a.Body.String(), "<form method=\"post\"") || strings.Contains(a.Body.String(), "nordlicht") {
			t.Fatalf("looking at the link: %d %s", a.Code, a.Body)
		}
	}
	a := b.post(path, nil)
	cookie := a.Header().Get("Set-Cookie")
	if a.Code != 303 || !strings.HasPrefix(cookie, "__Host-php-"+s.Short()+"=") {
		t.Fatalf("%d %q", a.Code, cookie)
	}
	for _, part := range []string{"; Path=/", "; Max-Age=3600", "; HttpOnly", "; Secure", "; SameSite=None", "; Partitioned"} {
		if !strings.Contains(cookie, part) {
			t.Errorf("%q has no %q", cookie, part)
		}
	}
	checked := a.Header().Get("Location")
	if !strings.HasPrefix(checked, "/portal/back/"+s.Short()+"/") {
		t.Fatal(checked)
	}
	if a := b.get(checked); a.Code != 303 || a.Header().Get("Location") != "/portal/"+s.Short()+"/deliveries?state=failed" {
		t.Errorf("the cookie came back: %d %s", a.Code, a.Header().Get("Location"))
	}
	again := &browser{w: w, cookies: map[string]string{}}
	for name, link := range map[string]string{"used": path, "the second link, after the session was used": strings.Replace(checked, "/back/"+s.Short(), "/enter", 1)} {
		for _, a := range []interface{ Result() *http.Response }{again.post(link, nil), again.get(link)} {
			if a.Result().StatusCode != 404 || len(again.cookies) > 0 {
				t.Errorf("%s: %d", name, a.Result().StatusCode)
			}
		}
		if a := again.get(link); !strings.Contains(a.Body.String(), "https://app.example/settings") || !strings.Contains(a.Header().Get("Content-Security-Policy"), "frame-ancestors https://app.example;") {
			t.Errorf("%s: no way back", name)
		}
	}
	_, late := w.link(nordlicht, all)
	w.pass(hook.WebLinkFor)
	for name, link := range map[string]string{"late": late, "unknown": "/portal/enter/" + strings.Repeat("A", 43), "odd": "/portal/enter/%00%ff", "long": "/portal/enter/" + strings.Repeat("A", 9000)} {
		if a := again.post(link, nil); a.Code != 404 || len(again.cookies) > 0 {
			t.Errorf("%s: %d", name, a.Code)
		}
	}
	operator, err := w.app.CreateUILink(w.ctx, w.admins[hook.Live])
	w.must(err)
	link := "/portal/enter/" + operator.URL[strings.LastIndex(operator.URL, "/")+1:]
	if a := again.post(link, nil); a.Code != 404 || len(again.cookies) > 0 {
		t.Errorf("a link for the dashboard: %d", a.Code)
	}
}

// If the cookie does not come back, as in frames of some browsers, the page has a link that
// opens the session in a window of its own, and that link works once.
func TestCookieThatDoesNotComeBack(t *testing.T) {
	w := newWorld(t, "")
	s, path := w.link(nordlicht, all)
	frame, tab := &browser{w: w, cookies: map[string]string{}}, &browser{w: w, cookies: map[string]string{}}
	checked := frame.post(path, nil).Header().Get("Location")
	lost := frame.cookies
	frame.cookies = map[string]string{}
	a := frame.get(checked)
	link := strings.Replace(checked, "/back/"+s.Short(), "/enter", 1)
	if a.Code != 200 || !strings.Contains(a.Body.String(), `href="`+link+`" target="_blank"`) || !strings.Contains(a.Body.String(), `data-ended="blocked"`) {
		t.Fatalf("%d %s", a.Code, a.Body)
	}
	if a := tab.post(link, nil); a.Code != 303 {
		t.Fatal(a.Code)
	}
	tab.sid = s.Short()
	if a := tab.get(""); a.Code != 200 {
		t.Errorf("in its own window: %d", a.Code)
	}
	frame.cookies, frame.sid = lost, s.Short()
	if a := frame.get(""); a.Code != 401 {
		t.Errorf("the cookie that was replaced: %d", a.Code)
	}
}

// Over plain http the cookie is set for this machine and with --dev only.
func TestCookieOverPlainHTTP(t *testing.T) {
	for _, dev := range []bool{false, true} {
		w := newWorld(t, "", func(_ *app.Options, p *portal.Options) { p.Dev = dev })
		for origin, ok := range map[string]bool{"http://localhost:8080": true, "http://127.0.0.1:8080": true, "http://hooks.example": dev, "http://localhost.evil.example": dev} {
			_, path := w.link(nordlicht, all)
			b := &browser{w: w, cookies: map[string]string{}}
			a := b.post(path, nil, func(h http.Header) { h.Set("Origin", origin) })
			cookie := a.Header().Get("Set-Cookie")
			if ok && (a.Code != 303 || !strings.HasPrefix(cookie, "php-") || strings.Contains(cookie, "Secure") || !strings.Contains(cookie, "SameSite=Lax")) || !ok && (a.Code != 403 || cookie != "") {
				t.Errorf("dev %v, %s: %d %q", dev, origin, a.Code, cookie)
			}
		}
	}
}

// Two sessions of two tenants in two tabs of one browser each stay what they are. A browser
// with one living session is led from an unknown id to it; with several it is not. It keeps
// eight.
func TestSeveralSessionsInOneBrowser(t *testing.T) {
	w := newWorld(t, "")
	b := w.open(nordlicht, all)
	first := b.sid
	if a := b.get("/portal/aaaaaaaaaa/deliveries?state=failed"); a.Code != 303 || a.Header().Get("Location") != "/portal/"+first+"/deliveries?state=failed" {
		t.Errorf("beside one session: %d %s", a.Code, a.Header().Get("Location"))
	}
	if a := b.post("/portal/aaaaaaaaaa/leave", nil); a.Code != 401 {
		t.Errorf("a form for an unknown session: %d", a.Code)
	}
	s, path := w.link(hook.Scope{Tenant: "harbour", Mode: hook.Live}, all)
	b.post(path, nil)
	b.sid = s.Short()
	if a := b.get("endpoints"); a.Code != 200 || !strings.Contains(a.Body.String(), "hooks.harbour") || strings.Contains(a.Body.String(), "nordlicht") {
		t.Errorf("the second tab: %d", a.Code)
	}
	b.sid = first
	if a := b.get("endpoints"); a.Code != 200 || strings.Contains(a.Body.String(), "harbour") || !strings.Contains(a.Body.String(), "hooks.nordlicht") {
		t.Errorf("the first tab: %d", a.Code)
	}
	before := w.rows(nordlicht)
	b.sid = s.Short()
	if a := b.post("endpoints/new", w.of[nordlicht].form("endpoints/new", "harbour")); a.Code != 200 {
		t.Error(a.Code)
	}
	if w.rows(nordlicht) != before {
		t.Error("a form of one tab changed the other's tenant")
	}
	if a := b.get("/portal/aaaaaaaaaa/"); a.Code != 401 {
		t.Errorf("beside two sessions: %d", a.Code)
	}
	for range 10 {
		_, path := w.link(nordlicht, nil)
		if a := b.post(path, nil); a.Code != 303 {
			t.Fatal(a.Code)
		}
	}
	if len(b.cookies) > 8 {
		t.Errorf("%d cookies", len(b.cookies))
	}
}

// An address that asks for sessions that do not exist, beside cookies of any kind, has the store
// read for each of them a few times a minute only. Its living session goes on.
func TestLookingForOtherSessionsIsBounded(t *testing.T) {
	w := newWorld(t, "", func(o *app.Options, _ *portal.Options) { o.WrongKeys = 2 })
	b := w.open(nordlicht, all)
	for i, want := range []int{303, 303, 401, 401} {
		if a := b.get("/portal/aaaaaaaaaa/"); a.Code != want {
			t.Errorf("request %d: %d, want %d", i, a.Code, want)
		}
	}
	if a := b.get(""); a.Code != 200 {
		t.Errorf("the session: %d", a.Code)
	}
	w.pass(time.Minute)
	if a := b.get("/portal/aaaaaaaaaa/"); a.Code != 303 {
		t.Errorf("a minute later: %d", a.Code)
	}
}

// The policy of a page allows frames of the session's origins, exactly, and of nobody if it has
// none. Pages without a session allow those of the server. No other header differs.
func TestHeaders(t *testing.T) {
	w := newWorld(t, "", func(_ *app.Options, p *portal.Options) { p.Origins = []string{"https://server.example"} })
	const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors %s; require-trusted-types-for 'script'; trusted-types posthorn"
	framed, alone := w.open(nordlicht, all, settings(hook.PortalSettings{FrameOrigins: []string{"https://app.example", "https://app.example:8443"}})), w.open(nordlicht, all)
	for _, c := range []struct {
		b               *browser
		path, ancestors string
	}{
		{framed, "", "https://app.example https://app.example:8443"}, {framed, "endpoints/" + hook.ID{1}.String(), "https://app.example https://app.example:8443"},
		{alone, "", "'none'"}, {alone, "nothing", "'none'"}, {alone, "/portal/enter/x", "https://server.example"}, {&browser{w: w, cookies: map[string]string{}}, "/portal/aaaaaaaaaa/", "https://server.example"},
		{&browser{w: w, sid: framed.sid, cookies: map[string]string{}}, "", "https://app.example https://app.example:8443"},
	} {
		a := c.b.get(c.path)
		want := http.Header{
			"Content-Security-Policy": {fmt.Sprintf(policy, c.ancestors)}, "X-Content-Type-Options": {"nosniff"}, "Referrer-Policy": {"same-origin"}, "Cross-Origin-Resource-Policy": {"same-origin"},
			"Permissions-Policy": {"camera=(), geolocation=(), microphone=(), payment=(), usb=(), clipboard-write=(self)"}, "Cache-Control": {"no-store"},
			"Content-Type": {"text/html; charset=utf-8"}, "Content-Language": {"en"}, "Content-Length": {fmt.Sprint(a.Body.Len())},
		}
		for name := range a.Header() {
			if fmt.Sprint(a.Header()[name]) != fmt.Sprint(want[name]) {
				t.Errorf("%q: %s: %q, want %q", c.path, name, a.Header()[name], want[name])
			}
		}
		for name := range want {
			if a.Header().Get(name) == "" {
				t.Errorf("%q has no %s", c.path, name)
			}
		}
	}
	style := alone.get("")
	i := strings.Index(style.Body.String(), "/portal/static/")
	file := strings.SplitN(style.Body.String()[i:], `"`, 2)[0]
	if a := alone.get(file); a.Code != 200 || a.Header().Get("Cache-Control") != "public, max-age=31536000, immutable" || !strings.HasPrefix(a.Header().Get("Content-Type"), "text/css") {
		t.Errorf("%s: %d %v", file, a.Code, a.Header())
	}
	for _, bad := range []string{"/portal/static/x/portal.css", strings.Replace(file, "posthorn.css", "../portal.go", 1), strings.Replace(file, "posthorn.css", "none.css", 1)} {
		if a := alone.get(bad); a.Code == 200 {
			t.Errorf("%s: %d", bad, a.Code)
		}
	}
}

// The theme reaches the page as a style sheet of checked values and an image, never as markup.
func TestTheme(t *testing.T) {
	w := newWorld(t, "")
	radius := 12
	logo := "data:image/png;base64,iVBORw0KGgpyZXN0"
	b := w.open(nordlicht, all, settings(hook.PortalSettings{Theme: hook.PortalTheme{Accent: "#ffff00", Radius: &radius, Font: "serif", Mode: "dark", Name: `Nord "licht" <b>`, Logo: logo, Chrome: "full"}, ReturnURL: "https://app.example/x?a=1"}))
	css := b.get("theme.css")
	for _, part := range []string{"--link: light-dark(#707000, #ffff00)", "--solid: light-dark(#7a7a00, #7a7a00)", "--r: 12px", "--sans: ui-serif"} {
		if css.Code != 200 || !strings.Contains(css.Body.String(), part) {
			t.Errorf("%d, no %q in\n%s", css.Code, part, css.Body)
		}
	}
	if a := b.get("logo"); a.Code != 200 || a.Header().Get("Content-Type") != "image/png" || a.Body.String() != "\x89PNG\r\n\x1a\nrest" {
		t.Errorf("%d %v", a.Code, a.Header())
	}
	page := b.get("").Body.String()
	for _, part := range []string{`data-theme="dark"`, "Nord &#34;licht&#34; &lt;b&gt;", `href="https://app.example/x?a=1"`, "Back to app.example", "/logo\""} {
		if !strings.Contains(page, part) {
			t.Errorf("no %q in\n%s", part, page)
		}
	}
	if strings.Contains(page, " style=") || strings.Contains(page, "<style") {
		t.Error("there is a style in the page, which the policy refuses")
	}
	bare := w.open(nordlicht, all, settings(hook.PortalSettings{Theme: hook.PortalTheme{Name: "Nordlicht", Chrome: "bare"}, ReturnURL: "https://app.example/x"})).get("").Body.String()
	if strings.Contains(bare, "class=\"brand\"") || strings.Contains(bare, "Back to") {
		t.Error("bare has what it should not have")
	}
}
