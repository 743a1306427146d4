package web_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
)

// Each page says when its session ends, for people and for the script that warns before. A press
// is a use of the session, which leaves its last end as it is.
func TestPagesSayWhenTheSessionEnds(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.Config.OperatorKey)
	numbers := func(text, pattern string) (out []int64) {
		t.Helper()
		found := regexp.MustCompile(pattern).FindStringSubmatch(text)
		if found == nil {
			t.Fatalf("no %s in\n%s", pattern, text)
		}
		for _, one := range found[1:] {
			n, err := strconv.ParseInt(one, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, n)
		}
		return out
	}
	within := func(what string, ends []int64) {
		t.Helper()
		for i, most := range []int64{hook.WebSessionIdle.Milliseconds(), hook.WebSessionMax.Milliseconds()} {
			if ends[i] > most || ends[i] < most-120_000 { // the use of a session is noted to the minute
				t.Errorf("%s: it ends in %d ms, want at most %d", what, ends[i], most)
			}
		}
	}
	page := b.get("/ui/live/settings").body
	within("a page", numbers(page, `data-ending data-idle="(\d+)" data-hard="(\d+)" hidden`))
	if !strings.Contains(page, "Session ends at <span data-clock=") || !strings.Contains(page, "unless a page is loaded") {
		t.Error("the foot does not say when the session ends")
	}
	plain := func(h http.Header) { h.Set("Accept", "text/plain") }
	a := b.post("/ui/session", url.Values{}, own, plain)
	if a.status != 200 || a.header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	within("a press", numbers(a.body, `^(\d+) (\d+)$`))
	for next, want := range map[string]string{"/ui/live/keys?kind=publisher": "/ui/live/keys?kind=publisher", "https://evil.example/": "/ui/"} {
		if a := b.post("/ui/session", url.Values{"next": {next}}, own); a.status != 303 || a.header.Get("Location") != want {
			t.Errorf("%s: %d to %s", next, a.status, a.header.Get("Location"))
		}
	}
	if a := w.browser().post("/ui/session", url.Values{}, own, plain); a.status != 303 || a.header.Get("Location") != "/ui/login" {
		t.Errorf("without a session: %d to %s", a.status, a.header.Get("Location"))
	}
	if a := b.post("/ui/session", url.Values{}, plain, func(h http.Header) { h.Set("Sec-Fetch-Site", "cross-site") }); a.status != 403 {
		t.Errorf("from another site: %d", a.status)
	}
}

// One press shows an operator what the customer sees: below a band of its own, to look only, and
// the audit log says so.
func TestSeeItAsTheCustomer(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.Config.OperatorKey)
	for _, page := range []string{"/ui/live/tenants/acme", "/ui/live/endpoints/" + w.endpoint.ID} {
		if !strings.Contains(b.get(page).body, `action="/ui/live/tenants/acme/customer"`) {
			t.Errorf("%s does not lead to the customer's view", page)
		}
	}
	a := b.post("/ui/live/tenants/acme/customer", url.Values{"page": {"/endpoints/" + w.endpoint.ID}}, own)
	link := a.header.Get("Location")
	if a.status != 303 || !strings.HasPrefix(link, "/portal/enter/") {
		t.Fatalf("%d to %q", a.status, link)
	}
	visitor := w.browser()
	if a = visitor.post(link, url.Values{}, own); a.status != 303 {
		t.Fatalf("the link: %d %s", a.status, a.body)
	}
	at := a.header.Get("Location")
	for hops := 0; hops < 3; hops++ { // the cookie is asked for once more
		if a = visitor.get(at); a.status != 303 {
			break
		}
		at = a.header.Get("Location")
	}
	if a.status != 200 || !strings.Contains(a.body, "You are an operator") || !strings.HasSuffix(at, "/endpoints/"+w.endpoint.ID) || strings.Contains(a.body, "/edit") {
		t.Fatalf("%s: %d\n%s", at, a.status, a.body)
	}
	if a = visitor.post(at+"/test", url.Values{}, own); a.status != 403 {
		t.Errorf("a test event by somebody who may look only: %d", a.status)
	}
	entries, err := w.API.AuditEntries(t.Context(), client.AuditQuery{Object: "portal_session"})
	if err != nil || len(entries.Data) < 3 { // the one of the world, this one, and its use
		t.Errorf("the audit log has %d entries: %v", len(entries.Data), err)
	}
	for path, want := range map[string]int{"/ui/live/tenants/nobody/customer": 404, "/ui/test/tenants/acme/customer": 403} {
		if a := b.post(path, url.Values{}, own); a.status != want {
			t.Errorf("%s: %d, want %d", path, a.status, want)
		}
	}
	if a := b.post("/ui/live/tenants/acme/customer", url.Values{"page": {"//evil.example"}}, own); a.status == 303 {
		t.Errorf("a page elsewhere: to %q", a.header.Get("Location"))
	}
	// Control: a customer's own session has no such band.
	made, err := w.API.CreatePortalSession(t.Context(), client.NewPortalSession{Tenant: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	customer := w.browser()
	a = customer.post(made.URL[strings.Index(made.URL, "/portal/"):], url.Values{}, own)
	for hops := 0; hops < 3 && a.status == 303; hops++ {
		a = customer.get(a.header.Get("Location"))
	}
	if a.status != 200 || strings.Contains(a.body, "You are an operator") || strings.Contains(a.body, "/ui/\"") {
		t.Errorf("control: %d\n%s", a.status, a.body)
	}
}
