package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/server/servertest"
)

// pathOf returns the path of a link.
func pathOf(t *testing.T, link string) string {
	t.Helper()
	u, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	return u.Path
}

// A link opens a session with the key that made it, once. Looking at it uses nothing up, and
// neither does a form of another site. It works on a server that was started again.
func TestLinkOpensASession(t *testing.T) {
	w := servertest.Start(t)
	link, err := w.API.CreateUILink(t.Context())
	if err != nil || time.Until(link.ExpiresAt.Time) > hook.WebLinkFor || !strings.HasPrefix(link.URL, "http://localhost:") {
		t.Fatalf("%+v %v", link, err)
	}
	path := pathOf(t, link.URL)
	b := &browser{t: t, base: w.Node.URL()}
	if a := b.get(path); a.status != 200 || b.cookie != "" || !strings.Contains(a.body, "<form method=\"post\"") {
		t.Fatalf("looking: %d", a.status)
	}
	foreign := func(h http.Header) { h.Set("Sec-Fetch-Site", "cross-site") }
	if a := b.post(path, url.Values{}, foreign); a.status != 403 || b.cookie != "" {
		t.Errorf("a form of another site: %d", a.status)
	}
	plain := func(h http.Header) { h.Set("Origin", "http://hooks.example") }
	if a := b.post(path, url.Values{}, own, plain); a.status != 403 || b.cookie != "" {
		t.Errorf("over plain http: %d", a.status)
	}
	if a := b.post(path, url.Values{}, own); a.status != 303 || !strings.HasPrefix(b.cookie, "__Host-posthorn=") {
		t.Fatalf("%d %q", a.status, b.cookie)
	}
	if a := b.get("/ui/live/"); a.status != 200 {
		t.Errorf("with the session: %d", a.status)
	}
	if a := b.get("/ui/test/"); a.status != 403 {
		t.Errorf("in the other mode: %d", a.status)
	}
	old := *b
	if link, err = w.API.CreateUILink(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := b.post(pathOf(t, link.URL), url.Values{}, own); a.status != 303 || b.cookie == old.cookie {
		t.Fatalf("another link: %d", a.status)
	}
	if a, o := b.get("/ui/live/"), old.get("/ui/live/"); a.status != 200 || o.status != 303 {
		t.Errorf("the new session %d, and the one before %d", a.status, o.status)
	}
	again := &browser{t: t, base: w.Node.URL()}
	for name, link := range map[string]string{"used": path, "unknown": "/ui/enter/" + strings.Repeat("A", 43)} {
		if a := again.post(link, url.Values{}, own); a.status != 404 || again.cookie != "" || !strings.Contains(a.body, "posthorn ui") {
			t.Errorf("%s: %d", name, a.status)
		}
	}
	portal, err := w.API.CreatePortalSession(t.Context(), client.NewPortalSession{Tenant: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	if a := again.post(strings.Replace(pathOf(t, portal.URL), "/portal/", "/ui/", 1), url.Values{}, own); a.status != 404 || again.cookie != "" {
		t.Errorf("a link of the portal: %d", a.status)
	}
	if a := again.post(pathOf(t, portal.URL), url.Values{}, own); a.status != 303 {
		t.Errorf("control: the link of the portal, where it belongs: %d", a.status)
	}
	if a := b.get("/portal/" + strings.Repeat("a", 10) + "/"); a.status != 401 {
		t.Errorf("an operator's cookie in the portal: %d", a.status)
	}
	log := w.Log.String()
	if !strings.Contains(log, "audit: log-in to the pages by a link") || strings.Contains(log, strings.TrimPrefix(path, "/ui/enter/")) {
		t.Error(log)
	}
}

// With --portal-url the portal answers on that host only, and nothing else does there.
func TestPortalOnItsOwnHost(t *testing.T) {
	w := servertest.Start(t, "--portal-url", "https://webhooks.example", "--portal-origin", "https://app.example")
	ask := func(host, path string) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.Node.URL()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		res, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		return res.StatusCode
	}
	for _, c := range []struct {
		host, path string
		want       int
	}{
		{"webhooks.example", "/portal/aaaaaaaaaa/", 401}, {"webhooks.example", "/ui/login", 404}, {"webhooks.example", "/v1/endpoints", 404}, {"webhooks.example", "/", 404},
		{"Webhooks.example:443", "/portal/aaaaaaaaaa/", 401}, {"webhooks.example:443", "/v1/endpoints", 404},
		{"posthorn.example", "/portal/aaaaaaaaaa/", 404}, {"posthorn.example", "/ui/login", 200}, {"posthorn.example", "/v1/endpoints", 401},
	} {
		if got := ask(c.host, c.path); got != c.want {
			t.Errorf("%s%s: %d, want %d", c.host, c.path, got, c.want)
		}
	}
	s, err := w.API.CreatePortalSession(t.Context(), client.NewPortalSession{Tenant: "acme", FrameOrigins: []string{"https://app.example"}})
	if err != nil || !strings.HasPrefix(s.URL, "https://webhooks.example/portal/enter/") {
		t.Errorf("%+v %v", s, err)
	}
	if _, err := w.API.CreatePortalSession(t.Context(), client.NewPortalSession{Tenant: "acme", FrameOrigins: []string{"https://evil.example"}}); err == nil {
		t.Error("an origin that the server does not allow was accepted")
	}
}
