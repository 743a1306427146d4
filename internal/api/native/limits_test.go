package native_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store"
)

func TestPublishRate(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	h := newTestAPI(t, func(o *app.Options, _ *store.Options) { o.PublishRate, o.Now = 5, func() time.Time { return now } })
	h.tenant("acme")
	for range 5 {
		h.event("acme", "a.b")
	}
	before := h.count()
	refused(h, 429, hook.CodeRateLimited, "", post("/v1/events", event("")))
	if w := h.do(post("/v1/events", event(""))); w.Header().Get("Retry-After") != "1" {
		t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
	}
	if after := h.count(); after["events"] != before["events"] {
		t.Error("a refused event was stored")
	}
	other := post("/v1/events", event(""))
	other.key = h.key("publisher", "") // another key has its own limit
	want[client.Published](h, 202, other)
	other.key = testKey
	want[client.Published](h, 202, other)

	now = now.Add(200 * time.Millisecond)
	h.event("acme", "a.b")
	refused(h, 429, hook.CodeRateLimited, "", post("/v1/events", event("")))
	now = now.Add(time.Second)

	// A batch that is larger than one second's allowance is accepted once, and later
	// requests wait for it.
	batch := "[" + event("")
	for range 11 {
		batch += "," + event("")
	}
	want[client.BatchResults](h, 202, post("/v1/events/batch", batch+"]"))
	w := h.do(post("/v1/events", event("")))
	if after, _ := strconv.Atoi(w.Header().Get("Retry-After")); w.Code != 429 || after != 2 {
		t.Errorf("after a batch of 12 at 5 a second: %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
	refused(h, 429, hook.CodeRateLimited, "", post("/v1/events/batch", batch+"]"))
	now = now.Add(1600 * time.Millisecond)
	h.event("acme", "a.b")
}

func TestNoPublishRate(t *testing.T) { // control: the limit is what refuses in the test above
	h := newTestAPI(t)
	h.tenant("acme")
	for range 20 {
		h.event("acme", "a.b")
	}
}

func TestTenantBacklog(t *testing.T) {
	h := newTestAPI(t, func(_ *app.Options, o *store.Options) { o.TenantBacklog = 3 })
	h.tenant("acme")
	h.tenant("other")
	h.event("acme", "a.b") // no endpoint matches
	e := h.endpoint("acme", "*")
	h.endpoint("other", "*")
	for range 3 {
		h.event("acme", "a.b")
	}
	before := h.count()
	refused(h, 429, hook.CodeBacklogFull, "", post("/v1/events", event("")))
	if w := h.do(post("/v1/events", event(""))); w.Header().Get("Retry-After") != "30" {
		t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
	}
	mixed := want[client.BatchResults](h, 202, post("/v1/events/batch", "["+event("")+`,{"tenant":"other","type":"a.b","data":{}}]`)).Results
	if mixed[0].Error == nil || mixed[0].Error.Code != "backlog_full" || mixed[1].Error != nil {
		t.Errorf("batch: %+v", mixed)
	}
	if after := h.count(); after["events"] != before["events"]+1 {
		t.Errorf("events: %d before, %d after one that fitted", before["events"], after["events"])
	}
	inTest := post("/v1/events", event(""))
	inTest.key = testKey // each mode has its own backlog
	want[client.Published](h, 202, inTest)
	want[client.TestEvent](h, 202, post("/v1/endpoints/"+e.ID+"/test", nil)) // a test is never refused

	d := want[client.Page[client.Delivery]](h, 200, get("/v1/deliveries?tenant=acme&state=pending&type=a.b")).Data
	h.settle(d[0].ID, func(o *hook.Outcome) { o.Success, o.Status = true, 200 })
	want[client.Delivery](h, 200, post("/v1/deliveries/"+d[1].ID+"/cancel", nil))
	h.event("acme", "a.b") // the test event takes up one place
	refused(h, 429, hook.CodeBacklogFull, "", post("/v1/events", event("")))
}
