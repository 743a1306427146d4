package client_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/posthorn/posthorn/client"
)

// Every member of an event is sent.
func TestPublishSendsEveryMember(t *testing.T) {
	at := client.Time{Time: time.Unix(1, 0)}
	event := client.NewEvent{Tenant: "acme", Type: "a.b", TypeVersion: 2, Data: json.RawMessage(`{"n":1}`), ID: "order-1", CreatedAt: &at, DeliverAt: &at,
		RequireMatch: true, PayloadRetention: "1h", Channels: []string{"c"}, Tags: map[string]string{"a": "b"}}
	for i := range reflect.TypeFor[client.NewEvent]().NumField() {
		if reflect.ValueOf(event).Field(i).IsZero() {
			t.Errorf("this test must set %s", reflect.TypeFor[client.NewEvent]().Field(i).Name)
		}
	}
	members := func(text []byte) []string {
		var all map[string]any
		if err := json.Unmarshal(text, &all); err != nil {
			t.Fatal(err)
		}
		return slices.Sorted(maps.Keys(all))
	}
	want, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write([]byte(`{"id":"order-1"}`))
	}))
	defer server.Close()
	c := &client.Client{URL: server.URL, Key: "k"}
	if _, err := c.Publish(t.Context(), event, client.PublishOptions{}); err != nil {
		t.Fatal(err)
	}
	if sent, all := members(got), members(want); !slices.Equal(sent, all) {
		t.Errorf("sent %v, want %v", sent, all)
	}
}
