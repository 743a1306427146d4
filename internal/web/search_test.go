package web_test

import (
	"encoding/json"
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
