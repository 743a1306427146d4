package deliver

import (
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/hook"
)

// faultsEvery is how often faults of this machine are logged.
const faultsEvery = time.Minute

// faults counts the attempts that were put off since this was last logged.
type faults struct {
	mu     sync.Mutex
	since  int
	logged time.Time
}

// putOff returns the outcome of an attempt that failed because of this machine. It logs
// such faults at most once per faultsEvery.
func (s *Sender) putOff(f *egress.Failure) hook.Outcome {
	now := s.opts.Now()
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.since++
	if s.faults.logged.IsZero() || now.Sub(s.faults.logged).Abs() >= faultsEvery {
		s.opts.Log.Error("attempts are put off for a fault of this server; they do not count", "class", f.Class, "message", f.Message, "error", f.Err, "attempts", s.faults.since)
		s.faults.since, s.faults.logged = 0, now
	}
	return hook.Outcome{Skipped: true, Class: f.Class}
}
