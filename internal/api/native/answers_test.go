package native_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/posthorn/posthorn/client"
	apilisten "github.com/posthorn/posthorn/internal/api/listen"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/listen"
	"github.com/posthorn/posthorn/internal/store"
)

// exchange is one response of the server to a documented route.
type exchange struct {
	route   string // "METHOD /path" of the document
	status  int
	content string
	body    []byte
}

// visitor makes calls and keeps the responses.
type visitor struct {
	*testAPI
	seen []exchange
}

func (v *visitor) visit(route string, c call) []byte {
	v.t.Helper()
	w := v.do(c)
	body := w.Body.Bytes()
	v.seen = append(v.seen, exchange{route, w.Code, w.Header().Get("Content-Type"), body})
	return body
}

// at calls a route with the operator's key, with id in place of each {id}.
func (v *visitor) at(route, id, query string, body any) []byte {
	v.t.Helper()
	method, path, _ := strings.Cut(route, " ")
	return v.visit(route, call{method, strings.ReplaceAll(path, "{id}", id) + query, liveKey, body, nil})
}

// things are the ids with which routes are called, by the beginning of the path.
type things map[string]string

func (ids things) of(route string) string {
	_, path, _ := strings.Cut(route, " ")
	for prefix, id := range ids {
		if strings.HasPrefix(path, prefix) {
			return id
		}
	}
	return ""
}

// bodiesOf has a body for each route that accepts one.
var bodiesOf = map[string]string{
	"POST /v1/events":                       `{"tenant":"acme","type":"a.b","data":{"n":1}}`,
	"POST /v1/events/batch":                 `[{"tenant":"acme","type":"a.b","data":{}},{"tenant":"acme","type":""}]`,
	"POST /v1/events/{id}/resend":           `{}`,
	"POST /v1/events/match":                 `{"tenant":"acme","type":"a.b"}`,
	"POST /v1/replays":                      `{"endpoint":"ENDPOINT","source":"all","event_types":["a.*"],"rate":0.5}`,
	"POST /v1/erasures":                     `{"tenant":"gone"}`,
	"POST /v1/endpoints":                    `{"tenant":"acme","url":"https://hooks.example.com/in","event_types":["*"],"headers":{"X-A":"b"},"retry":{"first":"5s","max_age":"1h"}}`,
	"PATCH /v1/endpoints/{id}":              `{"title":"T","retry":{"steps":["5s"]}}`,
	"POST /v1/endpoints/{id}/test":          `{}`,
	"POST /v1/endpoints/{id}/verify":        `{}`,
	"POST /v1/deliveries/{id}/retry":        `{}`,
	"POST /v1/tenants":                      `{"name":"N"}`,
	"PATCH /v1/tenants/{id}":                `{"name":"Acme"}`,
	"POST /v1/keys":                         `{"kind":"tenant","tenant":"acme","name":"n"}`,
	"POST /v1/event-types":                  `{"name":"b.c","schema":{"type":"object"}}`,
	"PATCH /v1/event-types/{id}":            `{"example":{"a":1}}`,
	"POST /v1/portal/sessions":              `{"tenant":"acme","capabilities":["view","test"],"frame_origins":["https://app.example.com"],"theme":{"accent":"#ffff00"}}`,
	"POST /v1/partner-users":                `{"partner":"broker","user":"v","tenant":"acme"}`,
	"POST /v1/endpoints/{id}/secret/rotate": `{}`,
}

// liveAnswers calls every route of the document on a server that has objects in every
// state, successfully and with the usual refusals.
func liveAnswers(t *testing.T) (map[string]any, []exchange) {
	t.Helper()
	v := &visitor{testAPI: newTestAPI(t, func(o *app.Options, _ *store.Options) { o.AllowReveal = true })}
	var doc map[string]any
	if err := json.Unmarshal(v.do(call{"GET", "/openapi.json", "", nil, nil}).Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	ids := v.furnish()
	routes := v.document().routes()
	slices.SortStableFunc(routes, func(a, b string) int { return rank(a) - rank(b) })
	for _, route := range routes {
		var body any
		if text, ok := bodiesOf[route]; ok {
			body = strings.ReplaceAll(text, "ENDPOINT", ids["/v1/endpoints/"])
		}
		v.refusals(route, ids, body)
		v.at(route, ids.of(route), "", body)
		if strings.HasPrefix(route, "GET ") && strings.Contains(route, "{id}") {
			tag := v.do(get(strings.ReplaceAll(route[4:], "{id}", ids.of(route)))).Header().Get("ETag")
			v.visit(route, call{"GET", strings.ReplaceAll(route[4:], "{id}", ids.of(route)), liveKey, nil, map[string]string{"If-None-Match": tag}})
		}
	}
	v.ready = errors.New("away")
	v.at("GET /readyz", "", "", nil)
	v.listened()
	return doc, v.seen
}

// rank orders the routes so that those that delete come last.
func rank(route string) int {
	switch {
	case strings.HasPrefix(route, "DELETE /v1/tenants"):
		return 5
	case strings.HasPrefix(route, "DELETE"):
		return 4
	case strings.HasSuffix(route, "/cancel"):
		return 3
	case strings.HasPrefix(route, "PATCH"):
		return 2
	case strings.HasPrefix(route, "POST"):
		return 1
	}
	return 0
}

// furnish creates one of everything, with and without the members that may be null.
func (v *visitor) furnish() things {
	v.tenant("acme")
	v.tenant("broker")
	e := v.endpoint("acme", "a.*")
	empty, off := v.endpoint("acme", "none"), v.endpoint("acme", "*")
	full := want[client.Endpoint](v.testAPI, 201, post("/v1/endpoints", `{"tenant":"acme","url":"https://hooks.example.com/in","event_types":["a.*"],
		"max_consecutive_failures":9,"max_in_flight":3,"retry":{"steps":["5s"],"then":"repeat"}}`))
	want[client.EventType](v.testAPI, 201, post("/v1/event-types", `{"name":"a.b"}`))
	event := v.event("acme", "a.b")
	for _, d := range want[client.Event](v.testAPI, 200, get("/v1/events/"+event.ID)).Deliveries {
		switch d.Endpoint {
		case e.ID:
			v.settle(d.ID, func(o *hook.Outcome) {
				o.Success, o.Status, o.ResponseHeaders, o.ResponseBody = true, 200, []byte("A: b\n"), []byte("ok")
			})
			v.at("GET /v1/deliveries/{id}", d.ID, "", nil)
			v.at("POST /v1/deliveries/{id}/cancel", d.ID, "", nil) // settled: refused
		case full.ID:
			v.settle(d.ID, func(o *hook.Outcome) { o.Class, o.Message = hook.ClassTimeout, "m" })
			v.at("GET /v1/deliveries/{id}", d.ID, "", nil)
		}
	}
	v.at("GET /v1/endpoints/{id}", full.ID, "", nil)
	v.at("GET /v1/endpoints/{id}/stats", empty.ID, "", nil)
	v.at("GET /v1/endpoints/{id}/stats", full.ID, "", nil)
	v.at("GET /v1/tenants/{id}/stats", "acme", "", nil)
	v.at("GET /v1/stats", "", "?step=1m", nil)
	v.at("GET /v1/search", "", "?q=acme", nil)
	v.at("PATCH /v1/endpoints/{id}", off.ID, "", `{"enabled":false}`)
	v.at("GET /v1/endpoints", "", "?enabled=false", nil)
	open := want[client.Event](v.testAPI, 200, get("/v1/events/"+v.event("acme", "a.b").ID)).Deliveries[0]
	grant := want[client.PartnerUser](v.testAPI, 201, post("/v1/partner-users", `{"partner":"broker","user":"u","tenant":"acme"}`))
	v.at("DELETE /v1/portal/sessions", "", "?tenant=acme", nil)
	session := want[client.PortalSession](v.testAPI, 201, post("/v1/portal/sessions", `{"tenant":"acme"}`))
	key := want[client.Key](v.testAPI, 201, post("/v1/keys", `{"kind":"publisher"}`))
	replay := want[client.Replay](v.testAPI, 201, post("/v1/replays", `{"endpoint":"`+e.ID+`","source":"all","state":"succeeded","status_class":"2xx"}`))
	v.at("POST /v1/replays", "", "", `{"endpoint":"`+e.ID+`","source":"all","dry_run":true,"after":"2020-01-01T00:00:00Z"}`)
	v.at("POST /v1/replays", "", "", `{"endpoint":"`+empty.ID+`","source":"failed"}`)
	v.at("POST /v1/replays", "", "", `{"endpoint":"`+off.ID+`","source":"missing","hold":true}`)
	v.tenant("gone")
	erased := v.event("acme", "erased.type").ID
	erasure := want[client.Erasure](v.testAPI, 202, post("/v1/erasures", `{"event":"`+erased+`"}`))
	return things{"/v1/erasures/": erasure.ID, "/v1/replays/": *replay.ID, "/v1/tenants/": "acme", "/v1/endpoints/": e.ID, "/v1/events/{": event.ID, "/v1/deliveries/": open.ID, "/v1/keys/": key.ID, "/v1/master-keys/": want[client.Page[client.MasterKey]](v.testAPI, 200, get("/v1/master-keys")).Data[0].ID,
		"/v1/event-types/": "a.b", "/v1/partner-users/": grant.ID, "/v1/portal/sessions/": session.ID}
}

// refusals makes the usual mistakes on a route that needs a key.
func (v *visitor) refusals(route string, ids things, body any) {
	method, path, _ := strings.Cut(route, " ")
	if !strings.HasPrefix(path, "/v1/") {
		return
	}
	path = strings.ReplaceAll(path, "{id}", ids.of(route))
	v.visit(route, call{method, path, "", body, nil})
	stranger := call{method, path, v.key("publisher", ""), body, nil}
	if body != nil {
		stranger.body = "{" // forbidden, or not JSON
	}
	v.visit(route, stranger)
	if strings.Contains(route, "{id}") {
		v.at(route, "019396e0-5c2f-7cc1-8f3d-6d1f0f1c2b3a", "", body)
	}
	if method == "GET" || method == "DELETE" {
		v.at(route, ids.of(route), "?nonsense=1", nil)
		return
	}
	if body == nil {
		return
	}
	for _, wrong := range []call{
		{method, path, liveKey, "{", nil}, {method, path, liveKey, `{"nonsense":1}`, nil},
		{method, path, liveKey, strings.Repeat(" ", 5<<20), nil}, {method, path, liveKey, body, map[string]string{"Content-Type": "text/plain"}},
	} {
		v.visit(route, wrong)
	}
}

// listened calls the routes for receivers that connect.
func (v *visitor) listened() {
	hub := listen.New(v.store, v.logger())
	server := httptest.NewServer(apilisten.New(apilisten.Options{Service: v.service, Hub: hub, Log: v.logger()}))
	defer server.Close()
	v.tenant("listener")
	ask := func(method, path, key, body string) *http.Response {
		r, _ := http.NewRequestWithContext(v.t.Context(), method, server.URL+path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+key)
		r.Header.Set("Content-Type", "application/json")
		w, err := http.DefaultClient.Do(r)
		if err != nil {
			v.t.Fatal(err)
		}
		return w
	}
	keep := func(route string, w *http.Response) {
		defer w.Body.Close()
		var text strings.Builder
		_, _ = bufio.NewReader(w.Body).WriteTo(&text) // a text that is cut off does not match the document
		v.seen = append(v.seen, exchange{route, w.StatusCode, w.Header.Get("Content-Type"), []byte(text.String())})
	}
	const stream, answers = "GET /v1/listen", "POST /v1/listen/answers"
	keep(stream, ask("GET", "/v1/listen?name=dev&tenant=listener", "none", ""))
	keep(stream, ask("GET", "/v1/listen?name=dev&tenant=nobody", liveKey, ""))
	keep(stream, ask("GET", "/v1/listen?nonsense=1", liveKey, ""))
	keep(answers, ask("POST", "/v1/listen/answers", "none", `{}`))
	keep(answers, ask("POST", "/v1/listen/answers", liveKey, `{"token":"x","status":200}`))
	keep(answers, ask("POST", "/v1/listen/answers", liveKey, `{`))

	w := ask("GET", "/v1/listen?name=dev&tenant=listener", liveKey, "")
	defer w.Body.Close()
	var all []byte
	lines := bufio.NewReader(w.Body)
	next := func(what string) (data []byte) { // the data of the next event
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				v.t.Fatalf("no %s: %v", what, err)
			}
			if text, ok := strings.CutPrefix(string(line), "data: "); ok {
				all = append(append(all, text...), '\n')
				return []byte(text)
			}
		}
	}
	var hello client.ListenHello
	_ = json.Unmarshal(next("hello"), &hello) // an id that was not decoded is not found
	id, _ := hook.ParseID(hello.Endpoint)
	target, err := v.store.Endpoint(v.t.Context(), hook.Scope{Tenant: "listener", Mode: hook.Live}, id)
	if err != nil {
		v.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = hub.Forward(context.Background(), target, &hook.Delivery{ID: hook.ID{9}, EventType: "a.b"}, // the result does not matter
			egress.Request{Headers: []hook.Header{{Name: "A", Value: "b"}}, Body: []byte("{}"), Timeout: 10 * time.Second})
	}()
	var d client.ListenDelivery
	_ = json.Unmarshal(next("delivery"), &d) // a token that was not decoded is refused
	keep(answers, ask("POST", "/v1/listen/answers", liveKey, `{"token":"`+d.Token+`","status":200,"body":"b2s="}`))
	<-done
	hub.Close()
	next("end")
	v.seen = append(v.seen, exchange{stream, w.StatusCode, w.Header.Get("Content-Type"), all})
}

// judge compares responses with the document and returns what is wrong, by route.
func judge(doc map[string]any, seen []exchange) []string {
	var out []string
	components, _ := at(doc, "components", "schemas").(map[string]any)
	v := jsonSchema{components}
	for _, x := range seen {
		method, path, _ := strings.Cut(x.route, " ")
		where := fmt.Sprintf("%s %d", x.route, x.status)
		response, _ := at(doc, "paths", path, strings.ToLower(method), "responses", strconv.Itoa(x.status)).(map[string]any)
		if ref, ok := response["$ref"].(string); ok {
			response, _ = at(doc, "components", "responses", ref[strings.LastIndex(ref, "/")+1:]).(map[string]any)
		}
		if response == nil {
			out = append(out, where+": the status is not documented: "+string(x.body))
			continue
		}
		content, _ := response["content"].(map[string]any)
		if len(content) == 0 {
			if len(x.body) > 0 {
				out = append(out, where+": a body, and none is documented")
			}
			continue
		}
		schema, ok := at(content, x.content, "schema").(map[string]any)
		if !ok {
			out = append(out, where+": "+x.content+" is not documented")
			continue
		}
		texts := [][]byte{x.body}
		if x.content == "text/event-stream" {
			texts = slices.DeleteFunc(slices.Collect(func(yield func([]byte) bool) {
				for line := range strings.Lines(string(x.body)) {
					if !yield([]byte(strings.TrimSpace(line))) {
						return
					}
				}
			}), func(b []byte) bool { return len(b) == 0 })
		}
		for _, text := range texts {
			var value any
			if err := json.Unmarshal(text, &value); err != nil {
				out = append(out, where+": "+err.Error())
				continue
			}
			out = append(out, v.check(where, schema, value)...)
		}
	}
	return out
}

// at returns a nested member, or nil if one is missing.
func at(value any, names ...string) any {
	for _, name := range names {
		members, _ := value.(map[string]any)
		value = members[name]
	}
	return value
}

// The document is right about every route: each responds successfully at least once,
// refuses, and no response contains anything that its schema does not permit.
func TestAnswersAreAsDocumented(t *testing.T) {
	doc, seen := liveAnswers(t)
	for _, wrong := range judge(doc, seen) {
		t.Error(wrong)
	}
	visited := map[string]map[int]bool{}
	for _, x := range seen {
		if visited[x.route] == nil {
			visited[x.route] = map[int]bool{}
		}
		visited[x.route][x.status/100] = true
	}
	paths, _ := doc["paths"].(map[string]any)
	for path, methods := range paths {
		for method := range methods.(map[string]any) {
			route := strings.ToUpper(method) + " " + path
			if !visited[route][2] || strings.HasPrefix(path, "/v1/") && !visited[route][4] {
				t.Errorf("%s: statuses seen: %v, want an answer and a refusal", route, slices.Sorted(maps.Keys(visited[route])))
			}
		}
	}
	t.Logf("%d answers of %d routes", len(seen), len(visited))
}

// Control: a document without nullable members, as huma generates it, is rejected
// because of these members.
func TestWrongSchemasAreNoticed(t *testing.T) {
	doc, seen := liveAnswers(t)
	forgetNull(doc)
	members := map[string]bool{}
	for _, wrong := range judge(doc, seen) {
		place, _, _ := strings.Cut(wrong, ": ")
		members[place[strings.LastIndex(place, ".")+1:]] = true
	}
	wanted := []string{"after", "attempt_time", "before", "created_at", "delivery", "delivery_time", "disabled_at", "ended_at", "estimated_end_at", "first_failure_at", "last_attempt_at", "last_failure_at", "last_used_at", "next_attempt_at", "oldest_pending", "oldest_pending_at", "pace", "released_at", "replaced_at", "retry",
		"settled_at", "since", "timing", "updated_at", "verified_at"}
	if diff := cmp.Diff(wanted, slices.Sorted(maps.Keys(members))); diff != "" {
		t.Error(diff)
	}
}

// forgetNull removes null from the types of times and objects.
func forgetNull(value any) {
	switch v := value.(type) {
	case []any:
		for _, one := range v {
			forgetNull(one)
		}
	case map[string]any:
		if either, ok := v["anyOf"].([]any); ok && len(either) == 2 && at(either[1], "type") == "null" {
			delete(v, "anyOf")
			v["$ref"] = at(either[0], "$ref")
		}
		if v["format"] == "date-time" {
			v["type"] = "string"
		}
		for _, one := range v {
			forgetNull(one)
		}
	}
}

// Every operation, parameter and member is described. The examples are valid and show
// every member.
func TestEverythingIsDescribed(t *testing.T) {
	h := newTestAPI(t)
	var doc map[string]any
	if err := json.Unmarshal(h.do(call{"GET", "/openapi.json", "", nil, nil}).Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	components := at(doc, "components", "schemas").(map[string]any)
	v := jsonSchema{components}
	for name, one := range components {
		schema := one.(map[string]any)
		shown := map[string]bool{}
		for i, example := range slice(schema["examples"]) {
			for _, wrong := range v.check(fmt.Sprintf("%s, example %d", name, i), schema, example) {
				t.Error(wrong)
			}
			for member := range example.(map[string]any) {
				shown[member] = true
			}
		}
		members, _ := schema["properties"].(map[string]any)
		for member, what := range members {
			if text, _ := at(what, "description").(string); len(text) < 4 || !strings.HasSuffix(text, ".") {
				t.Errorf("%s.%s: the description is %q", name, member, text)
			}
			if !shown[member] {
				t.Errorf("%s.%s is in no example", name, member)
			}
		}
	}
	for path, methods := range doc["paths"].(map[string]any) {
		for method, op := range methods.(map[string]any) {
			if text, _ := at(op, "description").(string); !strings.HasSuffix(text, ".") {
				t.Errorf("%s %s: the description is %q", method, path, text)
			}
			for _, p := range slice(at(op, "parameters")) {
				if at(p, "description") == nil || at(p, "example") == nil && at(p, "schema", "examples") == nil {
					t.Errorf("%s %s: the parameter %v lacks a description or an example", method, path, at(p, "name"))
				}
			}
		}
	}
}
