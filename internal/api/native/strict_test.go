package native_test

import (
	"encoding/json"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
)

const zeroID = "00000000-0000-0000-0000-000000000000"

// An empty text has no meaning of its own: neither all tenants, nor all endpoints, nor
// an id that the server chooses.
func TestAnEmptyTextIsNeverAll(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	e := h.endpoint("acme", "*")
	id := h.event("acme", "a.b").ID
	before := h.count()
	for _, c := range []struct {
		method, path, body, field string
	}{
		{"POST", "/v1/keys", `{"kind":"publisher","tenant":""}`, "tenant"}, {"POST", "/v1/keys", `{"kind":"operator","tenant":""}`, "tenant"},
		{"POST", "/v1/keys", `{"kind":""}`, "kind"}, {"POST", "/v1/tenants", `{"id":""}`, "id"}, {"POST", "/v1/tenants", `{ "id" : "" }`, "id"},
		{"POST", "/v1/events/" + id + "/resend", `{"endpoint":""}`, "endpoint"},
		{"POST", "/v1/events/" + id + "/resend", `{"endpoint":"` + zeroID + `"}`, "endpoint"},
		{"POST", "/v1/endpoints", `{"tenant":"","url":"https://hooks.example.com/","event_types":["*"]}`, "tenant"},
		{"POST", "/v1/endpoints", `{"tenant":"acme","url":"https://hooks.example.com/","event_types":["*"],"profile":""}`, "profile"},
		{"POST", "/v1/endpoints", `{"tenant":"acme","url":"https://hooks.example.com/","event_types":["*"],"secret":""}`, "secret"},
		{"POST", "/v1/endpoints/" + e.ID + "/secret/rotate", `{"overlap":""}`, "overlap"},
		{"POST", "/v1/endpoints/" + e.ID + "/secret/rotate", `{"secret":""}`, "secret"},
		{"POST", "/v1/endpoints/" + e.ID + "/test", `{"type":""}`, "type"}, {"PATCH", "/v1/endpoints/" + e.ID, `{"profile":""}`, "profile"},
		{"PATCH", "/v1/endpoints/" + e.ID, `{"url":""}`, "url"}, {"POST", "/v1/events", `{"tenant":"","type":"a.b","data":{}}`, "tenant"},
		{"POST", "/v1/events", event(`,"id":""`), "id"}, {"POST", "/v1/event-types", `{"name":""}`, "name"},
		{"POST", "/v1/partner-users", `{"partner":"","user":"u","tenant":"acme"}`, "partner"},
	} {
		refused(h, 422, hook.CodeInvalidRequest, c.field, call{c.method, c.path, liveKey, c.body, nil})
	}
	if after := h.count(); !maps.Equal(before, after) {
		t.Errorf("rows: %v before, %v after", before, after)
	}
	// Controls: what the empty text must not mean, and texts for people.
	if k := want[client.Key](h, 201, post("/v1/keys", `{"kind":"publisher"}`)); k.Tenant != "" {
		t.Errorf("a publisher of all tenants: %+v", k)
	}
	want[client.Tenant](h, 201, post("/v1/tenants", `{"name":""}`))
	want[client.Endpoint](h, 200, call{"PATCH", "/v1/endpoints/" + e.ID, liveKey, `{"title":"","description":""}`, nil})
	if r := want[client.Resent](h, 202, post("/v1/events/"+id+"/resend", `{}`)); len(r.Deliveries) != 1 {
		t.Errorf("a resend to all: %+v", r)
	}
}

// All times from callers are checked in UTC, in one place. The control is the previous
// rule: it accepts most of what is refused.
func TestTimesOfEvents(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	passed := 0
	for _, text := range []string{"9999-12-31T23:59:59-12:00", "9999-12-31T23:59:59-00:01", "1970-01-01T00:00:00+02:00", "1970-01-01T00:00:00Z",
		"1970-01-01T02:00:00+02:00", "1970-01-01T00:00:00.0000001Z", "1969-12-31T23:59:59Z", "0000-01-01T00:00:00Z", "2026-01-31T12:00:60Z", "2016-12-31T23:59:60Z",
		"2026-01-31t12:00:00Z", "2026-01-31T12:00:00z", "2026-01-31T12:00:00,5Z", "2026-01-31T9:00:00Z", "2026-01-31T12:00:00.Z",
		"2026-01-31T12:00:00.1234567890Z", "2026-01-31T12:00:00+24:00", "2026-01-31T12:00:00+01:60", "2026-01-31 12:00:00Z", "2026-02-30T12:00:00Z",
		"2026-01-31T24:00:00Z", "2026-01-31T12:00:00", "2026-01-31", "20260131T120000Z", "+2026-01-31T12:00:00Z", "10000-01-01T00:00:00Z", " 2026-01-31T12:00:00Z"} {
		refused(h, 422, hook.CodeInvalidRequest, "created_at", post("/v1/events", event(`,"created_at":"`+text+`"`)))
		results := want[client.BatchResults](h, 202, post("/v1/events/batch", "["+event(`,"created_at":"`+text+`"`)+"]")).Results
		if len(results) != 1 || results[0].Error == nil || results[0].Error.Field != "created_at" {
			t.Errorf("%s in a batch: %+v", text, results)
		}
		if at, err := time.Parse(time.RFC3339Nano, text); err == nil && at.Year() >= 1970 && at.Year() <= 9999 {
			passed++
		}
	}
	if passed < 5 {
		t.Errorf("control: only %d pass the rule as it was", passed)
	}
	for text, shown := range map[string]string{"9999-12-31T23:59:59.999999999Z": "9999-12-31T23:59:59.999999Z", "1970-01-01T00:00:00.000001Z": "1970-01-01T00:00:00.000001Z",
		"1969-12-31T23:00:01-01:00": "1970-01-01T00:00:01.000000Z", "2026-01-31T12:00:00.5+02:00": "2026-01-31T10:00:00.500000Z", "2026-01-31T12:00:00-00:00": "2026-01-31T12:00:00.000000Z"} {
		id := want[client.Published](h, 202, post("/v1/events", event(`,"created_at":"`+text+`"`))).ID
		if got := want[struct {
			At string `json:"created_at"`
		}](h, 200, get("/v1/events/"+id)).At; got != shown {
			t.Errorf("%s is shown as %s, want %s", text, got, shown)
		}
	}
	for _, list := range []string{"events", "deliveries"} {
		for _, text := range []string{"9999-12-31T23:59:59-12:00", "2026-01-31T12:00:00,5Z", "2026-01-31T9:00:00Z"} {
			refused(h, 422, hook.CodeInvalidRequest, "after", get("/v1/"+list+"?after="+text))
			refused(h, 422, hook.CodeInvalidRequest, "before", get("/v1/"+list+"?before="+text))
		}
		want[client.Page[json.RawMessage]](h, 200, get("/v1/"+list+"?after=1970-01-01T00:00:00Z&before=9999-12-31T23:59:59Z"))
	}
}

// Names, titles and descriptions contain only visible characters. Characters that hide
// or reorder text are refused on input. A text that is already stored does not prevent
// other changes.
func TestTextsForPeople(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	e := h.endpoint("acme", "*")
	quoted := func(text string) string { b, _ := json.Marshal(text); return string(b) }
	for _, odd := range []string{"\x00", "\x1b[31m", "\u009b31m", "\u202e", "\u2066", "\u200b", "\ufeff", "\u00ad", "\u2028", "\x7f", "\r", "\U000e0041"} {
		text := quoted("a" + odd + "b")
		for _, c := range []struct{ method, path, body, field string }{
			{"POST", "/v1/tenants", `{"name":` + text + `}`, "name"}, {"PATCH", "/v1/tenants/acme", `{"name":` + text + `}`, "name"},
			{"POST", "/v1/keys", `{"kind":"publisher","name":` + text + `}`, "name"},
			{"POST", "/v1/endpoints", `{"tenant":"acme","url":"https://hooks.example.com/","event_types":["*"],"title":` + text + `}`, "title"},
			{"PATCH", "/v1/endpoints/" + e.ID, `{"title":` + text + `}`, "title"}, {"PATCH", "/v1/endpoints/" + e.ID, `{"description":` + text + `}`, "description"},
			{"POST", "/v1/event-types", `{"name":"a.b","description":` + text + `}`, "description"},
		} {
			refused(h, 422, hook.CodeInvalidRequest, c.field, call{c.method, c.path, liveKey, c.body, nil})
		}
	}
	for _, fine := range []string{"Zoë & Søn", "می‌خواهم", "क्‍ष", "👩‍💻", "株式会社"} {
		want[client.Tenant](h, 201, post("/v1/tenants", `{"name":`+quoted(fine)+`}`))
	}
	want[client.Endpoint](h, 200, call{"PATCH", "/v1/endpoints/" + e.ID, liveKey, `{"description":"first\nsecond"}`, nil})
	refused(h, 422, hook.CodeInvalidRequest, "title", call{"PATCH", "/v1/endpoints/" + e.ID, liveKey, `{"title":"first\nsecond"}`, nil})
}

// Custom headers that would never be sent are refused, not dropped.
func TestHeadersOfTheProfile(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	create := func(profile, name string) call {
		return endpointWith(`,"profile":"` + profile + `","headers":{"` + name + `":"x"}`)
	}
	for profile, names := range map[string][]string{"standard": {"User-Agent", "user-agent", "webhook-id"},
		"paywise": {"User-Agent", "X-Paywise-Event", "x-paywise-signature", "X-Paywise-Delivery-ID"}, "paysway": {"X-PaySway-Signature"}} {
		for _, name := range names {
			if p := refused(h, 422, hook.CodeHeaderRefused, "headers", create(profile, name)); !strings.Contains(p.Detail, name) || !strings.Contains(p.Detail, ": the ") {
				t.Errorf("%s: %s", name, p.Detail)
			}
		}
	}
	// Control: a header of another profile is like any other, until the profile
	// changes.
	e := want[client.Endpoint](h, 201, create("standard", "X-Paywise-Event"))
	refused(h, 422, hook.CodeHeaderRefused, "headers", call{"PATCH", "/v1/endpoints/" + e.ID, liveKey, `{"profile":"paywise"}`, nil})
	want[client.Endpoint](h, 200, call{"PATCH", "/v1/endpoints/" + e.ID, liveKey, `{"profile":"paywise","headers":null}`, nil})
	for _, name := range []string{"X-Real-IP", "X_Forwarded_For", "Metadata-Flavor"} {
		if p := refused(h, 422, hook.CodeHeaderRefused, "headers", create("standard", name)); !strings.Contains(p.Detail, "Header "+name+" cannot be set: ") {
			t.Errorf("%s: %s", name, p.Detail)
		}
	}
}

// A route that accepts no body refuses one: it was meant for another route, or it is a
// webhook that was sent here. Nothing is done.
func TestBodiesWhereNoneIsTaken(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	e := h.endpoint("acme", "*")
	h.event("acme", "a.b")
	d := want[client.Page[client.Delivery]](h, 200, get("/v1/deliveries")).Data[0].ID
	for _, c := range []call{{"POST", "/v1/deliveries/" + d + "/cancel", "", nil, nil},
		{"POST", "/v1/endpoints/" + e.ID + "/secret/reveal", "", nil, nil}, {"DELETE", "/v1/endpoints/" + e.ID, "", nil, nil},
		{"DELETE", "/v1/tenants/acme", "", nil, nil}, {"GET", "/v1/events", "", nil, nil}, {"GET", "/version", "", nil, nil}} {
		c.key = liveKey
		for _, body := range []string{event(""), `{"a":1}`, "x", "[]", "null", `""`, "{}{}"} {
			c.body = body
			refused(h, 422, hook.CodeInvalidRequest, "", c)
		}
	}
	if got := want[client.Delivery](h, 200, get("/v1/deliveries/"+d)); got.State != "pending" || got.Attempts != 0 {
		t.Errorf("%+v", got)
	}
	chunked := httptest.NewRequest("POST", "/v1/deliveries/"+d+"/cancel", &onlyReader{strings.NewReader(event(""))})
	chunked.Header.Set("Authorization", "Bearer "+liveKey)
	w := httptest.NewRecorder()
	if h.handler.ServeHTTP(w, chunked); w.Code != 422 {
		t.Errorf("a body of unknown length: %d %s", w.Code, w.Body)
	}
	want[client.Delivery](h, 200, post("/v1/deliveries/"+d+"/cancel", " { } ")) // some clients always send an empty object
	want[client.Delivery](h, 202, post("/v1/deliveries/"+d+"/retry", nil))      // its body may be omitted
}

type onlyReader struct{ r *strings.Reader }

func (o *onlyReader) Read(b []byte) (int, error) { return o.r.Read(b) }

func TestContentTypes(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	rename := func(kind string) call {
		return with(call{"PATCH", "/v1/tenants/acme", liveKey, `{"name":"x"}`, nil}, "Content-Type", kind)
	}
	for _, kind := range []string{"application/json", "application/merge-patch+json", "Application/Merge-Patch+JSON; charset=utf-8", `application/json; charset="UTF-8"`} {
		want[client.Tenant](h, 200, rename(kind))
	}
	for _, kind := range []string{"application/json-patch+json", "application/json; charset=utf-16", "application/json; charset=latin1", "application/json; charset=", "application/json; charset", "text/json", "application/x-ndjson"} {
		if p := refused(h, 415, hook.CodeContentType, "Content-Type", rename(kind)); !strings.Contains(p.Detail, "merge-patch+json, in UTF-8") {
			t.Errorf("%s: %s", kind, p.Detail)
		}
	}
	for _, kind := range []string{"application/merge-patch+json", "application/json; charset=utf-16"} {
		refused(h, 415, hook.CodeContentType, "Content-Type", with(post("/v1/events", event("")), "Content-Type", kind))
		refused(h, 415, hook.CodeContentType, "Content-Type", with(post("/v1/events/batch", "["+event("")+"]"), "Content-Type", kind))
		refused(h, 415, hook.CodeContentType, "Content-Type", with(post("/v1/tenants", "{}"), "Content-Type", kind))
	}
	want[client.BatchResults](h, 202, with(post("/v1/events/batch", event("")), "Content-Type", "application/x-ndjson; charset=utf-8"))
	refused(h, 415, hook.CodeContentType, "Content-Type", with(post("/v1/events/batch", event("")), "Content-Type", "application/x-ndjson; charset=utf-16"))
}

// An endpoint that receives nothing is permitted, with a warning when it becomes one.
func TestEmptyFiltersWarn(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	warns := func(e client.Endpoint) bool {
		return slices.ContainsFunc(e.Warnings, func(w client.Warning) bool { return w.Code == "event_types_empty" })
	}
	all := h.endpoint("acme", "*")
	if nothing := want[client.Endpoint](h, 201, post("/v1/endpoints", `{"tenant":"acme","url":"https://hooks.example.com/","event_types":[]}`)); !warns(nothing) {
		t.Errorf("created without types: %+v", nothing.Warnings)
	}
	change := func(id, body string) client.Endpoint {
		return want[client.Endpoint](h, 200, call{"PATCH", "/v1/endpoints/" + id, liveKey, body, nil})
	}
	if warns(all) || !warns(change(all.ID, `{"event_types":[]}`)) || warns(change(all.ID, `{"title":"x"}`)) || warns(change(all.ID, `{"event_types":["a.b"]}`)) {
		t.Error("the warning does not follow the change")
	}
	if got := h.event("acme", "x.y").DeliveryCount; got != 0 {
		t.Errorf("%d deliveries: the warning is not true", got)
	}
}
