package native_test

import (
	"slices"
	"strings"
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
	if !slices.Equal(names, []string{"paysway", "paysway-2025-09", "paywise", "slack", "standard", "svix", "teams"}) {
		t.Errorf("%v", names)
	}
	standard := list[4]
	if !slices.Contains(standard.Headers, "webhook-signature") || len(standard.Retry.Steps) != 9 || standard.Timeout != "20s" || !standard.IPHosts {
		t.Errorf("%+v", standard)
	}
}

// The versions of a type: which one an event is checked against, how the version changes,
// and what is refused.
func TestEventTypeVersions(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	const types = "/v1/event-types"
	one := want[client.EventType](h, 201, post(types, `{"name":"pay.in","check":"reject","schema":{"required":["a"]},"example":{"a":1}}`))
	if one.Version != 1 || len(one.OtherVersions) != 0 {
		t.Errorf("%+v", one)
	}
	change := func(body string) call { return call{"PATCH", types + "/pay.in", liveKey, body, nil} }
	event := func(version, data string) call {
		return post("/v1/events", `{"tenant":"acme","type":"pay.in",`+version+`"data":`+data+`}`)
	}
	two := want[client.EventType](h, 200, change(`{"version":2,"schema":{"required":["b"]}}`))
	if two.Version != 2 || string(two.Example) != `{"a":1}` || len(two.OtherVersions) != 1 || two.OtherVersions[0].Version != 1 || string(two.OtherVersions[0].Schema) != `{"required":["a"]}` {
		t.Errorf("the second version: %+v", two)
	}
	for _, c := range []struct {
		version, data string
		refusedAt     string
	}{{"", `{"b":1}`, ""}, {"", `{"a":1}`, "data"}, {`"type_version":2,`, `{"a":1}`, "data"}, {`"type_version":1,`, `{"a":1}`, ""}, {`"type_version":1,`, `{"b":1}`, "data"},
		{`"type_version":null,`, `{"b":1}`, ""}, {`"type_version":3,`, `{"a":1,"b":1}`, "type_version"}} {
		if c.refusedAt == "" {
			want[client.Published](h, 202, event(c.version, c.data))
		} else {
			refused(h, 422, hook.CodeDataInvalid, c.refusedAt, event(c.version, c.data))
		}
	}
	for _, bad := range []string{"0", "-1", "1.0", "1e0", `"1"`, "10001", "99999999999999999999", "true", "[]"} {
		refused(h, 422, hook.CodeInvalidRequest, "type_version", event(`"type_version":`+bad+`,`, `{}`))
	}
	// A type that is not checked accepts any version, as it accepts any data.
	want[client.Published](h, 202, post("/v1/events", `{"tenant":"acme","type":"other","type_version":7,"data":{}}`))

	back := want[client.EventType](h, 200, change(`{"version":1}`))
	if back.Version != 1 || string(back.Schema) != `{"required":["a"]}` || len(back.OtherVersions) != 1 || back.OtherVersions[0].Version != 2 {
		t.Errorf("back to the first: %+v", back)
	}
	want[client.Published](h, 202, event("", `{"a":1}`))
	want[client.EventType](h, 200, change(`{"version":7,"schema":{"required":["c"]}}`))
	p := refused(h, 422, hook.CodeInvalidRequest, "version", change(`{"version":5}`)) // it never existed, and is below 7
	if !strings.Contains(p.Detail, "1, 2 and 7") {
		t.Error(p.Detail)
	}
	for body, field := range map[string]string{
		`{"version":0}`:                                    "version",
		`{"version":null}`:                                 "version",
		`{"version":"8"}`:                                  "version",
		`{"version":10001}`:                                "version",
		`{"other_versions":[{"version":7}]}`:               "other_versions/0/version",
		`{"other_versions":[{"version":0}]}`:               "other_versions/0/version",
		`{"other_versions":[{"version":1},{"version":1}]}`: "other_versions/1/version",
		`{"other_versions":[{"version":1,"schema":{"type":"objekt"}}]}`:                              "other_versions/0/schema",
		`{"other_versions":[{"version":1,"schema":{"$ref":"http://x/"}}]}`:                           "other_versions/0/schema",
		`{"other_versions":[{"version":1,"schema":[]}]}`:                                             "other_versions/0/schema",
		`{"other_versions":[{"version":1,"example":7}]}`:                                             "other_versions/0/example",
		`{"other_versions":[` + strings.TrimSuffix(strings.Repeat(`{"version":1},`, 10), ",") + `]}`: "other_versions",
		`{"other_versions":[7]}`:                          "other_versions/0",
		`{"replacement":"x.y"}`:                           "replacement",
		`{"deprecated":true,"replacement":"*.created.*"}`: "replacement",
		`{"deprecated":true,"replacement":"pay.in"}`:      "replacement",
		`{"group":"a\u0007b"}`:                            "group",
		`{"group":"` + strings.Repeat("g", 65) + `"}`:     "group",
		`{"hidden":1}`:                                    "hidden",
	} {
		refused(h, 422, hook.CodeInvalidRequest, field, change(body))
	}
	refused(h, 422, hook.CodeInvalidRequest, "version", post(types, `{"name":"x","version":0}`))
	refused(h, 422, hook.CodeUnknownField, "other_versions/0/colour", post(types, `{"name":"x","other_versions":[{"version":2,"colour":1}]}`))

	// All versions together are bounded. A version that is removed makes room.
	large := `{"const":"` + strings.Repeat("x", 21_000) + `"}`
	want[client.EventType](h, 200, change(`{"version":8,"schema":`+large+`}`))
	want[client.EventType](h, 200, change(`{"version":9,"schema":`+large+`}`))
	refused(h, 422, hook.CodeInvalidRequest, "schema", change(`{"version":10,"schema":`+large+`}`))
	want[client.EventType](h, 200, change(`{"version":10,"schema":`+large+`,"other_versions":null}`))
}

func TestDifferencesOfVersions(t *testing.T) {
	h := newTestAPI(t)
	want[client.EventType](h, 201, post("/v1/event-types", `{"name":"a/b","version":4,"schema":{"type":"object","required":["id"]},"other_versions":[{"version":2,"schema":{"type":"object"}},{"version":3}]}`))
	diff := func(query string) client.TypeDifferences {
		return want[client.TypeDifferences](h, 200, get("/v1/event-types/a%2Fb/differences"+query))
	}
	if d := diff(""); d.From != 3 || d.To != 4 || len(d.Differences) != 1 || d.Differences[0].Effect != "compatible" {
		t.Errorf("%+v", d)
	}
	if d := diff("?from_version=4&to_version=2"); d.From != 4 || d.To != 2 || len(d.Differences) != 1 ||
		d.Differences[0] != (client.TypeDifference{Pointer: "/id", Effect: "breaking", Message: "The member may be left out now."}) {
		t.Errorf("%+v", d)
	}
	if d := diff("?to_version=2"); d.From != 2 || len(d.Differences) != 0 {
		t.Errorf("the first version: %+v", d)
	}
	refused(h, 422, hook.CodeInvalidRequest, "from_version", get("/v1/event-types/a%2Fb/differences?from_version=1"))
	refused(h, 404, hook.CodeNotFound, "", get("/v1/event-types/none/differences"))
}

// Tenants neither see a hidden type nor get its example, and it can be published.
func TestHiddenTypes(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	e := h.endpoint("acme", "*")
	tenant, publisher := h.key("tenant", "acme"), h.key("publisher", "acme")
	want[client.EventType](h, 201, post("/v1/event-types", `{"name":"open.one","group":"G","deprecated":true,"replacement":"open.two"}`))
	want[client.EventType](h, 201, post("/v1/event-types", `{"name":"secret.one","hidden":true,"example":{"canary":1}}`))
	for key, seen := range map[string]int{liveKey: 2, publisher: 2, tenant: 1} {
		as := func(path string) call { return call{"GET", "/v1/event-types" + path, key, nil, nil} }
		if list := want[client.Page[client.EventType]](h, 200, as("")).Data; len(list) != seen {
			t.Errorf("%d types, want %d", len(list), seen)
		}
		if list := want[client.Page[client.EventType]](h, 200, as("?hidden=true")).Data; len(list) != seen-1 {
			t.Errorf("%d hidden types, want %d", len(list), seen-1)
		}
		if list := want[client.Page[client.EventType]](h, 200, as("?group=G&deprecated=true&hidden=false")).Data; len(list) != 1 || list[0].Replacement != "open.two" {
			t.Errorf("by group: %+v", list)
		}
	}
	for _, path := range []string{"", "/differences", "/subscribers"} {
		refused(h, 404, hook.CodeNotFound, "", call{"GET", "/v1/event-types/secret.one" + path, tenant, nil, nil})
	}
	want[client.Published](h, 202, post("/v1/events", `{"tenant":"acme","type":"secret.one","data":{}}`))
	for key, data := range map[string]string{tenant: `{}`, liveKey: `{"canary":1}`} {
		if id := want[client.TestEvent](h, 202, call{"POST", "/v1/endpoints/" + e.ID + "/test", key, `{"type":"secret.one"}`, nil}).Event; h.stored(id) != data {
			t.Errorf("the test event has %s, want %s", h.stored(id), data)
		}
	}
}

func TestSubscribersOfOthersAreNotCounted(t *testing.T) {
	h := newTestAPI(t)
	want[client.EventType](h, 201, post("/v1/event-types", `{"name":"a.b"}`))
	h.tenant("acme")
	h.tenant("other")
	h.endpoint("acme", "a.*")
	h.endpoint("acme", "x")
	h.patch(h.endpoint("other", "a.b").ID, `{"enabled":false}`)
	h.endpoint("other", "*")
	count := func(key string) call { return call{"GET", "/v1/event-types/a.b/subscribers", key, nil, nil} }
	for key, number := range map[string]client.Subscribers{liveKey: {Endpoints: 3, Enabled: 2, Tenants: 2}, h.key("tenant", "acme"): {Endpoints: 1, Enabled: 1, Tenants: 1},
		h.key("tenant", "other"): {Endpoints: 2, Enabled: 1, Tenants: 1}} {
		if got := want[client.Subscribers](h, 200, count(key)); got != number {
			t.Errorf("%+v, want %+v", got, number)
		}
	}
	refused(h, 403, hook.CodeForbidden, "", count(h.key("publisher", "acme")))
	refused(h, 404, hook.CodeNotFound, "", get("/v1/event-types/none/subscribers"))
	refused(h, 404, hook.CodeNotFound, "", call{"GET", "/v1/event-types/a.b/subscribers", testKey, nil, nil})
}
