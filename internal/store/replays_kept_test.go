package store_test

import (
	"sync"
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/store/storetest"
)

// A tenant that makes replays that end at once keeps the newest 1,000 and takes no more of
// the disk.
func TestEndedReplaysAreBounded(t *testing.T) {
	s := storetest.Open(t, store.Options{Dir: t.TempDir(), Reserve: -1, Synchronous: "off"})
	all, _, err := s.Endpoints(t.Context(), hook.EndpointQuery{Scope: live})
	if err != nil || len(all) == 0 {
		t.Fatalf("%d endpoints, %v", len(all), err)
	}
	const made, kept = 1100, 1000
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() {
			for range made / 20 {
				j, _, err := s.CreateReplay(t.Context(), hook.NewReplay{Scope: live, Endpoint: all[0].ID, Source: hook.FromFailed, Rate: 1}, nil)
				if err != nil || j.State != hook.ReplayDone {
					t.Errorf("%v, %v", j.State, err)
					return
				}
			}
		})
	}
	callers.Wait()
	n := 0
	for q := (hook.ReplayQuery{Scope: live, Page: hook.Page{Limit: 100}}); ; {
		page, next, err := s.Replays(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		n += len(page)
		if next == "" || len(page) == 0 {
			break
		}
		q.Page.Cursor = next
	}
	if n != kept {
		t.Errorf("%d of %d replays are kept, want %d", n, made, kept)
	}
}
