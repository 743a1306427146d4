package read

import (
	"context"
	"errors"
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
)

// One scope searches once at a time; another is not kept waiting, and nothing is
// remembered of those that are done.
func TestTurns(t *testing.T) {
	var all turns
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
		t.Errorf("a second turn: %v", err)
	}
	first()
	again, err := all.take(t.Context(), one)
	if err != nil {
		t.Fatal(err)
	}
	again()
	second()
	if len(all.of) != 0 {
		t.Errorf("%d scopes are remembered", len(all.of))
	}
}
