package dispatch_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/dispatch"
	"github.com/posthorn/posthorn/internal/hook"
)

// An endpoint that sets more than the server's maximum gets the maximum. Control: without
// a maximum it gets what it sets.
func TestMaxInFlightHasACeiling(t *testing.T) {
	for ceiling, want := range map[int]int{0: 40, 7: 7} {
		synctest.Test(t, func(t *testing.T) {
			q, s := newTable(), newSender(good)
			d := run(t, dispatch.Options{MaxInFlight: ceiling}, q, s)
			e := endpoint(1, "a")
			e.MaxInFlight = 40
			d.Committed(hook.Commit{Jobs: jobs(e, 1000)})
			time.Sleep(time.Minute)
			if most := s.mostAtOnce(e.ID); most != want {
				t.Errorf("ceiling %d: %d at once, want %d", ceiling, most, want)
			}
		})
	}
}
