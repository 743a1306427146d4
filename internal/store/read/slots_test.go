package read

import (
	"context"
	"errors"
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
)

// A scope runs one search at a time. Another scope does not wait for it, and no slot
// remains after the last search.
func TestSlots(t *testing.T) {
	var all slots
	one, other := hook.Scope{Tenant: "a", Mode: hook.Live}, hook.Scope{Tenant: "a", Mode: hook.Test}
	first, err := all.take(t.Context(), one)
	if err != nil {
		t.Fatal(err)
	}
	second, err := all.take(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := all.take(gone, one); !errors.Is(err, context.Canceled) {
		t.Errorf("a second search at the same time: %v", err)
	}
	first()
	again, err := all.take(t.Context(), one)
	if err != nil {
		t.Fatal(err)
	}
	again()
	second()
	if len(all.of) != 0 {
		t.Errorf("%d slots are kept", len(all.of))
	}
}
