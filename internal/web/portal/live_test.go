package portal_test

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	rules "github.com/posthorn/posthorn/internal/portal"
	"github.com/posthorn/posthorn/internal/web/portal"
)

// feed is an open stream of a page.
type feed struct {
	*testing.T
	res   *http.Response
	lines *bufio.Scanner
}

// of returns the path of the stream of a page of the session.
func (b *browser) of(path string) string {
	return b.at("stream?of=" + url.QueryEscape(b.at(path)))
}

// serve returns the address of a server with the pages.
func (w *world) serve() string {
	node := httptest.NewServer(w.handler)
	w.Cleanup(node.Close)
	return node.URL
}

func (b *browser) feed(base, path string) *feed {
	b.w.Helper()
	ctx, cancel := context.WithTimeout(b.w.ctx, time.Minute)
	b.w.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", base+path, nil)
	b.w.must(err)
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	b.w.must(err)
	b.w.Cleanup(func() { _ = res.Body.Close() })
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	return &feed{b.w.T, res, lines}
}

// next returns the data of the next event of the type that contains a text.
func (f *feed) next(event, with string) string {
	f.Helper()
	now := ""
	for f.lines.Scan() {
		if name, ok := strings.CutPrefix(f.lines.Text(), "event: "); ok {
			now = name
		}
		if data, ok := strings.CutPrefix(f.lines.Text(), "data: "); ok && now == event && strings.Contains(data, with) {
			return data
		}
	}
	f.Fatalf("the stream ended before an event %q with %q: %v", event, with, f.lines.Err())
	return ""
}

// A stream sends what changes on its page, in the language of the page, and ends with its
// session and with the server.
func TestStreamsFollowTheirPage(t *testing.T) {
	w := newWorld(t, "")
	base := w.serve()
	open := func() *browser {
		return w.open(nordlicht, all, func(x *rules.Wanted) { x.Locale = "de" })
	}
	b, it := open(), w.of[nordlicht]
	page := "deliveries/" + it.delivery.String() + "?done=retried" // under way: read each second
	if body := b.get(page).Body.String(); !strings.Contains(body, `data-stream="`+strings.ReplaceAll(b.of(page), "&", "&amp;")) {
		t.Errorf("the page does not name its stream %s:\n%s", b.of(page), body)
	}
	f := b.feed(base, b.of(page))
	if f.res.Header.Get("Content-Type") != "text/event-stream" || f.res.Header.Get("X-Accel-Buffering") != "no" {
		t.Error(f.res.Header)
	}
	f.next("part", "Wird wiederholt")
	other := open()
	left := other.feed(base, other.of(page))
	left.next("part", "Wird wiederholt")
	other.post("leave", nil)
	if why := left.next("end", ""); why != `"session"` {
		t.Error(why)
	}
	row, _, err := w.app.Delivery(w.ctx, w.admins[hook.Live], it.delivery)
	w.must(err)
	target, err := w.store.Endpoint(w.ctx, row.Scope, row.Endpoint)
	w.must(err)
	_, err = w.store.Settle(w.ctx, []hook.Settlement{{Job: hook.Job{Delivery: row.Delivery, Target: target}, Outcome: hook.Outcome{StartedAt: w.now(), Status: 204, Success: true, Enablings: target.Enablings, Policy: &hook.Policy{}}}})
	w.must(err)
	if said := f.next("said", ""); !strings.Contains(said, "mit 2 Versuchen") { // the control: its session stands
		t.Error(said)
	}
	w.handler.Close()
	if why := f.next("end", ""); why != `"restart"` {
		t.Error(why)
	}
}

// A list says how many rows are newer than the first one that is shown, also if it was empty.
func TestStreamsCountNewerRows(t *testing.T) {
	w := newWorld(t, "")
	base := w.serve()
	b := w.open(nordlicht, nil)
	_, _, err := w.app.Publish(w.ctx, w.admins[hook.Live], app.Event{Tenant: "nordlicht", Type: "payment.settled", Data: []byte(`{}`)}, nil)
	w.must(err)
	if n := b.feed(base, b.of("deliveries")+"&first="+w.of[nordlicht].delivery.String()).next("newer", ""); n != "2" && n != "3" { // one event, two endpoints; the delivery is the first or the second of its event
		t.Error(n)
	}
	if n := b.feed(base, b.of("deliveries")+"&first=none").next("newer", ""); n != "4" {
		t.Error(n)
	}
}

// Streams are those of pages of the same session. Nobody else gets one.
func TestStreamsOfOthers(t *testing.T) {
	w := newWorld(t, "")
	b, it := w.open(nordlicht, all), w.of[nordlicht]
	thief := w.open(hook.Scope{Tenant: "harbour", Mode: hook.Live}, all)
	twin := w.open(hook.Scope{Tenant: "nordlicht", Mode: hook.Test}, all)
	for who, o := range map[string]*browser{"another tenant": thief, "the other mode": twin} {
		for name, path := range map[string]string{"the session's path": b.at("deliveries"), "its own path": o.at("deliveries/" + it.delivery.String()), "an endpoint": o.at("endpoints/" + it.endpoint.String()), "an event": o.at("events/" + it.event.String()), "a replay": o.at("replays/" + it.replay.String())} {
			if a := o.get("stream?of=" + url.QueryEscape(path)); a.Code != 404 || strings.Contains(a.Body.String(), "hooks.nordlicht") {
				t.Errorf("%s, %s: %d", who, name, a.Code)
			}
		}
		if a := (&browser{w: w, sid: b.sid, cookies: o.cookies}).get(b.of("deliveries")); a.Code != 401 {
			t.Errorf("%s in the session's place: %d", who, a.Code)
		}
	}
	for _, path := range []string{"", "/v1/events", "//evil.example/portal/" + b.sid + "/deliveries", "https://evil.example" + b.at("deliveries"), "/ui/live/deliveries", b.at("stream"), b.at("verify"), b.at("endpoints/new"), b.at("theme.css"),
		b.at("events/" + it.event.String() + "/data"), b.at("../" + thief.sid + "/deliveries"), b.at("endpoints/%zz"), b.at("deliveries/x")} {
		if a := b.get("stream?of=" + url.QueryEscape(path)); a.Code != 404 {
			t.Errorf("of %q: %d", path, a.Code)
		}
	}
	if a := b.post(b.of("deliveries"), nil); a.Code != 405 && a.Code != 404 {
		t.Errorf("POST: %d", a.Code)
	}
	live := 0
	for _, r := range portal.Routes() {
		if r.Live {
			live++
		}
	}
	if live != 8 {
		t.Errorf("%d pages are kept up to date", live)
	}
}

// Each reading of a stream counts against the limit of the tenant. Beyond it the stream waits,
// and goes on later.
func TestStreamsCountAsReads(t *testing.T) {
	w := newWorld(t, "", func(o *app.Options, _ *portal.Options) { o.Reads = app.Rate{PerSecond: 1, Burst: 3} })
	base := w.serve()
	b, other := w.open(nordlicht, all), w.open(hook.Scope{Tenant: "harbour", Mode: hook.Live}, all)
	for range 2 { // the stream is the third call
		if a := b.get(""); a.Code != 200 {
			t.Fatal(a.Code)
		}
	}
	f := b.feed(base, b.of("deliveries/"+w.of[nordlicht].delivery.String()+"?done=retried"))
	if a := b.get(""); a.Code != 429 {
		t.Errorf("the calls of a stream are not counted: %d", a.Code)
	}
	if a := other.get(""); a.Code != 200 {
		t.Errorf("another tenant: %d", a.Code)
	}
	w.pass(time.Minute)
	f.next("part", "")
}

// A chosen language leads to the same page.
func TestLanguageOfAPage(t *testing.T) {
	w := newWorld(t, "")
	b := w.open(nordlicht, all)
	for _, path := range []string{"deliveries?state=failed", "types/payment.settled", "endpoints/" + w.of[nordlicht].endpoint.String() + "?tab=secret"} {
		u, err := url.Parse(b.at(path))
		w.must(err)
		q := u.Query()
		q.Set("lang", "de")
		u.RawQuery = q.Encode()
		if a := b.get(path); !strings.Contains(a.Body.String(), `href="`+strings.ReplaceAll(u.String(), "&", "&amp;")+`" lang="de"`) {
			t.Errorf("%s does not lead to %s", path, u)
		}
	}
}
