package web_test

import (
	"bufio"
	"context"
	"database/sql"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/server/servertest"
	"github.com/posthorn/posthorn/internal/web"
)

func bearer(key string) func(http.Header) {
	return func(h http.Header) { h.Set("Authorization", "Bearer "+key) }
}

// feed is an open stream of a page.
type feed struct {
	t     *testing.T
	res   *http.Response
	lines *bufio.Scanner
}

func (b *browser) feed(path string) *feed {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	b.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", b.base+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Cookie", b.cookie)
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = res.Body.Close() })
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	return &feed{b.t, res, lines}
}

// next returns the data of the next event of the type, as text.
func (f *feed) next(event string) string {
	f.t.Helper()
	now := ""
	for f.lines.Scan() {
		if name, ok := strings.CutPrefix(f.lines.Text(), "event: "); ok {
			now = name
		}
		if data, ok := strings.CutPrefix(f.lines.Text(), "data: "); ok && now == event {
			return data
		}
	}
	f.t.Fatalf("the stream ended before an event %q: %v", event, f.lines.Err())
	return ""
}

func of(path string) string { return "/ui/live/stream?of=" + url.QueryEscape("/ui/live/"+path) }

// A stream sends the parts of its page when they change, and ends with its session and its
// node.
func TestStreamsFollowTheirPage(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.Config.OperatorKey)
	f := b.feed(of("deliveries/" + w.delivery))
	if got := f.res.Header.Get("Content-Type"); got != "text/event-stream" || f.res.Header.Get("X-Accel-Buffering") != "no" {
		t.Error(f.res.Header)
	}
	if first := f.next("part"); !strings.HasPrefix(first, `["`) { // any of them, also one without markup
		t.Error(first)
	}
	w.Answers(servertest.Always(200))
	if _, err := w.API.RetryDelivery(t.Context(), w.delivery); err != nil {
		t.Fatal(err)
	}
	if said := f.next("said"); !strings.Contains(said, "was delivered to acme with 2 attempts") {
		t.Error(said)
	}
	b.post("/ui/logout", url.Values{}, own)
	if why := f.next("end"); why != `"session"` {
		t.Error(why)
	}
	restarted := w.browser(w.Config.OperatorKey).feed(of("nodes"))
	restarted.next("part")
	w.Stop()
	if why := restarted.next("end"); why != `"restart"` {
		t.Error(why)
	}
}

// A list says how many rows are newer than the first one that is shown.
func TestStreamsCountNewerRows(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.Config.OperatorKey)
	w.Publish("order/created", `{}`)
	w.Publish("order/created", `{}`)
	if n := b.feed(of("deliveries") + "&first=" + w.delivery).next("newer"); n != "2" {
		t.Error(n)
	}
}

// Streams are those of pages: with a session, of its mode, and of no other address. A session
// has ten.
func TestStreamsAreBounded(t *testing.T) {
	w := newWorld(t)
	b, out, test := w.browser(w.Config.OperatorKey), w.browser(), w.browser(w.Config.OperatorTestKey)
	if a := out.get(of("deliveries")); a.status != 303 {
		t.Errorf("without a session: %d", a.status)
	}
	if a := test.get(of("deliveries")); a.status != 403 {
		t.Errorf("with a session of the other mode: %d", a.status)
	}
	for _, path := range []string{"", "/v1/events", "https://evil.example/ui/live/deliveries", "/ui/test/deliveries", "/ui/live/stream", "/ui/live/deliveries/many", "/ui/live/keys", "/ui/live/events/" + w.event.ID + "/data", "/ui/live/audit/download"} {
		if a := b.get("/ui/live/stream?of=" + url.QueryEscape(path)); a.status != 404 {
			t.Errorf("of %q: %d", path, a.status)
		}
	}
	first := b.feed(of("nodes"))
	for range 10 {
		b.feed(of("nodes")).next("part")
	}
	if why := first.next("end"); why != `"limit"` {
		t.Error(why)
	}
	live := 0
	for _, r := range web.Routes() {
		if r.Live {
			live++
		}
	}
	if live < 8 {
		t.Errorf("only %d pages are kept up to date", live)
	}
}

// A payload is shown when the audit log has the view, and otherwise not. The server can be
// set to show payloads when asked for, or never.
func TestPayloadsAreShownWithTheAuditLog(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.Config.OperatorKey)
	pages := []string{"/ui/live/events/" + w.event.ID, "/ui/live/deliveries/" + w.delivery}
	seen := func(page string) bool { return strings.Contains(page, "&#34;note&#34;") }
	db, err := sql.Open("sqlite", "file:"+filepath.Join(w.Config.Data, "posthorn.db")+"?_pragma=busy_timeout(30000)") // the node writes meanwhile
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(t.Context(), "CREATE TRIGGER no_audit BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END"); err != nil {
		t.Fatal(err)
	}
	for _, path := range pages {
		if a := b.get(path); a.status != 200 || seen(a.body) || !strings.Contains(a.body, "The audit log cannot be written just now") {
			t.Errorf("%s without an audit log: %d, shown %v", path, a.status, seen(a.body))
		}
	}
	if a := b.get(pages[0] + "/data"); a.status != 403 {
		t.Errorf("a download without an audit log: %d", a.status)
	}
	if _, err := db.ExecContext(t.Context(), "DROP TRIGGER no_audit"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		for _, path := range pages {
			if a := b.get(path); !seen(a.body) { // the control
				t.Errorf("%s does not show the payload", path)
			}
		}
	}
	for act, id := range map[string]string{"event.read": w.event.ID, "delivery.read": w.delivery} {
		page, err := w.API.AuditEntries(t.Context(), client.AuditQuery{Act: act, ObjectID: id})
		if err != nil || len(page.Data) == 0 || len(page.Data) > 2 { // the API read the delivery too
			t.Errorf("%s: %d entries, %v", act, len(page.Data), err)
		}
	}
	w.Stop()
	for setting, want := range map[string][2]bool{"asked": {false, true}, "never": {false, false}} {
		w.Config.UIPayloads = setting
		w.Start()
		b := w.browser(w.Config.OperatorKey)
		b.base = w.Node.URL()
		for _, path := range pages {
			if got := [2]bool{seen(b.get(path).body), seen(b.get(path + "?payload=show").body)}; got != want {
				t.Errorf("%s with %s: %v", path, setting, got)
			}
		}
		w.Stop()
	}
}

// The head of a delivery is kept up to date however large its payload. A stream ends when a
// part changes that is too large to be sent: the page would be half old.
func TestStreamsOfLargePages(t *testing.T) {
	w := newWorld(t)
	w.Publish("order/created", `{"note":"`+strings.Repeat("x", 40<<10)+`"}`)
	var id string
	attempts := func(n int) func() bool {
		return func() bool {
			page, err := w.API.Deliveries(t.Context(), client.DeliveryQuery{})
			if err != nil || len(page.Data) == 0 || page.Data[0].Attempts < n {
				return false
			}
			id = page.Data[0].ID
			return id != w.delivery
		}
	}
	w.Until("the delivery failed once", attempts(1))
	b := w.browser(w.Config.OperatorKey)
	f := b.feed(of("deliveries/" + id))
	for !strings.HasPrefix(f.next("part"), `["head",`) {
		continue
	}
	w.Answers(func(rw http.ResponseWriter, _ *http.Request) {
		rw.WriteHeader(500)
		_, _ = io.WriteString(rw, strings.Repeat(`"`, 2<<10))
	})
	for n := 2; n < 6; n++ {
		if _, err := w.API.RetryDelivery(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		w.Until("another attempt failed", attempts(n))
	}
	if why := f.next("end"); why != `"large"` {
		t.Error(why)
	}
}

// The options in force are shown with secrets masked.
func TestSettingsAreMasked(t *testing.T) {
	w := newWorld(t)
	page := w.browser(w.Config.OperatorKey).get("/ui/live/settings").body
	if strings.Contains(page, w.Config.OperatorKey) || strings.Contains(page, w.Config.OperatorTestKey) || !strings.Contains(page, "--operator-key") || !strings.Contains(page, "the command line") || !strings.Contains(page, "***") {
		t.Error(page)
	}
}
