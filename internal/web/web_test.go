package web_test

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/server/servertest"
	"github.com/posthorn/posthorn/internal/web"
)

// Without a session, every page and action of the table redirects to the log-in. With one,
// each is available.
func TestEveryRouteTakesASession(t *testing.T) {
	w := newWorld(t)
	in, out := w.browser(w.Config.OperatorKey), w.browser()
	forged := &browser{t: t, base: w.Node.URL(), cookie: "posthorn=" + strings.Repeat("A", 43)}
	for _, r := range web.Routes() {
		path := w.path("live", r)
		for _, b := range []*browser{out, forged} {
			if a := b.get(path); a.status != 303 && r.Show || r.Show && !strings.HasPrefix(a.header.Get("Location"), "/ui/login") || strings.Contains(a.body, "localhost") {
				t.Errorf("GET %s without a session: %d %q", path, a.status, a.header.Get("Location"))
			}
			if a := b.post(path, url.Values{}, own); r.Act && (a.status != 303 || a.header.Get("Location") != "/ui/login") {
				t.Errorf("POST %s without a session: %d %q", path, a.status, a.header.Get("Location"))
			}
		}
		if !r.Show {
			continue
		}
		want := 200
		if r.Path == "search" {
			want = 404
		}
		if a := in.get(path); a.status != want {
			t.Errorf("GET %s: %d\n%s", path, a.status, a.body)
		}
	}
	d, err := w.API.Delivery(t.Context(), w.delivery)
	if e, err2 := w.API.Endpoint(t.Context(), w.endpoint.ID); err != nil || err2 != nil || d.Attempts != 1 || d.State != "pending" || !e.Enabled {
		t.Errorf("an act without a session did something: %+v %+v", d, e)
	}
	if a := in.get("/ui/live/nothing"); a.status != 404 {
		t.Error(a.status)
	}
}

// A session with a test key sees nothing of live mode and changes nothing there, and a live
// id is not found in test mode.
func TestModesNeverMix(t *testing.T) {
	w := newWorld(t)
	b, both := w.browser(w.Config.OperatorTestKey), w.browser(w.Config.OperatorTestKey, w.Config.OperatorKey)
	unknown := both.get("/ui/test/deliveries/00000000-0000-7000-8000-000000000000")
	for _, r := range web.Routes() {
		live, test := w.path("live", r), w.path("test", r)
		if r.Show {
			if a := b.get(live); a.status != 403 || strings.Contains(a.body, "localhost") {
				t.Errorf("GET %s with a test key: %d", live, a.status)
			}
			a := both.get(test)
			if strings.Contains(a.body, "localhost") || strings.Contains(a.body, w.event.ID[:13]) && !strings.Contains(r.Path, "{id}") {
				t.Errorf("GET %s shows live data", test)
			}
			if strings.Contains(a.body, "LIVE") || a.header.Get("Content-Type") == "text/html; charset=utf-8" && !strings.Contains(a.body, "TEST DATA") {
				t.Errorf("GET %s does not say that it is test mode", test)
			}
			if strings.HasPrefix(r.Path, "deliveries/{id}") && a.status != unknown.status {
				t.Errorf("GET %s: %d, an unknown one %d", test, a.status, unknown.status)
			}
		}
		if r.Act {
			if a := b.post(live, url.Values{}, own); a.status != 403 {
				t.Errorf("POST %s with a test key: %d", live, a.status)
			}
			// A tenant spans both modes, and only live keys change it. Other forms make something
			// of their own mode, such as a link to the portal, or nothing.
			want := map[bool][]int{true: {404}, false: {422, 303, 403, 200}}[strings.Contains(r.Path, "{name") || strings.Contains(r.Path, "{id}") && !strings.HasPrefix(r.Path, "tenants/") && !strings.HasSuffix(r.Path, "/reveal")]
			if a := both.post(test, url.Values{}, own); !slices.Contains(want, a.status) {
				t.Errorf("POST %s with a live id: %d", test, a.status)
			}
		}
	}
	if unknown.status != 404 {
		t.Error(unknown.status)
	}
	// The control: each mode shows its own data.
	if a := both.get("/ui/live/events"); !strings.Contains(a.body, "order/created") || strings.Contains(a.body, "only.in.test") || !strings.Contains(a.body, "LIVE") {
		t.Error("live events")
	}
	if a := both.get("/ui/test/events"); !strings.Contains(a.body, "only.in.test") || strings.Contains(a.body, "order/created") {
		t.Error("test events")
	}
}

// A form of another site has no effect, whatever headers the browser sends with it. A form
// of these pages works.
func TestFormsOfOtherSitesAreRefused(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.Config.OperatorKey)
	foreign := map[string]func(http.Header){
		"no word":       func(http.Header) {},
		"cross-site":    func(h http.Header) { h.Set("Sec-Fetch-Site", "cross-site") },
		"same-site":     func(h http.Header) { h.Set("Sec-Fetch-Site", "same-site") },
		"other origin":  func(h http.Header) { h.Set("Origin", "https://evil.example") },
		"opaque origin": func(h http.Header) { h.Set("Origin", "null") },
	}
	acts := []string{"/ui/logout", "/ui/login"}
	for _, r := range web.Routes() {
		if r.Act {
			acts = append(acts, w.path("live", r))
		}
	}
	for name, mark := range foreign {
		for _, path := range acts {
			if a := b.post(path, url.Values{"key": {w.Config.OperatorKey}}, mark); a.status != 403 {
				t.Errorf("%s, %s: %d", path, name, a.status)
			}
		}
	}
	d, err := w.API.Delivery(t.Context(), w.delivery)
	e, err2 := w.API.Endpoint(t.Context(), w.endpoint.ID)
	if err != nil || err2 != nil || d.State != "pending" || !e.Enabled || d.Attempts != 1 {
		t.Fatalf("something was done: %+v %+v", d, e)
	}
	// The control: the same forms, submitted one by one from these pages.
	sameOrigin := func(h http.Header) { h.Set("Origin", w.Node.URL()) } // plain http on a network
	for _, mark := range []func(http.Header){own, sameOrigin} {
		if a := b.post("/ui/live/endpoints/"+w.endpoint.ID+"/disable", url.Values{}, mark); a.status != 303 {
			t.Errorf("disable: %d %s", a.status, a.body)
		}
	}
	if a := b.post("/ui/live/deliveries/"+w.delivery+"/cancel", url.Values{}, own); a.status != 303 {
		t.Errorf("cancel: %d", a.status)
	}
	if d, err = w.API.Delivery(t.Context(), w.delivery); err != nil || d.State != "cancelled" {
		t.Errorf("not cancelled: %+v", d)
	}
}

// Each action takes effect and leads to a page that confirms it.
func TestActs(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.Config.OperatorKey)
	ctx := t.Context()
	follow := func(path string, form url.Values, says string) {
		t.Helper()
		a := b.post(path, form, own)
		if a.status != 303 {
			t.Fatalf("%s: %d %s", path, a.status, a.body)
		}
		if a = b.get(a.header.Get("Location")); a.status != 200 || !strings.Contains(a.body, says) {
			t.Errorf("%s: %d, it does not say %q", path, a.status, says)
		}
	}
	attempts := func(n int) func() bool {
		return func() bool { d, err := w.API.Delivery(ctx, w.delivery); return err == nil && d.Attempts == n }
	}
	endpoint := "/ui/live/endpoints/" + w.endpoint.ID
	follow("/ui/live/deliveries/"+w.delivery+"/retry", nil, "One more attempt was asked for.")
	w.Until("the retry was made", attempts(2))
	follow("/ui/live/events/"+w.event.ID+"/resend", url.Values{"tenant": {"acme"}, "endpoint": {w.endpoint.ID}}, "The event was resent.")
	w.Until("the resend was made", attempts(3))
	follow(endpoint+"/test", nil, "This is the delivery of the test event.")
	follow(endpoint+"/disable", nil, "The endpoint was disabled.")
	if a := b.post("/ui/live/deliveries/"+w.delivery+"/retry", nil, own); a.status != 409 {
		t.Errorf("a retry at a disabled endpoint: %d", a.status)
	}
	follow(endpoint+"/enable", url.Values{"discard": {"yes"}}, "What was held was cancelled.")
	w.Until("what was held is cancelled", func() bool { d, err := w.API.Delivery(ctx, w.delivery); return err == nil && d.State == "cancelled" })
	follow("/ui/live/keys/"+w.key.ID+"/revoke", nil, "The key was revoked.")
	if _, err := (&client.Client{URL: w.Node.URL(), Key: w.key.Key}).Publish(ctx, client.NewEvent{Tenant: "acme", Type: "a", Data: []byte("{}")}, client.PublishOptions{}); err == nil {
		t.Error("the revoked key still publishes")
	}
	for id, to := range map[string]string{w.event.ID: "/ui/live/events/", w.delivery: "/ui/live/deliveries/", w.endpoint.ID: "/ui/live/endpoints/", "acme": "/ui/live/tenants/", w.delivery[:28]: "/ui/live/deliveries/"} {
		if a := b.get("/ui/live/search?q=" + id); a.status != 303 || !strings.HasPrefix(a.header.Get("Location"), to+id) {
			t.Errorf("search for %s: %d %s", id, a.status, a.header.Get("Location"))
		}
	}
}

// Foreign text appears on the pages only as text, and secrets do not appear at all. The
// control is the same check on the page as it would be without escaping.
func TestForeignTextIsText(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.Config.OperatorKey)
	raw := []string{"<script>alert", "<b>bold"}
	bad := func(page string) bool {
		for _, mark := range raw {
			if strings.Contains(page, mark) {
				return true
			}
		}
		return false
	}
	shown := map[string]bool{}
	for _, r := range web.Routes() {
		if !r.Show || aFile(r) {
			continue
		}
		path := w.path("live", r)
		if strings.HasPrefix(r.Path, "tenants/") {
			path = "/ui/live/tenants/hostile"
		}
		a := b.get(path)
		if bad(a.body) {
			t.Errorf("%s has markup of others", path)
		}
		if strings.Contains(a.body, "&lt;script&gt;alert(&#39;x&#39;)") {
			shown[r.Path] = true
			if !bad(unescaped(a.body)) {
				t.Errorf("%s: the control finds nothing", path)
			}
		}
		for _, secret := range []string{"header-secret", "query-secret", w.endpoint.Secret, w.Config.OperatorKey, w.key.Key} {
			if strings.Contains(a.body, secret) {
				t.Errorf("%s shows a secret", path)
			}
		}
	}
	for _, path := range []string{"deliveries/{id}", "endpoints", "endpoints/{id}", "events/{id}", "tenants", "tenants/{id}", "types", "types/{name...}", "keys"} {
		if !shown[path] {
			t.Errorf("%s does not show the text: the test looks at nothing there", path)
		}
	}
	// A filter reappears in its field, and a problem with it in a sentence.
	for _, path := range []string{"deliveries?tenant=", "deliveries?state=", "deliveries?cursor=", "deliveries?tag=", "events?tag=", "events?type=", "endpoints?profile=", "tenants?q=", "search?q=", "keys?kind="} {
		if a := b.get("/ui/live/" + path + url.QueryEscape(hostile)); bad(a.body) || a.status >= 500 {
			t.Errorf("%s: %d, or markup", path, a.status)
		}
	}
	// The payload itself is a file that browsers do not render.
	a := b.get("/ui/live/events/" + w.event.ID + "/data")
	if a.body != `{"note":`+quoted(hostile)+`}` || a.header.Get("Content-Type") != "application/octet-stream" || !strings.HasPrefix(a.header.Get("Content-Disposition"), "attachment;") ||
		!strings.Contains(a.header.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("%q %v", a.body, a.header)
	}
}

var (
	inline = regexp.MustCompile(`(?i)<script[^>]*>[^<]|<script>|<style|\sstyle=|\son[a-z]+=|javascript:`)
	linked = regexp.MustCompile(`(?:href|src|action)="([^"]*)"`)
)

// Every page has the security headers, no inline script or style and no foreign address, and
// is small including everything it loads.
func TestPagesAreStrictAndSmall(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.Config.OperatorKey)
	sheet := ""
	paths := []string{"/ui/login", "/ui/live/none", "/ui/test/"}
	for _, r := range web.Routes() {
		if r.Show && !aFile(r) {
			paths = append(paths, w.path("live", r))
		}
	}
	for _, path := range paths {
		a := b.get(path)
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types posthorn",
			"X-Frame-Options":         "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-store",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
		if found := inline.FindString(a.body); found != "" {
			t.Errorf("%s: %q", path, found)
		}
		for _, link := range linked.FindAllStringSubmatch(a.body, -1) {
			if !strings.HasPrefix(link[1], "/ui/") && !strings.HasPrefix(link[1], "#") && link[1] != "" {
				t.Errorf("%s leads to %q", path, link[1])
			}
			if strings.HasSuffix(link[1], ".css") {
				sheet = link[1]
			}
		}
		if strings.Count(a.body, "<h1") != 1 || strings.Count(a.body, "<main") != 1 || !strings.Contains(a.body, `href="#main"`) {
			t.Errorf("%s: one h1, one main and a skip link are wanted", path)
		}
		packed := b.get(path, func(h http.Header) { h.Set("Accept-Encoding", "gzip") })
		if n := len(packed.body); n > 20<<10 || packed.header.Get("Content-Encoding") != "gzip" && n > 10<<10 {
			t.Errorf("%s has %d bytes as it is sent", path, n)
		}
		if len(a.body) > 64<<10 {
			t.Errorf("%s has %d bytes", path, len(a.body))
		}
	}
	// The control of the pattern, and the files.
	if inline.FindString(`<p style="x">`) == "" || inline.FindString(`<script src="x">y</script>`) == "" || inline.FindString(`<a onclick="x">`) == "" {
		t.Error("the pattern finds nothing")
	}
	total := 0
	scripts := 0
	for _, name := range []string{"posthorn.css", "icons.svg", "icon.svg", "icon-test.svg", "app.js", "live.js"} {
		file := strings.Replace(sheet, "posthorn.css", name, 1)
		a := b.get(file)
		if strings.HasSuffix(name, ".js") {
			scripts += len(a.body)
		}
		if a.status != 200 || !strings.Contains(a.header.Get("Cache-Control"), "immutable") || strings.Contains(a.body, "http:") && !strings.Contains(a.body, "www.w3.org") {
			t.Errorf("%s: %d %v", file, a.status, a.header)
		}
		total += len(a.body)
	}
	if total > 52<<10 || scripts > 12<<10 {
		t.Errorf("the files have %d bytes, the scripts %d", total, scripts)
	}
	if a := b.get("/ui/static/0000/posthorn.css"); a.status != 404 {
		t.Errorf("a file of another release: %d", a.status)
	}
}

// A browser at / is redirected to the pages. Other clients get the API's response, and with
// --ui=false there are no pages.
func TestWhereThePagesAre(t *testing.T) {
	w := servertest.Start(t)
	b := &browser{t: t, base: w.Node.URL()}
	asBrowser := func(h http.Header) { h.Set("Accept", "text/html,application/xhtml+xml") }
	if a := b.get("/", asBrowser); a.status != 303 || a.header.Get("Location") != "/ui/" {
		t.Error(a.status, a.header)
	}
	if a := b.get("/"); a.status != 200 || !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
		t.Error(a.status, a.header)
	}
	without := servertest.Start(t, "--ui=false")
	b = &browser{t: t, base: without.Node.URL()}
	if a := b.get("/ui/login", asBrowser); a.status != 404 {
		t.Error(a.status)
	}
	if a := b.get("/", asBrowser); a.header.Get("Location") == "/ui/" {
		t.Error(a.status, a.header)
	}
}

// The pages and the download show a redacted payload without the values, and say so. The
// control is the same page before.
func TestRedactedPayloads(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.Config.OperatorKey)
	const secret = "b>bold"
	pages := []string{"/ui/live/events/" + w.event.ID, "/ui/live/events/" + w.event.ID + "?view=raw", "/ui/live/events/" + w.event.ID + "/data"}
	for _, path := range pages {
		if a := b.get(path); a.status != 200 || !strings.Contains(html.UnescapeString(a.body), secret) {
			t.Errorf("control: %s: %d %s", path, a.status, a.body)
		}
	}
	if _, err := w.API.UpdateEventType(t.Context(), "order/created", client.EventTypePatch{Redact: client.Set([]string{"/note"})}); err != nil {
		t.Fatal(err)
	}
	for _, path := range pages {
		a := b.get(path)
		says := strings.Contains(a.body, "Redacted for display: /note") || strings.Contains(a.header.Get("Content-Disposition"), "-redacted.json")
		if a.status != 200 || !says || strings.Contains(html.UnescapeString(a.body), secret) {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	if a := b.get("/ui/live/deliveries/" + w.delivery); !strings.Contains(a.body, "Redacted for display: /note") || !strings.Contains(a.body, "&#34;***&#34;") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := b.get("/ui/live/types/order%2Fcreated"); !strings.Contains(a.body, "Redacted for display") {
		t.Errorf("%d %s", a.status, a.body)
	}
}
