package native_test

import (
	"database/sql"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/api/isolationtest"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/store"
)

// victims returns a world with a tenant "victim" that has one of everything in live
// mode.
func victims(t *testing.T) isolationtest.World {
	t.Helper()
	dir := ""
	h := newTestAPI(t, func(a *app.Options, s *store.Options) { a.AllowReveal, dir = true, s.Dir })
	for _, tenant := range []string{"victim", "other", "broker", "ghost"} {
		h.tenant(tenant)
	}
	made := want[client.Endpoint](h, 201, post("/v1/endpoints", `{"tenant":"victim","url":"https://hooks.example.com/canary-url-token",
		"event_types":["*"],"channels":["canary-channel"],"title":"canary-title","headers":{"X-Token":"canary-header"}}`))
	made.Secret = want[client.RotatedSecret](h, 200, post("/v1/endpoints/"+made.ID+"/secret/rotate", "{}")).Secret // so that there are two secrets
	published := want[client.Published](h, 202, post("/v1/events", `{"tenant":"victim","type":"a.b","data":{"x":"canary-data"},"channels":["canary-channel"],"tags":{"order":"canary-tag"}}`))
	delivery := want[client.Page[client.Delivery]](h, 200, get("/v1/deliveries?tenant=victim")).Data[0]
	want[client.EventType](h, 201, post("/v1/event-types", `{"name":"a.b","description":"mark of the catalogue"}`))
	replay := *want[client.Replay](h, 201, post("/v1/replays", `{"endpoint":"`+made.ID+`","source":"all"}`)).ID
	erased := want[client.Published](h, 202, post("/v1/events", `{"tenant":"victim","type":"a.b","data":{}}`)).ID
	erasure := want[client.Erasure](h, 202, post("/v1/erasures", `{"event":"`+erased+`"}`)).ID
	session := want[client.PortalSession](h, 201, post("/v1/portal/sessions", `{"tenant":"victim"}`)).ID
	grant := want[client.PartnerUser](h, 201, post("/v1/partner-users", `{"partner":"other","user":"u-1","tenant":"victim"}`))
	h.endpoint("other", "*")
	h.event("other", "a.b")
	ghost := h.key("tenant", "ghost")
	want[struct{}](h, 204, call{"DELETE", "/v1/tenants/ghost", liveKey, nil, nil})
	mint := func(by, body string) client.Key {
		return want[client.Key](h, 201, call{"POST", "/v1/keys", by, body, nil})
	}
	revoked := func(body string) string {
		k := mint(liveKey, body)
		want[struct{}](h, 204, call{"DELETE", "/v1/keys/" + k.ID, liveKey, nil, nil})
		return k.Key
	}
	tenantKey, publisher := mint(liveKey, `{"kind":"tenant","tenant":"victim"}`), mint(liveKey, `{"kind":"publisher","tenant":"victim"}`)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "posthorn.db")+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	last := tenantKey.Key[len(tenantKey.Key)-1:]
	return isolationtest.World{
		Handler: h.handler, Routes: h.document().routes(),
		Rows: wallRows(made.ID, published.ID, delivery.ID, replay, tenantKey.ID, grant.ID, session, erasure),
		Owners: []isolationtest.Identity{isolationtest.Bearer("the operator", liveKey), isolationtest.Bearer("the tenant", tenantKey.Key),
			isolationtest.Bearer("the publisher", publisher.Key)},
		Foreign: []isolationtest.Identity{
			{Name: "nobody"},
			isolationtest.Bearer("an empty key", ""),
			isolationtest.Bearer("a made-up key", app.NewKeyText(2, "operator")),
			isolationtest.Bearer("a mistyped key", strings.TrimSuffix(tenantKey.Key, last)+map[bool]string{true: "b", false: "a"}[last == "a"]),
			{Name: "a key by Basic", Header: http.Header{"Authorization": {"Basic " + tenantKey.Key}}},
			{Name: "two keys", Header: http.Header{"Authorization": {"Bearer " + tenantKey.Key, "Bearer " + liveKey}}},
			isolationtest.Bearer("a revoked tenant key", revoked(`{"kind":"tenant","tenant":"victim"}`)),
			isolationtest.Bearer("a revoked operator", revoked(`{"kind":"operator"}`)),
			isolationtest.Bearer("a deleted tenant", ghost),
			isolationtest.Bearer("another tenant", h.key("tenant", "other")),
			isolationtest.Bearer("another publisher", h.key("publisher", "other")),
			isolationtest.Bearer("the test operator", testKey),
			isolationtest.Bearer("a minted test operator", mint(testKey, `{"kind":"operator"}`).Key),
			isolationtest.Bearer("the tenant in test mode", mint(testKey, `{"kind":"tenant","tenant":"victim"}`).Key),
			isolationtest.Bearer("the publisher in test mode", mint(testKey, `{"kind":"publisher","tenant":"victim"}`).Key),
		},
		Canaries: []string{made.ID, made.Secret, "canary-", delivery.ID, published.ID, replay, tenantKey.ID, publisher.ID, grant.ID, session, erasure},
		Hash: func() string {
			sum, err := isolationtest.HashRows(db, "victim", 2)
			if err != nil {
				t.Fatal(err)
			}
			return sum
		},
	}
}

// These identities may act lawfully: a key of test mode in test mode, another tenant's
// key on its own objects. All keys of a mode may read the catalogue and the formats.
var (
	testOperators = []string{"the test operator", "a minted test operator"}
	liveTenants   = []string{"another tenant", "the tenant"}
	testKeys      = append([]string{"the tenant in test mode"}, testOperators...)
	publishers    = []string{"another publisher", "the publisher", "the publisher in test mode"}
)

func names(lists ...[]string) []string {
	var all []string
	for _, list := range lists {
		all = append(all, list...)
	}
	return all
}

func wallRows(endpoint, event, delivery, replay, key, grant, session, erasure string) []isolationtest.Row {
	const operator, tenant, publisher = "the operator", "the tenant", "the publisher"
	const body = `{"tenant":"victim","type":"a.b","data":{"n":1}}`
	both := []string{operator} // operators may do what the tenant's own keys may do
	item := func(route, path, body string) isolationtest.Row {
		return isolationtest.Row{Route: route, Path: path, Body: body, Owner: tenant, Lawful: both}
	}
	list := func(route, path string) isolationtest.Row {
		return isolationtest.Row{Route: route, Path: path, Owner: tenant, Lawful: names(both, testKeys)}
	}
	own := func(route, path string) isolationtest.Row {
		return isolationtest.Row{Route: route, Path: path, Owner: tenant, Lawful: names(both, liveTenants, testKeys)}
	}
	rows := []isolationtest.Row{
		item("GET /v1/endpoints/{id}", "/v1/endpoints/"+endpoint, ""),
		item("PATCH /v1/endpoints/{id}", "/v1/endpoints/"+endpoint, `{"title":"taken"}`),
		item("DELETE /v1/endpoints/{id}", "/v1/endpoints/"+endpoint, ""),
		item("GET /v1/endpoints/{id}/stats", "/v1/endpoints/"+endpoint+"/stats", ""),
		item("POST /v1/endpoints/{id}/test", "/v1/endpoints/"+endpoint+"/test", "{}"),
		item("POST /v1/endpoints/{id}/verify", "/v1/endpoints/"+endpoint+"/verify", "{}"),
		{Route: "POST /v1/endpoints/{id}/verify", Path: "/v1/endpoints/" + endpoint + "/verify", Body: `{"trust":true}`, Owner: operator},
		item("POST /v1/endpoints/{id}/secret/rotate", "/v1/endpoints/"+endpoint+"/secret/rotate", "{}"),
		item("POST /v1/endpoints/{id}/secret/expire", "/v1/endpoints/"+endpoint+"/secret/expire", ""),
		item("POST /v1/endpoints/{id}/secret/reveal", "/v1/endpoints/"+endpoint+"/secret/reveal", ""),
		item("GET /v1/events/{id}", "/v1/events/"+event, ""),
		item("GET /v1/events/{id}/explain", "/v1/events/"+event+"/explain", ""),
		item("POST /v1/events/{id}/resend", "/v1/events/"+event+"/resend", ""),
		item("POST /v1/events/{id}/resend", "/v1/events/"+event+"/resend?tenant=victim", `{"endpoint":"`+endpoint+`"}`),
		item("GET /v1/deliveries/{id}", "/v1/deliveries/"+delivery, ""),
		item("POST /v1/deliveries/{id}/retry", "/v1/deliveries/"+delivery+"/retry", ""),
		item("POST /v1/deliveries/{id}/cancel", "/v1/deliveries/"+delivery+"/cancel", ""),

		item("POST /v1/replays", "/v1/replays", `{"endpoint":"`+endpoint+`","source":"all"}`),
		item("GET /v1/replays/{id}", "/v1/replays/"+replay, ""),
		item("POST /v1/replays/{id}/pause", "/v1/replays/"+replay+"/pause", ""),
		item("POST /v1/replays/{id}/resume", "/v1/replays/"+replay+"/resume", ""),
		item("POST /v1/replays/{id}/cancel", "/v1/replays/"+replay+"/cancel", ""),
		list("GET /v1/replays", "/v1/replays?tenant=victim"),
		own("GET /v1/replays", "/v1/replays?endpoint="+endpoint),
		{Route: "POST /v1/events/match", Path: "/v1/events/match", Body: `{"tenant":"victim","type":"a.b","channels":["canary-channel"]}`, Owner: publisher,
			Lawful: names(both, testKeys, []string{tenant, "the publisher in test mode"})},

		list("GET /v1/audit", "/v1/audit?tenant=victim"),
		own("GET /v1/audit", "/v1/audit?object=endpoint"),
		own("GET /v1/search", "/v1/search?q="+event),
		own("GET /v1/search", "/v1/search?q="+delivery[:23]),
		own("GET /v1/search", "/v1/search?q="+endpoint[:13]),
		own("GET /v1/search", "/v1/search?q="+replay),
		{Route: "GET /v1/search", Path: "/v1/search?q=" + key, Owner: operator, Lawful: names(liveTenants, testKeys)},
		own("GET /v1/events", "/v1/events?tag=order:canary-tag"),
		own("GET /v1/deliveries", "/v1/deliveries?tag=order:canary-tag"),
		own("GET /v1/events", "/v1/events?channel=canary-channel"),
		own("GET /v1/deliveries", "/v1/deliveries?channel=canary-channel"),
		list("GET /v1/stats", "/v1/stats?tenant=victim"),
		list("GET /v1/tenants/{id}/stats", "/v1/tenants/victim/stats"),
		own("GET /v1/stats", "/v1/stats?step=1m"),
		{Route: "GET /v1/deliveries/counts", Path: "/v1/deliveries/counts?tenant=victim", Owner: tenant, Lawful: names(both, testKeys), Inert: "numbers have no text of the victim's"},
		{Route: "GET /v1/deliveries/counts", Path: "/v1/deliveries/counts?endpoint=" + endpoint, Owner: tenant, Lawful: both, Inert: "numbers have no text of the victim's"},
		list("GET /v1/endpoints", "/v1/endpoints?tenant=victim"),
		list("GET /v1/events", "/v1/events?tenant=victim"),
		list("GET /v1/deliveries", "/v1/deliveries?tenant=victim"),
		own("GET /v1/endpoints", "/v1/endpoints?event_type=a.b"),
		own("GET /v1/events", "/v1/events?type=a.b&after=2020-01-01T00:00:00Z"),
		own("GET /v1/deliveries", "/v1/deliveries?endpoint="+endpoint),
		own("GET /v1/deliveries", "/v1/deliveries?event="+event),
		{Route: "POST /v1/endpoints", Path: "/v1/endpoints", Body: `{"tenant":"victim","url":"https://hooks.example.com/","event_types":["*"]}`,
			Owner: tenant, Lawful: names(both, testKeys)},

		{Route: "POST /v1/events", Path: "/v1/events", Body: body, Owner: publisher, Lawful: names(both, testOperators, []string{"the publisher in test mode"})},
		{Route: "POST /v1/events/batch", Path: "/v1/events/batch", Body: "[" + body + "]", Owner: publisher,
			// A batch has a result for each item: the refusals are inside a 202.
			Lawful: names(both, testOperators, []string{"the publisher in test mode", "another publisher"})},

		{Route: "POST /v1/tenants", Path: "/v1/tenants", Body: `{"id":"victim"}`, Owner: operator, Lawful: testOperators,
			Inert: "the tenant exists"},
		{Route: "GET /v1/tenants", Path: "/v1/tenants", Owner: operator, Lawful: testOperators, Inert: "a tenant spans both modes"},
		{Route: "GET /v1/tenants/{id}", Path: "/v1/tenants/victim", Owner: operator, Lawful: testOperators, Inert: "a tenant spans both modes"},
		{Route: "PATCH /v1/tenants/{id}", Path: "/v1/tenants/victim", Body: `{"name":"taken"}`, Owner: operator},
		{Route: "DELETE /v1/tenants/{id}", Path: "/v1/tenants/victim", Owner: operator},
		{Route: "GET /v1/tenants/{id}/retention", Path: "/v1/tenants/victim/retention", Owner: operator, Lawful: testOperators, Inert: "durations are nothing of the victim's"},
		{Route: "PATCH /v1/tenants/{id}/retention", Path: "/v1/tenants/victim/retention", Body: `{"payloads":"1h"}`, Owner: operator, Lawful: testOperators},
		{Route: "GET /v1/disk", Path: "/v1/disk", Owner: operator, Lawful: testOperators, Inert: "numbers are nothing of the victim's"},
		{Route: "GET /v1/disk", Path: "/v1/disk?tenant=victim", Owner: operator, Lawful: testOperators, Inert: "numbers are nothing of the victim's"},
		{Route: "POST /v1/keys", Path: "/v1/keys", Body: `{"kind":"tenant","tenant":"victim"}`, Owner: operator, Lawful: testOperators},
		{Route: "GET /v1/keys", Path: "/v1/keys", Owner: operator, Lawful: testOperators},
		{Route: "DELETE /v1/keys/{id}", Path: "/v1/keys/" + key, Owner: operator},

		{Route: "POST /v1/partner-users", Path: "/v1/partner-users", Body: `{"partner":"other","user":"u-2","tenant":"victim"}`,
			Owner: operator, Lawful: testOperators},
		{Route: "GET /v1/partner-users", Path: "/v1/partner-users", Owner: operator, Lawful: testOperators},
		{Route: "DELETE /v1/partner-users/{id}", Path: "/v1/partner-users/" + grant, Owner: operator},

		{Route: "POST /v1/erasures", Path: "/v1/erasures", Body: `{"tenant":"victim"}`, Owner: operator},
		{Route: "POST /v1/erasures", Path: "/v1/erasures", Body: `{"event":"` + event + `"}`, Owner: operator},
		{Route: "GET /v1/erasures", Path: "/v1/erasures", Owner: operator, Lawful: testOperators},
		{Route: "GET /v1/erasures/{id}", Path: "/v1/erasures/" + erasure, Owner: operator},
		{Route: "POST /v1/reclaim", Path: "/v1/reclaim", Owner: operator, Inert: "the file belongs to nobody"},
		{Route: "POST /v1/portal/sessions", Path: "/v1/portal/sessions", Body: `{"tenant":"victim"}`, Owner: tenant, Lawful: names(both, testKeys)},
		{Route: "GET /v1/portal/sessions", Path: "/v1/portal/sessions?tenant=victim", Owner: tenant, Lawful: names(both, testKeys)},
		{Route: "DELETE /v1/portal/sessions", Path: "/v1/portal/sessions?tenant=victim", Owner: tenant, Lawful: names(both, testKeys)},
		{Route: "DELETE /v1/portal/sessions/{id}", Path: "/v1/portal/sessions/" + session, Owner: tenant, Lawful: both},
		{Route: "POST /v1/ui/links", Path: "/v1/ui/links", Owner: operator, Lawful: testOperators, Inert: "a link belongs to the key that makes it"},

		{Route: "GET /v1/master-keys", Path: "/v1/master-keys", Owner: operator, Inert: "the keys of the house"},
		{Route: "POST /v1/master-keys/rotate", Path: "/v1/master-keys/rotate", Owner: operator, Inert: "the keys of the house"},
		{Route: "DELETE /v1/master-keys/{id}", Path: "/v1/master-keys/00000000", Owner: operator, Inert: "the keys of the house"},
		{Route: "POST /v1/event-types", Path: "/v1/event-types", Body: `{"name":"new.one"}`, Owner: operator, Lawful: testOperators},
		{Route: "PATCH /v1/event-types/{id}", Path: "/v1/event-types/a.b", Body: `{"description":"taken"}`, Owner: operator},
		{Route: "DELETE /v1/event-types/{id}", Path: "/v1/event-types/a.b", Owner: operator},
	}
	for _, route := range []string{"GET /healthz", "GET /readyz", "GET /version", "GET /openapi.json"} {
		_, path, _ := strings.Cut(route, " ")
		rows = append(rows, isolationtest.Row{Route: route, Path: path})
	}
	return append(rows, shared()...)
}

// shared returns the routes that every key of a mode may read.
func shared() []isolationtest.Row {
	everybody := names(liveTenants, testKeys, publishers)
	return []isolationtest.Row{
		{Route: "GET /v1/profiles", Path: "/v1/profiles", Owner: "the operator", Lawful: everybody, Inert: "the formats belong to nobody"},
		{Route: "GET /v1/event-types", Path: "/v1/event-types", Owner: "the operator", Lawful: everybody, Inert: "the catalogue belongs to the mode"},
		{Route: "GET /v1/event-types/{id}", Path: "/v1/event-types/a.b", Owner: "the operator", Lawful: everybody, Inert: "the catalogue belongs to the mode"},
		{Route: "GET /v1/event-types/{id}/differences", Path: "/v1/event-types/a.b/differences", Owner: "the operator", Lawful: everybody, Inert: "the catalogue belongs to the mode"},
		{Route: "GET /v1/event-types/{id}/subscribers", Path: "/v1/event-types/a.b/subscribers", Owner: "the operator", Lawful: names(liveTenants, testKeys), Inert: "TestSubscribersOfOthersAreNotCounted has what each key may count"},
	}
}

func TestIsolation(t *testing.T) { isolationtest.Run(t, victims(t)) }

// TestIsolationControl shows that the same calls have visible effects when they
// succeed.
func TestIsolationControl(t *testing.T) {
	isolationtest.Control(t, len(victims(t).Rows), victims)
}

// A missing row, and a caller who sees and changes what it must not, are each found.
func TestIsolationFindsFaults(t *testing.T) {
	w := victims(t)
	for name, spoil := range map[string]func(*isolationtest.World){
		"a route without a row": func(w *isolationtest.World) { w.Routes = append(w.Routes, "GET /v1/forgotten") },
		"an owner among the foreign": func(w *isolationtest.World) {
			w.Foreign = append(w.Foreign, isolationtest.Bearer("a thief", liveKey))
		},
	} {
		spoiled := w
		spoil(&spoiled)
		if findings := isolationtest.Check(spoiled); len(findings) == 0 {
			t.Errorf("%s was not noticed", name)
		}
	}
}

func TestCatalogueOfTheOtherModeIsNotSeen(t *testing.T) {
	h := newTestAPI(t)
	want[client.EventType](h, 201, post("/v1/event-types", `{"name":"a.b","description":"mark of the catalogue"}`))
	for key, seen := range map[string]bool{liveKey: true, testKey: false} {
		list := h.do(call{"GET", "/v1/event-types", key, nil, nil}).Body.String()
		one := h.do(call{"GET", "/v1/event-types/a.b", key, nil, nil}).Body.String()
		if strings.Contains(list, "mark") != seen || strings.Contains(one, "mark") != seen {
			t.Errorf("%.4s: %s %s", key, list, one)
		}
	}
}

// A named endpoint is looked up only in the tenant of the event.
func TestResendToAnotherTenantsEndpoint(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	h.tenant("other")
	mine, theirs := h.endpoint("acme", "*"), h.endpoint("other", "*")
	e := h.event("acme", "a.b")
	c := call{"POST", "/v1/events/" + e.ID + "/resend", h.key("tenant", "acme"), `{"endpoint":"` + theirs.ID + `"}`, nil}
	refused(h, 404, "not_found", "", c)
	c.key = liveKey // the operator may use both, but not together
	refused(h, 404, "not_found", "", c)
	c.body = `{"endpoint":"` + mine.ID + `"}` // control
	want[client.Resent](h, 202, c)
}
