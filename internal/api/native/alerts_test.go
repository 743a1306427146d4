package native_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
	"github.com/posthorn/posthorn/internal/store"
)

// newAlertAPI returns a server that publishes operational events and can send mail.
func newAlertAPI(t *testing.T) *testAPI {
	return newTestAPI(t, func(a *app.Options, s *store.Options) {
		standard, _ := profile.Builtin().Get("standard")
		a.Mail, s.ProfileOf = true, func(*hook.Endpoint) hook.ProfileHash { return standard.Hash() }
	})
}

func operational(tenant, rest string) string {
	return fmt.Sprintf(`{"tenant":%q,"operational":true,"url":"https://ops.example.com/",%s}`, tenant, rest)
}

// Operational endpoints are created, listed and tested like others, and get the events of
// their tenant or, for the operator, of all.
func TestOperationalEndpoints(t *testing.T) {
	h := newAlertAPI(t)
	h.tenant("acme")
	ops := want[client.Endpoint](h, 201, post("/v1/endpoints", operational("@operator", `"event_types":["*"]`)))
	tenantKey := h.key("tenant", "acme")
	own := want[client.Endpoint](h, 201, call{"POST", "/v1/endpoints", tenantKey, operational("acme", `"event_types":["posthorn.endpoint.*"]`), nil})
	if !ops.Operational || ops.Tenant != "@operator" || !own.Operational || own.Secret == "" {
		t.Fatalf("%+v %+v", ops, own)
	}
	made := want[client.Endpoint](h, 201, post("/v1/endpoints", `{"tenant":"acme","url":"https://example.com/","event_types":["*"]}`))
	for _, one := range []client.Endpoint{ops, own} {
		list := want[client.Page[client.Delivery]](h, 200, get("/v1/deliveries?tenant="+one.Tenant+"&endpoint="+one.ID)).Data
		if len(list) != 1 || list[0].EventType != hook.AlertEndpointCreated {
			t.Fatalf("%s has %+v", one.Tenant, list)
		}
		e := want[client.Event](h, 200, get("/v1/events/"+list[0].Event+"?tenant="+one.Tenant))
		var data hook.EndpointAlert
		if err := json.Unmarshal(e.Data, &data); err != nil || data.Endpoint != made.ID || data.Tenant != "acme" || data.Mode != "live" {
			t.Errorf("%s %v", e.Data, err)
		}
		// Explain speaks of the endpoints that could get the event.
		x := want[client.Explanation](h, 200, get("/v1/events/"+list[0].Event+"/explain?tenant="+one.Tenant))
		if len(x.Endpoints) != 1 || x.Endpoints[0].Endpoint != one.ID || x.Endpoints[0].Reason != "matched" {
			t.Errorf("%+v", x.Endpoints)
		}
	}
	published := want[client.Published](h, 202, post("/v1/events", `{"tenant":"acme","type":"a.b","data":{}}`))
	if x := want[client.Explanation](h, 200, get("/v1/events/"+published.ID+"/explain")); published.DeliveryCount != 1 || len(x.Endpoints) != 1 || x.Endpoints[0].Endpoint != made.ID {
		t.Errorf("an event of the platform: %+v %+v", published, x.Endpoints)
	}
	for query, n := range map[string]int{"operational=true": 2, "operational=false": 1, "operational=true&tenant=acme": 1, "tenant=@operator": 1} {
		if list := want[client.Page[client.Endpoint]](h, 200, get("/v1/endpoints?"+query)).Data; len(list) != n {
			t.Errorf("%s: %d endpoints, want %d", query, len(list), n)
		}
	}
	for body, name := range map[string]string{`{}`: hook.AlertTest, `{"type":"posthorn.digest"}`: hook.AlertDigest, `{"type":"posthorn.endpoint.warned","data":{"a":1}}`: hook.AlertEndpointWarned} {
		if got := want[client.TestEvent](h, 202, call{"POST", "/v1/endpoints/" + own.ID + "/test", tenantKey, body, nil}); got.Type != name {
			t.Errorf("%s: %+v", body, got)
		}
	}
	mail := want[client.Endpoint](h, 201, post("/v1/endpoints", `{"tenant":"@operator","operational":true,"url":"MailTo:Ops@Example.COM","event_types":["*"]}`))
	if mail.URL != "mailto:Ops@example.com" || mail.MaxInFlight != 1 {
		t.Errorf("%+v", mail)
	}
	mail = h.patch(mail.ID, `{"url":"mailto:other@example.com","event_types":["posthorn.digest"]}`)
	if mail.URL != "mailto:other@example.com" {
		t.Errorf("%+v", mail)
	}
	if same := h.patch(mail.ID, `{"profile":"slack"}`); same.URL != mail.URL {
		t.Errorf("%+v", same)
	}
}

// Input that would forge operational events, send mail elsewhere or make endpoints nobody
// may have is refused, and stores nothing.
func TestOperationalRefusals(t *testing.T) {
	h := newAlertAPI(t)
	h.tenant("acme")
	ordinary := h.endpoint("acme", "*").ID
	ops := want[client.Endpoint](h, 201, post("/v1/endpoints", operational("acme", `"event_types":["*"]`)))
	tenantKey, publisher := h.key("tenant", "acme"), h.key("publisher", "")
	before := h.count()
	for _, c := range []struct {
		status int
		code   hook.Code
		field  string
		call   call
	}{
		{422, hook.CodeTypeReserved, "type", post("/v1/events", `{"tenant":"acme","type":"posthorn.endpoint.disabled","data":{}}`)},
		{422, hook.CodeTypeReserved, "type", call{"POST", "/v1/events", publisher, `{"tenant":"acme","type":"posthorn.anything","data":{}}`, nil}},
		{404, hook.CodeTenantNotFound, "tenant", post("/v1/events", `{"tenant":"@operator","type":"a.b","data":{}}`)},
		{404, hook.CodeTenantNotFound, "tenant", call{"POST", "/v1/events", publisher, `{"tenant":"@operator","type":"a.b","data":{}}`, nil}},
		{422, hook.CodeTypeReserved, "type", post("/v1/endpoints/"+ordinary+"/test", `{"type":"posthorn.endpoint.disabled"}`)},
		{422, hook.CodeTypeUnknown, "type", post("/v1/endpoints/"+ops.ID+"/test", `{"type":"invoice.paid"}`)},
		{422, hook.CodeTypeReserved, "name", post("/v1/event-types", `{"name":"posthorn.mine"}`)},
		{422, hook.CodeInvalidRequest, "operational", post("/v1/endpoints", `{"tenant":"@operator","url":"https://e.example.com/","event_types":["*"]}`)},
		{422, hook.CodeInvalidRequest, "tenant", post("/v1/endpoints", operational("", `"event_types":["*"]`))},
		{404, hook.CodeTenantNotFound, "tenant", post("/v1/endpoints", operational("@other", `"event_types":["*"]`))},
		{404, hook.CodeTenantNotFound, "tenant", post("/v1/endpoints", operational("nobody", `"event_types":["*"]`))},
		{404, hook.CodeTenantNotFound, "tenant", call{"POST", "/v1/endpoints", tenantKey, operational("@operator", `"event_types":["*"]`), nil}},
		{422, hook.CodeTypeUnknown, "event_types/1", post("/v1/endpoints", operational("acme", `"event_types":["posthorn.test","invoice.paid"]`))},
		{422, hook.CodeTypeUnknown, "event_types/0", post("/v1/endpoints", operational("acme", `"event_types":["posthorn.threshold.*"]`))},
		{422, hook.CodeTypeUnknown, "event_types/0", call{"PATCH", "/v1/endpoints/" + ops.ID, liveKey, `{"event_types":["created.*"]}`, nil}},
		{422, hook.CodeInvalidRequest, "operational", call{"PATCH", "/v1/endpoints/" + ops.ID, liveKey, `{"operational":false}`, nil}},
		{422, hook.CodeURLScheme, "url", post("/v1/endpoints", `{"tenant":"acme","url":"mailto:a@example.com","event_types":["*"]}`)},
		{422, hook.CodeURLScheme, "url", call{"POST", "/v1/endpoints", tenantKey, `{"operational":true,"url":"mailto:a@example.com","event_types":["*"]}`, nil}},
		{422, hook.CodeURLScheme, "url", call{"PATCH", "/v1/endpoints/" + ops.ID, tenantKey, `{"url":"mailto:a@example.com"}`, nil}},
		{422, hook.CodeURLScheme, "url", call{"PATCH", "/v1/endpoints/" + ordinary, liveKey, `{"url":"mailto:a@example.com"}`, nil}},
		{422, hook.CodeURLInvalid, "url", post("/v1/endpoints", `{"tenant":"acme","operational":true,"url":"mailto:a@example.com?bcc=b@example.com","event_types":["*"]}`)},
		{422, hook.CodeURLInvalid, "url", post("/v1/endpoints", `{"tenant":"acme","operational":true,"url":"mailto:a@example.com\r\nBcc: b@example.com","event_types":["*"]}`)},
		{404, hook.CodeTenantNotFound, "tenant", post("/v1/keys", `{"kind":"tenant","tenant":"@operator"}`)},
		{404, hook.CodeTenantNotFound, "tenant", post("/v1/keys", `{"kind":"publisher","tenant":"@operator"}`)},
		{422, hook.CodeInvalidRequest, "id", post("/v1/tenants", `{"id":"@operator"}`)},
	} {
		refused(h, c.status, c.code, c.field, c.call)
	}
	if after := h.count(); fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("rows: %v before, %v after", before, after)
	}
	for i := range hook.MaxOperational {
		w := h.do(post("/v1/endpoints", operational("acme", `"event_types":["*"]`)))
		if full := i == hook.MaxOperational-1; (w.Code == 409) != full || full && !strings.Contains(w.Body.String(), string(hook.CodeEndpointLimit)) {
			t.Fatalf("endpoint %d: %d %s", i+2, w.Code, w.Body)
		}
	}
	h.endpoint("acme", "*") // ordinary ones have a limit of their own
	odd := want[client.Endpoint](h, 201, post("/v1/endpoints", `{"tenant":"acme","url":"https://example.com/","event_types":["posthorn.endpoint.disabled"]}`))
	if len(odd.Warnings) == 0 || odd.Warnings[len(odd.Warnings)-1].Code != "event_types_reserved" {
		t.Errorf("%+v", odd.Warnings)
	}
}

// The operator's operational endpoints and events are there for operator keys of their
// mode only.
func TestOperationalWalls(t *testing.T) {
	h := newAlertAPI(t)
	h.tenant("acme")
	ops := want[client.Endpoint](h, 201, post("/v1/endpoints", operational("@operator", `"event_types":["*"]`)))
	h.endpoint("acme", "*")
	delivery := want[client.Page[client.Delivery]](h, 200, get("/v1/deliveries?tenant=@operator")).Data[0]
	calls := func(key string) []call {
		return []call{
			{"GET", "/v1/endpoints/" + ops.ID, key, nil, nil}, {"PATCH", "/v1/endpoints/" + ops.ID, key, `{"title":"taken"}`, nil},
			{"DELETE", "/v1/endpoints/" + ops.ID, key, nil, nil}, {"POST", "/v1/endpoints/" + ops.ID + "/test", key, `{}`, nil},
			{"POST", "/v1/endpoints/" + ops.ID + "/secret/rotate", key, `{}`, nil}, {"GET", "/v1/deliveries/" + delivery.ID, key, nil, nil},
			{"GET", "/v1/events/" + delivery.Event, key, nil, nil}, {"POST", "/v1/events/" + delivery.Event + "/resend", key, nil, nil},
			{"POST", "/v1/replays", key, `{"endpoint":"` + ops.ID + `","source":"all"}`, nil},
		}
	}
	for _, key := range []string{h.key("tenant", "acme"), h.key("publisher", ""), testKey, ""} {
		for _, c := range calls(key) {
			if w := h.do(c); w.Code < 400 || strings.Contains(w.Body.String(), "ops.example.com") {
				t.Errorf("%s %s: %d %s", c.method, c.path, w.Code, w.Body)
			}
		}
		for _, path := range []string{"/v1/endpoints", "/v1/events", "/v1/deliveries", "/v1/endpoints?tenant=@operator", "/v1/events?tenant=@operator", "/v1/deliveries?endpoint=" + ops.ID} {
			if w := h.do(call{"GET", path, key, nil, nil}); strings.Contains(w.Body.String(), ops.ID) || strings.Contains(w.Body.String(), delivery.Event) {
				t.Errorf("GET %s: %d %s", path, w.Code, w.Body)
			}
		}
	}
	for _, c := range calls(liveKey)[:2] { // control
		if w := h.do(c); w.Code != 200 {
			t.Errorf("%s %s: %d %s", c.method, c.path, w.Code, w.Body)
		}
	}
}

// docs/operational-events.md ends with the types and an example of each. To update it, run
// go test ./internal/api/native -run OpenAPI -update.
func TestOpenAPIOperationalPage(t *testing.T) {
	const file, mark = "../../../docs/operational-events.md", "## The types\n"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, old, found := strings.Cut(string(text), mark)
	if !found {
		t.Fatalf("%s has no line %q", file, mark)
	}
	var b strings.Builder
	for _, a := range hook.AlertTypes() {
		example, err := json.MarshalIndent(a.Example, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		who := ""
		if !a.Tenants {
			who = " Only the operator gets it."
		}
		fmt.Fprintf(&b, "\n### %s\n\n%s%s\n\n```json\n%s\n```\n", a.Name, a.Description, who, example)
	}
	if *update {
		if err := os.WriteFile(file, []byte(head+mark+b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(old, b.String()); diff != "" {
		t.Errorf("%s is not what the server sends; run with -update: %s", file, diff)
	}
}
