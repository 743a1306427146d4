package systemtest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
)

// No receiver gets the tags of an event, in none of the formats. The control is its data,
// which each of them gets.
func TestReceiversDoNotGetTags(t *testing.T) {
	l := startLive(t, "--dev")
	profiles := []string{"standard", "paysway", "paysway-2025-09", "paywise"}
	for _, profile := range profiles {
		l.Endpoint(client.NewEndpoint{Profile: profile, EventTypes: []string{"*"}})
	}
	if _, err := l.API.CreateEventType(t.Context(), client.NewEventType{Name: "mandate.created", Searchable: map[string]string{"canary-found": "/a/b"}}); err != nil {
		t.Fatal(err)
	}
	event := client.NewEvent{Tenant: "acme", Type: "mandate.created", Data: json.RawMessage(`{"a":{"b":"in-the-data"}}`), Tags: map[string]string{"canary-name": "canary-value"}}
	p, err := l.API.Publish(t.Context(), event, client.PublishOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range l.Await(len(profiles)) {
		got := fmt.Sprint(a.Header, string(a.Body))
		if strings.Contains(strings.ToLower(got), "canary") || !strings.Contains(got, "in-the-data") {
			t.Errorf("%s", got)
		}
	}
	if e, err := l.API.Event(t.Context(), p.ID); err != nil || len(e.Tags) != 2 {
		t.Errorf("%v %v", e.Tags, err)
	}
}
