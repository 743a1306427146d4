package native_test

import (
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store"
)

func TestDeliverAt(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	h := newTestAPI(t, func(a *app.Options, o *store.Options) { a.Now, o.Now = clock, clock })
	h.tenant("acme")
	h.endpoint("acme", "*")
	publish := func(at string) call {
		return post("/v1/events", `{"tenant":"acme","type":"a.b","data":{"n":1},"deliver_at":`+at+`}`)
	}
	for _, bad := range []string{`"2026-03-02T12:00:00.000001Z"`, `"9999-12-31T23:59:59Z"`, `"tomorrow"`, `"2026-03-01"`, `""`, `1772366400`, `"1h"`, `{}`} {
		refused(h, 422, hook.CodeInvalidRequest, "deliver_at", publish(bad))
	}
	if n := h.count(); n["events"] != 0 {
		t.Fatalf("a refusal was stored: %v", n)
	}
	explained := func(id string) string {
		return want[client.Explanation](h, 200, get("/v1/events/"+id+"/explain")).Endpoints[0].Message
	}
	p := want[client.Published](h, 202, publish(`"2026-03-02T13:00:00+01:00"`)) // a day to the microsecond
	at := now.Add(24 * time.Hour)
	if p.DeliverAt == nil || !p.DeliverAt.Equal(at) || p.DeliveryCount != 1 {
		t.Fatalf("%+v", p)
	}
	e := want[client.Event](h, 200, get("/v1/events/"+p.ID))
	d := want[client.Delivery](h, 200, get("/v1/deliveries/"+e.Deliveries[0].ID))
	if e.DeliverAt == nil || !e.DeliverAt.Equal(at) || d.State != "pending" || !d.NextAttemptAt.Equal(at) || d.DeliverAt == nil || !d.DeliverAt.Equal(at) {
		t.Errorf("%+v %+v", e, d)
	}
	if message := explained(p.ID); !strings.Contains(message, "waits until 2026-03-02T12:00:00Z") {
		t.Error(message)
	}
	if s := want[client.Stats](h, 200, get("/v1/stats?tenant=acme")); s.OldestPending == nil || s.OldestPending.WaitsFor == nil || *s.OldestPending.WaitsFor != "retry" {
		t.Errorf("%+v", s.OldestPending)
	}
	if got := want[client.Delivery](h, 200, post("/v1/deliveries/"+d.ID+"/cancel", nil)); got.State != "cancelled" || got.NextAttemptAt != nil {
		t.Errorf("%+v", got)
	}
	// A held delivery has no next attempt, and the answer to a retry says as much as the delivery.
	off := h.endpoint("acme", "*")
	want[client.Endpoint](h, 200, call{"PATCH", "/v1/endpoints/" + off.ID, liveKey, `{"enabled":false}`, nil})
	waits := want[client.Published](h, 202, publish(`"2026-03-01T13:00:00Z"`))
	for _, d := range want[client.Event](h, 200, get("/v1/events/"+waits.ID)).Deliveries {
		got := want[client.Delivery](h, 202, post("/v1/deliveries/"+d.ID+"/retry", `{"even_if_disabled":true}`))
		if held := d.Endpoint == off.ID; held != (got.State == "held") || held == (got.NextAttemptAt != nil) || got.DeliverAt == nil {
			t.Errorf("%s: %+v", d.Endpoint, got)
		}
	}
	past := want[client.Published](h, 202, publish(`"2026-03-01T12:00:00Z"`)) // control: now is not later
	if message := explained(past.ID); past.DeliverAt != nil || strings.Contains(message, "waits until") {
		t.Errorf("%+v: %s", past, message)
	}
	batch := want[client.BatchResults](h, 202, post("/v1/events/batch", `[{"tenant":"acme","type":"a.b","data":{},"deliver_at":"2026-03-05T12:00:00Z"},{"tenant":"acme","type":"a.b","data":{},"deliver_at":"2026-03-01T13:00:00Z"}]`)).Results
	if batch[0].Error == nil || batch[0].Error.Field != "deliver_at" || batch[1].Error != nil {
		t.Errorf("%+v", batch)
	}
}
