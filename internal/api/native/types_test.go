package native_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
)

// Type names of existing platforms work wherever a type is used, also in paths, where a
// slash is percent-encoded.
func TestTypesOfOtherPlatforms(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	server := httptest.NewServer(h.handler)
	defer server.Close()
	c, ctx := &client.Client{URL: server.URL, Key: liveKey}, context.Background()
	all := h.endpoint("acme", "*")
	orders, paid := h.endpoint("acme", "orders/*"), h.endpoint("acme", "order:*", "invoice/payment:*")
	for name, want := range map[string][]string{
		"orders/create":          {all.ID, orders.ID},
		"order:paid":             {all.ID, paid.ID},
		"invoice/payment:failed": {all.ID, paid.ID},
		"orders.create":          {all.ID},
		"orders/create:late":     {all.ID},
	} {
		published, err := c.Publish(ctx, client.NewEvent{Tenant: "acme", Type: name, Data: json.RawMessage(`{}`)}, client.PublishOptions{})
		if err != nil || published.Type != name || published.DeliveryCount != len(want) {
			t.Fatalf("%s: %+v, %v", name, published, err)
		}
		events, err := c.Events(ctx, client.EventQuery{Type: name})
		if err != nil || len(events.Data) != 1 || events.Data[0].ID != published.ID {
			t.Errorf("events of %s: %+v, %v", name, events.Data, err)
		}
		rows, err := c.Deliveries(ctx, client.DeliveryQuery{EventType: name})
		if err != nil || len(rows.Data) != len(want) {
			t.Errorf("deliveries of %s: %d, %v", name, len(rows.Data), err)
		}
		found, err := c.Endpoints(ctx, client.EndpointQuery{EventType: name})
		if err != nil || len(found.Data) != len(want) || slices.ContainsFunc(found.Data, func(e client.Endpoint) bool { return !slices.Contains(want, e.ID) }) {
			t.Errorf("endpoints of %s: %d, %v", name, len(found.Data), err)
		}

		made, err := c.CreateEventType(ctx, client.NewEventType{Name: name})
		if dotted := name == "orders.create"; err != nil || (len(made.Warnings) == 0) != dotted {
			t.Errorf("%s in the catalogue: %+v, %v", name, made, err)
		}
		if got, err := c.EventType(ctx, name); err != nil || got.Name != name {
			t.Errorf("%s out of the catalogue: %+v, %v", name, got, err)
		}
		if _, err := c.UpdateEventType(ctx, name, client.EventTypePatch{Description: client.Set("D")}); err != nil {
			t.Errorf("change %s: %v", name, err)
		}
		if err := c.DeleteEventType(ctx, name); err != nil {
			t.Errorf("delete %s: %v", name, err)
		}
	}
	// Control: a slash that is not encoded makes a different path.
	want[client.EventType](h, 201, post("/v1/event-types", `{"name":"orders/create"}`))
	want[client.EventType](h, 200, get("/v1/event-types/orders%2Fcreate"))
	refused(h, 404, hook.CodeRouteNotFound, "", get("/v1/event-types/orders/create"))

	for _, name := range []string{"orders//create", "/orders", "orders:", "or ders", "orders\\create", "orders\n", "ord\u00e9r"} {
		quoted, _ := json.Marshal(name)
		refused(h, 422, hook.CodeInvalidRequest, "type", post("/v1/events", `{"tenant":"acme","type":`+string(quoted)+`,"data":{}}`))
		refused(h, 422, hook.CodeInvalidRequest, "name", post("/v1/event-types", `{"name":`+string(quoted)+`}`))
	}
	for _, entry := range []string{"orders*", "/*", "orders/*/x", "orders//*"} {
		refused(h, 422, hook.CodeInvalidRequest, "event_types/0", post("/v1/endpoints", `{"tenant":"acme","url":"https://hooks.example.com/","event_types":["`+entry+`"]}`))
	}
}
