package native_test

import (
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
)

// The schema of a type applies to published data as soon as the call that set it
// returns, and only in its own mode.
func TestSchemasDecideAboutData(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	const types = "/v1/event-types"
	one := want[client.EventType](h, 201, post(types, `{"name":"orders/create","schema":{"type":"object","required":["id"],"properties":{"a/b":{"type":"integer"}}}}`))
	if one.Check != "off" {
		t.Errorf("%+v", one)
	}
	event := func(data string) call {
		return post("/v1/events", `{"tenant":"acme","type":"orders/create","data":`+data+`}`)
	}
	set := func(check string) client.EventType {
		return want[client.EventType](h, 200, call{"PATCH", types + "/orders%2Fcreate", liveKey, `{"check":` + check + `}`, nil})
	}
	if got := want[client.Published](h, 202, event(`{}`)); len(got.Warnings) != 0 { // control
		t.Errorf("off: %+v", got.Warnings)
	}
	set(`"warn"`)
	got := want[client.Published](h, 202, event(`{"id":1,"a/b":"x"}`))
	if len(got.Warnings) != 1 || got.Warnings[0].Code != "event_data_invalid" || !strings.Contains(got.Warnings[0].Message, `"data/a~1b"`) {
		t.Errorf("warn: %+v", got.Warnings)
	}
	large := want[client.Published](h, 202, event(`{"x":"`+strings.Repeat("x", 20_001)+`"}`))
	if len(large.Warnings) != 2 {
		t.Errorf("large and wrong: %+v", large.Warnings)
	}
	set(`"reject"`)
	before := h.count()["events"]
	refused(h, 422, hook.CodeDataInvalid, "data/a~1b", event(`{"id":1,"a/b":"x"}`))
	refused(h, 422, hook.CodeDataInvalid, "data", event(`{}`))
	if after := h.count()["events"]; after != before {
		t.Errorf("%d events, then %d", before, after)
	}
	want[client.Published](h, 202, event(`{"id":1,"a/b":2}`))
	batch := want[client.BatchResults](h, 202, post("/v1/events/batch", `[{"tenant":"acme","type":"orders/create","data":{}},{"tenant":"acme","type":"other","data":{}},{"tenant":"acme","type":"orders/create","data":{"id":1}}]`))
	if r := batch.Results; r[0].Error == nil || r[0].Error.Code != string(hook.CodeDataInvalid) || r[1].Error != nil || r[2].Error != nil {
		t.Errorf("batch: %+v", r)
	}
	in := event(`{}`)
	in.key = testKey
	want[client.Published](h, 202, in) // the other mode has its own catalogue
	set(`null`)
	want[client.Published](h, 202, event(`{}`))
	set(`"reject"`)
	want[struct{}](h, 204, call{"DELETE", types + "/orders%2Fcreate", liveKey, nil, nil})
	want[client.Published](h, 202, event(`{}`))
}

// A stored response is repeated even if the schema has become stricter since.
func TestRepeatsOutliveAStricterSchema(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	publish := with(post("/v1/events", `{"tenant":"acme","type":"a.b","data":{}}`), "Idempotency-Key", "k-1")
	first := want[client.Published](h, 202, publish)
	want[client.EventType](h, 201, post("/v1/event-types", `{"name":"a.b","check":"reject","schema":{"required":["id"]}}`))
	if again := want[client.Published](h, 202, publish); again.ID != first.ID {
		t.Errorf("%s, then %s", first.ID, again.ID)
	}
	refused(h, 422, hook.CodeDataInvalid, "data", post("/v1/events", `{"tenant":"acme","type":"a.b","data":{}}`)) // control
}

func TestBadSchemasAreRefused(t *testing.T) {
	h := newTestAPI(t)
	const types = "/v1/event-types"
	for body, field := range map[string]string{
		`{"name":"x","check":"reject"}`:                                                    "check",
		`{"name":"x","check":"strict","schema":{}}`:                                        "check",
		`{"name":"x","check":7,"schema":{}}`:                                               "check",
		`{"name":"x","schema":{"type":"objekt"}}`:                                          "schema",
		`{"name":"x","schema":{"pattern":"("}}`:                                            "schema",
		`{"name":"x","schema":{"$ref":"https://example.com/schema.json"}}`:                 "schema",
		`{"name":"x","check":"reject","schema":{"$ref":"file:///etc/passwd"}}`:             "schema",
		`{"name":"x","check":"reject","schema":{"properties":{"a":{"$ref":"#/$defs/b"}}}}`: "schema",
	} {
		refused(h, 422, hook.CodeInvalidRequest, field, post(types, body))
	}
	want[client.EventType](h, 201, post(types, `{"name":"x","check":"warn","schema":{}}`))
	patch := func(body string) call { return call{"PATCH", types + "/x", liveKey, body, nil} }
	refused(h, 422, hook.CodeInvalidRequest, "check", patch(`{"schema":null}`))
	refused(h, 422, hook.CodeInvalidRequest, "schema", patch(`{"schema":{"type":1}}`))
	want[client.EventType](h, 200, patch(`{"schema":null,"check":null}`))
}
