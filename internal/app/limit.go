package app

import (
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/posthorn/posthorn/internal/hook"
)

// maxLimited bounds the keys whose pace is in memory.
const maxLimited = 10_000

// limiter bounds how many events a second each key publishes, with one second's
// worth at once. A batch that is larger than that passes when nothing was
// published for a second, and is paid for afterwards.
type limiter struct {
	perSecond float64
	burst     int
	mu        sync.Mutex
	pace      map[limited]*rate.Limiter
}

// limited tells keys apart; the bootstrap keys have no id, but a mode each.
type limited struct {
	key  hook.ID
	mode hook.Mode
}

func newLimiter(perSecond float64) *limiter {
	return &limiter{perSecond: perSecond, burst: max(1, int(math.Ceil(perSecond))), pace: map[limited]*rate.Limiter{}}
}

// take lets n events of a key pass, or says when they would.
func (l *limiter) take(c Caller, n int, now time.Time) error {
	if l.perSecond <= 0 || n == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	pace := l.of(limited{key: c.KeyID, mode: c.Mode}, now)
	first := min(n, l.burst)
	asked := pace.ReserveN(now, first)
	if wait := asked.DelayFrom(now); wait > 0 {
		asked.CancelAt(now)
		return &hook.Error{Code: hook.CodeRateLimited, RetryAfter: wait,
			Message: "This key publishes faster than it may. Retry-After says when to come back."}
	}
	for rest := n - first; rest > 0; rest -= l.burst {
		pace.ReserveN(now, min(rest, l.burst))
	}
	return nil
}

// of returns the pace of a key. When there are too many, those that have rested
// long enough to start afresh go first, as forgetting them changes nothing.
func (l *limiter) of(key limited, now time.Time) *rate.Limiter {
	if pace := l.pace[key]; pace != nil {
		return pace
	}
	if len(l.pace) >= maxLimited {
		for other, pace := range l.pace {
			if pace.TokensAt(now) >= float64(l.burst) {
				delete(l.pace, other)
			}
		}
	}
	if len(l.pace) >= maxLimited {
		clear(l.pace)
	}
	pace := rate.NewLimiter(rate.Limit(l.perSecond), l.burst)
	l.pace[key] = pace
	return pace
}
