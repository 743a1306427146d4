package native_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
)

func TestErasuresAreRefused(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	event := h.event("acme", "a.b").ID
	const unknown = "019396e0-5c2f-7cc1-8f3d-6d1f0f1c2b3a"
	before := h.count()
	erase := func(key, body string) call { return call{"POST", "/v1/erasures", key, body, nil} }
	refused(h, 422, hook.CodeInvalidRequest, "tenant", erase(liveKey, `{}`))
	refused(h, 422, hook.CodeInvalidRequest, "event", erase(liveKey, `{"event":"a b"}`))
	refused(h, 422, hook.CodeInvalidRequest, "event", erase(liveKey, `{"event":"00000000-0000-0000-0000-000000000000"}`))
	refused(h, 422, hook.CodeUnknownField, "tenants", erase(liveKey, `{"tenants":"acme"}`))
	refused(h, 422, hook.CodeInvalidRequest, "tenant", erase(liveKey, `{"tenant":["acme"]}`))
	for _, id := range []string{"nobody", "ACME", "acme ", "*", "../acme", "a%00", strings.Repeat("a", 60_000)} {
		refused(h, 404, hook.CodeTenantNotFound, "tenant", erase(liveKey, `{"tenant":"`+id+`"}`))
	}
	refused(h, 404, hook.CodeNotFound, "", erase(liveKey, `{"event":"`+unknown+`"}`))
	refused(h, 404, hook.CodeNotFound, "", erase(testKey, `{"event":"`+event+`"}`)) // of the other mode
	refused(h, 404, hook.CodeNotFound, "", erase(liveKey, `{"event":"`+event+`","tenant":"other"}`))
	refused(h, 403, hook.CodeForbidden, "", erase(testKey, `{"tenant":"acme"}`)) // a tenant is of both modes
	refused(h, 403, hook.CodeForbidden, "", call{"POST", "/v1/reclaim", testKey, nil, nil})
	refused(h, 404, hook.CodeNotFound, "", get("/v1/erasures/"+unknown))
	refused(h, 404, hook.CodeNotFound, "", get("/v1/erasures/x"))
	for _, kind := range []string{"tenant", "publisher"} { // a leaked key must not destroy
		refused(h, 403, hook.CodeForbidden, "", erase(h.key(kind, "acme"), `{"event":"`+event+`"}`))
	}
	after := h.count()
	delete(after, "keys")
	delete(before, "keys")
	delete(after, "audit")
	delete(before, "audit")
	for table := range after {
		if after[table] != before[table] {
			t.Errorf("%s: %d rows before, %d after", table, before[table], after[table])
		}
	}
}

func TestErasureOfATenantByTheAPI(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	h.endpoint("acme", "*")
	h.event("acme", "a.b")
	key := h.key("tenant", "acme")
	made := want[client.Erasure](h, 202, post("/v1/erasures", `{"tenant":"acme"}`))
	if made.State != client.ErasureRunning || made.Tenant != "acme" || made.Event != nil || made.By.Kind != "operator" || len(made.Kept) < 3 || made.Message == "" {
		t.Errorf("%+v", made)
	}
	if again := want[client.Erasure](h, 202, post("/v1/erasures", `{"tenant":"acme"}`)); again.ID != made.ID {
		t.Errorf("twice: %s, then %s", made.ID, again.ID)
	}
	refused(h, 404, hook.CodeTenantNotFound, "tenant", post("/v1/events", `{"tenant":"acme","type":"a.b","data":{}}`))
	refused(h, 409, hook.CodeTenantExists, "id", post("/v1/tenants", `{"id":"acme"}`))
	id, err := hook.ParseID(made.ID)
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		step, err := h.store.StepErasure(t.Context(), hook.ErasureRef{ID: id, Fence: 1})
		if err != nil {
			t.Fatal(err)
		}
		if step.Over {
			break
		}
	}
	done := want[client.Erasure](h, 200, get("/v1/erasures/"+made.ID))
	if done.State != client.ErasureDone || done.Removed["events"] != 1 || done.Removed["endpoints"] != 1 || done.Removed["keys"] != 1 || done.EndedAt == nil || done.Step != nil {
		t.Errorf("%+v", done)
	}
	refused(h, 401, hook.CodeUnauthorized, "", call{"GET", "/v1/events", key, nil, nil})
	if list := want[client.Page[client.Erasure]](h, 200, get("/v1/erasures?tenant=acme&state=done")).Data; len(list) != 1 || list[0].ID != made.ID {
		t.Errorf("%+v", list)
	}
	if list := want[client.Page[client.Erasure]](h, 200, call{"GET", "/v1/erasures", testKey, nil, nil}).Data; len(list) != 0 {
		t.Errorf("in test mode: %+v", list)
	}
	if again := want[client.Erasure](h, 202, post("/v1/erasures", `{"tenant":"acme"}`)); again.ID != made.ID || again.State != client.ErasureDone {
		t.Errorf("afterwards: %+v", again)
	}
	h.tenant("acme") // the id is free
	h.audited()      // checks the chain
}

// Everybody is shown a copy without the values that the type redacts, and told so. The
// stored data is as it was published.
func TestRedactedEvents(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	e := h.endpoint("acme", "*")
	const data = `{"card": {"number":"4111-1111", "brand":"V"}, "n": 1.00}`
	published := want[client.Published](h, 202, post("/v1/events", `{"tenant":"acme","type":"a.b","data":`+data+`}`))
	shown := func() client.Event {
		return want[client.Event](h, 200, call{"GET", "/v1/events/" + published.ID, h.key("tenant", "acme"), nil, nil})
	}
	if before := shown(); !strings.Contains(string(before.Data), "4111") || before.Redacted != nil {
		t.Errorf("control: %+v", before)
	}
	want[client.EventType](h, 201, post("/v1/event-types", `{"name":"a.b","redact":["/card/number","/none"]}`))
	after := shown()
	if string(after.Data) != `{"card":{"number":"***","brand":"V"},"n":1.00}` || len(after.Redacted) != 1 || after.Redacted[0] != "/card/number" {
		t.Errorf("%s %v", after.Data, after.Redacted)
	}
	for _, path := range []string{"/v1/events/" + published.ID, "/v1/events/" + published.ID + "/explain", "/v1/deliveries?endpoint=" + e.ID} {
		if w := h.do(get(path)); w.Code != 200 || strings.Contains(w.Body.String(), "4111-1111") {
			t.Errorf("%s: %s", path, w.Body)
		}
	}
	id, err := hook.ParseID(published.ID)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := h.store.Event(t.Context(), hook.Scope{Tenant: "acme", Mode: hook.Live}, id)
	if err != nil || string(stored.Data) != data {
		t.Errorf("stored: %s, %v", stored.Data, err)
	}
	patched := want[client.EventType](h, 200, call{"PATCH", "/v1/event-types/a.b", liveKey, `{"redact":null}`, nil})
	if len(patched.Redact) != 0 || !strings.Contains(string(shown().Data), "4111") {
		t.Errorf("%+v", patched)
	}
}

func TestRedactIsStrict(t *testing.T) {
	h := newTestAPI(t)
	want[client.EventType](h, 201, post("/v1/event-types", `{"name":"a.b"}`))
	many, err := json.Marshal(make([]int, 101))
	if err != nil {
		t.Fatal(err)
	}
	tooMany := strings.ReplaceAll(string(many), "0", `"/a"`)
	for pointers, field := range map[string]string{
		`["card"]`: "redact/0", `["/a","/b~"]`: "redact/1", `["/a~2"]`: "redact/0", `["/a","/a"]`: "redact/1", `["` + strings.Repeat("/a", 1000) + `"]`: "redact/0",
		`["` + strings.Repeat("/a", 65) + `"]`: "redact/0", `["/` + strings.Repeat("a", 600) + `"]`: "redact/0", tooMany: "redact/100",
		`"/a"`: "redact", `[1]`: "redact/0", `[null]`: "redact/0",
	} {
		for _, c := range []call{post("/v1/event-types", `{"name":"c.d","redact":`+pointers+`}`), {"PATCH", "/v1/event-types/a.b", liveKey, `{"redact":` + pointers + `}`, nil}} {
			w := h.do(c)
			var p client.Problem
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != 422 || p.Field != field {
				t.Errorf("%s %.60s: %d %s, want field %s", c.method, pointers, w.Code, w.Body, field)
			}
		}
	}
	refused(h, 403, hook.CodeForbidden, "", call{"PATCH", "/v1/event-types/a.b", h.key("publisher", ""), `{"redact":["/a"]}`, nil})
	// A tag would show what is not shown. The control has a name that only begins like it.
	for pointer, field := range map[string]string{"/card": "searchable/c", "/card/number": "searchable/c", "/cards": ""} {
		c := post("/v1/event-types", `{"name":"tagged.type","redact":["/card"],"searchable":{"c":"`+pointer+`"}}`)
		if field == "" {
			want[client.EventType](h, 201, c)
		} else {
			refused(h, 422, hook.CodeInvalidRequest, field, c)
		}
	}
	if got := want[client.EventType](h, 200, get("/v1/event-types/a.b")); len(got.Redact) != 0 {
		t.Errorf("%+v", got)
	}
}
