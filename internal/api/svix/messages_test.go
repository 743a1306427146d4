package svix_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store"
)

// On the way back, too, every message is listed once and with its payload.
func TestMessagesBackInPages(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme", hook.Live)
	const messages = 25
	var newest string
	for range messages {
		newest = h.message(250_000)
	}
	first, _ := h.page("app/acme/msg?limit=1")
	if len(first.Data) != 1 || first.Data[0].ID != newest {
		t.Fatal(first.Data)
	}
	seen, pages := map[string]bool{}, 0
	from := "after=2026-01-01T00:00:00Z"
	for done := false; !done; pages++ {
		p, size := h.page("app/acme/msg?limit=250&" + from)
		if len(p.Data) == 0 || size > 5<<20 {
			t.Fatalf("page %d: %d messages, %d bytes", pages, len(p.Data), size)
		}
		for i, one := range p.Data {
			if len(one.Payload) < 250_000 || seen[one.ID] || i > 0 && one.ID > p.Data[i-1].ID {
				t.Fatalf("%s: a payload of %d bytes, seen before: %v", one.ID, len(one.Payload), seen[one.ID])
			}
			seen[one.ID] = true
		}
		from, done = "iterator="+url.QueryEscape(p.PrevIterator), p.Done
	}
	if len(seen) != messages || pages < 2 {
		t.Errorf("%d of %d messages on %d pages", len(seen), messages, pages)
	}
}

// A payload that retention removed reads as expired, in lists too, and cannot be sent again.
func TestExpiredPayload(t *testing.T) {
	h := newTestAPI(t, func(o *store.Options) { o.Retention, o.RetentionPayloads = 90*24*time.Hour, 24*time.Hour })
	h.tenant("acme", hook.Live)
	gone := h.message(1)
	h.ahead.Add(int64(48 * time.Hour))
	if err := h.store.Housekeep(t.Context()); err != nil {
		t.Fatal(err)
	}
	there := h.message(1)
	p, _ := h.page("app/acme/msg")
	if len(p.Data) != 2 || p.Data[0].ID != there || string(p.Data[0].Payload) != `{"x":"x"}` || p.Data[1].ID != gone || string(p.Data[1].Payload) != `{"expired":true}` {
		t.Errorf("%+v", p)
	}
	ep := h.endpoints(1)
	if got := h.api("POST", root+"app/acme/msg/"+gone+"/endpoint/"+ep+"/resend", operatorKey, ""); got.status != 400 || got.object(t)["code"] != "missing_payload" {
		t.Errorf("%d %s", got.status, got.text)
	}
}

// A payload has the bound of the native API, whatever room the other members leave.
func TestLargestPayload(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme", hook.Live)
	for size, status := range map[int]int{256 << 10: 202, 256<<10 + 1: 413} {
		payload := `{"x":"` + strings.Repeat("x", size-8) + `"}`
		raw, err := json.Marshal(payload)
		if err != nil {
			t.Fatal(err)
		}
		for _, body := range []string{`{"eventType":"a.b","payload":` + payload + `}`, `{"eventType":"a.b","payload":{},"transformationsParams":{"rawPayload":` + string(raw) + `}}`} {
			if got := h.api("POST", root+"app/acme/msg?with_content=false", operatorKey, body); got.status != status {
				t.Errorf("%d bytes: %d %.200s", size, got.status, got.text)
			}
		}
	}
}

// Publishing has its own limit. An application that is made on the way is a write.
func TestPublishingIsNoWrite(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme", hook.Live)
	publisher := h.publisher(hook.Live)
	at := time.Now()
	still := func() time.Time { return at } // nothing is added to a limit
	limited(t, h, app.Options{Writes: app.Rate{PerSecond: 1, Burst: 1}, AuditedWrites: 1, PublishRate: 5, Now: still})
	const body = `{"eventType":"a.b","payload":{}}`
	for i := range 5 {
		if got := h.api("POST", root+"app/acme/msg", publisher, body); got.status != 202 || !strings.HasPrefix(got.header.Get("RateLimit"), `"events"`) {
			t.Fatalf("message %d: %d %s, RateLimit %s", i, got.status, got.text, got.header.Get("RateLimit"))
		}
	}
	if got := h.api("POST", root+"app/acme/msg", publisher, body); got.status != 429 { // control
		t.Errorf("%d %s", got.status, got.text)
	}
	limited(t, h, app.Options{Writes: app.Rate{PerSecond: 1, Burst: 1}, Now: still})
	for i := range 11 { // an operator may make ten times as many calls
		name := fmt.Sprint("new-", i)
		got := h.api("POST", root+"app/"+name+"/msg", operatorKey, `{"eventType":"a.b","payload":{},"application":{"name":"New","uid":"`+name+`"}}`)
		if want := map[bool]int{true: 202, false: 429}[i < 10]; got.status != want {
			t.Errorf("application %d: %d %s", i, got.status, got.text)
		}
	}
}
