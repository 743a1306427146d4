package native_test

import (
	"encoding/json"
	"net/url"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
)

// Each filter narrows its list, and an unknown value is refused with the filter's name.
func TestFilters(t *testing.T) {
	h := newTestAPI(t)
	want[client.Tenant](h, 201, post("/v1/tenants", `{"id":"acme","name":"Acme Ltd"}`))
	h.tenant("other")
	h.key("tenant", "acme")
	h.key("publisher", "")
	want[client.Key](h, 201, post("/v1/keys", `{"kind":"tenant","tenant":"other","name":"theirs"}`))
	e := h.endpoint("acme", "a.b", "x")
	off := want[client.Endpoint](h, 201, post("/v1/endpoints",
		`{"tenant":"acme","url":"https://hooks.example.com/in","event_types":["x"],"profile":"paysway","enabled":false}`))
	h.event("acme", "a.b")
	failed := want[client.Event](h, 200, get("/v1/events/"+h.event("acme", "x").ID)).Deliveries[0]
	h.settle(failed.ID, func(o *hook.Outcome) { o.Status, o.Class = 500, hook.ClassStatus })
	test := want[client.TestEvent](h, 202, post("/v1/endpoints/"+e.ID+"/test", nil))

	for query, n := range map[string]int{
		"tenants?": 2, "tenants?name=Acme+Ltd": 1, "tenants?name=acme": 0,
		"keys?": 3, "keys?kind=tenant": 2, "keys?tenant=acme": 1, "keys?name=theirs": 1, "keys?kind=publisher&tenant=acme": 0,
		"endpoints?": 2, "endpoints?profile=paysway": 1, "endpoints?disabled_reason=by_hand": 1, "endpoints?disabled_reason=gone": 0, "endpoints?event_type=a.b": 1,
		"events?": 3, "events?test=true": 1, "events?test=false": 2, "events?test=false&type=x": 1,
		"deliveries?": 3, "deliveries?event_type=x": 1, "deliveries?type=x": 1, "deliveries?error=status_not_success": 1, "deliveries?error=timeout_response": 0,
		"deliveries?error=a_class_of_later": 0,
	} {
		if rows := want[client.Page[json.RawMessage]](h, 200, get("/v1/"+query)); len(rows.Data) != n {
			t.Errorf("%s: %d rows, want %d", query, len(rows.Data), n)
		}
	}
	for query, id := range map[string]string{"endpoints?profile=paysway": off.ID, "events?test=true": test.Event, "deliveries?error=status_not_success": failed.ID} {
		if rows := want[client.Page[struct{ ID string }]](h, 200, get("/v1/"+query)); rows.Data[0].ID != id {
			t.Errorf("%s: %v", query, rows)
		}
	}
	for query, field := range map[string]string{
		"deliveries?event_type=x&type=x": "type", "deliveries?error=Nope!": "error", "keys?kind=admin": "kind", "events?test=maybe": "test", "endpoints?disabled_reason=because": "disabled_reason",
	} {
		refused(h, 422, hook.CodeInvalidRequest, field, get("/v1/"+query))
	}
	for query, field := range map[string]string{"endpoints?type=x": "type", "events?event_type=x": "event_type", "tenants?tenant=acme": "tenant"} {
		refused(h, 422, hook.CodeUnknownField, field, get("/v1/"+query))
	}
	refused(h, 404, hook.CodeTenantNotFound, "tenant", get("/v1/keys?tenant=nobody"))
	refused(h, 403, hook.CodeForbidden, "", call{"GET", "/v1/keys?" + url.Values{"tenant": {"acme"}}.Encode(), h.key("tenant", "acme"), nil, nil})
}
