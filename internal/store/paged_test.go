package store

import (
	"errors"
	"fmt"
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/accounts"
)

// A tenant with many endpoints and keys is deleted in several transactions. If a deletion
// was interrupted, the next call completes it.
func TestATenantWithManyEndpointsIsDeletedInSteps(t *testing.T) {
	for name, o := range bothStores(t) {
		t.Run(name, func(t *testing.T) {
			a := newAging(t, o)
			for range 2*accounts.DeletePage + 10 {
				a.another(a.scope)
			}
			for i := range accounts.DeletePage + 20 {
				k := hook.Key{Tenant: a.scope.Tenant, Mode: a.scope.Mode, Kind: "tenant", Hash: [32]byte{1, byte(i)}}
				if _, _, err := a.CreateKey(t.Context(), k, nil); err != nil {
					t.Fatal(err)
				}
			}
			a.say(a.scope, 1)
			steps, stop := 0, errors.New("broken off")
			check := func(hook.Tenant) error {
				if steps++; steps == 2 {
					return &hook.Error{Code: hook.CodeConflict, Message: "stop", Err: stop}
				}
				return nil
			}
			if err := a.DeleteTenant(t.Context(), a.scope.Tenant, check); !errors.Is(err, stop) {
				t.Fatalf("control: %v after %d steps; one transaction did everything", err, steps)
			}
			if n := a.count("SELECT count(*) FROM endpoints WHERE status = 3"); n != accounts.DeletePage {
				t.Errorf("one step deleted %d endpoints", n)
			}
			if err := a.DeleteTenant(t.Context(), a.scope.Tenant, check); err != nil || steps < 5 {
				t.Errorf("%d steps, %v", steps, err)
			}
			if _, err := a.Tenant(t.Context(), a.scope.Tenant); hook.CodeOf(err) != hook.CodeNotFound {
				t.Errorf("the tenant: %v", err)
			}
			if n := a.count("SELECT (SELECT count(*) FROM endpoints WHERE status <> 3) + (SELECT count(*) FROM keys WHERE revoked_at = 0)"); n != 0 {
				t.Errorf("%d endpoints and keys are left", n)
			}
			for a.page() {
			}
			if n := a.count("SELECT count(*) FROM deliveries WHERE state <> 4"); n != 0 {
				t.Errorf("%d deliveries are not cancelled", n)
			}
		})
	}
}

// When a process starts, more listeners than fit in a page are tripped, each once.
func TestManyListenersAreTrippedInSteps(t *testing.T) {
	for name, o := range bothStores(t) {
		t.Run(name, func(t *testing.T) {
			a := newAging(t, o)
			const listeners = 2*awayPage + 3
			for i := range listeners {
				e := hook.Endpoint{Scope: a.scope, URL: hook.ListenScheme + fmt.Sprint("x", i), Types: hook.Filter{"*"}, Status: hook.Enabled}
				if _, _, err := a.CreateEndpoint(t.Context(), e, nil); err != nil {
					t.Fatal(err)
				}
			}
			before := a.commits
			n, err := a.ListenersAway(t.Context())
			if err != nil || n != listeners || a.commits-before < 3 {
				t.Errorf("%d listeners in %d commits, %v; want %d", n, a.commits-before, err, listeners)
			}
			if n, err := a.ListenersAway(t.Context()); err != nil || n != 0 {
				t.Errorf("%d again, %v", n, err)
			}
		})
	}
}

// More test events than fit in a page are recovered after a crash, each once, even if some
// belong to an endpoint with damaged secrets.
func TestManyTestEventsAreRecoveredInSteps(t *testing.T) {
	for name, o := range bothStores(t) {
		t.Run(name, func(t *testing.T) {
			a := newAging(t, o)
			e := a.another(a.scope)
			other := hook.Scope{Tenant: "other", Mode: hook.Live}
			if _, _, err := a.CreateTenant(t.Context(), hook.Tenant{ID: other.Tenant}, nil); err != nil {
				t.Fatal(err)
			}
			damaged := a.another(other)
			const tests = testsPage + 20
			for range tests {
				for _, to := range []*hook.Endpoint{damaged, e} {
					if _, _, _, err := a.PublishTest(t.Context(), to.Scope, to.ID, "ping", []byte("{}"), hook.ProfileHash{}, nil); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := a.do(t.Context(), "test", 1, func(t *tx) error {
				_, err := t.Exec("damage", "UPDATE secrets SET sealed = {bytes} WHERE tenant = ?", other.Tenant)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			a.core.Directory.Drop(other)
			var jobs []hook.Job
			if err := a.recoverTests(t.Context(), fmt.Sprintf("owner = %d", a.Epoch()), &jobs); err != nil {
				t.Fatal(err)
			}
			seen := map[hook.ID]bool{}
			for _, j := range jobs {
				if (j.Target.Damage != 0) != (j.Delivery.Endpoint == damaged.ID) || j.Trigger != hook.ByTest {
					t.Errorf("job %+v", j.Delivery)
				}
				seen[j.Delivery.Event] = true
			}
			if len(jobs) != 2*tests || len(seen) != 2*tests {
				t.Errorf("%d jobs of %d test events, want %d", len(jobs), len(seen), 2*tests)
			}
		})
	}
}
