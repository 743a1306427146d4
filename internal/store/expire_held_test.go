package store

import (
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/unit"
)

// Held deliveries expire page by page. A younger backlog is not read, and a delivery of an
// old event that has been held only briefly stays.
func TestHeldDeliveriesExpireByPage(t *testing.T) {
	for name, o := range bothStores(t) {
		t.Run(name, func(t *testing.T) {
			o.HeldFor = 48 * time.Hour
			a := newAging(t, o)
			a.opts.Room = nil
			late := a.another(a.scope)
			a.say(a.scope, 2*unit.HousekeepPage+100)
			list, err := a.TenantEndpoints(t.Context(), a.scope)
			if err != nil {
				t.Fatal(err)
			}
			early := list[0].ID
			if early == late.ID {
				early = list[1].ID
			}
			hold := func(id hook.ID) {
				a.turn(a.scope, id, hook.Disabled)
				for a.page() {
				}
			}
			old := func() int {
				bound := sqltext.FirstID(a.now.Add(-a.opts.HeldFor))
				ids, err := sqltext.Collect(t.Context(), a.core.Read, sqltext.ScanID, endpointsWithOldHeld, hook.Disabled, hook.Tripped, bound[:])
				if err != nil {
					t.Fatal(err)
				}
				return len(ids)
			}
			hold(early)
			a.now = a.now.Add(47 * time.Hour)
			if n := old(); n != 0 {
				t.Errorf("%d endpoints with a young backlog would be walked", n)
			}
			a.keepHouse()
			hold(late.ID)
			a.now = a.now.Add(2 * time.Hour)
			if n := old(); n != 2 {
				t.Errorf("control: %d endpoints hold old events, want 2", n)
			}
			a.keepHouse()
			for id, state := range map[hook.ID]hook.State{early: hook.Failed, late.ID: hook.Held} {
				n := a.count("SELECT count(*) FROM deliveries WHERE endpoint = ? AND state = ?", id[:], state)
				if n != 2*unit.HousekeepPage+100 {
					t.Errorf("%d deliveries are %v", n, state)
				}
			}
			if n := a.count("SELECT count(*) FROM deliveries WHERE state = 3 AND (reason <> 'held_expired' OR held_at <> 0 OR settled_at = 0)"); n != 0 {
				t.Errorf("%d rows are not what they should be", n)
			}
		})
	}
}
