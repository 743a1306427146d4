package web_test

import (
	"context"
	"database/sql"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
)

// sessionsOf returns the ids of the sessions that a page lists.
func sessionsOf(page string) (out []string) {
	for _, found := range regexp.MustCompile(`/(?:sessions|visitors)/([^/"]+)/end`).FindAllStringSubmatch(page, -1) {
		out = append(out, found[1])
	}
	return out
}

// Sessions of operators are listed with their key, and end at once. A session with a live key
// ends from live mode only.
func TestSessionsAreListedAndEnded(t *testing.T) {
	w := newWorld(t)
	key, err := w.API.CreateKey(t.Context(), client.NewKey{Kind: "operator", Name: "on call"})
	if err != nil {
		t.Fatal(err)
	}
	b, colleague, tester := w.browser(w.Config.OperatorKey, w.Config.OperatorTestKey), w.browser(key.Key), w.browser(w.Config.OperatorTestKey)
	page := b.get("/ui/live/keys").body
	all := sessionsOf(page)
	if len(all) != 3 || !strings.Contains(page, "on call") || !strings.Contains(page, key.ID) || strings.Count(page, ">yours<") != 1 || !strings.Contains(page, "both modes") || !strings.Contains(page, "the key that the server was started with") || strings.Count(page, `<span class="mono">127.0.0.1</span>`) != 3 {
		t.Fatalf("%v\n%s", all, page)
	}
	theirs := all[1] // the newest first: b has logged in twice, its session counts from then
	if !strings.Contains(b.get("/ui/live/keys").body, theirs) || len(sessionsOf(b.get("/ui/live/keys?kind=publisher").body)) != 0 {
		t.Error("a list of some keys has sessions")
	}
	tests := sessionsOf(tester.get("/ui/test/keys").body)
	if len(tests) != 1 || strings.Contains(page, tests[0]) {
		t.Errorf("in test mode %v are listed", tests)
	}
	for _, path := range []string{"/ui/test/sessions/" + theirs + "/end", "/ui/live/sessions/" + tests[0] + "/end", "/ui/live/sessions/00000000-0000-7000-8000-000000000000/end", "/ui/live/sessions/x/end"} {
		if a, g := b.post(path, url.Values{}, own), b.get(path); a.status != 404 || g.status != 404 {
			t.Errorf("%s: %d, its question %d", path, a.status, g.status)
		}
	}
	for _, one := range []*browser{colleague, tester} { // control
		mode := map[*browser]string{colleague: "live", tester: "test"}[one]
		if a := one.get("/ui/" + mode + "/keys"); a.status != 200 {
			t.Fatalf("control: %d", a.status)
		}
	}
	// Which of the others is the colleague's: the one with the id of the key beside it.
	for _, id := range all {
		if row := page[strings.Index(page, `data-id="`+id):]; strings.Contains(row[:strings.Index(row, "</tr>")], key.ID) {
			theirs = id
		}
	}
	if a := b.get("/ui/live/sessions/" + theirs + "/end"); a.status != 200 || strings.Contains(a.body, "your own") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := b.post("/ui/live/sessions/"+theirs+"/end", url.Values{}, own); a.status != 303 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := colleague.get("/ui/live/keys"); a.status != 303 {
		t.Errorf("an ended session is served: %d", a.status)
	}
	if a := b.post("/ui/live/sessions/"+theirs+"/end", url.Values{}, own); a.status != 404 {
		t.Errorf("twice: %d", a.status)
	}
	if entries, err := w.API.AuditEntries(t.Context(), client.AuditQuery{Act: "ui_session.ended"}); err != nil || len(entries.Data) != 1 || entries.Data[0].ObjectID == nil || *entries.Data[0].ObjectID != theirs {
		t.Errorf("%+v %v", entries, err)
	}

	tenant := b.get("/ui/live/tenants/acme").body
	if got := sessionsOf(tenant); len(got) != 1 || got[0] != w.visitor || !strings.Contains(tenant, "link not used yet") {
		t.Errorf("the portal sessions of the tenant: %v", got)
	}
	if a := b.get("/ui/live/visitors/" + w.visitor + "/end?tenant=hostile"); a.status != 404 {
		t.Errorf("a session of another tenant: %d", a.status)
	}
	for status, path := range map[int]string{303: "/ui/live/visitors/" + w.visitor + "/end", 404: "/ui/test/visitors/" + w.visitor + "/end"} {
		if a := b.post(path, url.Values{"tenant": {"../../x"}}, own); a.status != status || status == 303 && a.header.Get("Location") != "/ui/live/tenants?done=ended" {
			t.Errorf("%s: %d %v", path, a.status, a.header)
		}
	}
	if got := sessionsOf(b.get("/ui/live/tenants/acme").body); len(got) != 0 {
		t.Errorf("ended, and listed: %v", got)
	}
}

// A box that cannot be read says so, and the rest of its page stands. What a page is about
// fails with the page.
func TestPagesStandWithoutABox(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.Config.OperatorKey)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(w.Config.Data, "posthorn.db")+"?_pragma=busy_timeout(30000)") // the node writes meanwhile
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	endpoint := "endpoints/" + w.endpoint.ID
	tables := []string{"disk_usage", "stats"} // the disk first: it is measured once in a while, and an error is not kept
	pages := map[string][]string{"stats": {"", "endpoints", endpoint, "tenants/acme"}, "disk_usage": {"", "nodes"}}
	stands := map[string]string{"": "Why attempts failed", "endpoints": w.endpoint.ID, endpoint: "Latest deliveries", "tenants/acme": w.endpoint.ID, "nodes": "This node"}
	for _, table := range tables {
		paths := pages[table]
		rename(t, db, table, table+"_away")
		for _, path := range paths {
			if a := b.get("/ui/live/" + path); a.status != 200 || !strings.Contains(a.body, "ot available") || !strings.Contains(a.body, stands[path]) || strings.Contains(a.body, "no such table") {
				t.Errorf("%s without %s: %d", path, table, a.status)
			}
		}
		rename(t, db, table+"_away", table)
		for _, path := range paths {
			if a := b.get("/ui/live/" + path); a.status != 200 || strings.Contains(a.body, "ot available") {
				t.Errorf("control: %s: %d", path, a.status)
			}
		}
	}
	rename(t, db, "event_tags", "event_tags_away") // the event of the delivery cannot be read: its answers are not shown either
	a := b.get("/ui/live/deliveries/" + w.delivery)
	if a.status != 200 || !strings.Contains(a.body, "The server could not read it") || strings.Contains(unescaped(a.body), hostile) || !strings.Contains(a.body, "status_not_success") {
		t.Errorf("a delivery without its event: %d", a.status)
	}
	rename(t, db, "event_tags_away", "event_tags")
	if a := b.get("/ui/live/deliveries/" + w.delivery); !strings.Contains(unescaped(a.body), hostile) {
		t.Error("control: the answer is not shown")
	}
	rename(t, db, "web_sessions", "web_sessions_away") // every page reads it first
	if a := b.get("/ui/live/" + endpoint); a.status < 500 || strings.Contains(a.body, "no such table") {
		t.Errorf("without sessions: %d", a.status)
	}
	rename(t, db, "web_sessions_away", "web_sessions")
}

func rename(t *testing.T, db *sql.DB, from, to string) {
	t.Helper()
	if _, err := db.ExecContext(context.WithoutCancel(t.Context()), "ALTER TABLE "+from+" RENAME TO "+to); err != nil {
		t.Fatal(err)
	}
}
