package native_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
)

func TestEventTypes(t *testing.T) {
	h := newTestAPI(t)
	const types = "/v1/event-types"
	made := want[client.EventType](h, 201, post(types, `{"name":"payment.settled","description":"D","schema":{"type":"object"},"example":{ "a" : 1e400}}`)) // white space is removed, the number is unchanged
	if string(made.Example) != `{"a":1e400}` || string(made.Schema) != `{"type":"object"}` || made.Description != "D" {
		t.Errorf("%+v", made)
	}
	refused(h, 409, hook.CodeConflict, "name", post(types, `{"name":"payment.settled"}`))
	for body, field := range map[string]string{`{}`: "name", `{"name":"a..b"}`: "name", `{"name":"*"}`: "name", `{"name":"x","schema":[]}`: "schema",
		`{"name":"x","example":"y"}`: "example", `{"name":"x","description":1}`: "description"} {
		refused(h, 422, hook.CodeInvalidRequest, field, post(types, body))
	}
	refused(h, 422, hook.CodeUnknownField, "colour", post(types, `{"name":"x","colour":1}`))
	refused(h, 400, hook.CodeInvalidJSON, "", post(types, `{"name":"x","example":{"a":1,"a":2}}`))

	change := func(body string) call { return call{"PATCH", types + "/payment.settled", liveKey, body, nil} }
	got := want[client.EventType](h, 200, change(`{"schema":null,"example":{"b":2}}`))
	if string(got.Schema) != "null" && got.Schema != nil || string(got.Example) != `{"b":2}` || got.Description != "D" {
		t.Errorf("after a patch: %+v", got)
	}
	if diff := cmp.Diff(got, want[client.EventType](h, 200, get(types+"/payment.settled"))); diff != "" {
		t.Error(diff)
	}
	refused(h, 422, hook.CodeInvalidRequest, "name", change(`{"name":"x"}`))
	refused(h, 422, hook.CodeInvalidRequest, "example", change(`{"example":7}`))
	refused(h, 422, hook.CodeUnknownField, "colour", change(`{"colour":7}`))

	for _, name := range []string{"b", "a", "c"} {
		want[client.EventType](h, 201, post(types, `{"name":"`+name+`"}`))
	}
	var names []string
	for cursor := ""; ; {
		page := want[client.Page[client.EventType]](h, 200, get(types+"?limit=3"+cursor))
		for _, one := range page.Data {
			names = append(names, one.Name)
		}
		if page.NextCursor == nil {
			break
		}
		cursor = "&cursor=" + *page.NextCursor
	}
	if !slices.Equal(names, []string{"a", "b", "c", "payment.settled"}) {
		t.Errorf("by name: %v", names)
	}
	want[struct{}](h, 204, call{"DELETE", types + "/a", liveKey, nil, nil})
	refused(h, 404, hook.CodeNotFound, "", get(types+"/a"))
	refused(h, 404, hook.CodeNotFound, "", call{"DELETE", types + "/a", liveKey, nil, nil})

	// Every key may read; operators may write.
	h.tenant("acme")
	for _, kind := range []string{"tenant", "publisher"} {
		key := h.key(kind, "acme")
		want[client.Page[client.EventType]](h, 200, call{"GET", types, key, nil, nil})
		refused(h, 403, hook.CodeForbidden, "", call{"POST", types, key, `{"name":"x"}`, nil})
		refused(h, 403, hook.CodeForbidden, "", call{"PATCH", types + "/b", key, `{"description":"x"}`, nil})
		refused(h, 403, hook.CodeForbidden, "", call{"DELETE", types + "/b", key, nil, nil})
	}
}

func TestTestEventTakesTheExampleOfTheCatalogue(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	e := h.endpoint("acme", "*")
	send := post("/v1/endpoints/"+e.ID+"/test", `{"type":"my.own"}`)
	if id := want[client.TestEvent](h, 202, send).Event; h.stored(id) != "{}" { // control: an unknown type
		t.Errorf("without an entry: %s", h.stored(id))
	}
	want[client.EventType](h, 201, post("/v1/event-types", `{"name":"my.own","example":{"mine": true}}`))
	if id := want[client.TestEvent](h, 202, send).Event; h.stored(id) != `{"mine": true}` {
		t.Errorf("with an entry: %s", h.stored(id))
	}
}

func TestProfiles(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	list := want[client.Page[client.Profile]](h, 200, call{"GET", "/v1/profiles", h.key("tenant", "acme"), nil, nil}).Data
	var names []string
	for _, p := range list {
		names = append(names, p.Name)
		if p.Default != (p.Name == "standard") || p.Timeout == "" || p.Description == "" || len(p.Headers) == 0 {
			t.Errorf("%+v", p)
		}
		for _, known := range p.EventTypes {
			if known.Name == "" || len(known.Example) == 0 || len(known.Body) == 0 {
				t.Errorf("%s: %+v", p.Name, known)
			}
		}
	}
	if !slices.Equal(names, []string{"paysway", "paysway-2025-09", "paywise", "slack", "standard", "teams"}) {
		t.Errorf("%v", names)
	}
	standard := list[4]
	if !slices.Contains(standard.Headers, "webhook-signature") || len(standard.Retry.Steps) != 9 || standard.Timeout != "20s" || !standard.IPHosts {
		t.Errorf("%+v", standard)
	}
}
