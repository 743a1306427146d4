package web_test

import (
	"encoding/json"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
)

// The first digits of an id list what begins with them, a tag is shown and leads to its
// events, and a search of the other mode finds nothing.
func TestSearchAndTags(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.Config.OperatorKey, w.Config.OperatorTestKey)
	p, err := w.API.Publish(t.Context(), client.NewEvent{Tenant: "acme", Type: "a.b", Data: json.RawMessage(`{}`), Tags: map[string]string{"order": "o-<1>"}}, client.PublishOptions{})
	if err != nil {
		t.Fatal(err)
	}
	replay, err := w.API.CreateReplay(t.Context(), client.NewReplay{Endpoint: w.endpoint.ID, Source: "all"})
	if err != nil {
		t.Fatal(err)
	}
	for path, says := range map[string]string{
		"/ui/live/search?q=" + p.ID[:8]:       "/ui/live/events/" + p.ID,
		"/ui/live/search?q=" + w.event.ID[:8]: "/ui/live/deliveries/" + w.delivery,
		"/ui/live/replays/" + *replay.ID:      *replay.ID,
		"/ui/live/events/" + p.ID:             "o-&lt;1&gt;",
		"/ui/live/events?tag=order:o-%3C1%3E": "/ui/live/events/" + p.ID,
		"/ui/live/deliveries?tag=order:other": "Nothing matches",
		"/ui/live/events?tag=order":           "must be the name of a tag",
		"/ui/live/deliveries?tag=order":       "must be the name of a tag",
	} {
		if a := b.get(path); a.status != 200 || !strings.Contains(a.body, says) {
			t.Errorf("%s: %d, it does not say %q\n%s", path, a.status, says, a.body)
		}
	}
	if a := b.get("/ui/live/search?q=" + *replay.ID); a.status != 303 || a.header.Get("Location") != "/ui/live/replays/"+*replay.ID {
		t.Errorf("the replay is not found: %d %s", a.status, a.header.Get("Location"))
	}
	for path, says := range map[string]string{
		"/ui/test/search?q=" + p.ID:          "/ui/live/search?q=" + p.ID,
		"/ui/live/search?q=order%3Ao-1":      "/ui/live/events?tag=order",
		"/ui/live/search?q=%22%3E%3Cb%3Ebol": "Nothing was found",
	} {
		if a := b.get(path); a.status != 404 || !strings.Contains(a.body, says) || strings.Contains(a.body, "<b>bol") || strings.Contains(a.body, "a.b<") {
			t.Errorf("%s: %d, it does not say %q\n%s", path, a.status, says, a.body)
		}
	}
}

// Deliveries are found by a part of the host of their endpoint, if only one has it.
func TestDeliveriesByHost(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.Config.OperatorKey)
	second := w.Endpoint(client.NewEndpoint{EventTypes: []string{"none"}, URL: strings.Replace(w.Receiver.URL, "127.0.0.1", "localhost", 1) + "/second"})
	for text, says := range map[string]string{"/hook": w.delivery, "LOCALHOST": "2 endpoints have", "/second": "Nothing matches", "nowhere.example": "No endpoint has", strings.Repeat("x", 300): "must have at most 200 bytes", w.endpoint.ID: w.delivery} {
		a := b.get("/ui/live/deliveries?endpoint=" + url.QueryEscape(text))
		if a.status != 200 || !strings.Contains(a.body, says) || (says == w.delivery) != strings.Contains(a.body, `value="`+w.endpoint.ID+`"`) {
			t.Errorf("%.40q: %d, it does not say %q", text, a.status, says)
		}
	}
	if a := b.get("/ui/live/deliveries?tenant=hostile&endpoint=/second"); !strings.Contains(a.body, "No endpoint has") || strings.Contains(a.body, second.ID) {
		t.Error("an endpoint of another tenant is found")
	}
	for path, want := range map[string][]bool{"host=second": {false, true}, "host=LOCALHOST": {true, true}, "host=hook&state=enabled": {true, false}, "host=hook&state=attention": {true, false}, "host=nowhere": {false, false}, "host=" + strings.Repeat("x", 300): {false, false}} {
		a := b.get("/ui/live/endpoints?" + path)
		if got := []bool{strings.Contains(a.body, w.endpoint.ID), strings.Contains(a.body, second.ID)}; a.status != 200 || !slices.Equal(got, want) {
			t.Errorf("%.40s: %d, found %v", path, a.status, got)
		}
	}
}

// Lists show the id that the platform gave, cut if it is long. Each row has a key of its own,
// also if events were accepted within a millisecond.
func TestGivenIDsInLists(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.Config.OperatorKey)
	long := strings.Repeat("e", 256)
	events := []client.NewEvent{{ID: "order-4711"}, {ID: long}, {ID: "019396e0-5c2f-7cc1-8f3d-6d1f0f1c2b3a"}}
	for len(events) < 20 {
		events = append(events, client.NewEvent{})
	}
	for i := range events {
		events[i].Tenant, events[i].Type, events[i].Data = "acme", "order/given", json.RawMessage(`{}`)
		if events[i].ID == "" {
			events[i].Type = "order/new"
		}
	}
	if _, err := w.API.PublishBatch(t.Context(), events, client.PublishOptions{}); err != nil {
		t.Fatal(err)
	}
	form := url.Values{"preview": {"yes"}, "endpoint": {w.endpoint.ID}, "source": {"all"}, "types": {"order/given"}}
	for what, body := range map[string]string{"events": b.get("/ui/live/events?type=order/given").body, "sample": b.get("/ui/live/replays/new?" + form.Encode()).body} {
		for whole, shown := range map[string]string{"order-4711": "order-4711", long: long[:23] + "…", "019396e0-5c2f-7cc1-8f3d-6d1f0f1c2b3a": "019396e0-5c2f…"} {
			if !strings.Contains(body, `title="`+whole+`">`+shown+"</span>") {
				t.Errorf("%s: %.20s is not shown", what, whole)
			}
		}
	}
	keys := regexp.MustCompile(`<tr data-id="[^"]+"`).FindAllString(b.get("/ui/live/events?type=order/new").body, -1)
	slices.Sort(keys)
	if len(keys) != 17 || len(slices.Compact(keys)) != 17 {
		t.Errorf("%d rows have %d keys", len(keys), len(slices.Compact(keys)))
	}
}

// A page of events that ends within a batch shows the deliveries of all its events. The control
// is an event that nobody wanted.
func TestEventsOfABatchHaveTheirDeliveries(t *testing.T) {
	w := newWorld(t)
	batch := make([]client.NewEvent, 120)
	for i := range batch {
		batch[i] = client.NewEvent{Tenant: "acme", Type: "order/created", Data: json.RawMessage(`{}`)}
	}
	if _, err := w.API.PublishBatch(t.Context(), batch, client.PublishOptions{}); err != nil {
		t.Fatal(err)
	}
	b, none := w.browser(w.Config.OperatorKey), "none at publish"
	first := b.get("/ui/live/events")
	if strings.Contains(first.body, none) || strings.Count(first.body, "<span class=\"dots\">") != 50 {
		t.Errorf("the first page of a batch: %s", first.body)
	}
	older := regexp.MustCompile(`/ui/live/events\?cursor=[^"]+`).FindString(first.body)
	if second := b.get(html.UnescapeString(older)); older == "" || strings.Contains(second.body, none) || strings.Count(second.body, "<span class=\"dots\">") != 50 {
		t.Errorf("the second page of a batch, %q: %s", older, second.body)
	}
	if _, err := w.API.Publish(t.Context(), client.NewEvent{Tenant: "acme", Type: "nobody/wants", Data: json.RawMessage(`{}`)}, client.PublishOptions{}); err != nil {
		t.Fatal(err)
	}
	if a := b.get("/ui/live/events?type=nobody/wants"); strings.Count(a.body, none) != 1 {
		t.Errorf("an event without deliveries: %s", a.body)
	}
}
