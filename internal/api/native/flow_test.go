package native_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store"
)

func get(path string) call { return call{"GET", path, liveKey, nil, nil} }

// stored returns an event's data as it is stored.
func (h *testAPI) stored(id string) string {
	h.t.Helper()
	key, err := hook.ParseID(id)
	if err != nil {
		h.t.Fatal(err)
	}
	e, err := h.store.EventByPublicID(h.t.Context(), hook.Scope{Mode: hook.Live}, key)
	if err != nil {
		h.t.Fatal(err)
	}
	return string(e.Data)
}

func TestDataSurvivesByteForByte(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	for _, data := range []string{
		`{}`, "{ \"a\" :\t1 ,\r\n \"b\": [ 1 , 2 ] }", `{"z":1,"a":2,"m":3}`,
		`{"n":1e400,"m":12345678901234567890,"o":-0.10,"p":1E+2}`,
		`{"s":"\u00e9é\/\u2028 <&> 👍 \ud83d\udc4d"}`, `{"":{"":""}}`, `{"a":"` + strings.Repeat("x", 200_000) + `"}`,
	} {
		text := "{\"tenant\":\"acme\",\"data\": \n" + data + "\t ,\"type\":\"a.b\"}"
		single := want[client.Published](h, 202, post("/v1/events", text))
		batch := want[client.BatchResults](h, 202, post("/v1/events/batch", " ["+text+"] ")).Results
		lines := want[client.BatchResults](h, 202, with(post("/v1/events/batch", "\n"+strings.ReplaceAll(
			strings.ReplaceAll(text, "\r\n", "  "), "\n", " ")+"\r\n"), "Content-Type", "application/x-ndjson")).Results
		for _, id := range []string{single.ID, batch[0].ID} {
			if got := h.stored(id); got != data {
				t.Errorf("sent %.60q, stored %.60q", data, got)
			}
		}
		if got := h.stored(lines[0].ID); got != strings.ReplaceAll(data, "\r\n", "  ") {
			t.Errorf("sent as a line %.60q, stored %.60q", data, got)
		}
	}
}

func TestPublishAnswersWhatTheStructEncodes(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	h.endpoint("acme", "a.*")
	w := h.do(post("/v1/events", event(`,"id":"019396E0-5C2F-7CC1-8F3D-6D1F0F1C2B3A","created_at":"2026-01-31T12:00:00.1234567+02:00"`)))
	var out client.Published
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"019396e0-5c2f-7cc1-8f3d-6d1f0f1c2b3a","tenant":"acme","type":"a.b","created_at":"2026-01-31T10:00:00.123456Z","delivery_count":1}`
	if w.Code != 202 || w.Body.String() != want || string(text) != want {
		t.Errorf("%d\n got %s\nenc. %s\nwant %s", w.Code, w.Body, text, want)
	}
}

func TestPlatformsOwnID(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	const id = "019396e0-5c2f-7cc1-8f3d-6d1f0f1c2b3a"
	first := want[client.Published](h, 202, post("/v1/events", event(`,"id":"`+id+`"`)))
	if again := want[client.Published](h, 202, post("/v1/events", event(`,"id":"`+id+`"`))); !reflect.DeepEqual(again, first) || first.ID != id {
		t.Errorf("first %+v, again %+v", first, again)
	}
	refused(h, 409, hook.CodeEventConflict, "id", post("/v1/events", strings.Replace(event(`,"id":"`+id+`"`), "a.b", "c.d", 1)))
	if n := h.count()["events"]; n != 1 {
		t.Errorf("%d events", n)
	}
	h.tenant("other") // the id is the platform's and unique only within a tenant
	want[client.Published](h, 202, post("/v1/events", strings.Replace(event(`,"id":"`+id+`"`), "acme", "other", 1)))
	refused(h, 409, hook.CodeConflict, "tenant", get("/v1/events/"+id))
	if got := want[client.Event](h, 200, get("/v1/events/"+id+"?tenant=other")); got.Tenant != "other" {
		t.Errorf("read back: %+v", got)
	}
	if got := want[client.Event](h, 200, get("/v1/events/"+id+"?tenant=acme")); got.ID != id || string(got.Data) != `{"n":1}` || got.Deliveries == nil {
		t.Errorf("read back: %+v", got)
	}
}

func TestBatchAnswersEachItem(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	h.endpoint("acme", "*")
	results := want[client.BatchResults](h, 202, post("/v1/events/batch",
		"["+event("")+`,{"tenant":"nobody","type":"a","data":{}},7,`+event(`,"colour":1`)+","+event("")+"]")).Results
	var codes []string
	for _, r := range results {
		switch {
		case r.Error != nil:
			codes = append(codes, fmt.Sprintf("%d %s %s", r.Error.Status, r.Error.Code, r.Error.Field))
		case r.DeliveryCount != nil && r.ID != "":
			codes = append(codes, fmt.Sprint(*r.DeliveryCount))
		}
	}
	wanted := []string{"1", "404 tenant_not_found tenant", "422 invalid_request ", "422 unknown_field colour", "1"}
	if diff := cmp.Diff(wanted, codes); diff != "" {
		t.Error(diff)
	}
	bad := want[client.BatchResults](h, 202, with(post("/v1/events/batch", event("")+"\n{\"a\":1,\"a\":2}\n\n"+event("")), "Content-Type", "application/x-ndjson")).Results
	if len(bad) != 3 || bad[0].Error != nil || bad[1].Error == nil || bad[1].Error.Code != "invalid_json" || bad[2].Error != nil {
		t.Errorf("lines: %+v", bad)
	}
	if n := h.count(); n["events"] != 4 || n["deliveries"] != 4 {
		t.Errorf("rows: %v", n)
	}
}

func TestIdempotencyKey(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	made := h.endpoint("acme", "*")
	again := func(c call) call { return with(c, "Idempotency-Key", "key-1") }
	for _, c := range []call{
		post("/v1/events", event("")), post("/v1/events/batch", "["+event("")+","+event(`,"x":1`)+"]"),
		post("/v1/tenants", `{"name":"x"}`), post("/v1/keys", `{"kind":"publisher"}`), endpointWith(""),
		post("/v1/endpoints/"+made.ID+"/test", `{}`), post("/v1/endpoints/"+made.ID+"/secret/rotate", `{}`),
	} {
		t.Run(c.path, func(t *testing.T) {
			first, second := h.do(again(c)), h.do(again(c))
			rows := h.count()
			if first.Code/100 != 2 || first.Code != second.Code || first.Body.String() != second.Body.String() {
				t.Fatalf("first %d %s\nsecond %d %s", first.Code, first.Body, second.Code, second.Body)
			}
			if first.Header().Get("Idempotency-Replayed") != "" || second.Header().Get("Idempotency-Replayed") != "true" {
				t.Error("only the second answer is marked as replayed")
			}
			other := c
			other.body = strings.Replace(c.body.(string), "{", "{ ", 1)
			refused(h, 422, hook.CodeIdempotencyReused, "Idempotency-Key", again(other))
			if diff := cmp.Diff(rows, h.count()); diff != "" {
				t.Error(diff)
			}
			if third := h.do(c); third.Code != first.Code || third.Body.String() == first.Body.String() { // control: without the key it is carried out again
				t.Errorf("without the key: %d %s", third.Code, third.Body)
			}
		})
	}
	// A request that stored nothing can be corrected under the same key.
	refused(h, 404, hook.CodeTenantNotFound, "tenant", with(post("/v1/events", `{"tenant":"new","type":"a","data":{}}`), "Idempotency-Key", "key-2"))
	h.tenant("new")
	want[client.Published](h, 202, with(post("/v1/events", `{"tenant":"new","type":"a","data":{}}`), "Idempotency-Key", "key-2"))
}

func TestFiftyFirstUsesMakeOneEvent(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	answers := make([]string, 50)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() { answers[i] = h.do(with(post("/v1/events", event("")), "Idempotency-Key", "k")).Body.String() })
	}
	wg.Wait()
	slices.Sort(answers)
	if len(slices.Compact(answers)) != 1 || h.count()["events"] != 1 {
		t.Errorf("%d events, answers %v", h.count()["events"], slices.Compact(answers))
	}
}

func TestListsAreCompleteAndNewestFirst(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	h.endpoint("acme", "*")
	var made []string
	for range 7 {
		made = append(made, h.event("acme", "a.b").ID)
	}
	slices.Reverse(made)
	for _, list := range []string{"events", "deliveries"} {
		var got []string
		path := "/v1/" + list + "?limit=3&tenant=acme"
		for pages := 0; path != "" && pages < 10; pages++ {
			w := h.do(get(path))
			var page client.Page[struct{ ID, Event string }]
			if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || w.Code != 200 {
				t.Fatal(err, w.Code, w.Body)
			}
			for _, row := range page.Data {
				got = append(got, row.ID+"")
				if row.Event != "" {
					got[len(got)-1] = row.Event
				}
			}
			link := w.Header().Get("Link")
			if (page.NextCursor == nil) != (link == "") {
				t.Fatalf("next_cursor %v, Link %q", page.NextCursor, link)
			}
			path = strings.TrimSuffix(strings.TrimPrefix(link, "<"), `>; rel="next"`)
			if page.NextCursor != nil && !strings.Contains(link, "cursor="+url.QueryEscape(*page.NextCursor)) {
				t.Fatalf("next_cursor %v, Link %q", *page.NextCursor, link)
			}
		}
		if diff := cmp.Diff(made, got); diff != "" {
			t.Errorf("%s: %s", list, diff)
		}
	}
	none := want[client.Page[client.Delivery]](h, 200, get("/v1/deliveries?state=failed&event="+made[0]))
	one := want[client.Page[client.Delivery]](h, 200, get("/v1/deliveries?state=pending&type=a.b&event="+made[0]))
	unknown := want[client.Page[client.Delivery]](h, 200, get("/v1/deliveries?event=019396e0-5c2f-7cc1-8f3d-6d1f0f1c2b3a"))
	if len(none.Data) != 0 || none.Data == nil || len(one.Data) != 1 || len(unknown.Data) != 0 {
		t.Errorf("filters: %v %v %v", none, one, unknown)
	}
}

func TestModesNeverTouch(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	e := h.endpoint("acme", "*")
	p := h.event("acme", "a.b")
	d := want[client.Page[client.Delivery]](h, 200, get("/v1/deliveries")).Data[0]
	for _, c := range []call{{"GET", "/v1/endpoints/" + e.ID, "", nil, nil}, {"PATCH", "/v1/endpoints/" + e.ID, "", `{"title":"x"}`, nil},
		{"DELETE", "/v1/endpoints/" + e.ID, "", nil, nil}, {"POST", "/v1/endpoints/" + e.ID + "/test", "", nil, nil},
		{"POST", "/v1/endpoints/" + e.ID + "/secret/rotate", "", nil, nil}, {"GET", "/v1/events/" + p.ID, "", nil, nil},
		{"GET", "/v1/deliveries/" + d.ID, "", nil, nil}, {"POST", "/v1/deliveries/" + d.ID + "/retry", "", nil, nil},
		{"POST", "/v1/deliveries/" + d.ID + "/cancel", "", nil, nil}} {
		c.key = testKey
		refused(h, 404, hook.CodeNotFound, "", c)
		c.key = liveKey // control: the same request in the right mode succeeds
		if c.method == "GET" {
			if w := h.do(c); w.Code != 200 {
				t.Errorf("%s %s in its own mode: %d", c.method, c.path, w.Code)
			}
		}
	}
	for _, list := range []string{"endpoints", "events", "deliveries"} {
		c := get("/v1/" + list)
		c.key = testKey
		if rows := want[client.Page[json.RawMessage]](h, 200, c).Data; len(rows) != 0 {
			t.Errorf("%s of the other mode: %s", list, rows)
		}
	}
}

func TestWhoMayWhat(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	h.tenant("other")
	mine, theirs := h.endpoint("acme", "*"), h.endpoint("other", "*")
	foreign := h.event("other", "a.b")
	foreignDelivery := want[client.Page[client.Delivery]](h, 200, get("/v1/deliveries?tenant=other")).Data[0]
	tenantKey, publisher, bound := h.key("tenant", "acme"), h.key("publisher", ""), h.key("publisher", "acme")
	otherEvent := `{"tenant":"other","type":"a.b","data":{}}`
	newEndpoint := `{"tenant":"%s","url":"https://hooks.example.com/","event_types":[]}`
	rows := []struct {
		key, method, path string
		body              any
		status            int
	}{
		{tenantKey, "POST", "/v1/events", event(""), 403}, {tenantKey, "POST", "/v1/events/batch", "[" + event("") + "]", 403},
		{tenantKey, "GET", "/v1/tenants", nil, 403}, {tenantKey, "GET", "/v1/tenants/acme", nil, 403}, {tenantKey, "POST", "/v1/tenants", `{}`, 403},
		{tenantKey, "GET", "/v1/keys", nil, 403}, {tenantKey, "POST", "/v1/keys", `{"kind":"operator"}`, 403},
		{tenantKey, "GET", "/v1/endpoints/" + mine.ID, nil, 200}, {tenantKey, "GET", "/v1/endpoints/" + theirs.ID, nil, 404},
		{tenantKey, "PATCH", "/v1/endpoints/" + theirs.ID, `{"title":"x"}`, 404}, {tenantKey, "DELETE", "/v1/endpoints/" + theirs.ID, nil, 404},
		{tenantKey, "POST", "/v1/endpoints/" + theirs.ID + "/test", nil, 404}, {tenantKey, "POST", "/v1/endpoints/" + theirs.ID + "/secret/rotate", nil, 404},
		{tenantKey, "POST", "/v1/endpoints", fmt.Sprintf(newEndpoint, "other"), 404}, {tenantKey, "POST", "/v1/endpoints", fmt.Sprintf(newEndpoint, "acme"), 201},
		{tenantKey, "GET", "/v1/endpoints?tenant=other", nil, 404}, {tenantKey, "GET", "/v1/events?tenant=other", nil, 404},
		{tenantKey, "GET", "/v1/events/" + foreign.ID, nil, 404}, {tenantKey, "GET", "/v1/deliveries/" + foreignDelivery.ID, nil, 404},
		{tenantKey, "POST", "/v1/deliveries/" + foreignDelivery.ID + "/retry", nil, 404}, {tenantKey, "POST", "/v1/deliveries/" + foreignDelivery.ID + "/cancel", nil, 404},
		{publisher, "POST", "/v1/events", event(""), 202}, {publisher, "POST", "/v1/events", otherEvent, 202},
		{publisher, "GET", "/v1/events", nil, 403}, {publisher, "GET", "/v1/endpoints", nil, 403}, {publisher, "GET", "/v1/endpoints/" + mine.ID, nil, 403},
		{publisher, "GET", "/v1/deliveries", nil, 403}, {publisher, "GET", "/v1/keys", nil, 403}, {publisher, "POST", "/v1/tenants", `{}`, 403},
		{bound, "POST", "/v1/events", event(""), 202}, {bound, "POST", "/v1/events", otherEvent, 404},
		{liveKey, "GET", "/v1/endpoints/" + theirs.ID, nil, 200}, {liveKey, "GET", "/v1/keys", nil, 200},
	}
	for _, r := range rows {
		if w := h.do(call{r.method, r.path, r.key, r.body, nil}); w.Code != r.status {
			t.Errorf("%.12s... %s %s: %d, want %d: %s", r.key, r.method, r.path, w.Code, r.status, w.Body)
		}
	}
	for _, list := range []string{"endpoints", "events", "deliveries"} {
		c := get("/v1/" + list)
		all := want[client.Page[struct{ Tenant string }]](h, 200, c).Data
		c.key = tenantKey
		own := want[client.Page[struct{ Tenant string }]](h, 200, c).Data
		for _, row := range own {
			if row.Tenant != "acme" {
				t.Errorf("%s of acme show %q", list, row.Tenant)
			}
		}
		if len(own) == 0 || len(own) >= len(all) {
			t.Errorf("%s: acme sees %d of %d", list, len(own), len(all))
		}
	}
}

func TestRevokedKeysAndTenantsStopAtOnce(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	made := want[client.Key](h, 201, post("/v1/keys", `{"kind":"tenant","tenant":"acme","name":"ci"}`))
	if !strings.HasPrefix(made.Key, "ph_live_tenant_") || !app.CheckKeyText(made.Key) || made.Mode != "live" {
		t.Errorf("key %+v", made)
	}
	c := call{"GET", "/v1/endpoints", made.Key, nil, nil}
	want[client.Page[client.Endpoint]](h, 200, c)
	if list := want[client.Page[client.Key]](h, 200, get("/v1/keys")).Data; len(list) != 1 || list[0].Key != "" || list[0].Name != "ci" {
		t.Errorf("list of keys: %+v", list)
	}
	refused(h, 404, hook.CodeNotFound, "", call{"DELETE", "/v1/keys/" + made.ID, testKey, nil, nil})
	want[struct{}](h, 204, call{"DELETE", "/v1/keys/" + made.ID, liveKey, nil, nil})
	refused(h, 401, hook.CodeUnauthorized, "", c)
	refused(h, 404, hook.CodeNotFound, "", call{"DELETE", "/v1/keys/" + made.ID, liveKey, nil, nil})

	c.key = h.key("tenant", "acme")
	want[client.Page[client.Endpoint]](h, 200, c)
	want[client.Tenant](h, 200, call{"PATCH", "/v1/tenants/acme", liveKey, `{"name":"Acme"}`, nil})
	want[struct{}](h, 204, call{"DELETE", "/v1/tenants/acme", liveKey, nil, nil})
	refused(h, 401, hook.CodeUnauthorized, "", c)
	refused(h, 404, hook.CodeTenantNotFound, "tenant", post("/v1/events", event("")))
	refused(h, 409, hook.CodeTenantExists, "id", post("/v1/tenants", `{"id":"acme"}`))
}

func TestCreateTenantsOnFirstUse(t *testing.T) {
	h := newTestAPI(t, func(o *app.Options, _ *store.Options) { o.CreateTenants = true })
	want[client.Published](h, 202, post("/v1/events", event("")))
	if got := want[client.Tenant](h, 200, get("/v1/tenants/acme")); got.ID != "acme" {
		t.Errorf("%+v", got)
	}
}

func TestClientSpeaksToTheServer(t *testing.T) {
	h := newTestAPI(t)
	server := httptest.NewServer(h.handler)
	defer server.Close()
	ctx := t.Context()
	c := &client.Client{URL: server.URL + "/", Key: liveKey}
	if _, err := c.CreateTenant(ctx, client.NewTenant{ID: "acme", Name: "Acme"}); err != nil {
		t.Fatal(err)
	}
	e, err := c.CreateEndpoint(ctx, client.NewEndpoint{Tenant: "acme", URL: "https://hooks.example.com/a?token=1", EventTypes: []string{"a.*"}})
	if err != nil || e.Secret == "" {
		t.Fatal(e, err)
	}
	data := json.RawMessage(`{ "n" : 1e400, "x":"<>" }`)
	at := client.Time{Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	p, err := c.Publish(ctx, client.NewEvent{Tenant: "acme", Type: "a.b", Data: data, CreatedAt: &at}, client.PublishOptions{IdempotencyKey: "k"})
	if err != nil || p.DeliveryCount != 1 || !p.CreatedAt.Equal(at.Time) || h.stored(p.ID) != string(data) {
		t.Fatal(p, err)
	}
	results, err := c.PublishBatch(ctx, []client.NewEvent{{Tenant: "acme", Type: "a.b", Data: data}, {Tenant: "no", Type: "a", Data: data}}, client.PublishOptions{})
	if err != nil || len(results) != 2 || h.stored(results[0].ID) != string(data) || results[1].Error == nil {
		t.Fatal(results, err)
	}
	if e, err = c.UpdateEndpoint(ctx, e.ID, client.EndpointPatch{Title: client.Set("T"), Retry: client.Set(client.Retry{First: "5s"}), Description: client.Null[string]()}); err != nil || e.Title != "T" || e.Retry.Factor != 2 {
		t.Fatal(e, err)
	}
	list, err := c.Deliveries(ctx, client.DeliveryQuery{ListOptions: client.ListOptions{Limit: 1}, Endpoint: e.ID})
	if err != nil || len(list.Data) != 1 || list.NextCursor == nil {
		t.Fatal(list, err)
	}
	d, err := c.CancelDelivery(ctx, list.Data[0].ID)
	if err != nil || d.State != "cancelled" || d.Event != list.Data[0].Event {
		t.Fatal(d, err)
	}
	_, err = c.CancelDelivery(ctx, list.Data[0].ID)
	if problem, ok := errors.AsType[*client.Problem](err); !ok || problem.Code != "delivery_settled" || problem.Status != 409 || problem.RequestID == "" {
		t.Errorf("cancel twice: %v", err)
	}
	if v, err := c.Version(ctx); err != nil || v.Version != "1.2.3" {
		t.Error(v, err)
	}
}
