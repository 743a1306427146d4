package hook

import (
	"math"
	"time"
)

// Policy is the combination of a profile and an endpoint's own settings.
type Policy struct {
	Success       StatusSet
	Retry         Retry
	Timeout       time.Duration // over DNS, connect, TLS, headers and body
	RetryAfterCap time.Duration // upper bound for a Retry-After; 0: it is ignored
	GoneDisables  bool          // 410 disables the endpoint
	Trip          Trip
}

// StatusSet is a set of HTTP status codes, as ranges.
type StatusSet []StatusRange

// StatusRange is a range of status codes, both ends included.
type StatusRange struct{ From, To int }

// Has reports whether the set holds the status.
func (s StatusSet) Has(status int) bool {
	for _, r := range s {
		if r.From <= status && status <= r.To {
			return true
		}
	}
	return false
}

// Retry is the schedule of the attempts after the first: a list of delays, or an
// exponential delay if Steps is empty. A delay begins at the end of the failed attempt.
type Retry struct {
	Steps  []time.Duration // delay after the 1st, 2nd, ... failure
	Repeat bool            // whether the last step repeats for ever; otherwise the delivery fails

	First  time.Duration // exponential: delay after the first failure
	Factor float64       // exponential: at least 1
	Cap    time.Duration // exponential: longest delay; 0: no bound

	Jitter      float64       // up to this fraction of a delay is added, never subtracted; 0 to 1
	MaxAttempts int           // exponential: the most attempts; 0: no bound
	MaxAge      time.Duration // no attempt is planned later than this after acceptance; 0: no bound
}

// Delay returns the delay after the given number of attempts, without jitter, and whether
// there is a next attempt.
func (r Retry) Delay(attempts int) (time.Duration, bool) {
	if attempts < 1 {
		return 0, true
	}
	if len(r.Steps) > 0 {
		if attempts <= len(r.Steps) {
			return r.Steps[attempts-1], true
		}
		return r.Steps[len(r.Steps)-1], r.Repeat
	}
	if r.First <= 0 || r.MaxAttempts > 0 && attempts >= r.MaxAttempts {
		return 0, false
	}
	delay := float64(r.First) * math.Pow(math.Max(r.Factor, 1), float64(attempts-1))
	limit := float64(math.MaxInt64 / 4)
	if r.Cap > 0 {
		limit = float64(r.Cap)
	}
	return time.Duration(math.Min(delay, limit)), true
}

// TripCount is what an auto-disable rule counts.
type TripCount string

// The kinds of auto-disable rule.
const (
	TripNever      TripCount = ""
	TripAttempts   TripCount = "attempts"   // N consecutive failed attempts
	TripDeliveries TripCount = "deliveries" // N consecutive deliveries that ended failed
	TripDuration   TripCount = "duration"   // only failures for the duration For, at least N
)

// Trip is the rule by which failures disable an endpoint.
type Trip struct {
	Count TripCount
	N     int           // how many; with TripDuration at least so many, 0: any number
	For   time.Duration // for TripDuration
}

// Health is an endpoint's record of failures since its last success.
type Health struct {
	Failures       int // consecutive, as the endpoint's rule counts them
	FirstFailureAt time.Time
	LastFailureAt  time.Time
	WarnedAt       time.Time // when Warn was returned; zero: not yet
}

// Verdict is what an attempt means for the endpoint.
type Verdict uint8

// The verdicts.
const (
	CarryOn Verdict = iota
	Warn            // half-way to being disabled; returned once until a success
	Disable
)

// After returns the health after an attempt with the given effects at the given time, and
// the verdict of the rule. A success clears the record. A duration alone means little for
// an endpoint with few deliveries: two failures may be all that it got in five days. So
// with TripDuration both the time and the number must be reached to disable the endpoint,
// and half of both to warn. Rules that count warn at half of the number.
func (h Health) After(e Effect, t Trip, now time.Time) (Health, Verdict) {
	if e.Has(EffectSucceeded) {
		return Health{}, CarryOn
	}
	if !e.Has(EffectFailed) {
		return h, CarryOn
	}
	if h.FirstFailureAt.IsZero() {
		h.FirstFailureAt = now
	}
	h.LastFailureAt = now
	if t.Count != TripDeliveries || e.Has(EffectExhausted) {
		h.Failures++
	}
	switch t.Count {
	case TripAttempts, TripDeliveries:
		if t.N > 0 && h.Failures >= t.N {
			return h, Disable
		}
		if t.N > 0 && h.Failures >= (t.N+1)/2 && h.WarnedAt.IsZero() {
			h.WarnedAt = now
			return h, Warn
		}
	case TripDuration:
		failing := now.Sub(h.FirstFailureAt)
		if t.For > 0 && failing >= t.For && h.Failures >= t.N {
			return h, Disable
		}
		if t.For > 0 && failing >= t.For/2 && h.Failures >= (t.N+1)/2 && h.WarnedAt.IsZero() {
			h.WarnedAt = now
			return h, Warn
		}
	}
	return h, CarryOn
}
