package svix_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/api/apitest"
	"github.com/posthorn/posthorn/internal/api/svix"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

// Errors have one of Svix's two shapes, and every answer is JSON.
func TestErrors(t *testing.T) {
	h := newTestAPI(t)
	key := h.tenant("acme", hook.Live).Text
	one := h.api("POST", root+"app/acme/endpoint", key, `{"url":"https://example.com/a"}`)
	ep, _ := one.object(t)["id"].(string)
	for _, c := range []struct {
		method, path, key, body string
		status                  int
		part                    string
	}{
		{"GET", "app", "", "", 401, `{"code":"authentication_failed","detail":"Invalid token"}`},
		{"GET", "app", "wrong", "", 401, `"authentication_failed"`},
		{"GET", "app", key, "", 403, `"code":"insufficient access"`},
		{"POST", "app/acme/msg", key, `{"eventType":"a.b","payload":{}}`, 403, `"code":"insufficient access"`},
		{"GET", "app/other", key, "", 404, `{"code":"not_found","detail":"Application not found"}`},
		{"GET", "app/acme/endpoint/nobody", key, "", 404, `{"code":"not_found","detail":"Entity not found"}`},
		{"GET", "nothing/here", key, "", 404, `"code":"not_found"`},
		{"GET", "app/acme/integration", key, "", 404, `"code":"not_supported"`},
		{"POST", "auth/logout", operatorKey, "", 404, `"code":"not_supported"`},
		{"POST", "auth/app-portal-access/acme", operatorKey, `{"expiry":60}`, 422, `["body","expiry"]`},
		{"POST", "auth/app-portal-access/acme", operatorKey, `{"capabilities":["All"]}`, 422, `["body","capabilities"]`},
		{"POST", "auth/app-portal-access/nobody", operatorKey, "{}", 404, `"not_found"`},
		{"PUT", "app", operatorKey, "{}", 405, `"code":"method_not_allowed"`},
		{"POST", "app", operatorKey, `{"name":`, 422, `"loc":["body"],"msg":`},
		{"POST", "app", operatorKey, `{"name":`, 422, `"type":"value_error.jsondecode"`},
		{"POST", "app", operatorKey, `[]`, 422, `"value_error"`},
		{"POST", "app", operatorKey, `{"name":"x","name":"y"}`, 422, `"body"`},
		{"POST", "app", operatorKey, `{"name":""}`, 422, `["body","name"]`},
		{"POST", "app", operatorKey, `{"name":"x","uid":"app_x"}`, 422, `["body","uid"]`},
		{"POST", "app", operatorKey, `{"name":"x","uid":"` + strings.Repeat("u", 257) + `"}`, 422, "256 letters"},
		{"POST", "app", operatorKey, `{"name":"x","metadata":{"a":1}}`, 422, `["body","metadata"]`},
		{"POST", "app", operatorKey, `{"name":"x","metadata":{"a":"` + strings.Repeat("m", 4096) + `"}}`, 422, `["body","metadata"]`},
		{"POST", "app", operatorKey, strings.Repeat(" ", 70<<10), 413, `"payload_too_large"`},
		{"GET", "app?limit=0", operatorKey, "", 422, `["query","limit"]`},
		{"GET", "app?limit=x", operatorKey, "", 400, `"generic_error"`},
		{"GET", "app?iterator=nobody", operatorKey, "", 422, `["query","iterator"]`},
		{"GET", "app/acme/endpoint?iterator=msg_x", key, "", 422, `["query","iterator"]`},
		{"GET", "app/acme/endpoint?order=sideways", key, "", 422, `["query","order"]`},
		{"GET", "app/acme/msg?before=yesterday", key, "", 400, `"generic_error"`},
		{"GET", "app/acme/attempt/endpoint/" + ep + "?status=9", key, "", 422, `["query","status"]`},
		{"GET", "app/acme/attempt/endpoint/" + ep + "?iterator=-atmpt_x", key, "", 422, "forward only"},
		{"POST", "app/acme/endpoint", key, `{"url":"https://example.com","eventTypes":[]}`, 422, `["body","filterTypes"]`},
		{"POST", "app/acme/endpoint", key, `{"url":"https://example.com","eventTypes":["a b"]}`, 422, `["body","filterTypes","[0]"]`},
		{"POST", "app/acme/endpoint", key, `{"url":"https://127.0.0.1/"}`, 422, `["body","url"]`},
		{"POST", "app", operatorKey, `{"name":"x","throttleRate":0}`, 422, `["body","throttleRate"]`},
		{"POST", "app", operatorKey, `{"name":"x","uid":"limited","throttleRate":3}`, 201, `"throttleRate":3,"rateLimit":3`},
		{"PATCH", "app/limited", operatorKey, `{"name":"y"}`, 200, `"throttleRate":3`},
		{"PATCH", "app/limited", operatorKey, `{"throttleRate":null}`, 200, `"throttleRate":null,"rateLimit":null`},
		{"POST", "app/acme/msg", operatorKey, `{"eventType":"a.b","payload":{},"deliverAt":"2099-01-01T00:00:00Z"}`, 422, `["body","deliverAt"]`},
		{"POST", "app/acme/msg", operatorKey, `{"eventType":"a.b","payload":{},"deliverAt":7}`, 422, `["body","deliverAt"]`},
		{"POST", "app/acme/endpoint", key, `{"url":"https://example.com","throttleRate":70000}`, 422, `["body","throttleRate"]`},
		{"POST", "app/acme/endpoint", key, `{"url":"https://example.com","channels":[]}`, 422, `["body","channels"]`},
		{"POST", "app/acme/endpoint", key, `{"url":"https://example.com","channels":["a",1]}`, 422, `["body","channels"]`},
		{"PATCH", "app/acme/endpoint/" + ep, key, `{"channels":["a","b c"]}`, 422, `["body","channels","[1]"]`},
		{"GET", "app/acme/msg?channel=a%20b", key, "", 422, `["query","channel"]`},
		{"GET", "app/acme/msg?event_types=a.b&event_types=a%20b", key, "", 422, `["query","event_types"]`},
		{"GET", "app/acme/attempt/endpoint/" + ep + "?event_types=a.*", key, "", 422, `["query","event_types"]`},
		{"POST", "app/acme/endpoint/" + ep + "/bulk-replay", key, `{"since":"2026-01-01T00:00:00Z","channel":"a b"}`, 422, `["body","channel"]`},
		{"POST", "app/acme/msg", operatorKey, `{"eventType":"a.b","payload":{},"channels":["0","1","2","3","4","5","6","7","8","9","10"]}`, 422, `["body","channels"]`},
		{"POST", "app/acme/msg", operatorKey, `{"eventType":"a.b","payload":{},"channels":["` + strings.Repeat("c", 129) + `"]}`, 422, `["body","channels","[0]"]`},
		{"PATCH", "app/acme/endpoint/" + ep, key, `{"url":null}`, 422, `["body","url"]`},
		{"PUT", "app/acme/endpoint/" + ep + "/headers", key, `{"headers":{"svix-id":"x"}}`, 422, `"body"`},
		{"POST", "app/acme/endpoint/" + ep + "/secret/rotate", key, `{"gracePeriodSeconds":604801}`, 422, `["body","gracePeriodSeconds"]`},
		{"POST", "app/acme/msg", operatorKey, `{"eventType":"a b","payload":{}}`, 422, `["body","eventType"]`},
		{"POST", "app/acme/msg", operatorKey, `{"eventType":"a.b","payload":[]}`, 422, `["body","payload"]`},
		{"POST", "app/acme/msg", operatorKey, `{"eventType":"a.b","payload":{},"eventId":"a b"}`, 422, `["body","eventId"]`},
		{"POST", "app/acme/msg", operatorKey, `{"eventType":"a.b","payload":{},"transformationsParams":{"code":"x"}}`, 422, "transformations"},
		{"POST", "app/acme/msg", operatorKey, `{"eventType":"a.b","payload":{},"transformationsParams":{"rawPayload":"{\"a\":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}"}}`, 422, `["body","transformationsParams","rawPayload"]`},
		{"POST", "app/nobody/msg", operatorKey, `{"eventType":"a.b","payload":{}}`, 404, `"not_found"`},
		{"POST", "app/nobody/msg", operatorKey, `{"eventType":"a.b","payload":{},"application":{"name":"x"}}`, 422, `"application_uid_missing"`},
		{"POST", "event-type", operatorKey, `{"name":"a.b","description":"x","featureFlag":"f"}`, 422, `["body","featureFlag"]`},
		{"POST", "event-type", operatorKey, `{"name":"a.b","description":"x","schemas":{"one":{}}}`, 422, `["body","schemas","one"]`},
		{"POST", "event-type", operatorKey, `{"name":"a.b","description":"x","schemas":{"1":{"type":"nonsense"}}}`, 422, `["body","schemas"`},
	} {
		a := h.api(c.method, root+c.path, c.key, c.body)
		if a.status != c.status || !strings.Contains(a.text, c.part) || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s %.60s: %d %s; want %d with %s", c.method, c.path, c.body, a.status, a.text, c.status, c.part)
		}
		a.object(t)
	}
	if rows, _, err := h.store.Events(t.Context(), hook.EventQuery{Scope: hook.Scope{Mode: hook.Live}}); err != nil || len(rows) != 0 {
		t.Error("a refused message was stored", len(rows), err)
	}
}

// Members and parameters that Svix does not know are ignored, and null is the same as
// absent.
func TestUnknownMembersAreIgnored(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme", hook.Live)
	for _, body := range []string{`{"url":"https://example.com/a","unknown":{"x":1}}`, `{"url":"https://example.com/b","channels":null,"uid":null,"filterTypes":null,"metadata":null}`} {
		if a := h.api("POST", root+"app/acme/endpoint?unknown=1", operatorKey, body); a.status != 201 || !strings.Contains(a.text, `"filterTypes":null`) || !strings.Contains(a.text, `"channels":null`) || !strings.Contains(a.text, `"metadata":{}`) {
			t.Errorf("%d %s", a.status, a.text)
		}
	}
	if a := h.api("GET", root+"app/acme/", operatorKey, ""); a.status != 200 { // a slash at the end
		t.Error(a.status, a.text)
	}
}

// An id that Svix or another server made can be a uid, so that programs that have kept it
// find what was moved here. Other texts with the prefix of an id cannot.
func TestIDsOfOtherServersAreUIDs(t *testing.T) {
	h := newTestAPI(t)
	const app, ep = "app_2Zw8hqnr3MFbTyYwSjvPXTlmzoJ", "ep_2Zw8hsTdqRnPkYcGvJ1mXbA0zKe"
	for _, c := range []struct {
		method, path, body string
		status             int
		part               string
	}{
		{"POST", "app", `{"name":"x","uid":"app_2Zw8"}`, 422, `["body","uid"]`},
		{"POST", "app", `{"name":"x","uid":"` + app + `"}`, 201, `"id":"` + app + `","uid":null`},
		{"POST", "app", `{"name":"x","uid":"` + app + `"}`, 409, `"conflict"`},
		{"GET", "app/" + app, "", 200, `"name":"x"`},
		{"POST", "app/" + app + "/endpoint", `{"url":"https://example.com/a","uid":"ep_2Zw8"}`, 422, `["body","uid"]`},
		{"POST", "app/" + app + "/endpoint", `{"url":"https://example.com/a","uid":"` + ep + `"}`, 201, `"uid":"` + ep + `"`},
		{"POST", "app/" + app + "/endpoint", `{"url":"https://example.com/b","uid":"` + ep + `"}`, 409, `"conflict"`},
		{"GET", "app/" + app + "/endpoint/" + ep, "", 200, `"url":"https://example.com/a"`},
		{"GET", "app/" + app + "/endpoint/" + ep + "/secret", "", 200, `"key":"whsec_`},
	} {
		if a := h.api(c.method, root+c.path, operatorKey, c.body); a.status != c.status || !strings.Contains(a.text, c.part) {
			t.Errorf("%s %s %s: %d %s; want %d with %s", c.method, c.path, c.body, a.status, a.text, c.status, c.part)
		}
	}
}

// Both forms of an id name the same thing, and the id of a message is what receivers see.
func TestBothFormsOfIDs(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme", hook.Live)
	made := h.api("POST", root+"app/acme/endpoint", operatorKey, `{"url":"https://example.com/a"}`).object(t)
	all, err := h.service.TenantEndpoints(t.Context(), h.operator, "acme")
	if err != nil || len(all) != 1 {
		t.Fatal(err)
	}
	again := h.api("GET", root+"app/acme/endpoint/"+all[0].ID.String(), operatorKey, "").object(t)
	if made["id"] != again["id"] || made["id"] != "ep_"+all[0].ID.Short() {
		t.Error(made, again)
	}
	const uuid = "0190b3c1-9c1e-4c4e-8a51-0242ac120002"
	sent := h.api("POST", root+"app/acme/msg", operatorKey, `{"eventType":"a.b","payload":{"a":1},"eventId":"`+uuid+`"}`).object(t)
	for _, name := range []string{uuid, fmt.Sprint(sent["id"])} {
		got := h.api("GET", root+"app/acme/msg/"+name, operatorKey, "").object(t)
		if got["id"] != sent["id"] || got["eventId"] != uuid {
			t.Error(name, got)
		}
	}
}

// limited serves the store of a testAPI again, with limits.
func limited(t *testing.T, h *testAPI, o app.Options) {
	t.Helper()
	o.Profile, o.OperatorKey = "svix", operatorKey
	handler, err := svix.New(svix.Options{Service: h.world.Over(t, o)})
	if err != nil {
		t.Fatal(err)
	}
	h.server = apitest.Serve(t, handler)
}

// Calls are limited and counted, deliveries of this installation are refused, and keys keep
// their limits.
func TestWalls(t *testing.T) {
	h := newTestAPI(t)
	key := h.tenant("acme", hook.Live).Text
	reader, _, err := h.service.CreateKey(t.Context(), h.operator, hook.Key{Kind: hook.TenantKey, Tenant: "acme", KeyLimits: hook.KeyLimits{ReadOnly: true}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if a := h.api("POST", root+"app/acme/endpoint", reader.Text, `{"url":"https://example.com/a"}`); a.status != 403 {
		t.Error(a.status, a.text)
	}
	const own = hook.Loop("0123456789abcdef")
	limited(t, h, app.Options{Loop: own, Reads: app.Rate{PerSecond: .001, Burst: 2}})
	for range 2 { // control
		if a := h.api("GET", root+"app/acme/endpoint", key, ""); a.status != 200 || a.header.Get("RateLimit") == "" {
			t.Fatal(a.status, a.text)
		}
	}
	if a := h.api("GET", root+"app/acme/endpoint", key, ""); a.status != 429 || a.header.Get("Retry-After") != "1000" || !strings.Contains(a.text, `"rate_limited"`) {
		t.Error(a.status, a.text, a.header)
	}
	if a := h.do("GET", root+"app/acme", map[string]string{"Authorization": "Bearer " + key, "CDN-Loop": own.Value()}, ""); a.status != 508 {
		t.Error(a.status, a.text)
	}
	if a := h.api("GET", root+"app/acme/endpoint/x/secret", operatorKey, ""); a.status != 404 {
		t.Error(a.status, a.text)
	}
}

// Values that an event type redacts are shown by no answer, to operators either.
func TestRedactedContent(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme", hook.Live)
	made := h.api("POST", "/api/v1/app/acme/endpoint", operatorKey, `{"url":"https://acme.example/in"}`)
	if made.status != 201 {
		t.Fatalf("%d %s", made.status, made.text)
	}
	ep := fmt.Sprint(made.object(t)["id"])
	shape := hook.EventType{Name: "card.added", Redact: []string{"/card/number"}, TypeVersion: hook.TypeVersion{Version: 1}}
	if _, _, err := h.service.CreateEventType(t.Context(), h.operator, shape, nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"card.added", "card.seen"} { // the second is the control
		got := h.api("POST", "/api/v1/app/acme/msg", operatorKey, `{"eventType":"`+name+`","payload":{"card":{"number":"4111 1111"}}}`)
		var made struct{ ID string }
		if err := json.Unmarshal([]byte(got.text), &made); err != nil || got.status != 202 {
			t.Fatalf("%d %s", got.status, got.text)
		}
		h.attempts(1, 2)
		for _, path := range []string{"/api/v1/app/acme/msg/" + made.ID, "/api/v1/app/acme/msg?event_types=" + name, "/api/v1/app/acme/msg?after=2026-01-01T00:00:00Z&event_types=" + name,
			"/api/v1/app/acme/endpoint/" + ep + "/msg?event_types=" + name, "/api/v1/app/acme/attempt/endpoint/" + ep + "?with_msg=true&event_types=" + name} {
			got := h.api("GET", path, operatorKey, "")
			if shown := strings.Contains(got.text, "4111 1111"); got.status != 200 || shown != (name == "card.seen") || !strings.Contains(got.text, `"number"`) {
				t.Errorf("GET %s of %s: %d %s", path, name, got.status, got.text)
			}
		}
	}
}

// A portal that is asked to be read-only is, whatever capabilities come with it.
func TestReadOnlyPortal(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme", hook.Live)
	for body, want := range map[string]hook.Capabilities{`{"readOnly":true,"capabilities":["ViewBase","ManageEndpoint"]}`: 0, `{"readOnly":false,"capabilities":["ManageEndpoint"]}`: hook.MayManage} {
		if got := h.api("POST", "/api/v1/auth/app-portal-access/acme", operatorKey, body); got.status != 200 {
			t.Fatalf("%s: %d %s", body, got.status, got.text)
		}
		rows, _, err := h.service.PortalSessions(t.Context(), h.operator, hook.WebSessionQuery{Scope: hook.Scope{Tenant: "acme"}})
		if err != nil || rows[0].Settings.Capabilities != want {
			t.Errorf("%s: %v %v", body, rows[0].Settings.Capabilities.Names(), err)
		}
	}
}

// Libraries send a call without a body as an empty body of unknown length. The link to a
// portal needs none.
func TestEmptyBodies(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme", hook.Live)
	for path, status := range map[string]int{"auth/dashboard-access/acme": 200, "auth/app/acme/expire-all": 204, "app": 415} {
		r, err := http.NewRequestWithContext(t.Context(), "POST", h.server.URL+root+path, io.MultiReader()) // a reader of which net/http knows no length
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+operatorKey)
		r.ContentLength = -1
		r.TransferEncoding = []string{"chunked"}
		got, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if _ = got.Body.Close(); got.StatusCode != status {
			t.Errorf("%s: %d, want %d", path, got.StatusCode, status)
		}
	}
}

// A call that is repeated with its key gets the first answer, and does nothing again.
func TestRepeatedCalls(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme", hook.Live)
	for _, c := range []struct{ method, path, body, part string }{
		{"PUT", "app/nobody", `{"name":"Acme","uid":"made"}`, `"id":"made"`},
		{"POST", "app", `{"name":"no uid"}`, `"id":"app_`},
		{"POST", "auth/app-portal-access/acme", `{}`, `"url":"`},
		{"POST", "app/acme/endpoint", `{"url":"https://example.com/a"}`, `"id":"ep_`},
	} {
		header := map[string]string{"Authorization": "Bearer " + operatorKey, "Content-Type": "application/json", "Idempotency-Key": "one"}
		first := h.do(c.method, root+c.path, header, c.body)
		again := h.do(c.method, root+c.path, header, c.body)
		if first.status/100 != 2 || !strings.Contains(first.text, c.part) || again.status != first.status || again.text != first.text {
			t.Errorf("%s %s: %d %s, then %d %s", c.method, c.path, first.status, first.text, again.status, again.text)
		}
		header["Idempotency-Key"] = "two" // control
		if other := h.do(c.method, root+c.path, header, c.body); other.text == first.text {
			t.Errorf("%s %s with another key: %s", c.method, c.path, other.text)
		}
	}
}

// Allow names every method of a route.
func TestAllow(t *testing.T) {
	h := newTestAPI(t)
	if got := h.api("POST", root+"app/acme", operatorKey, "{}"); got.status != 405 || got.header.Get("Allow") != "GET, PUT, PATCH, DELETE" {
		t.Errorf("%d %q", got.status, got.header.Get("Allow"))
	}
}

// A tenant with too many sessions of the portal is told so as of any other limit.
func TestPortalLimit(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme", hook.Live)
	got := answer{status: 200}
	for i := 0; i <= hook.MaxPortalSessions && got.status == 200; i++ {
		got = h.api("POST", root+"auth/app-portal-access/acme", operatorKey, "{}")
	}
	if got.status != 409 || got.object(t)["code"] != "limit_reached" {
		t.Errorf("%d %s", got.status, got.text)
	}
}

// The audit log has the code of a refused rotation, although members have other names here.
func TestRefusedRotationIsAudited(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme", hook.Live)
	made := h.api("POST", root+"app/acme/endpoint", operatorKey, `{"url":"https://example.com/a"}`).object(t)
	path := root + fmt.Sprintf("app/acme/endpoint/%s/secret/rotate", made["id"])
	if got := h.api("POST", path, operatorKey, `{"key":"whsec_%"}`); got.status != 422 || !strings.Contains(got.text, `["body","key"]`) {
		t.Errorf("%d %s", got.status, got.text)
	}
	got := answer{status: 204}
	for i := 0; i < 20 && got.status == 204; i++ {
		got = h.api("POST", path, operatorKey, "{}")
	}
	if got.status != 400 || got.object(t)["code"] != "limit_reached" {
		t.Errorf("%d %s", got.status, got.text)
	}
	rows, _, err := h.service.AuditEntries(t.Context(), h.operator, hook.AuditQuery{})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, e := range rows {
		if e.Act == hook.ActCallRefused {
			seen[e.Outcome] = e.ObjectID
		}
	}
	const want = "POST /api/v1/app/acme/endpoint/{id}/secret/rotate" // without the id
	if seen[string(hook.CodeSecretInvalid)] != want || seen[string(hook.CodeSecretLimit)] != want {
		t.Error(seen)
	}
}

// Only who is shown a payload is recorded as its reader.
func TestReadersAreRecorded(t *testing.T) {
	h := newTestAPI(t)
	ep := h.endpoints(1)
	msg := h.message(1)
	h.attempts(1, 2)
	readers := func() (n int) {
		rows, _, err := h.service.AuditEntries(t.Context(), h.operator, hook.AuditQuery{})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range rows {
			if e.Act == hook.ActEventRead {
				n++
			}
		}
		return n
	}
	for _, path := range []string{"app/acme/attempt/msg/" + msg, "app/acme/msg/" + msg + "/endpoint", "app/acme/msg?with_content=false",
		"app/acme/msg/" + msg + "?with_content=false", "app/acme/attempt/endpoint/" + ep + "?with_msg=true&with_content=false"} {
		if got := h.api("GET", root+path, operatorKey, ""); got.status != 200 || readers() != 0 {
			t.Errorf("%s: %d, %d readers", path, got.status, readers())
		}
	}
	if got := h.api("GET", root+"app/acme/msg/"+msg, operatorKey, ""); got.status != 200 || readers() != 1 { // control
		t.Errorf("%d, %d readers", got.status, readers())
	}
}
