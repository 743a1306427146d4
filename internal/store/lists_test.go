package store

import (
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
)

// A search with few matches stops after a bounded number of rows and continues from its
// cursor. No page walks the whole history, and nothing is missed.
func TestSearchGoesOnInBoundedLooks(t *testing.T) {
	s := openSmall(t, nil)
	s.Lists.Scan, s.Lists.First = 4, 2
	scope := hook.Scope{Tenant: "acme", Mode: hook.Live}
	if _, _, err := s.CreateTenant(t.Context(), hook.Tenant{ID: "acme"}, nil); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, _, err := s.CreateEndpoint(t.Context(), hook.Endpoint{Scope: scope, Types: hook.Filter{"*"}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 30 {
		n := hook.NewEvent{Scope: scope, Type: "often", Data: []byte("{}")}
		if i%13 == 0 {
			n.Type = "rare"
		}
		if _, _, err := s.Publish(t.Context(), []hook.NewEvent{n}, func(*hook.Endpoint) hook.ProfileHash { return hook.ProfileHash{} }, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, scope := range []hook.Scope{scope, {Mode: hook.Live}} {
		for eventType, want := range map[string]int{"": 30, "rare": 3, "often": 27, "none": 0} {
			deliveries, events, pages, empty := map[hook.ID]bool{}, map[hook.ID]bool{}, 0, 0
			dq := hook.DeliveryQuery{Scope: scope, Type: eventType, Page: hook.Page{Limit: 2}}
			for {
				rows, next, err := s.Deliveries(t.Context(), dq)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range rows {
					if deliveries[r.ID] {
						t.Errorf("delivery twice")
					}
					deliveries[r.ID] = true
				}
				pages++
				if len(rows) == 0 {
					empty++
				}
				if dq.Cursor = next; next == "" {
					break
				}
			}
			eq := hook.EventQuery{Scope: scope, Type: eventType, Page: hook.Page{Limit: 2}}
			for {
				list, next, err := s.Events(t.Context(), eq)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range list {
					if events[e.ID] {
						t.Errorf("event twice")
					}
					events[e.ID] = true
				}
				if eq.Cursor = next; next == "" {
					break
				}
			}
			if len(deliveries) != 3*want || len(events) != want {
				t.Errorf("%q: %d deliveries and %d events, want %d and %d", eventType, len(deliveries), len(events), 3*want, want)
			}
			if eventType == "none" && (pages < 7 || empty != pages) {
				t.Errorf("a search for nothing took %d pages: it was not bounded", pages)
			}
		}
	}
}
