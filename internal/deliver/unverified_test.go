package deliver_test

import (
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
)

// An unverified endpoint gets its latest challenge and nothing else, not even a test event
// that was requested before its URL changed.
func TestUnverifiedEndpointGetsItsChallengeOnly(t *testing.T) {
	for _, state := range []hook.VerificationState{hook.VerificationPending, hook.VerificationFailed, hook.Verified, hook.VerificationNotRequired} {
		r, s, job := setup(t, "standard")
		job.Trigger, job.Delivery.Kind = hook.ByTest, hook.TestEvent
		r.endpoint.Verification = hook.Verification{State: state, Event: job.Delivery.Event}
		r.endpoint.Status = hook.Tripped
		if o := s.Send(t.Context(), job); !o.Success || len(r.got) != 1 {
			t.Fatalf("%s: the challenge: %+v", state, o)
		}
		r.endpoint.Verification.Event = hook.ID{1} // now another one is the latest
		want := 2                                  // control
		if r.endpoint.Unverified() {
			want = 1
		}
		o := s.Send(t.Context(), job)
		if len(r.got) != want || o.Skipped || o.Success != (want == 2) || want == 1 && o.Class != hook.ClassNotSent {
			t.Errorf("%s: %d requests, %+v", state, len(r.got), o)
		}
	}
}
