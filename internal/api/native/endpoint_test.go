package native_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/api/native"
	"github.com/posthorn/posthorn/internal/hook"
)

func (h *testAPI) patch(id, body string) client.Endpoint {
	h.t.Helper()
	return want[client.Endpoint](h, 200, call{"PATCH", "/v1/endpoints/" + id, liveKey, body, nil})
}

func TestPatchMerges(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	made := want[client.Endpoint](h, 201, endpointWith(`,"title":"T","description":"D","headers":{"X-A":"one","X-B":"two"},
		"rate_limit":5,"max_in_flight":7,"max_consecutive_failures":9,"retry":{"steps":["5s","1h30m"],"then":"repeat","max_age":"24h"}`))
	if diff := cmp.Diff(map[string]string{"X-A": "***", "X-B": "***"}, made.Headers); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(&client.Retry{Steps: []string{"5s", "1h30m"}, Then: "repeat", MaxAge: "24h"}, made.Retry); diff != "" {
		t.Error(diff)
	}
	steps := []struct {
		patch string
		check func(e *client.Endpoint) bool
	}{
		{`{}`, func(e *client.Endpoint) bool { return e.Title == "T" && e.RateLimit == 5 && e.Secret == "" }},
		{`{"title":"U","description":null}`, func(e *client.Endpoint) bool { return e.Title == "U" && e.Description == "" }},
		{`{"rate_limit":null,"max_in_flight":null,"max_consecutive_failures":null}`, func(e *client.Endpoint) bool {
			return e.RateLimit == 0 && e.MaxInFlight == 0 && e.MaxConsecutiveFailures == nil
		}},
		{`{"max_consecutive_failures":3}`, func(e *client.Endpoint) bool { return *e.MaxConsecutiveFailures == 3 }},
		{`{"headers":{"x-a":null,"X-C":"three"}}`, func(e *client.Endpoint) bool {
			return cmp.Equal(e.Headers, map[string]string{"X-B": "***", "X-C": "***"})
		}},
		{`{"headers":null}`, func(e *client.Endpoint) bool { return len(e.Headers) == 0 }},
		{`{"retry":{"max_age":null,"then":"fail"}}`, func(e *client.Endpoint) bool {
			return cmp.Equal(e.Retry, &client.Retry{Steps: []string{"5s", "1h30m"}, Then: "fail"})
		}},
		{`{"retry":{"steps":null,"then":null,"first":"10s","cap":"1h"}}`, func(e *client.Endpoint) bool {
			return cmp.Equal(e.Retry, &client.Retry{First: "10s", Factor: 2, Cap: "1h"})
		}},
		{`{"retry":null}`, func(e *client.Endpoint) bool { return e.Retry == nil }},
		{`{"url":"https://Other.Example.com:443/x","event_types":[]}`, func(e *client.Endpoint) bool {
			return e.URL == "https://other.example.com/x" && len(e.EventTypes) == 0 && e.EventTypes != nil
		}},
		{`{"enabled":false}`, func(e *client.Endpoint) bool {
			return !e.Enabled && *e.DisabledReason == "by_hand" && e.DisabledAt != nil
		}},
		{`{"enabled":true,"backlog":"discard"}`, func(e *client.Endpoint) bool { return e.Enabled && e.DisabledReason == nil }},
	}
	for _, s := range steps {
		if e := h.patch(made.ID, s.patch); !s.check(&e) {
			text, _ := json.Marshal(e)
			t.Errorf("after %s: %s", s.patch, text)
		}
	}
}

func TestBadPatchesChangeNothing(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	made := h.endpoint("acme", "*")
	before := h.do(get("/v1/endpoints/" + made.ID)).Body.String()
	for _, p := range []struct {
		body  string
		code  hook.Code
		field string
	}{
		{`{"id":"x"}`, hook.CodeInvalidRequest, "id"}, {`{"tenant":"x"}`, hook.CodeInvalidRequest, "tenant"},
		{`{"mode":"test"}`, hook.CodeInvalidRequest, "mode"}, {`{"secret":"x"}`, hook.CodeInvalidRequest, "secret"},
		{`{"created_at":null}`, hook.CodeInvalidRequest, "created_at"}, {`{"colour":1}`, hook.CodeUnknownField, "colour"},
		{`{"url":null}`, hook.CodeInvalidRequest, "url"}, {`{"url":"https://10.0.0.1/"}`, hook.CodeURLAddress, "url"},
		{`{"event_types":null}`, hook.CodeInvalidRequest, "event_types"}, {`{"event_types":[""]}`, hook.CodeInvalidRequest, "event_types/0"},
		{`{"title":1}`, hook.CodeInvalidRequest, "title"}, {`{"enabled":"yes"}`, hook.CodeInvalidRequest, "enabled"},
		{`{"rate_limit":1e9}`, hook.CodeInvalidRequest, "rate_limit"}, {`{"max_consecutive_failures":0}`, hook.CodeInvalidRequest, "max_consecutive_failures"},
		{`{"retry":{"colour":1}}`, hook.CodeUnknownField, "retry/colour"}, {`{"retry":{"max_age":"5s"}}`, hook.CodeInvalidRequest, "retry/first"},
		{`{"retry":[]}`, hook.CodeInvalidRequest, "retry"}, {`{"headers":{"Host":"x"}}`, hook.CodeHeaderRefused, "headers"},
		{`{"profile":"nope"}`, hook.CodeInvalidRequest, "profile"}, {`{"backlog":"drain"}`, hook.CodeInvalidRequest, "backlog"},
		{`{"enabled":false,"backlog":"drain"}`, hook.CodeInvalidRequest, "backlog"}, {`{"enabled":true,"backlog":"burn"}`, hook.CodeInvalidRequest, "backlog"},
	} {
		refused(h, 422, p.code, p.field, call{"PATCH", "/v1/endpoints/" + made.ID, liveKey, p.body, nil})
	}
	refused(h, 400, hook.CodeInvalidJSON, "", call{"PATCH", "/v1/endpoints/" + made.ID, liveKey, `{"title":"a","title":"b"}`, nil})
	refused(h, 400, hook.CodeInvalidJSON, "", call{"PATCH", "/v1/endpoints/" + made.ID, liveKey, ``, nil})
	if after := h.do(get("/v1/endpoints/" + made.ID)).Body.String(); after != before {
		t.Errorf("before %s\nafter %s", before, after)
	}
	h.patch(made.ID, `{"title":"x"}`) // control: a valid patch is visible
	if after := h.do(get("/v1/endpoints/" + made.ID)).Body.String(); after == before {
		t.Error("a good patch did not show")
	}
}

func TestChangeOfProfileBringsASecretItCanExpress(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	made := h.endpoint("acme", "*")
	moved := h.patch(made.ID, `{"profile":"paysway"}`)
	if moved.Profile != "paysway" || moved.Secret == "" || moved.Secret == made.Secret {
		t.Errorf("to paysway: %+v", moved)
	}
	if same := h.patch(made.ID, `{"profile":"paysway-2025-09"}`); same.Secret != "" {
		t.Errorf("a profile of the same format made a new secret")
	}
	id, _ := hook.ParseID(made.ID)
	e, err := h.store.Endpoint(t.Context(), hook.Scope{Tenant: "acme", Mode: hook.Live}, id)
	if err != nil || len(e.Secrets) != 1 || e.Secrets[0].Text != moved.Secret {
		t.Errorf("in the store: %d secrets, %v", len(e.Secrets), err)
	}
	// The paysway profiles do not accept IP addresses as hosts; the standard profile
	// does.
	byIP := want[client.Endpoint](h, 201, post("/v1/endpoints", `{"tenant":"acme","url":"https://93.184.215.14/","event_types":["*"]}`))
	refused(h, 422, hook.CodeURLHost, "url", call{"PATCH", "/v1/endpoints/" + byIP.ID, liveKey, `{"profile":"paysway"}`, nil})
}

func TestRotationKeepsBothSecretsForTheOverlap(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	made := h.endpoint("acme", "*")
	rotate := "/v1/endpoints/" + made.ID + "/secret/rotate"
	out := want[client.RotatedSecret](h, 200, post(rotate, nil))
	if left := time.Until(out.PreviousExpiresAt.Time); out.Secret == made.Secret || left < 23*time.Hour || left > 24*time.Hour {
		t.Errorf("default overlap: %+v", out)
	}
	id, _ := hook.ParseID(made.ID)
	scope := hook.Scope{Tenant: "acme", Mode: hook.Live}
	if e, err := h.store.Endpoint(t.Context(), scope, id); err != nil || len(e.Secrets) != 2 || e.Secrets[0].Text != out.Secret {
		t.Errorf("secrets in force: %v", err)
	}
	own := "whsec_" + strings.Repeat("QUJD", 8)
	if out := want[client.RotatedSecret](h, 200, post(rotate, `{"overlap":"0s","secret":"`+own+`"}`)); out.Secret != own {
		t.Errorf("imported: %+v", out)
	}
	if e, err := h.store.Endpoint(t.Context(), scope, id); err != nil || len(e.Secrets) != 1 || e.Secrets[0].Text != own {
		t.Errorf("after an overlap of nothing: %d secrets, %v", len(e.Secrets), err)
	}
	refused(h, 422, hook.CodeInvalidRequest, "overlap", post(rotate, `{"overlap":"169h"}`))
	refused(h, 422, hook.CodeInvalidRequest, "overlap", post(rotate, `{"overlap":"1 day"}`))
	refused(h, 422, hook.CodeSecretInvalid, "secret", post(rotate, `{"secret":"x"}`))
	refused(h, 422, hook.CodeUnknownField, "overlaps", post(rotate, `{"overlaps":"1h"}`))
}

func TestTestEventsRetryAndCancel(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	made := h.endpoint("acme", "none.such")
	h.patch(made.ID, `{"enabled":false}`)
	test := want[client.TestEvent](h, 202, post("/v1/endpoints/"+made.ID+"/test", nil))
	event := want[client.Event](h, 200, get("/v1/events/"+test.Event))
	if test.Type != "webhook.test" || !event.Test || len(event.Deliveries) != 1 || event.Deliveries[0].ID != test.Delivery {
		t.Errorf("%+v %+v", test, event)
	}
	own := want[client.TestEvent](h, 202, post("/v1/endpoints/"+made.ID+"/test", `{"type":"x.y","data":{"a": 1}}`))
	if own.Type != "x.y" || h.stored(own.Event) != `{"a": 1}` {
		t.Errorf("own type and data: %+v %s", own, h.stored(own.Event))
	}
	refused(h, 422, hook.CodeInvalidRequest, "data", post("/v1/endpoints/"+made.ID+"/test", `{"data":[]}`))
	refused(h, 422, hook.CodeInvalidRequest, "type", post("/v1/endpoints/"+made.ID+"/test", `{"type":"*"}`))

	h.patch(made.ID, `{"enabled":true,"event_types":["*"]}`)
	h.event("acme", "a.b")
	d := want[client.Page[client.Delivery]](h, 200, get("/v1/deliveries?type=a.b")).Data[0]
	if again := want[client.Delivery](h, 202, post("/v1/deliveries/"+d.ID+"/retry", nil)); again.ID != d.ID || again.Event != d.Event {
		t.Errorf("retry: %+v", again)
	}
	if out := want[client.Delivery](h, 200, post("/v1/deliveries/"+d.ID+"/cancel", nil)); out.State != "cancelled" || *out.Reason != "cancelled_by_hand" {
		t.Errorf("cancel: %+v", out)
	}
	refused(h, 409, hook.CodeDeliverySettled, "", post("/v1/deliveries/"+d.ID+"/cancel", nil))
	h.patch(made.ID, `{"enabled":false}`)
	refused(h, 409, hook.CodeEndpointDisabled, "", post("/v1/deliveries/"+d.ID+"/retry", nil))
	full := want[client.Delivery](h, 200, get("/v1/deliveries/"+d.ID))
	if full.State != "cancelled" || full.AttemptLog == nil {
		t.Errorf("%+v", full)
	}
	want[struct{}](h, 204, call{"DELETE", "/v1/endpoints/" + made.ID, liveKey, nil, nil})
	refused(h, 404, hook.CodeNotFound, "", get("/v1/endpoints/"+made.ID))
}

func TestFiltersOfEndpoints(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	a, b := h.endpoint("acme", "a.*"), h.endpoint("acme", "b.c")
	h.patch(b.ID, `{"enabled":false}`)
	for query, ids := range map[string][]string{"": {b.ID, a.ID}, "?enabled=true": {a.ID}, "?enabled=false": {b.ID},
		"?event_type=a.x": {a.ID}, "?event_type=b.c": {b.ID}, "?event_type=z": nil, "?tenant=acme": {b.ID, a.ID}} {
		var got []string
		for _, e := range want[client.Page[client.Endpoint]](h, 200, get("/v1/endpoints"+query)).Data {
			got = append(got, e.ID)
			if e.Secret != "" || e.Health != nil {
				t.Errorf("a list shows too much: %+v", e)
			}
		}
		if !slices.Equal(got, ids) {
			t.Errorf("%q: %v, want %v", query, got, ids)
		}
	}
}

func TestRequestIDs(t *testing.T) {
	h := newTestAPI(t)
	for sent, kept := range map[string]bool{"abc-123.X_y": true, "": false, "two words": false, "a\nb": false, strings.Repeat("x", 65): false} {
		w := h.do(call{"GET", "/healthz", "", nil, map[string]string{"X-Request-Id": sent}})
		got := w.Header().Get("X-Request-Id")
		if got == "" || (got == sent) != kept || got != w.Header().Get("Request-Id") {
			t.Errorf("sent %q, got %q", sent, got)
		}
	}
}

func TestPanicIsAnInternalError(t *testing.T) {
	h := newTestAPI(t)
	h.handler = native.New(native.Options{Service: brokenService(t), Log: h.logger()})
	p := refused(h, 500, hook.CodeInternal, "", post("/v1/events", event("")))
	if strings.Contains(p.Detail, "boom") || !strings.Contains(h.log.String(), "boom") || !strings.Contains(h.log.String(), p.RequestID) {
		t.Errorf("detail %q, log %q", p.Detail, h.log.String())
	}
	refused(h, 500, hook.CodeInternal, "", get("/v1/tenants"))
}

func TestSecretsStayOutOfTheLog(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	made := want[client.Endpoint](h, 201, endpointWith(`,"headers":{"X-Token":"canary-header-value"}`))
	key := h.key("tenant", "acme")
	_ = h.store.Close()
	refused(h, 503, hook.CodeShuttingDown, "", call{"POST", "/v1/endpoints", key, `{"url":"https://hooks.example.com/","event_types":[],"headers":{"X-Token":"canary-header-value"},"secret":"` + made.Secret + `"}`, nil})
	log := h.log.String()
	for _, secret := range []string{made.Secret, key, "canary-header-value", liveKey} {
		if strings.Contains(log, secret) {
			t.Errorf("the log shows %q", secret)
		}
	}
	if !strings.Contains(log, "shutting_down") { // control: the failure was logged
		t.Errorf("log: %s", log)
	}
}

func TestAProfileThatIsGoneHarmsNothingElse(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	made, _, err := h.store.CreateEndpoint(t.Context(), hook.Endpoint{Scope: hook.Scope{Tenant: "acme", Mode: hook.Live}, Types: hook.Filter{"*"},
		URL: "https://hooks.example.com/in", Profile: "gone", Secrets: []hook.Secret{{Text: "s", Encoding: hook.EncodingText}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p := h.event("acme", "a.b"); p.DeliveryCount != 1 {
		t.Errorf("published to it: %+v", p)
	}
	if e := h.patch(made.ID.String(), `{"title":"T"}`); e.Profile != "gone" || e.Secret != "" || e.Title != "T" {
		t.Errorf("a new title changed more than the title: %+v", e)
	}
	if e := h.patch(made.ID.String(), `{"profile":null}`); e.Profile != "standard" || e.Secret == "" {
		t.Errorf("back to the default: %+v", e)
	}
}
