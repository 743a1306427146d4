package profile_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/webhook"
)

// Operational events in the formats that people are likely to get them in. Chat programs
// show the message as plain text.
func TestGoldenAlerts(t *testing.T) {
	var data []byte
	for _, a := range hook.AlertTypes() {
		if a.Name == hook.AlertEndpointWarned {
			data, _ = json.Marshal(a.Example)
		}
	}
	in := input()
	in.Event.Scope.Tenant, in.Event.Type, in.Event.Data = hook.OperatorTenant, hook.AlertEndpointWarned, data
	for _, name := range []string{"standard", "slack", "teams"} {
		t.Run(name, func(t *testing.T) {
			p := builtin(t, name)
			body := p.Render(nil, in)
			headers, err := p.Headers(nil, in, body, signer(t, p, secrets["standard"]))
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			for _, h := range headers {
				fmt.Fprintf(&got, "%s: %s\n", h.Name, h.Value)
			}
			fmt.Fprintf(&got, "\n%s\n", body)
			file := filepath.Join("testdata", "golden", "alert-"+name+".http")
			if *update {
				if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Error(diff)
			}
			verify(t, webhook.Standard(), secrets["standard"], headers, body)
		})
	}
}

// What a tenant writes reaches chat programs only where it cannot be markup.
func TestChatShowsPlainText(t *testing.T) {
	e := &hook.Endpoint{ID: id("019dbf5e-0000-7000-8000-000000000001"), Scope: hook.Scope{Tenant: "acme", Mode: hook.Live},
		URL: "https://hooks.acme.example/%3C!channel%3E?t=*x*", Title: "<!channel> <https://evil.example|click>", Status: hook.Enabled}
	in := input()
	in.Event.Type = hook.AlertEndpointCreated
	in.Event.Data, _ = json.Marshal(hook.NewEndpointAlert(hook.AlertEndpointCreated, e, nil, nil, nil))
	for _, name := range []string{"slack", "teams"} {
		body := string(builtin(t, name).Render(nil, in))
		if strings.Contains(body, "channel") || strings.Contains(body, "evil") || !strings.Contains(body, "hooks.acme.example") {
			t.Errorf("%s: %s", name, body)
		}
	}
	// Control: the title is in the data of other receivers.
	if body := string(builtin(t, "standard").Render(nil, in)); !strings.Contains(body, "evil") {
		t.Errorf("the title is missing: %s", body)
	}
}
