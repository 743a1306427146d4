package native_test

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
)

// kinds returns the kinds and ids of what a search finds with a key.
func (h *testAPI) kinds(key, text string) (found []string) {
	h.t.Helper()
	for _, f := range want[client.SearchResults](h, 200, call{"GET", "/v1/search?q=" + url.QueryEscape(text), key, nil, nil}).Data {
		found = append(found, f.Kind+" "+f.ID)
	}
	return found
}

func TestSearchFindsEveryKindOfID(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	h.tenant("other")
	made := want[client.Tenant](h, 201, post("/v1/tenants", `{"name":"Made"}`))
	e := h.endpoint("acme", "*")
	theirs := h.event("other", "a.b")
	own := h.event("acme", "a.b")
	given := want[client.Published](h, 202, post("/v1/events", `{"tenant":"acme","type":"a.b","data":{},"id":"F47AC10B-58cc-4372-a567-0e02b2c3d479"}`))
	d := want[client.Event](h, 200, get("/v1/events/"+own.ID)).Deliveries[0]
	replay := want[client.Replay](h, 201, post("/v1/replays", `{"endpoint":"`+e.ID+`","source":"all"}`))
	key := want[client.Key](h, 201, post("/v1/keys", `{"kind":"tenant","tenant":"acme","name":"theirs"}`))
	w := h.do(call{"PATCH", "/v1/endpoints/" + e.ID, liveKey, `{"title":"t"}`, map[string]string{"X-Request-Id": "req-1"}})
	if w.Code != 200 {
		t.Fatal(w.Body)
	}
	bare := func(id string) string { return strings.ReplaceAll(id, "-", "") }
	for text, is := range map[string]string{
		own.ID: "event " + own.ID, bare(own.ID): "event " + own.ID, strings.ToUpper(own.ID): "event " + own.ID,
		given.ID: "event " + given.ID, given.ID[:8]: "event " + given.ID, given.ID[:9]: "event " + given.ID, given.ID[:35]: "event " + given.ID, bare(given.ID)[:31]: "event " + given.ID,
		d.ID: "delivery " + d.ID, d.ID[:28]: "delivery " + d.ID, e.ID: "endpoint " + e.ID, *replay.ID: "replay " + *replay.ID, key.ID: "key " + key.ID,
		"acme": "tenant acme", made.ID: "tenant " + made.ID, made.ID[:22]: "tenant " + made.ID, "req-1": "request req-1",
	} {
		if got := h.kinds(liveKey, text); !slices.Equal(got, []string{is}) {
			t.Errorf("%s: %v, want %s", text, got, is)
		}
		if got := h.kinds(testKey, text); len(got) != 0 && !strings.HasPrefix(is, "tenant") { // tenants span both modes
			t.Errorf("%s in the other mode: %v", text, got)
		}
	}
	// What was made at the same time begins with the same digits.
	all := []string{"event " + own.ID, "event " + theirs.ID, "delivery " + d.ID, "endpoint " + e.ID, "replay " + *replay.ID, "key " + key.ID, "tenant " + made.ID}
	if got := h.kinds(liveKey, own.ID[:8]); !contains(got, all...) {
		t.Errorf("%v", got)
	}
	if got := h.kinds(key.Key, own.ID[:8]); !contains(got, "event "+own.ID, "delivery "+d.ID, "endpoint "+e.ID, "replay "+*replay.ID) || contains(got, "event "+theirs.ID) ||
		slices.ContainsFunc(got, func(f string) bool { return strings.HasPrefix(f, "tenant") || strings.HasPrefix(f, "key") }) {
		t.Errorf("the tenant finds %v", got)
	}
	for _, text := range []string{theirs.ID, "other", key.ID, "req-9", own.ID[:7], "ffffffff", "g" + own.ID[1:]} {
		if got := h.kinds(key.Key, text); len(got) != 0 {
			t.Errorf("%s: %v", text, got)
		}
	}
	// Each result leads to a request that shows it.
	for _, f := range want[client.SearchResults](h, 200, get("/v1/search?q="+own.ID[:8])).Data {
		if w := h.do(get(f.Path)); w.Code != 200 || !strings.Contains(w.Body.String(), f.ID) {
			t.Errorf("%s: %d %s", f.Path, w.Code, w.Body)
		}
	}
	if rows := want[client.Page[client.AuditEntry]](h, 200, get("/v1/audit?request_id=req-1")).Data; len(rows) != 1 || rows[0].Act != "endpoint.updated" {
		t.Errorf("%+v", rows)
	}
	want[struct{}](h, 204, call{"DELETE", "/v1/tenants/acme", liveKey, nil, nil})
	for _, text := range []string{own.ID, given.ID, d.ID, e.ID, *replay.ID, key.ID, "acme", "req-1"} {
		if got := h.kinds(liveKey, text); len(got) != 0 {
			t.Errorf("of a deleted tenant: %s: %v", text, got)
		}
	}
}

func contains(list []string, all ...string) bool {
	return !slices.ContainsFunc(all, func(one string) bool { return !slices.Contains(list, one) })
}

func TestSearchIsBounded(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	batch := "[" + strings.TrimSuffix(strings.Repeat(`{"tenant":"acme","type":"a.b","data":{}},`, 30), ",") + "]"
	id := want[client.BatchResults](h, 202, post("/v1/events/batch", batch)).Results[29].ID
	got := want[client.SearchResults](h, 200, get("/v1/search?q="+id[:8]))
	if len(got.Data) != hook.MostFound || got.Data[0].ID != id || !slices.Equal(got.More, []string{"event"}) {
		t.Errorf("%d found, %v", len(got.Data), got.More)
	}
	for _, text := range []string{"a b", "ä", strings.Repeat("a", 257), "order:o-1", "..", "a/b", "%27", "\u202e"} {
		refused(h, 422, hook.CodeInvalidRequest, "q", get("/v1/search?q="+url.QueryEscape(text)))
	}
	refused(h, 422, hook.CodeInvalidRequest, "q", get("/v1/search"))
	refused(h, 403, hook.CodeForbidden, "", call{"GET", "/v1/search?q=acme", h.key("publisher", ""), nil, nil})
}

func TestTagsFindEvents(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	h.tenant("other")
	h.endpoint("acme", "*")
	h.endpoint("acme", "*")
	value := strings.Repeat("ü", 127) + ":"
	one := want[client.Published](h, 202, post("/v1/events", map[string]any{"tenant": "acme", "type": "a.b", "data": map[string]any{}, "tags": map[string]string{"order": "o-1", "note": value}}))
	results := want[client.BatchResults](h, 202, post("/v1/events/batch", `[{"tenant":"acme","type":"a.b","data":{},"tags":{"order":"o-1"}},{"tenant":"acme","type":"a.b","data":{},"tags":{"order":1}},{"tenant":"acme","type":"x","data":{},"tags":null}]`)).Results
	if results[0].ID == "" || results[1].Error == nil || results[1].Error.Field != "tags" || results[2].ID == "" {
		t.Fatalf("%+v", results)
	}
	lines := want[client.BatchResults](h, 202, call{"POST", "/v1/events/batch", liveKey, `{"tenant":"other","type":"a.b","data":{},"tags":{"order":"o-1"}}`, map[string]string{"Content-Type": "application/x-ndjson"}}).Results
	mine := h.key("tenant", "acme")
	list := func(key, path string) (ids []string) {
		for _, e := range want[client.Page[struct{ ID, Event string }]](h, 200, call{"GET", path, key, nil, nil}).Data {
			if e.Event != "" {
				e.ID = e.Event
			}
			ids = append(ids, e.ID)
		}
		return ids
	}
	tag := url.QueryEscape("order:o-1")
	for path, ids := range map[string][]string{
		"/v1/events?tag=" + tag:                            {lines[0].ID, results[0].ID, one.ID},
		"/v1/events?tag=" + tag + "&tenant=acme":           {results[0].ID, one.ID},
		"/v1/events?tag=" + tag + "&type=x":                nil,
		"/v1/events?tag=" + url.QueryEscape("note:"+value): {one.ID},
		"/v1/events?tag=order:o-2":                         nil,
		"/v1/events?tag=Order:o-1":                         nil,
		"/v1/deliveries?tenant=acme&tag=" + tag:            {results[0].ID, results[0].ID, one.ID, one.ID},
		"/v1/deliveries?tag=" + tag + "&event=" + one.ID:   {one.ID, one.ID},
		"/v1/deliveries?tag=order:o-2&event=" + one.ID:     nil,
		"/v1/deliveries?tag=" + tag + "&state=failed":      nil,
	} {
		if got := list(liveKey, path); !slices.Equal(got, ids) {
			t.Errorf("%s: %v, want %v", path, got, ids)
		}
	}
	if got := list(mine, "/v1/events?tag="+tag); !slices.Equal(got, []string{results[0].ID, one.ID}) {
		t.Errorf("the tenant finds %v", got)
	}
	if got := list(testKey, "/v1/events?tag="+tag); len(got) != 0 {
		t.Errorf("the other mode finds %v", got)
	}
	shown := map[string]string{"order": "o-1", "note": value}
	if got := want[client.Event](h, 200, get("/v1/events/"+one.ID)); !maps.Equal(got.Tags, shown) {
		t.Errorf("%v", got.Tags)
	}
	if got := want[client.Page[client.Event]](h, 200, get("/v1/events?tenant=acme")).Data; !maps.Equal(got[2].Tags, shown) || got[0].Tags != nil {
		t.Errorf("%+v", got)
	}
	// Pages of one row find the same.
	var pages []string
	for next := "/v1/deliveries?limit=1&tag=" + tag; next != ""; {
		got := want[client.Page[client.Delivery]](h, 200, get(next))
		pages = append(pages, got.Data[0].Event)
		if next = ""; got.NextCursor != nil {
			next = "/v1/deliveries?limit=1&tag=" + tag + "&cursor=" + *got.NextCursor
		}
	}
	if !slices.Equal(pages, []string{results[0].ID, results[0].ID, one.ID, one.ID}) {
		t.Errorf("%v", pages)
	}
}

// The same id with other tags is another event.
func TestTagsArePartOfTheContent(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	body := func(tags string) string {
		return `{"tenant":"acme","type":"a.b","data":{},"id":"f47ac10b-58cc-4372-a567-0e02b2c3d479"` + tags + `}`
	}
	want[client.Published](h, 202, post("/v1/events", body(`,"tags":{"a":"1","b":"2"}`)))
	want[client.Published](h, 202, post("/v1/events", body(`,"tags":{"b":"2","a":"1"}`)))
	for _, tags := range []string{"", `,"tags":{"a":"1"}`, `,"tags":{"a":"1","b":"3"}`, `,"tags":{"a":"1b2"}`} {
		refused(h, 409, hook.CodeEventConflict, "id", post("/v1/events", body(tags)))
	}
}

func TestOddTagsAreRefused(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	before := h.count()
	for tags, field := range map[string]string{
		`{}`: "tags", `[]`: "tags", `"order:o-1"`: "tags", `1`: "tags", `true`: "tags", `{"a":1}`: "tags", `{"a":null}`: "tags", `{"a":{}}`: "tags", `{"a":["b"]}`: "tags",
		`{"a":"1","b":"2","c":"3","d":"4","e":"5","f":"6"}`: "tags", `{"":"x"}`: "tags", `{"1a":"x"}`: "tags", `{"a b":"x"}`: "tags", `{"a:b":"x"}`: "tags", `{"ä":"x"}`: "tags", `{"-a":"x"}`: "tags",
		`{"` + strings.Repeat("a", 65) + `":"x"}`: "tags", `{"a":""}`: "tags/a", `{"a":"` + strings.Repeat("x", 129) + `"}`: "tags/a", `{"a":"x\u0000"}`: "tags/a", `{"a":"x\ny"}`: "tags/a", `{"a":"\u007f"}`: "tags/a",
		`{"a":" x"}`: "tags/a", `{"a":"x "}`: "tags/a", `{"a":"\u202e"}`: "tags/a", `{"a":"\u200b"}`: "tags/a", `{"a":"\u2028"}`: "tags/a", `{"a":"x\u00a0"}`: "tags/a", `{"a":"\ufeff"}`: "tags/a",
	} {
		refused(h, 422, hook.CodeInvalidRequest, field, post("/v1/events", `{"tenant":"acme","type":"a.b","data":{},"tags":`+tags+`}`))
	}
	for _, tags := range []string{`{"a":"\ud800"}`, `{"a":"b","a":"c"}`, "{\"a\":\"\xff\"}", `{"a":"b"`} {
		refused(h, 400, hook.CodeInvalidJSON, "", post("/v1/events", `{"tenant":"acme","type":"a.b","data":{},"tags":`+tags+`}`))
	}
	if after := h.count(); !maps.Equal(before, after) {
		t.Errorf("rows: %v before, %v after", before, after)
	}
	for _, tag := range []string{"order", ":o-1", "order:", ":", "or der:x", "order: x", "order:" + strings.Repeat("x", 129), "1:2", "order:\u202e"} {
		for _, list := range []string{"events", "deliveries"} {
			refused(h, 422, hook.CodeInvalidRequest, "tag", get("/v1/"+list+"?tag="+url.QueryEscape(tag)))
		}
	}
}

func TestSearchableMembersBecomeTags(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	created := want[client.EventType](h, 201, post("/v1/event-types", `{"name":"order.paid","searchable":{"order":"/order/id","total":"/total","ok":"/ok"}}`))
	if !maps.Equal(created.Searchable, map[string]string{"order": "/order/id", "total": "/total", "ok": "/ok"}) {
		t.Fatalf("%+v", created)
	}
	published := func(eventType, rest string) map[string]string {
		p := want[client.Published](h, 202, post("/v1/events", `{"tenant":"acme","type":"`+eventType+`",`+rest+`}`))
		return want[client.Event](h, 200, get("/v1/events/"+p.ID)).Tags
	}
	for rest, tags := range map[string]map[string]string{
		`"data":{"order":{"id":"o\u002d1"},"total":12.50,"ok":true}`:                                   {"order": "o-1", "total": "12.50", "ok": "true"},
		`"data":{"order":{"id":null},"total":{},"ok":[]}`:                                              nil,
		`"data":{"order":"o-1"}`:                                                                       nil,
		`"data":{"order":{"id":"` + strings.Repeat("x", 129) + `"},"ok":false}`:                        {"ok": "false"},
		`"data":{"order":{"id":"a\nb"},"total":" "}`:                                                   nil,
		`"data":{"order":{"id":"from data"}},"tags":{"order":"given","a":"1","b":"2","c":"3","d":"4"}`: {"order": "given", "a": "1", "b": "2", "c": "3", "d": "4"},
	} {
		if got := published("order.paid", rest); !maps.Equal(got, tags) {
			t.Errorf("%s: %v, want %v", rest, got, tags)
		}
	}
	if got := published("order.sent", `"data":{"order":{"id":"o-1"}}`); got != nil {
		t.Errorf("of another type: %v", got)
	}
	if rows := want[client.Page[client.Event]](h, 200, get("/v1/events?tag=order:o-1")).Data; len(rows) != 1 {
		t.Errorf("%+v", rows)
	}
	// The tags of the data are not part of the content that is compared.
	again := `{"tenant":"acme","type":"order.paid","data":{"order":{"id":"o-7"}},"id":"f47ac10b-58cc-4372-a567-0e02b2c3d479"}`
	want[client.Published](h, 202, post("/v1/events", again))
	patched := want[client.EventType](h, 200, call{"PATCH", "/v1/event-types/order.paid", liveKey, `{"searchable":null}`, nil})
	if len(patched.Searchable) != 0 {
		t.Errorf("%+v", patched)
	}
	want[client.Published](h, 202, post("/v1/events", again))
	if got := published("order.paid", `"data":{"order":{"id":"o-1"}}`); got != nil {
		t.Errorf("after its removal: %v", got)
	}
	for searchable, field := range map[string]string{
		`{"a":"/1","b":"/2","c":"/3","d":"/4","e":"/5"}`: "searchable", `{"a b":"/x"}`: "searchable", `{"a":""}`: "searchable/a", `{"a":"x"}`: "searchable/a", `{"a":"/~2"}`: "searchable/a", `{"a":"/\u0000"}`: "searchable/a",
		`{"a":"/` + strings.Repeat("x", 300) + `"}`: "searchable/a", `{"a":"` + strings.Repeat("/x", 20) + `"}`: "searchable/a", `{"a":1}`: "searchable/a", `["/x"]`: "searchable",
	} {
		refused(h, 422, hook.CodeInvalidRequest, field, post("/v1/event-types", `{"name":"x.y","searchable":`+searchable+`}`))
		refused(h, 422, hook.CodeInvalidRequest, field, call{"PATCH", "/v1/event-types/order.paid", liveKey, `{"searchable":` + searchable + `}`, nil})
	}
}

// A list whose filter finds nothing says how far it looked, and its cursor goes on there.
func TestListsSayWhereTheyStopped(t *testing.T) {
	h := newTestAPI(t)
	h.store.Scan = 10
	h.tenant("acme")
	h.endpoint("acme", "*")
	first := h.event("acme", "x")
	for range 15 {
		h.event("acme", "a.b")
	}
	for path, until := range map[string]bool{"events?type=x": true, "deliveries?event_type=x": true, "events?tenant=acme&type=x": true, "deliveries?tenant=acme&event_type=x": true,
		"events?": true, "events?limit=5": false, "deliveries?limit=5": false, "deliveries?event=" + first.ID: false} {
		page := want[client.Page[struct{ ID string }]](h, 200, get("/v1/"+path))
		if (page.Scanned == 10 && page.Until != nil) != until || page.Until != nil && page.Until.IsZero() {
			t.Errorf("%s: %d looked at, until %v", path, page.Scanned, page.Until)
		}
		if until && page.NextCursor == nil {
			t.Errorf("%s has no cursor", path)
			continue
		}
		if !until {
			continue
		}
		rest := want[client.Page[struct{ ID string }]](h, 200, get("/v1/"+path+"&cursor="+*page.NextCursor))
		if len(rest.Data) == 0 || rest.Scanned != 0 || rest.Until != nil {
			t.Errorf("%s: the rest is %+v", path, rest)
		}
	}
}

func TestDeliveriesInSeveralStates(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	h.endpoint("acme", "*")
	outcomes := []func(*hook.Outcome){nil,
		func(o *hook.Outcome) { o.Success, o.Status = true, 200 },
		func(o *hook.Outcome) { o.Status, o.Class = 503, hook.ClassStatus },
		func(o *hook.Outcome) { o.Status, o.Class = 404, hook.ClassStatus },
		func(o *hook.Outcome) { o.Class = hook.ClassTimeout },
	}
	for _, outcome := range outcomes {
		d := want[client.Event](h, 200, get("/v1/events/"+h.event("acme", "a.b").ID)).Deliveries[0]
		if outcome != nil {
			h.settle(d.ID, outcome)
		}
	}
	for query, n := range map[string]int{"state=pending": 4, "state=succeeded": 1, "state=succeeded,pending": 5, "state=failed,held,cancelled": 0, "status_class=4xx,5xx": 2, "status_class=2xx": 1, "status=503": 1, "status=500": 0,
		"error=status_not_success,timeout_response": 3, "error=timeout_response": 1, "state=pending&status_class=5xx,4xx&error=status_not_success": 2} {
		if rows := want[client.Page[client.Delivery]](h, 200, get("/v1/deliveries?"+query)).Data; len(rows) != n {
			t.Errorf("%s: %d rows, want %d", query, len(rows), n)
		}
	}
	for query, field := range map[string]string{"state=failed,lost": "state", "state=failed,": "state", "state=%2C": "state", "status_class=5xx,6xx": "status_class", "status=99": "status", "status=600": "status",
		"status=abc": "status", "error=a,B": "error", "error=" + strings.Repeat("a,", 10) + "a": "error", "state=held,held,held,held,held,held": "state"} {
		refused(h, 422, hook.CodeInvalidRequest, field, get("/v1/deliveries?"+query))
	}
}
