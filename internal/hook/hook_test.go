package hook_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

func TestIDsAscendAndCarryTheTime(t *testing.T) {
	now := at
	ids := hook.NewIDs(func() time.Time { return now })
	last := ids.Next()
	if got := last.Time(); !got.Equal(at) {
		t.Errorf("time of the id %v, want %v", got, at)
	}
	for i := range 10_000 {
		if i == 5000 {
			now = now.Add(-time.Hour) // the clock is set back
		}
		id := ids.Next()
		if bytes.Compare(id[:], last[:]) <= 0 {
			t.Fatalf("%v after %v", id, last)
		}
		if id[6]>>4 != 7 || id[8]>>6 != 2 {
			t.Fatalf("%v is not a UUIDv7", id)
		}
		last = id
	}
}

func TestDeliveryIDsLieInTheirEventsRange(t *testing.T) {
	ids := hook.NewIDs(time.Now)
	event := ids.Next()
	a, b := hook.DeliveryID(event), hook.DeliveryID(event)
	low, high := hook.EventRange(a)
	if a == b || a == event {
		t.Error("ids repeat")
	}
	if bytes.Compare(low[:], event[:]) > 0 || bytes.Compare(high[:], event[:]) < 0 {
		t.Error("the event lies outside the range of its delivery")
	}
	other := ids.Next()
	if bytes.Compare(other[:], high[:]) <= 0 {
		t.Error("the next event lies in the range")
	}
}

func TestParseID(t *testing.T) {
	id := hook.NewIDs(time.Now).Next()
	if got, err := hook.ParseID(strings.ToUpper(id.String())); err != nil || got != id {
		t.Errorf("%v %v", got, err)
	}
	for _, bad := range []string{"", "x", id.String()[1:], id.String() + "0", strings.Replace(id.String(), "-", "0", 1),
		"00000000-0000-0000-0000-00000000000g", "0-000000-0000-0000-0000-000000000000"} {
		if _, err := hook.ParseID(bad); err == nil {
			t.Errorf("accepted %q", bad)
		}
	}
}

func TestFilter(t *testing.T) {
	for _, c := range []struct {
		filter hook.Filter
		typ    string
		want   bool
	}{
		{nil, "a.b", false},
		{hook.Filter{"*"}, "a.b", true},
		{hook.Filter{"a.b"}, "a.b", true},
		{hook.Filter{"a.b"}, "a.bc", false},
		{hook.Filter{"a.*"}, "a.b.c", true},
		{hook.Filter{"a.*"}, "ab.c", false},
		{hook.Filter{"a.*"}, "a", false},
		{hook.Filter{"x", "RECIPIENT.CREATED"}, "RECIPIENT.CREATED", true},
		{hook.Filter{"orders/*"}, "orders/create", true},
		{hook.Filter{"orders/*"}, "orders/lines/create", true},
		{hook.Filter{"order:*"}, "order:paid", true},
		{hook.Filter{"orders/*"}, "orders.create", false},
		{hook.Filter{"orders/*"}, "orders:create", false},
		{hook.Filter{"orders/*"}, "orders", false},
		{hook.Filter{"invoice/*"}, "invoice/payment:failed", false},
		{hook.Filter{"invoice/payment:*"}, "invoice/payment:failed", true},
		{hook.Filter{"invoice.*"}, "invoice.payment/failed", false},
	} {
		if got := c.filter.Match(c.typ); got != c.want {
			t.Errorf("%v against %q: %v", c.filter, c.typ, got)
		}
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]bool{
		"mandate.created": true, "RECIPIENT_CREATED": true, "a": true, "a-b.c_d.9": true,
		"orders/create": true, "order:paid": true, "invoice/payment:failed": true,
		"/": false, "a/": false, ":a": false, "a//b": false, "a/.b": false, "a:/b": false, "a\\b": false, "a\nb": false, "a%2Fb": false, "a/../b": false,
		"": false, ".": false, "a.": false, ".a": false, "a..b": false, "a b": false, "ä": false, "a*": false,
		strings.Repeat("a", 128): true, strings.Repeat("a", 129): false,
	} {
		if got := hook.ValidType(name); got != want {
			t.Errorf("event type %q: %v", name, got)
		}
	}
	for name, want := range map[string]bool{"*": true, "a.*": true, "a.b": true, "a*": false, ".*": false, "**": false, "*.a": false,
		"orders/*": true, "order:*": true, "a/b:*": true, "/*": false, ":*": false, "a/*b": false, "a/*/*": false, "a_*": false, "a//*": false} {
		if got := hook.ValidFilterType(name); got != want {
			t.Errorf("filter entry %q: %v", name, got)
		}
	}
	for id, want := range map[string]bool{"acme": true, "A.b_c-9": true, "": false, "a b": false, "a/b": false, strings.Repeat("x", 256): true, strings.Repeat("x", 257): false, "..": false, "...": true} {
		if got := hook.ValidTenantID(id); got != want {
			t.Errorf("tenant id %q: %v", id, got)
		}
	}
}

func TestSecretsCannotBePrinted(t *testing.T) {
	e := hook.Endpoint{
		Secrets: []hook.Secret{{Text: "whsec_planted"}},
		Headers: []hook.Header{{Name: "X-Token", Value: "planted"}},
	}
	for _, format := range []string{"%v", "%+v", "%s", "%#v"} {
		if text := fmt.Sprintf(format, e); strings.Contains(text, "planted") {
			t.Errorf("%s prints a secret: %s", format, text)
		}
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "endpoint", &e, "secret", e.Secrets, "header", e.Headers[0])
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "endpoint", &e, "secret", e.Secrets, "header", e.Headers[0])
	if strings.Contains(log.String(), "planted") {
		t.Errorf("a log holds a secret: %s", log.String())
	}
}
