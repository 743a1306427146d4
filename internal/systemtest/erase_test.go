package systemtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/server/servertest"
)

// A running server erases a tenant while events are published to it and to another, also
// across a restart. Afterwards nothing of the tenant is in any file: payload, headers,
// name, URL, the receiver's answer. The control finds all of them before.
func TestErasureOnARunningServer(t *testing.T) {
	l := servertest.Start(t, "--dev", "--data", t.TempDir())
	ctx := t.Context()
	l.Answers(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Answer", "canary-answer-header")
		w.WriteHeader(500)
		fmt.Fprint(w, "canary-answer")
	})
	_, err := l.API.CreateTenant(ctx, client.NewTenant{ID: "doomed", Name: "canary-name"})
	must(t, err)
	endpoint, err := l.API.CreateEndpoint(ctx, client.NewEndpoint{Tenant: "doomed", URL: l.Receiver.URL + "/canary-path?token=canary-token", EventTypes: []string{"*"}, Title: "canary-title",
		Headers: map[string]string{"X-Secret": "canary-header"}})
	must(t, err)
	l.Endpoint(client.NewEndpoint{}) // of acme
	publish := func(tenant, data string) error {
		_, err := l.API.Publish(ctx, client.NewEvent{Tenant: tenant, Type: "a.b", Data: json.RawMessage(data)}, client.PublishOptions{})
		return err
	}
	for range 20 {
		must(t, publish("doomed", `{"text":"canary-data"}`))
	}
	l.Until("attempts are recorded", func() bool {
		page, err := l.API.Deliveries(ctx, client.DeliveryQuery{Endpoint: endpoint.ID})
		must(t, err)
		return !slices.ContainsFunc(page.Data, func(d client.Delivery) bool { return d.Attempts == 0 })
	})
	found := func() (list []string) {
		files, err := filepath.Glob(filepath.Join(l.Config.Data, "*"))
		must(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			must(t, err)
			for _, part := range []string{"name", "path", "title", "data"} {
				if bytes.Contains(text, []byte("canary-"+part)) {
					list = append(list, filepath.Base(file)+": "+part)
				}
			}
		}
		return list
	}
	if before := found(); len(before) < 4 {
		t.Errorf("control: only %v are found before", before)
	}
	var publishers sync.WaitGroup
	refusals := make(chan error, 400)
	for _, tenant := range []string{"doomed", "acme"} {
		publishers.Go(func() {
			for range 200 {
				if err := publish(tenant, `{"text":"`+map[string]string{"doomed": "canary", "acme": "other"}[tenant]+`-data"}`); err != nil && (tenant == "acme" || !strings.Contains(err.Error(), client.CodeTenantNotFound)) {
					refusals <- err
				}
			}
		})
	}
	made, err := l.API.Erase(ctx, client.NewErasure{Tenant: "doomed"})
	must(t, err)
	publishers.Wait()
	close(refusals)
	for err := range refusals {
		t.Error(err)
	}
	l.Stop()
	l.Start()
	var receipt client.Erasure
	l.Until("it is erased", func() bool {
		receipt, err = l.API.Erasure(ctx, made.ID)
		must(t, err)
		return receipt.State == client.ErasureDone
	})
	if receipt.Removed["events"] < 20 || receipt.Removed["attempts"] < 20 || receipt.Removed["tenants"] != 1 {
		t.Errorf("%+v", receipt)
	}
	for _, path := range []string{"/v1/endpoints/" + endpoint.ID, "/v1/tenants/doomed"} {
		if err := l.API.Do(ctx, "GET", path, "", nil, &json.RawMessage{}); err == nil {
			t.Errorf("%s is there", path)
		}
	}
	page, err := l.API.Events(ctx, client.EventQuery{Tenant: "acme"})
	if err != nil || len(page.Data) != 50 {
		t.Errorf("%d events of the other tenant, %v", len(page.Data), err)
	}
	if after := found(); len(after) != 0 {
		t.Errorf("found afterwards: %v", after)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Delivered bytes are the same with and without redaction, for random payloads, while what
// is shown has none of the values.
func TestRedactionLeavesDeliveriesAlone(t *testing.T) {
	l := servertest.Start(t, "--dev")
	ctx := t.Context()
	l.Endpoint(client.NewEndpoint{Profile: "standard"})
	_, err := l.API.CreateEventType(ctx, client.NewEventType{Name: "redacted", Redact: []string{"/card/number", "/list/0", "/s"}})
	must(t, err)
	random := rand.New(rand.NewPCG(1, 2))
	want := map[string]string{} // data by the id of its event
	for n := range 200 {
		data := fmt.Sprintf(`{"card":{"number":"canary-%d","n":%d.50},  "list":["canary",%d],"s":%q}`, n, random.IntN(1000), n, strings.Repeat("canary", random.IntN(40)))
		for _, eventType := range []string{"redacted", "plain"} {
			want[l.Publish(eventType, data).ID] = data
		}
	}
	bodies := map[string]string{}
	for _, a := range l.Await(len(want)) {
		bodies[a.Header.Get("webhook-id")] = string(a.Body)
	}
	shown := 0
	for id, data := range want {
		body := bodies[id]
		if !strings.Contains(body, `"data":`+data) {
			t.Fatalf("%s was delivered for %s", body, data)
		}
		e, err := l.API.Event(ctx, id)
		must(t, err)
		switch has := strings.Contains(string(e.Data), "canary"); {
		case e.Type == "redacted" && (has || len(e.Redacted) != 3):
			t.Errorf("%s %v", e.Data, e.Redacted)
		case e.Type == "plain" && !has:
			t.Errorf("control: %s", e.Data)
		}
		shown++
		if shown == 60 { // the rest would only use up the rate of reads
			break
		}
	}
}
