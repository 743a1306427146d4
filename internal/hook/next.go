package hook

import "time"

// Effect is a set of consequences of an attempt for the endpoint.
type Effect uint8

// The effects.
const (
	EffectSucceeded Effect = 1 << iota // the attempt succeeded: the failure record is cleared
	EffectFailed                       // a failed attempt that counts for health
	EffectExhausted                    // the delivery is now failed
	EffectGone                         // 410, and the policy disables the endpoint for it
)

// Has reports whether the set holds all of f.
func (e Effect) Has(f Effect) bool { return e&f == f }

// shortestRetryAfter is the lower bound for a Retry-After (S-16).
const shortestRetryAfter = time.Second

// Next is the transition rule of a delivery. It returns the row after an attempt, and the
// effects on the endpoint. It is pure, and runs inside the transaction that settles the
// attempt, on the row as it is then. trigger is the trigger of the attempt, jitter a
// number from 0 to 1.
//
// The attempt counts in every state. A success makes the delivery succeeded in every
// state. A failure changes only a pending delivery, and only if the attempt is not a
// single shot. A single shot, made by hand, by a resend or by a replay, leaves the
// schedule unchanged.
func Next(d Delivery, p *Policy, trigger Trigger, o Outcome, now time.Time, jitter float64) (Delivery, Effect) {
	d.Attempts++
	if !trigger.OneShot() {
		d.Scheduled++
	}
	d.LastStatus = o.Status
	d.LastError = o.Class
	if o.Success {
		if d.State != Succeeded {
			d.State, d.Reason, d.SettledAt = Succeeded, ReasonNone, now
		}
		d.Due, d.Owner = time.Time{}, 0
		return d, healthEffect(d, trigger, EffectSucceeded)
	}
	effect := healthEffect(d, trigger, EffectFailed)
	if o.Status == 410 && p.GoneDisables && effect != 0 {
		effect |= EffectGone
	}
	if d.State != Pending || trigger.OneShot() {
		return d, effect
	}
	d.Owner = 0
	end := o.StartedAt.Add(o.Duration)
	due, again := planned(d, p, o, end, jitter)
	switch {
	case d.Kind == TestEvent:
		return fail(d, ReasonTestFailed, now), effect
	case effect.Has(EffectGone):
		return fail(d, ReasonGone, now), effect | EffectExhausted
	case !again:
		return fail(d, ReasonPolicyEnded, now), effect | EffectExhausted
	}
	d.Due = due
	return d, effect
}

// planned returns the due time of the next attempt, and whether there is one.
func planned(d Delivery, p *Policy, o Outcome, end time.Time, jitter float64) (time.Time, bool) {
	delay, again := p.Retry.Delay(d.Scheduled)
	if !again {
		return time.Time{}, false
	}
	delay += time.Duration(float64(delay) * p.Retry.Jitter * jitter)
	if p.RetryAfterCap > 0 && o.RetryAfter > 0 {
		delay = max(delay, min(max(o.RetryAfter, shortestRetryAfter), p.RetryAfterCap))
	}
	due := end.Add(delay)
	if p.Retry.MaxAge > 0 && due.Sub(d.Begins(o.DeliverAt)) > p.Retry.MaxAge {
		return time.Time{}, false
	}
	return due, true
}

// Shown returns the delivery as callers see it. Only a pending one has a next attempt: what
// is held keeps the time before which it is not sent after its release.
func (d Delivery) Shown() Delivery {
	if d.State != Pending {
		d.Due = time.Time{}
	}
	return d
}

// Begins returns the time from which the age of a delivery counts: when it was made, or
// when its event asked for the first attempt.
func (d *Delivery) Begins(deliverAt time.Time) time.Time {
	if deliverAt.After(d.CreatedAt) {
		return deliverAt
	}
	return d.CreatedAt
}

func fail(d Delivery, why Reason, now time.Time) Delivery {
	d.State, d.Reason, d.SettledAt, d.Due, d.Owner = Failed, why, now, time.Time{}, 0
	return d
}

// healthEffect removes the effects on health of test events (product rule 7) and of
// attempts that were requested although the endpoint is disabled.
func healthEffect(d Delivery, trigger Trigger, e Effect) Effect {
	if d.Kind == TestEvent || trigger == Anyway {
		return 0
	}
	return e
}
