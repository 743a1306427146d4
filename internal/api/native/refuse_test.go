package native_test

import (
	"fmt"
	"io"
	"maps"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
)

// bad is a request that must be refused and store nothing.
type bad struct {
	name   string
	c      call
	status int
	code   hook.Code
	field  string
}

func post(path string, body any) call { return call{"POST", path, liveKey, body, nil} }

func with(c call, name, value string) call {
	c.header = map[string]string{name: value}
	return c
}

func event(members string) string {
	return `{"tenant":"acme","type":"a.b","data":{"n":1}` + members + `}`
}

func nested(depth int) string {
	return strings.Repeat(`{"a":`, depth-1) + "{}" + strings.Repeat("}", depth-1)
}

// padded returns an event whose text has exactly the given size.
func padded(size int) string {
	frame := `{"tenant":"acme","type":"a.b","data":{"pad":""}}`
	return strings.Replace(frame, `""`, `"`+strings.Repeat("x", size-len(frame))+`"`, 1)
}

func badPublishes() []bad {
	const events = "/v1/events"
	return []bad{
		{"empty", post(events, ""), 400, hook.CodeInvalidJSON, ""},
		{"cut", post(events, `{"tenant":"acme"`), 400, hook.CodeInvalidJSON, ""},
		{"trailing", post(events, event("")+"x"), 400, hook.CodeInvalidJSON, ""},
		{"two values", post(events, event("")+event("")), 400, hook.CodeInvalidJSON, ""},
		{"comma", post(events, event(",")), 400, hook.CodeInvalidJSON, ""},
		{"comment", post(events, "/* */"+event("")), 400, hook.CodeInvalidJSON, ""},
		{"single quotes", post(events, strings.ReplaceAll(event(""), `"`, "'")), 400, hook.CodeInvalidJSON, ""},
		{"NaN", post(events, event(`,"x":NaN`)), 400, hook.CodeInvalidJSON, ""},
		{"leading zero", post(events, `{"tenant":"acme","type":"a.b","data":{"n":01}}`), 400, hook.CodeInvalidJSON, ""},
		{"not UTF-8", post(events, `{"tenant":"acme","type":"a.b","data":{"n":"`+"\xff"+`"}}`), 400, hook.CodeInvalidJSON, ""},
		{"lone surrogate", post(events, `{"tenant":"acme","type":"a.b","data":{"n":"\ud800"}}`), 400, hook.CodeInvalidJSON, ""},
		{"byte order mark", post(events, "\ufeff"+event("")), 400, hook.CodeInvalidJSON, ""},
		{"member twice", post(events, event(`,"type":"c"`)), 400, hook.CodeInvalidJSON, ""},
		{"member twice, escaped", post(events, event(`,"\u0074ype":"c"`)), 400, hook.CodeInvalidJSON, ""},
		{"member twice in data", post(events, `{"tenant":"acme","type":"a.b","data":{"o":{"a":1,"\u0061":2}}}`), 400, hook.CodeInvalidJSON, ""},
		{"65 levels", post(events, `{"tenant":"acme","type":"a.b","data":`+nested(65)+`}`), 400, hook.CodeInvalidJSON, ""},
		{"100,000 brackets", post(events, strings.Repeat("[", 100_000)), 400, hook.CodeInvalidJSON, ""},
		{"array", post(events, `[]`), 422, hook.CodeInvalidRequest, ""},
		{"unknown member", post(events, event(`,"colour":1`)), 422, hook.CodeUnknownField, "colour"},
		{"other case", post(events, event(`,"Type":"c"`)), 422, hook.CodeUnknownField, "Type"},
		{"no tenant", post(events, `{"type":"a.b","data":{}}`), 422, hook.CodeInvalidRequest, "tenant"},
		{"tenant number", post(events, `{"tenant":1,"type":"a.b","data":{}}`), 422, hook.CodeInvalidRequest, "tenant"},
		{"tenant null", post(events, `{"tenant":null,"type":"a.b","data":{}}`), 422, hook.CodeInvalidRequest, "tenant"},
		{"tenant unknown", post(events, `{"tenant":"nobody","type":"a.b","data":{}}`), 404, hook.CodeTenantNotFound, "tenant"},
		{"tenant malformed", post(events, `{"tenant":"../acme","type":"a.b","data":{}}`), 404, hook.CodeTenantNotFound, "tenant"},
		{"no type", post(events, `{"tenant":"acme","data":{}}`), 422, hook.CodeInvalidRequest, "type"},
		{"type empty", post(events, `{"tenant":"acme","type":"","data":{}}`), 422, hook.CodeInvalidRequest, "type"},
		{"type odd", post(events, `{"tenant":"acme","type":"a..b","data":{}}`), 422, hook.CodeInvalidRequest, "type"},
		{"type star", post(events, `{"tenant":"acme","type":"*","data":{}}`), 422, hook.CodeInvalidRequest, "type"},
		{"type long", post(events, `{"tenant":"acme","type":"`+strings.Repeat("a", 129)+`","data":{}}`), 422, hook.CodeInvalidRequest, "type"},
		{"no data", post(events, `{"tenant":"acme","type":"a.b"}`), 422, hook.CodeInvalidRequest, "data"},
		{"data array", post(events, `{"tenant":"acme","type":"a.b","data":[]}`), 422, hook.CodeInvalidRequest, "data"},
		{"data null", post(events, `{"tenant":"acme","type":"a.b","data":null}`), 422, hook.CodeInvalidRequest, "data"},
		{"id odd", post(events, event(`,"id":"4 2"`)), 422, hook.CodeInvalidRequest, "id"},
		{"id nil", post(events, event(`,"id":"00000000-0000-0000-0000-000000000000"`)), 422, hook.CodeInvalidRequest, "id"},
		{"created_at odd", post(events, event(`,"created_at":"yesterday"`)), 422, hook.CodeInvalidRequest, "created_at"},
		{"created_at number", post(events, event(`,"created_at":1700000000`)), 422, hook.CodeInvalidRequest, "created_at"},
		{"too large", post(events, padded(262_145)), 413, hook.CodeTooLarge, ""},
		{"no type of content", with(post(events, event("")), "Content-Type", ""), 415, hook.CodeContentType, "Content-Type"},
		{"form", with(post(events, event("")), "Content-Type", "application/x-www-form-urlencoded"), 415, hook.CodeContentType, "Content-Type"},
		{"lines", with(post(events, event("")), "Content-Type", "application/x-ndjson"), 415, hook.CodeContentType, "Content-Type"},
		{"gzip", with(post(events, event("")), "Content-Encoding", "gzip"), 415, hook.CodeContentEncoding, "Content-Encoding"},
		{"idempotency key long", with(post(events, event("")), "Idempotency-Key", strings.Repeat("k", 256)), 422, hook.CodeInvalidRequest, "Idempotency-Key"},
		{"idempotency key odd", with(post(events, event("")), "Idempotency-Key", "é"), 422, hook.CodeInvalidRequest, "Idempotency-Key"},
		{"no key", call{"POST", events, "", event(""), nil}, 401, hook.CodeUnauthorized, ""},
		{"wrong key", call{"POST", events, liveKey + "x", event(""), nil}, 401, hook.CodeUnauthorized, ""},
		{"basic", with(call{"POST", events, "", event(""), nil}, "Authorization", "Basic eDp5"), 401, hook.CodeUnauthorized, ""},
		{"batch empty", post(events+"/batch", "[]"), 422, hook.CodeInvalidRequest, ""},
		{"batch object", post(events+"/batch", event("")), 422, hook.CodeInvalidRequest, ""},
		{"batch cut", post(events+"/batch", "["+event("")), 400, hook.CodeInvalidJSON, ""},
		{"batch trailing", post(events+"/batch", "["+event("")+"] []"), 400, hook.CodeInvalidJSON, ""},
		{"batch member twice", post(events+"/batch", "["+event("")+","+event(`,"type":"c"`)+"]"), 400, hook.CodeInvalidJSON, ""},
		{"batch long", post(events+"/batch", "["+strings.Repeat(event("")+",", 1000)+event("")+"]"), 422, hook.CodeInvalidRequest, ""},
		{"batch large", post(events+"/batch", "["+strings.Repeat(" ", 4<<20)+event("")+"]"), 413, hook.CodeTooLarge, ""},
		{"batch no key", call{"POST", events + "/batch", "", "[" + event("") + "]", nil}, 401, hook.CodeUnauthorized, ""},
	}
}

func endpointWith(members string) call {
	return post("/v1/endpoints", `{"tenant":"acme","url":"https://hooks.example.com/in","event_types":["*"]`+members+`}`)
}

func badManagement() []bad {
	const endpoints = "/v1/endpoints"
	return []bad{
		{"tenant id odd", post("/v1/tenants", `{"id":"a b"}`), 422, hook.CodeInvalidRequest, "id"},
		{"tenant id long", post("/v1/tenants", `{"id":"`+strings.Repeat("a", 257)+`"}`), 422, hook.CodeInvalidRequest, "id"},
		{"tenant exists", post("/v1/tenants", `{"id":"acme"}`), 409, hook.CodeTenantExists, "id"},
		{"tenant unknown member", post("/v1/tenants", `{"id":"b","colour":1}`), 422, hook.CodeUnknownField, "colour"},
		{"tenant member twice", post("/v1/tenants", `{"id":"b","id":"c"}`), 400, hook.CodeInvalidJSON, ""},
		{"tenant empty body", post("/v1/tenants", ""), 400, hook.CodeInvalidJSON, ""},
		{"tenant array", post("/v1/tenants", "[]"), 422, hook.CodeInvalidRequest, ""},
		{"tenant 65 levels", post("/v1/tenants", nested(65)), 400, hook.CodeInvalidJSON, ""},
		{"body large", post("/v1/tenants", `{"name":"`+strings.Repeat("x", 64<<10)+`"}`), 413, hook.CodeTooLarge, ""},
		{"body text", with(post("/v1/tenants", `{}`), "Content-Type", "text/plain"), 415, hook.CodeContentType, "Content-Type"},
		{"body gzip", with(post("/v1/tenants", `{}`), "Content-Encoding", "gzip"), 415, hook.CodeContentEncoding, "Content-Encoding"},
		{"key no kind", post("/v1/keys", `{}`), 422, hook.CodeInvalidRequest, "kind"},
		{"key odd kind", post("/v1/keys", `{"kind":"root"}`), 422, hook.CodeInvalidRequest, "kind"},
		{"key no tenant", post("/v1/keys", `{"kind":"tenant"}`), 422, hook.CodeInvalidRequest, "tenant"},
		{"key unknown tenant", post("/v1/keys", `{"kind":"tenant","tenant":"nobody"}`), 404, hook.CodeTenantNotFound, "tenant"},
		{"key operator tenant", post("/v1/keys", `{"kind":"operator","tenant":"acme"}`), 422, hook.CodeInvalidRequest, "tenant"},
		{"no url", post(endpoints, `{"tenant":"acme","event_types":["*"]}`), 422, hook.CodeInvalidRequest, "url"},
		{"http", post(endpoints, `{"tenant":"acme","url":"http://hooks.example.com/","event_types":["*"]}`), 422, hook.CodeURLScheme, "url"},
		{"loopback", post(endpoints, `{"tenant":"acme","url":"https://127.0.0.1/","event_types":["*"]}`), 422, hook.CodeURLAddress, "url"},
		{"localhost", post(endpoints, `{"tenant":"acme","url":"https://localhost/","event_types":["*"]}`), 422, hook.CodeURLNotPublic, "url"},
		{"password", post(endpoints, `{"tenant":"acme","url":"https://u:p@hooks.example.com/","event_types":["*"]}`), 422, hook.CodeURLCredentials, "url"},
		{"no tenant", post(endpoints, `{"url":"https://hooks.example.com/","event_types":["*"]}`), 422, hook.CodeInvalidRequest, "tenant"},
		{"unknown tenant", post(endpoints, `{"tenant":"nobody","url":"https://hooks.example.com/","event_types":["*"]}`), 404, hook.CodeTenantNotFound, "tenant"},
		{"no event_types", post(endpoints, `{"tenant":"acme","url":"https://hooks.example.com/"}`), 422, hook.CodeInvalidRequest, "event_types"},
		{"event_types text", post(endpoints, `{"tenant":"acme","url":"https://hooks.example.com/","event_types":"*"}`), 422, hook.CodeInvalidRequest, "event_types"},
		{"event_types odd", post(endpoints, `{"tenant":"acme","url":"https://hooks.example.com/","event_types":["a","b*"]}`), 422, hook.CodeInvalidRequest, "event_types/1"},
		{"id given", endpointWith(`,"id":"x"`), 422, hook.CodeUnknownField, "id"},
		{"profile", endpointWith(`,"profile":"nope"`), 422, hook.CodeInvalidRequest, "profile"},
		{"rate", endpointWith(`,"rate_limit":-1`), 422, hook.CodeInvalidRequest, "rate_limit"},
		{"rate high", endpointWith(`,"rate_limit":10001`), 422, hook.CodeInvalidRequest, "rate_limit"},
		{"rate text", endpointWith(`,"rate_limit":"1"`), 422, hook.CodeInvalidRequest, "rate_limit"},
		{"in flight", endpointWith(`,"max_in_flight":1001`), 422, hook.CodeInvalidRequest, "max_in_flight"},
		{"in flight part", endpointWith(`,"max_in_flight":1.5`), 422, hook.CodeInvalidRequest, "max_in_flight"},
		{"failures", endpointWith(`,"max_consecutive_failures":0`), 422, hook.CodeInvalidRequest, "max_consecutive_failures"},
		{"title long", endpointWith(`,"title":"` + strings.Repeat("x", 257) + `"`), 422, hook.CodeInvalidRequest, "title"},
		{"header host", endpointWith(`,"headers":{"Host":"x"}`), 422, hook.CodeHeaderRefused, "headers"},
		{"header line break", endpointWith(`,"headers":{"X-A":"a\r\nX-B: b"}`), 422, hook.CodeHeaderInvalid, "headers"},
		{"header as shown", endpointWith(`,"headers":{"X-A":"***"}`), 422, hook.CodeHeaderInvalid, "headers"},
		{"header number", endpointWith(`,"headers":{"X-A":1}`), 422, hook.CodeInvalidRequest, "headers/X-A"},
		{"header twice", endpointWith(`,"headers":{"X-A":"1","x-a":"2"}`), 422, hook.CodeHeaderInvalid, "headers"},
		{"secret", endpointWith(`,"secret":"whsec_"`), 422, hook.CodeSecretInvalid, "secret"},
		{"retry empty", endpointWith(`,"retry":{}`), 422, hook.CodeInvalidRequest, "retry/first"},
		{"retry step", endpointWith(`,"retry":{"steps":["1s","soon"]}`), 422, hook.CodeInvalidRequest, "retry/steps/1"},
		{"retry step short", endpointWith(`,"retry":{"steps":["10ms"]}`), 422, hook.CodeInvalidRequest, "retry/steps/0"},
		{"retry both", endpointWith(`,"retry":{"steps":["1s"],"first":"1s"}`), 422, hook.CodeInvalidRequest, "retry"},
		{"retry unknown", endpointWith(`,"retry":{"step":["1s"]}`), 422, hook.CodeUnknownField, "retry/step"},
		{"retry jitter", endpointWith(`,"retry":{"first":"1s","jitter":2}`), 422, hook.CodeInvalidRequest, "retry/jitter"},
		{"cursor", call{"GET", "/v1/deliveries?cursor=x", liveKey, nil, nil}, 422, hook.CodeInvalidRequest, "cursor"},
		{"cursor of another list", call{"GET", "/v1/events?cursor=" + strings.Repeat("A", 43), liveKey, nil, nil}, 422, hook.CodeInvalidRequest, "cursor"},
		{"cursor of deliveries short", call{"GET", "/v1/deliveries?cursor=" + strings.Repeat("A", 22), liveKey, nil, nil}, 422, hook.CodeInvalidRequest, "cursor"},
		{"cursor of tenants", call{"GET", "/v1/tenants?cursor=!", liveKey, nil, nil}, 422, hook.CodeInvalidRequest, "cursor"},
		{"cursor of keys", call{"GET", "/v1/keys?cursor=AAAA", liveKey, nil, nil}, 422, hook.CodeInvalidRequest, "cursor"},
		{"cursor of endpoints", call{"GET", "/v1/endpoints?cursor=" + strings.Repeat("A", 200), liveKey, nil, nil}, 422, hook.CodeInvalidRequest, "cursor"},
		{"cursor of event types", call{"GET", "/v1/event-types?cursor=Li4", liveKey, nil, nil}, 422, hook.CodeInvalidRequest, "cursor"},
		{"limit of every list", call{"GET", "/v1/event-types?limit=0", liveKey, nil, nil}, 422, hook.CodeInvalidRequest, "limit"},
		{"limit of deliveries", call{"GET", "/v1/deliveries?limit=251", liveKey, nil, nil}, 422, hook.CodeInvalidRequest, "limit"},
		{"limit negative", call{"GET", "/v1/endpoints?limit=-1", liveKey, nil, nil}, 422, hook.CodeInvalidRequest, "limit"},
		{"limit part", call{"GET", "/v1/keys?limit=1.5", liveKey, nil, nil}, 422, hook.CodeInvalidRequest, "limit"},
		{"enabled odd", call{"GET", "/v1/endpoints?enabled=1", liveKey, nil, nil}, 422, hook.CodeInvalidRequest, "enabled"},
		{"event type odd", call{"GET", "/v1/endpoints?event_type=*", liveKey, nil, nil}, 422, hook.CodeInvalidRequest, "event_type"},
		{"status class odd", call{"GET", "/v1/deliveries?status_class=200", liveKey, nil, nil}, 422, hook.CodeInvalidRequest, "status_class"},
		{"time without zone", call{"GET", "/v1/deliveries?before=2026-01-31T12:00:00", liveKey, nil, nil}, 422, hook.CodeInvalidRequest, "before"},
		{"query of one", call{"GET", "/v1/profiles?limit=1", liveKey, nil, nil}, 422, hook.CodeUnknownField, "limit"},
		{"limit", call{"GET", "/v1/events?limit=251", liveKey, nil, nil}, 422, hook.CodeInvalidRequest, "limit"},
		{"limit zero", call{"GET", "/v1/events?limit=0", liveKey, nil, nil}, 422, hook.CodeInvalidRequest, "limit"},
		{"limit text", call{"GET", "/v1/events?limit=ten", liveKey, nil, nil}, 422, hook.CodeInvalidRequest, "limit"},
		{"state", call{"GET", "/v1/deliveries?state=lost", liveKey, nil, nil}, 422, hook.CodeInvalidRequest, "state"},
		{"time", call{"GET", "/v1/events?after=now", liveKey, nil, nil}, 422, hook.CodeInvalidRequest, "after"},
		{"filter id", call{"GET", "/v1/deliveries?endpoint=7", liveKey, nil, nil}, 422, hook.CodeInvalidRequest, "endpoint"},
		{"query", call{"GET", "/v1/endpoints?tenants=acme", liveKey, nil, nil}, 422, hook.CodeUnknownField, "tenants"},
		{"no route", call{"GET", "/v2/events", liveKey, nil, nil}, 404, hook.CodeRouteNotFound, ""},
		{"root", call{"POST", "/", "", nil, nil}, 405, hook.CodeMethodNotAllowed, ""},
		{"slash", call{"POST", "/v1/events/", liveKey, event(""), nil}, 404, hook.CodeRouteNotFound, ""},
		{"double slash", call{"GET", "/v1//events", liveKey, nil, nil}, 404, hook.CodeRouteNotFound, ""},
		{"dots", call{"GET", "/v1/x/../events", liveKey, nil, nil}, 404, hook.CodeRouteNotFound, ""},
		{"get of the batch", call{"GET", "/v1/events/batch", liveKey, nil, nil}, 404, hook.CodeNotFound, ""},
		{"put", call{"PUT", "/v1/events", liveKey, event(""), nil}, 405, hook.CodeMethodNotAllowed, ""},
		{"get batch", call{"DELETE", "/v1/tenants", liveKey, nil, nil}, 405, hook.CodeMethodNotAllowed, ""},
		{"id odd", call{"GET", "/v1/endpoints/7", liveKey, nil, nil}, 404, hook.CodeNotFound, ""},
		{"id unknown", call{"GET", "/v1/events/019396e0-5c2f-7cc1-8f3d-6d1f0f1c2b3a", liveKey, nil, nil}, 404, hook.CodeNotFound, ""},
		{"list no key", call{"GET", "/v1/events", "", nil, nil}, 401, hook.CodeUnauthorized, ""},
	}
}

func TestBadRequestsStoreNothing(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	h.endpoint("acme", "*")
	h.event("acme", "a.b")
	before := h.count()
	for _, b := range append(badPublishes(), badManagement()...) {
		t.Run(b.name, func(t *testing.T) {
			h := &testAPI{t: t, handler: h.handler}
			refused(h, b.status, b.code, b.field, b.c)
		})
	}
	if after := h.count(); !maps.Equal(before, after) {
		t.Errorf("rows: %v before, %v after", before, after)
	}
	// Control: the count changes with a valid request.
	h.event("acme", "a.b")
	if after := h.count(); maps.Equal(before, after) {
		t.Error("the count of rows did not see a good publish")
	}
}

func TestSizesAtTheEdge(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	want[client.Published](h, 202, post("/v1/events", padded(262_144)))
	refused(h, 413, hook.CodeTooLarge, "", post("/v1/events", padded(262_145)))
	want[client.Published](h, 202, post("/v1/events", `{"tenant":"acme","type":"a.b","data":`+nested(64)+`}`))

	results := want[client.BatchResults](h, 202, post("/v1/events/batch", "["+padded(262_144)+" , "+padded(262_145)+"]")).Results
	if len(results) != 2 || results[0].Error != nil || results[1].Error == nil || results[1].Error.Code != string(hook.CodeTooLarge) {
		t.Errorf("batch of an item that fits and one that does not: %+v", results)
	}
}

func TestBodiesOfUnknownLength(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	for size, status := range map[int]int{262_144: 202, 262_145: 413, 3 << 20: 413} {
		r := httptest.NewRequest("POST", "/v1/events", io.MultiReader(strings.NewReader(padded(size))))
		r.Header.Set("Content-Type", "application/json; charset=utf-8")
		r.Header.Set("Authorization", "bearer "+liveKey)
		w := httptest.NewRecorder()
		if r.ContentLength != -1 {
			t.Fatalf("the length is known: %d", r.ContentLength)
		}
		if h.handler.ServeHTTP(w, r); w.Code != status {
			t.Errorf("%d bytes: %d %s", size, w.Code, w.Body)
		}
	}
}

func TestMethodNotAllowedNamesTheOthers(t *testing.T) {
	h := newTestAPI(t)
	if allow := h.do(call{"PUT", "/v1/endpoints", liveKey, nil, nil}).Header().Get("Allow"); !strings.Contains(allow, "POST") || !strings.Contains(allow, "GET") {
		t.Errorf("Allow: %q", allow)
	}
}

func TestStorageErrorsSayWhenToComeBack(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
	w := h.do(post("/v1/events", event("")))
	if w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("after close: %d, Retry-After %q: %s", w.Code, w.Header().Get("Retry-After"), w.Body)
	}
	refused(h, 503, hook.CodeShuttingDown, "", post("/v1/events", event("")))
	h.ready = fmt.Errorf("disk image is malformed")
	refused(h, 503, hook.CodeStorageDown, "", call{"GET", "/readyz", "", nil, nil})
	if body := h.do(call{"GET", "/readyz", "", nil, nil}).Body.String(); strings.Contains(body, "malformed") {
		t.Errorf("the store's own words reached the caller: %s", body)
	}
}
