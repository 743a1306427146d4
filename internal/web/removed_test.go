package web_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
)

// The page of an event whose payload was removed says so and offers nothing that needs it.
func TestRemovedPayload(t *testing.T) {
	w := newWorld(t)
	publish := func(keep string) string {
		e, err := w.API.Publish(t.Context(), client.NewEvent{Tenant: "acme", Type: "nobody.wants", Data: json.RawMessage(`{"a":"canary-payload"}`), PayloadRetention: keep}, client.PublishOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return e.ID
	}
	gone, there := publish("0s"), publish("1h")
	w.Until("the payload is removed", func() bool {
		if err := w.Node.Store().Housekeep(t.Context()); err != nil {
			t.Fatal(err)
		}
		e, err := w.API.Event(t.Context(), gone)
		return err == nil && e.PayloadRemovedAt != nil
	})
	b := w.browser(w.Config.OperatorKey)
	for id, removed := range map[string]bool{gone: true, there: false} {
		page := b.do("GET", "/ui/live/events/"+id, nil)
		if page.status != 200 || strings.Contains(page.body, "because its retention had passed") != removed || strings.Contains(page.body, "canary-payload") == removed ||
			strings.Contains(page.body, "Resend to all") == removed || strings.Contains(page.body, "posthorn event resend "+id) == removed || strings.Contains(page.body, ">Download</a>") == removed {
			t.Errorf("removed %v: %d %s", removed, page.status, page.body)
		}
		data := b.do("GET", "/ui/live/events/"+id+"/data", nil)
		if want := map[bool]int{true: 410, false: 200}[removed]; data.status != want {
			t.Errorf("removed %v: %d, want %d", removed, data.status, want)
		}
	}
}
