package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/server/servertest"
)

func login(b *browser, key, origin string) (answer, string) {
	b.cookie = ""
	a := b.post("/ui/login", url.Values{"key": {key}, "next": {"/ui/live/keys"}}, own, func(h http.Header) {
		if origin != "" {
			h.Set("Origin", origin)
		}
	})
	return a, a.header.Get("Set-Cookie")
}

// The cookie is sent over TLS only, except for plain http to this machine and with --dev.
// Over plain http to another machine, the key is not even checked.
func TestCookieOfASession(t *testing.T) {
	w := servertest.Start(t)
	b := &browser{t: t, base: w.Node.URL()}
	for origin, want := range map[string]string{
		"https://hooks.example": "__Host-posthorn=", "": "__Host-posthorn=", "http://localhost:8080": "posthorn=", "http://127.0.0.1": "posthorn=", "http://[::1]:8080": "posthorn=",
		"http://hooks.example": "", "http://10.0.0.7:8080": "", "http://localhost.evil.example": "",
	} {
		a, cookie := login(b, w.Config.OperatorKey, origin)
		if want == "" {
			if a.status != 403 || cookie != "" || !strings.Contains(a.body, "plain http") {
				t.Errorf("%s: %d %q", origin, a.status, cookie)
			}
			continue
		}
		if a.status != 303 || a.header.Get("Location") != "/ui/live/keys" || !strings.HasPrefix(cookie, want) || !strings.Contains(cookie, "; HttpOnly") ||
			!strings.Contains(cookie, "; SameSite=Strict") || !strings.Contains(cookie, "; Path=/") || strings.Contains(cookie, "; Secure") != strings.HasPrefix(want, "__Host-") {
			t.Errorf("%q: %d %q", origin, a.status, cookie)
		}
		if value, _, _ := strings.Cut(strings.TrimPrefix(cookie, want), ";"); len(value) != 43+12 {
			t.Errorf("the cookie has no mark by which made-up ones are refused without a read: %q", value)
		}
	}
	dev := servertest.Start(t, "--dev")
	if a, cookie := login(&browser{t: t, base: dev.Node.URL()}, dev.Config.OperatorKey, "http://10.0.0.7:8080"); a.status != 303 || !strings.HasPrefix(cookie, "posthorn=") {
		t.Errorf("with --dev: %d %q", a.status, cookie)
	}
}

// Only operator keys open a session. A session ends with log-out and with its key. The log
// records who logged in and out, without the text of the key.
func TestWhoOpensASession(t *testing.T) {
	w := servertest.Start(t)
	b := &browser{t: t, base: w.Node.URL()}
	for _, kind := range []string{"publisher", "tenant"} {
		k, err := w.API.CreateKey(t.Context(), client.NewKey{Kind: kind, Tenant: "acme"})
		if err != nil {
			t.Fatal(err)
		}
		if a, cookie := login(b, k.Key, ""); a.status != 403 || cookie != "" {
			t.Errorf("%s: %d %q", kind, a.status, cookie)
		}
	}
	k, err := w.API.CreateKey(t.Context(), client.NewKey{Kind: "operator"})
	if err != nil {
		t.Fatal(err)
	}
	if a, _ := login(b, k.Key, ""); a.status != 303 {
		t.Fatal(a.status)
	}
	if a := b.get("/ui/live/"); a.status != 200 {
		t.Errorf("logged in: %d", a.status)
	}
	if err := w.API.RevokeKey(t.Context(), k.ID); err != nil {
		t.Fatal(err)
	}
	if a := b.get("/ui/live/"); a.status != 303 {
		t.Errorf("the key was revoked: %d", a.status)
	}
	if a, _ := login(b, w.Config.OperatorKey, ""); a.status != 303 {
		t.Fatal(a.status)
	}
	before := b.cookie
	b.post("/ui/login", url.Values{"key": {w.Config.OperatorTestKey}}, own)
	if after := b.cookie; after == before {
		t.Error("the cookie did not change with a further mode")
	}
	for _, page := range []string{"/ui/live/", "/ui/test/"} {
		if a := b.get(page); a.status != 200 {
			t.Errorf("%s with both keys: %d", page, a.status)
		}
	}
	now := b.cookie
	b.cookie = before
	if a := b.get("/ui/live/"); a.status != 303 {
		t.Errorf("the cookie of before: %d", a.status)
	}
	b.cookie = now
	b.post("/ui/logout", url.Values{}, own)
	b.cookie = now
	if a := b.get("/ui/live/"); a.status != 303 {
		t.Errorf("after log-out: %d", a.status)
	}
	log := w.Log.String()
	if !strings.Contains(log, "audit: log-in to the pages") || !strings.Contains(log, "audit: log-out of the pages") || strings.Contains(log, k.Key) || strings.Contains(log, w.Config.OperatorKey) {
		t.Error(log)
	}
}

// Wrong keys are throttled like those of the API. The right key is still accepted, because
// behind a proxy all clients share one address.
func TestWrongKeysAreThrottled(t *testing.T) {
	w := servertest.Start(t)
	b := &browser{t: t, base: w.Node.URL()}
	statuses := map[int]int{}
	for range 30 {
		a, cookie := login(b, "no such key", "")
		statuses[a.status]++
		if cookie != "" || a.status == 429 && a.header.Get("Retry-After") == "" {
			t.Errorf("%d %q %v", a.status, cookie, a.header)
		}
	}
	if statuses[401] != 20 || statuses[429] != 10 {
		t.Errorf("%v", statuses)
	}
	if a, _ := login(b, w.Config.OperatorKey, ""); a.status != 303 {
		t.Errorf("the right key: %d", a.status)
	}
}

// A link on another site arrives without the cookie, which is SameSite=Strict. The page
// reloads itself once from its own site, and only then redirects to the log-in.
func TestLinkFromElsewhere(t *testing.T) {
	w := servertest.Start(t)
	b := &browser{t: t, base: w.Node.URL()}
	foreign := func(h http.Header) { h.Set("Sec-Fetch-Site", "cross-site"); h.Set("Sec-Fetch-Mode", "navigate") }
	if a := b.get("/ui/live/keys", foreign); a.status != 200 || a.header.Get("Refresh") != "0" || a.body != "" {
		t.Errorf("%d %v", a.status, a.header)
	}
	if a := b.get("/ui/live/keys", own); a.status != 303 || a.header.Get("Location") != "/ui/login?next=%2Fui%2Flive%2Fkeys" {
		t.Errorf("%d %v", a.status, a.header)
	}
}

// The limits of a key apply to its session. A read-only key can view but change nothing, and
// a key of another network is refused at the log-in.
func TestLimitsOfAKeyHold(t *testing.T) {
	w := newWorld(t)
	made := func(k client.NewKey) string {
		t.Helper()
		k.Kind = "operator"
		key, err := w.API.CreateKey(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		return key.Key
	}
	b := w.browser(made(client.NewKey{ReadOnly: true}))
	disable := "/ui/live/endpoints/" + w.endpoint.ID + "/disable"
	if a := b.get(disable); a.status != 200 {
		t.Errorf("reading: %d", a.status)
	}
	if a := b.post(disable, url.Values{}, own); a.status != 403 || !strings.Contains(a.body, "key_read_only") {
		t.Errorf("acting: %d", a.status)
	}
	if a, cookie := login(w.browser(), made(client.NewKey{Networks: []string{"203.0.113.0/24"}}), ""); a.status != 403 || cookie != "" {
		t.Errorf("from another network: %d %q", a.status, cookie)
	}
}
