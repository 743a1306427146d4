package sqltext

import (
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// Truncated or changed bytes give an error or another tally, never a panic.
func TestTalliesInBytes(t *testing.T) {
	var tally hook.Tally
	tally.Events, tally.Attempts = 3, 1<<40
	tally.AddError(hook.ClassTimeout, 2)
	tally.AttemptTime.Note(3 * time.Millisecond)
	tally.DeliveryTime.Note(time.Hour)
	var w LogWriter
	w.Reset(true)
	for _, s := range []Subject{{Scope: hook.Scope{Tenant: "acme", Mode: hook.Live}}, {Scope: hook.Scope{Tenant: "acme", Mode: hook.Live}, Endpoint: hook.ID{1}},
		{Scope: hook.Scope{Tenant: "rival", Mode: hook.Live}}} {
		w.Add(s, &tally)
	}
	read := func(data []byte) (subjects int, sum hook.Tally, err error) {
		err = ReadLog(data, func(s Subject, raw bool, part []byte) error {
			if subjects++; !raw || s.Tenant == "" || (subjects == 2) != (s.Endpoint == hook.ID{1}) {
				return errTally
			}
			return AddTally(&sum, part)
		})
		return subjects, sum, err
	}
	n, sum, err := read(w.Data)
	if n != 3 || err != nil || sum.Events != 9 || sum.Attempts != 3<<40 || sum.Errors[0].N != 6 || sum.AttemptTime.Count() != 3 || sum.DeliveryTime.Quantile(50) < 58*time.Minute {
		t.Fatalf("%d subjects, %+v, %v", n, sum, err)
	}
	whole := 0
	for i := range w.Data {
		if n, _, err := read(w.Data[:i]); err == nil && n == 3 {
			t.Errorf("%d of %d bytes are read as the whole", i, len(w.Data))
		} else if err == nil {
			whole++ // cut between two subjects
		}
		changed := append([]byte{}, w.Data...)
		changed[i] ^= 0xff
		_, _, _ = read(changed)
	}
	if whole != 3 {
		t.Errorf("%d cuts are between subjects", whole)
	}
}
