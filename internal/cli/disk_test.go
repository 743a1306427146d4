package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
)

// An event without data is shown with an empty object, unless its data was removed.
func TestRemovedDataIsNotShown(t *testing.T) {
	for text, shown := range map[string]bool{`{"id":"1"}`: true, `{"id":"1","payload_removed_at":"2026-11-28T12:00:00Z"}`: false} {
		var out bytes.Buffer
		if _, err := printThing(&out, json.RawMessage(text), nil, "data", false); err != nil || strings.Contains(out.String(), "{}") != shown {
			t.Errorf("%s: %v %s", text, err, out.String())
		}
	}
}

func TestDiskIsShownForPeople(t *testing.T) {
	budget, growth := int64(20e9), int64(-1_500_000)
	d := client.Disk{UsedBytes: 17e9, FileBytes: 18e9, BudgetBytes: &budget, State: "warning", GrowthPerDay: &growth,
		Classes: client.DiskClasses{DiskBytes: client.DiskBytes{Payloads: 9e9}, Free: 1e9},
		Tenants: []client.TenantDisk{{Tenant: "ac\x1bme", DiskBytes: client.DiskBytes{Payloads: 9e9}, Total: 9e9}}}
	var out bytes.Buffer
	if err := printDisk(&out, &d); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"17 GB", "85 % of the budget of 20 GB, warning", "1 GB of them free", "-1.5 MB", "payloads", "9 GB"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("an escape sequence is printed")
	}
}
