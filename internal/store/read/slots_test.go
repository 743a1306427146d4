package read

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// A tenant runs one search at a time. Another scope does not wait for it, and no slot
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

// Operators run two searches of a mode at a time, and not three.
func TestSlotsOfAMode(t *testing.T) {
	var all slots
	mode := hook.Scope{Mode: hook.Live}
	for range 2 {
		if _, err := all.take(t.Context(), mode); err != nil {
			t.Fatal(err)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := all.take(gone, mode); !errors.Is(err, context.Canceled) {
		t.Errorf("a third search at the same time: %v", err)
	}
}

// Searches of a scope that wait are bounded in number and in time, and do not keep others
// from searching.
func TestWaitersOfASlotAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all slots
		one := hook.Scope{Tenant: "a", Mode: hook.Live}
		done, err := all.take(t.Context(), one)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		waited := make(chan error, slotWaiters)
		for range slotWaiters {
			go func() {
				_, err := all.take(t.Context(), one)
				waited <- err
			}()
		}
		synctest.Wait()
		if _, err := all.take(t.Context(), one); hook.CodeOf(err) != hook.CodeServerBusy || time.Since(began) != 0 {
			t.Errorf("one more than may wait: %v after %v", err, time.Since(began))
		}
		if free, err := all.take(t.Context(), hook.Scope{Tenant: "b", Mode: hook.Live}); err != nil {
			t.Errorf("another tenant: %v", err)
		} else {
			free()
		}
		for range slotWaiters {
			if err := <-waited; hook.CodeOf(err) != hook.CodeServerBusy || time.Since(began) != slotWait {
				t.Errorf("a search that waited: %v after %v", err, time.Since(began))
			}
		}
		done()
		if again, err := all.take(t.Context(), one); err != nil {
			t.Errorf("control: %v", err)
		} else {
			again()
		}
		if len(all.of) != 0 {
			t.Errorf("%d slots are kept", len(all.of))
		}
	})
}

// Each list that reads much waits for the slot of its scope. It is refused here before it
// reads anything: there is no database.
func TestWhatWaitsForASlot(t *testing.T) {
	scope := hook.Scope{Tenant: "a", Mode: hook.Live}
	l := &Lists{}
	l.slots.of = map[hook.Scope]*slot{scope: {users: slotWaiters + 1}}
	for name, ask := range map[string]func() error{
		"portal sessions": func() error {
			_, _, err := l.PortalSessions(t.Context(), hook.WebSessionQuery{Scope: scope})
			return err
		},
		"endpoints": func() error {
			_, _, err := l.Endpoints(t.Context(), hook.EndpointQuery{Scope: scope})
			return err
		},
		"subscribers": func() error {
			_, err := l.Subscribers(t.Context(), scope, []string{"a.b"}, 1)
			return err
		},
		"search": func() error {
			_, err := l.FindID(t.Context(), hook.IDQuery{Scope: scope})
			return err
		},
	} {
		if err := ask(); hook.CodeOf(err) != hook.CodeServerBusy {
			t.Errorf("%s: %v", name, err)
		}
	}
}
