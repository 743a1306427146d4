package hook

import (
	"math"
	"time"
)

// Policy is what a profile and an endpoint's own settings come to.
type Policy struct {
	Success       StatusSet
	Retry         Retry
	Timeout       time.Duration // over DNS, connect, TLS, headers and body
	RetryAfterCap time.Duration // longest Retry-After that is honoured; 0: ignored
	GoneDisables  bool          // 410 disables the endpoint
	Trip          Trip
}

// StatusSet is a set of HTTP status codes: ranges, both ends included.
type StatusSet []StatusRange

// StatusRange is one range of status codes.
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

// Retry plans the attempts after the first: a list of delays, or an exponential
// one when Steps is empty. Delays count from the end of the failed attempt.
type Retry struct {
	Steps  []time.Duration // delay after the 1st, 2nd, ... failure
	Repeat bool            // after the last step: go on with it for ever; false: fail

	First  time.Duration // exponential: delay after the first failure
	Factor float64       // exponential: at least 1
	Cap    time.Duration // exponential: longest delay, 0: none

	Jitter      float64       // up to this fraction is added, never taken away; 0 to 1
	MaxAttempts int           // exponential: 0 for ever
	MaxAge      time.Duration // no attempt is planned later than this after acceptance; 0: none
}

// Delay returns the pause after the given number of attempts without jitter, and
// whether there is a next attempt at all.
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

// TripCount says what an auto-disable rule counts.
type TripCount string

// The kinds of auto-disable rule.
const (
	TripNever      TripCount = ""
	TripAttempts   TripCount = "attempts"   // N consecutive failed attempts
	TripDeliveries TripCount = "deliveries" // N consecutive deliveries that ended failed
	TripDuration   TripCount = "duration"   // only failures for the duration For, N attempts at least
)

// Trip is the rule by which failures disable an endpoint.
type Trip struct {
	Count TripCount
	N     int           // how many; with TripDuration the least, 0: any number
	For   time.Duration // with TripDuration
}

// Health is an endpoint's record of failures since its last success.
type Health struct {
	Failures       int // consecutive, by what the endpoint's rule counts
	FirstFailureAt time.Time
	LastFailureAt  time.Time
	WarnedAt       time.Time // half-way to being disabled by duration
}

// Verdict is what a failure means for the endpoint.
type Verdict uint8

// The verdicts.
const (
	CarryOn Verdict = iota
	Warn            // half-way to being disabled; said once
	Disable
)

// After returns the health after an attempt with the given effects at the time,
// and the verdict of the rule. Success clears the record. A duration alone says
// little of an endpoint that is sent little: two failures may be all that it got in
// five days. So both the time and the number must be reached to disable, and half
// of both to warn.
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
