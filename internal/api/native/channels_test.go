package native_test

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
)

func TestChannels(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	ids := map[string]string{"any": h.endpoint("acme", "*").ID}
	for name, channels := range map[string]string{"one": `["c1","c2","c1"]`, "two": `["c2"]`} {
		e := want[client.Endpoint](h, 201, post("/v1/endpoints", `{"tenant":"acme","url":"https://example.com/","event_types":["a.*"],"channels":`+channels+`}`))
		ids[name] = e.ID
		if list := want[client.Endpoint](h, 200, get("/v1/endpoints/"+e.ID)).Channels; list[len(list)-1] != "c2" || len(list) > 2 {
			t.Errorf("%v", list)
		}
	}
	event := func(channels string) string {
		return `{"tenant":"acme","type":"a.b","data":{},"channels":` + channels + `}`
	}
	got := []int{want[client.Published](h, 202, post("/v1/events", event(`["c1"]`))).DeliveryCount}
	for _, batch := range []call{
		post("/v1/events/batch", "["+event(`["c2","c3"]`)+","+event("null")+"]"),
		{"POST", "/v1/events/batch", liveKey, event(`["c3"]`) + "\n" + event(`["c 3"]`), map[string]string{"Content-Type": "application/x-ndjson"}},
	} {
		for _, r := range want[client.BatchResults](h, 202, batch).Results {
			switch {
			case r.Error == nil:
				got = append(got, *r.DeliveryCount)
			case r.Error.Field != "channels/0":
				t.Errorf("%+v", r.Error)
			}
		}
	}
	if !slices.Equal(got, []int{2, 3, 1, 1}) {
		t.Errorf("deliveries: %v", got)
	}
	list := want[client.Page[client.Event]](h, 200, get("/v1/events?channel=c1")).Data
	if len(list) != 1 || !slices.Equal(list[0].Channels, []string{"c1"}) {
		t.Fatalf("%+v", list)
	}
	if rows := want[client.Page[client.Delivery]](h, 200, get("/v1/deliveries?channel=c3")).Data; len(rows) != 4 {
		t.Errorf("%+v", rows)
	}
	if diff := cmp.Diff(map[string]string{"any": "matched", "one": "matched", "two": "channel"}, h.reasons(list[0].ID, ids)); diff != "" {
		t.Error(diff)
	}
	x := want[client.Explanation](h, 200, get("/v1/events/"+list[0].ID+"/explain"))
	for _, e := range x.Endpoints {
		if e.Reason == "channel" && (e.Message != "The endpoint listened to c2 only, and the event was published to c1." || !slices.Equal(e.Channels, []string{"c2"})) {
			t.Errorf("%+v", e)
		}
	}
	for channels, n := range map[string]int{`["c1"]`: 2, `["c2"]`: 3, "null": 1} {
		if m := want[client.Match](h, 200, post("/v1/events/match", `{"tenant":"acme","type":"a.b","channels":`+channels+`}`)); m.Count != n {
			t.Errorf("%s: %+v", channels, m)
		}
	}
	h.tenant("narrow")
	want[client.Endpoint](h, 201, post("/v1/endpoints", `{"tenant":"narrow","url":"https://example.com/","event_types":["*"],"channels":["c1"]}`))
	refused(h, 422, hook.CodeNoMatch, "require_match", post("/v1/events", `{"tenant":"narrow","type":"a.b","data":{},"channels":["c9"],"require_match":true}`))
	dry := want[client.Replay](h, 201, post("/v1/replays", `{"endpoint":"`+ids["any"]+`","source":"all","channel":"c3","dry_run":true}`))
	if dry.Total != 2 || dry.Channel == nil || *dry.Channel != "c3" {
		t.Errorf("%+v", dry)
	}

	// A merge patch replaces and clears; without the member nothing changes.
	for _, c := range []struct{ patch, want string }{{`{"title":"x"}`, "[c2]"}, {`{"channels":["z","y"]}`, "[y z]"}, {`{"channels":null}`, "[]"}} {
		if e := want[client.Endpoint](h, 200, call{"PATCH", "/v1/endpoints/" + ids["two"], liveKey, c.patch, nil}); fmt.Sprint(e.Channels) != c.want {
			t.Errorf("%s: %v", c.patch, e.Channels)
		}
	}
	// The same id with other channels is another event.
	given := func(channels string) string {
		return strings.Replace(event(channels), "{", `{"id":"f47ac10b-58cc-4372-a567-0e02b2c3d479",`, 1)
	}
	want[client.Published](h, 202, post("/v1/events", given(`["a","b"]`)))
	want[client.Published](h, 202, post("/v1/events", given(`["b","a"]`)))
	refused(h, 409, hook.CodeEventConflict, "id", post("/v1/events", given(`["a"]`)))
}

func TestOddChannelsAreRefused(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	e := h.endpoint("acme", "*")
	before := h.count()
	var many []string
	for i := range 11 {
		many = append(many, fmt.Sprintf(`"c%d"`, i))
	}
	for channels, field := range map[string]string{
		`[]`: "channels", `"c1"`: "channels", `1`: "channels", `{}`: "channels", `[1]`: "channels/0", `["a",null]`: "channels/1", `["a",["b"]]`: "channels/1",
		`[""]`: "channels/0", `["a","b c"]`: "channels/1", `["ä"]`: "channels/0", `["a,b"]`: "channels/0", `["*"]`: "channels/0", `["a\u0000"]`: "channels/0",
		`["` + strings.Repeat("c", 129) + `"]`: "channels/0", "[" + strings.Join(many, ",") + "]": "channels",
	} {
		refused(h, 422, hook.CodeInvalidRequest, field, post("/v1/events", `{"tenant":"acme","type":"a.b","data":{},"channels":`+channels+`}`))
		refused(h, 422, hook.CodeInvalidRequest, field, post("/v1/endpoints", `{"tenant":"acme","url":"https://example.com/","event_types":["*"],"channels":`+channels+`}`))
		refused(h, 422, hook.CodeInvalidRequest, field, call{"PATCH", "/v1/endpoints/" + e.ID, liveKey, `{"channels":` + channels + `}`, nil})
		refused(h, 422, hook.CodeInvalidRequest, field, post("/v1/events/match", `{"tenant":"acme","type":"a.b","channels":`+channels+`}`))
	}
	refused(h, 422, hook.CodeInvalidRequest, "channels", post("/v1/endpoints", `{"tenant":"acme","url":"https://example.com/","event_types":["*"],"channels":["a"],"operational":true}`))
	for _, channel := range []string{"a b", "a,b", strings.Repeat("c", 129), "\u202e"} {
		for _, list := range []string{"events", "deliveries"} {
			refused(h, 422, hook.CodeInvalidRequest, "channel", get("/v1/"+list+"?channel="+url.QueryEscape(channel)))
		}
		refused(h, 422, hook.CodeInvalidRequest, "channel", post("/v1/replays", map[string]any{"endpoint": e.ID, "channel": channel}))
	}
	if after := h.count(); !maps.Equal(before, after) {
		t.Errorf("rows: %v before, %v after", before, after)
	}
}
