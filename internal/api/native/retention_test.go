package native_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store"
)

// retaining returns an API over a store with retentions, and a function that lets time pass.
func retaining(t *testing.T) (*testAPI, func(time.Duration)) {
	now := time.Now()
	h := newTestAPI(t, func(_ *app.Options, o *store.Options) {
		o.Retention, o.RetentionPayloads, o.RetentionAnswers = 90*24*time.Hour, 30*24*time.Hour, 30*24*time.Hour
		o.Now = func() time.Time { return now }
	})
	h.tenant("acme")
	return h, func(d time.Duration) {
		now = now.Add(d)
		if err := h.store.Housekeep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func set(body string) call { return call{"PATCH", "/v1/tenants/acme/retention", liveKey, body, nil} }

func TestRetentionOfATenant(t *testing.T) {
	h, _ := retaining(t)
	text := func(s *string) string {
		if s == nil {
			return "-"
		}
		return *s
	}
	show := func(r client.TenantRetention) string {
		return fmt.Sprint(r.Tenant, r.Mode, text(r.Payloads), text(r.Answers), text(r.Events), text(r.InForce.Payloads), text(r.InForce.Answers), text(r.InForce.Events))
	}
	for _, c := range []struct{ body, want string }{
		{`{}`, "acmelive---720h720h2160h"},
		{`{"payloads":"48h","answers":"0s"}`, "acmelive48h0s-48h0s2160h"},
		{`{"answers":null,"events":"720h"}`, "acmelive48h-720h48h720h720h"},
	} {
		got := want[client.TenantRetention](h, 200, set(c.body))
		if show(got) != c.want || show(want[client.TenantRetention](h, 200, get("/v1/tenants/acme/retention"))) != c.want {
			t.Errorf("%s: %s, want %s", c.body, show(got), c.want)
		}
	}
	// The other mode has its own.
	other := want[client.TenantRetention](h, 200, call{"GET", "/v1/tenants/acme/retention", testKey, nil, nil})
	if show(other) != "acmetest---720h720h2160h" {
		t.Error(show(other))
	}
	for body, field := range map[string]string{
		`{"payloads":"721h"}`: "payloads", `{"answers":"9999h"}`: "answers", `{"events":"2161h"}`: "events", `{"events":"1h"}`: "events",
		`{"payloads":"-1h"}`: "payloads", `{"payloads":"48"}`: "payloads", `{"payloads":""}`: "payloads", `{"payloads":48}`: "payloads", `{"payloads":"3d"}`: "payloads",
		`{"payloads":"1ns"}`: "payloads", `{"payloads":"99999999999h"}`: "payloads", `{"mode":"test"}`: "mode", `{"answers":["1h"]}`: "answers",
	} {
		refused(h, 422, hook.CodeInvalidRequest, field, set(body))
	}
	refused(h, 422, hook.CodeUnknownField, "payload", set(`{"payload":"1h"}`))
	p := refused(h, 422, hook.CodeInvalidRequest, "payloads", set(`{"payloads":"721h"}`))
	if !strings.Contains(p.Detail, "at most 720h") {
		t.Error(p.Detail)
	}
	refused(h, 404, hook.CodeNotFound, "", call{"PATCH", "/v1/tenants/nobody/retention", liveKey, `{"payloads":"1h"}`, nil})
	for _, key := range []string{h.key("tenant", "acme"), h.key("publisher", "acme")} {
		refused(h, 403, hook.CodeForbidden, "", call{"PATCH", "/v1/tenants/acme/retention", key, `{"payloads":"1h"}`, nil})
		refused(h, 403, hook.CodeForbidden, "", call{"GET", "/v1/disk", key, nil, nil})
	}
	if got := show(want[client.TenantRetention](h, 200, get("/v1/tenants/acme/retention"))); got != "acmelive48h-720h48h720h720h" {
		t.Errorf("a refusal changed it: %s", got)
	}
}

func TestPayloadRetention(t *testing.T) {
	h, pass := retaining(t)
	publish := func(keep string) call {
		return post("/v1/events", `{"tenant":"acme","type":"a.b","data":{"n":1},"payload_retention":`+keep+`}`)
	}
	for _, bad := range []string{`"721h"`, `"-1s"`, `"1"`, `1`, `null`, `""`, `"1d"`, `{}`} {
		refused(h, 422, hook.CodeInvalidRequest, "payload_retention", publish(bad))
	}
	gone, there := want[client.Published](h, 202, publish(`"0s"`)).ID, want[client.Published](h, 202, publish(`"2h"`)).ID
	if e := want[client.Event](h, 200, get("/v1/events/"+gone)); string(e.Data) != `{"n":1}` || e.PayloadRemovedAt != nil {
		t.Errorf("%s %v", e.Data, e.PayloadRemovedAt)
	}
	pass(time.Hour)
	e := want[client.Event](h, 200, get("/v1/events/"+gone))
	if e.Data != nil || e.PayloadRemovedAt == nil {
		t.Errorf("%s %v", e.Data, e.PayloadRemovedAt)
	}
	if e := want[client.Event](h, 200, get("/v1/events/"+there)); e.PayloadRemovedAt != nil {
		t.Error("removed before its time")
	}
	list := want[client.Page[client.Event]](h, 200, get("/v1/events?tenant=acme")).Data
	if len(list) != 2 || list[1].PayloadRemovedAt == nil || list[0].PayloadRemovedAt != nil {
		t.Errorf("%+v", list)
	}
	h.endpoint("acme", "*")
	p := refused(h, 410, hook.CodePayloadGone, "", post("/v1/events/"+gone+"/resend", nil))
	if !strings.Contains(p.Detail, e.PayloadRemovedAt.Format("2006-01-02")) {
		t.Error(p.Detail)
	}
	// A batch answers each event by itself.
	results := want[client.BatchResults](h, 202, post("/v1/events/batch", json.RawMessage(`[{"tenant":"acme","type":"a.b","data":{},"payload_retention":"999h"},{"tenant":"acme","type":"a.b","data":{},"payload_retention":"1h"}]`))).Results
	if results[0].Error == nil || results[0].Error.Field != "payload_retention" || results[1].Error != nil {
		t.Errorf("%+v", results)
	}
}

func TestDisk(t *testing.T) {
	h, _ := retaining(t)
	h.tenant("empty")
	h.event("acme", "a.b")
	d := want[client.Disk](h, 200, get("/v1/disk"))
	if d.UsedBytes == 0 || d.State != "ok" || d.BudgetBytes != nil || len(d.Tenants) != 1 || d.Tenants[0].Tenant != "acme" || d.Tenants[0].Total == 0 || d.OldestEvent == nil {
		t.Errorf("%+v", d)
	}
	c := d.Classes
	if sum := c.Payloads + c.Metadata + c.Attempts + c.Audit + c.Statistics + c.Other + c.Log; sum != d.UsedBytes {
		t.Errorf("the classes are %d bytes of %d", sum, d.UsedBytes)
	}
	if of := want[client.Disk](h, 200, get("/v1/disk?tenant=empty")); len(of.Tenants) != 1 || of.Tenants[0].Total != 0 {
		t.Errorf("%+v", of.Tenants)
	}
	// A key of test mode sees the store, and no tenant of live mode.
	if other := want[client.Disk](h, 200, call{"GET", "/v1/disk", testKey, nil, nil}); other.UsedBytes == 0 || len(other.Tenants) != 0 {
		t.Errorf("%+v", other)
	}
	refused(h, 404, hook.CodeTenantNotFound, "tenant", get("/v1/disk?tenant=nobody"))
	if h.document().Paths["/v1/disk"]["get"].Responses["404"] == nil {
		t.Error("the document does not say that a tenant may be unknown")
	}
	refused(h, 422, hook.CodeUnknownField, "class", get("/v1/disk?class=x"))
}
