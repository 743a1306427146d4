package deliver_test

import (
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
)

// Nothing is sent to a damaged endpoint. A scheduled attempt is put off. A requested one
// reports why nothing was sent.
func TestDamagedEndpointIsNotAttempted(t *testing.T) {
	for trigger, skipped := range map[hook.Trigger]bool{hook.BySchedule: true, hook.ByHand: false, hook.ByReplay: false, hook.ByTest: false} {
		r, s, job := setup(t, "standard")
		job.Trigger = trigger
		if o := s.Send(t.Context(), job); !o.Success || len(r.got) != 1 { // control
			t.Fatalf("%v: %+v", trigger, o)
		}
		r.endpoint.Damage = hook.DamagedSecrets
		o := s.Send(t.Context(), job)
		if len(r.got) != 1 || o.Skipped != skipped || !skipped && o.Class != hook.ClassNotSent {
			t.Errorf("%v: %d requests, %+v", trigger, len(r.got), o)
		}
	}
}
