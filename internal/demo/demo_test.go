package demo

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/client"
)

// The demo is the first command that a new user runs. In each format it shows a success on
// the first attempt and a failure that recovers, and it exits without intervention.
func TestDemoInEachFormat(t *testing.T) {
	for _, c := range []struct {
		profile string
		shows   []string
	}{
		{"standard", []string{"webhook-id: ", "webhook-timestamp: ", "webhook-signature: v1,", "3. The first request again"}},
		{"paysway", []string{"X-PaySway-Signature: t=", `"createdAt"`, "attempt 1", "204  status_not_success"}},
		{"paysway-2025-09", []string{"X-PaySway-Signature: t=", `"createdDate"`, "RECIPIENT_CREATED", "204  status_not_success"}},
		{"paywise", []string{"Content-Type: application/json", "User-Agent: paywise-webhooks/1.0", "X-Paywise-Signature: sha256=", "X-Paywise-Event: ", "X-Paywise-Delivery-ID: "}},
	} {
		t.Run(c.profile, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			began := time.Now()
			if err := demo(t.Context(), &out, c.profile, "127.0.0.1:0", true); err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
			if took := time.Since(began); took > 40*time.Second {
				t.Errorf("took %v", took)
			}
			common := []string{"delivery   succeeded after 1 attempt\n", "delivery   succeeded after 2 attempts\n",
				"500  status_not_success", "signature valid, answered 200", "(the same ", "refused    webhook: no signature matches"}
			for _, text := range append(common, c.shows...) {
				if !strings.Contains(out.String(), text) {
					t.Errorf("%q is not shown in\n%s", text, out.String())
				}
			}
		})
	}
}

// The demo must not report a success that it did not observe.
func TestDemoNoticesWhatWentWrong(t *testing.T) {
	good := reception{answered: 200}
	for name, c := range map[string]struct {
		delivery client.Delivery
		received []reception
	}{
		"not delivered":       {client.Delivery{State: "failed", Attempts: 1}, []reception{good}},
		"too many attempts":   {client.Delivery{State: "succeeded", Attempts: 2}, []reception{good, good}},
		"nothing received":    {client.Delivery{State: "succeeded", Attempts: 1}, nil},
		"a refused signature": {client.Delivery{State: "succeeded", Attempts: 1}, []reception{{refused: errors.New("no")}}},
	} {
		if check(c.delivery, c.received, 1) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := check(client.Delivery{State: "succeeded", Attempts: 1}, []reception{good}, 1); err != nil {
		t.Errorf("a good scene: %v", err)
	}
}

// The environment variables of a real server must not direct the demo to that server's
// store.
func TestDemoLeavesARealServerAlone(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("POSTHORN_DATA", filepath.Join(dir, "data"))
	t.Setenv("POSTHORN_STORE", "sqlite:"+filepath.Join(dir, "real.db"))
	t.Setenv("POSTHORN_PROFILE", "nonsense")
	var out bytes.Buffer
	if err := demo(t.Context(), &out, "standard", "127.0.0.1:0", true); err != nil {
		t.Fatal(err)
	}
	if found, err := os.ReadDir(dir); err != nil || len(found) != 0 {
		t.Errorf("the demo made %v, %v", found, err)
	}
}
