package hook

import "time"

// Effect is a set of consequences of an attempt beyond its own delivery.
type Effect uint8

// The effects.
const (
	EffectSucceeded Effect = 1 << iota // the endpoint answered well: its health is clean
	EffectFailed                       // a failed attempt that counts for health
	EffectExhausted                    // with it the delivery ended as failed
	EffectGone                         // 410, and the policy disables for it
)

// Has reports whether the set holds all of f.
func (e Effect) Has(f Effect) bool { return e&f == f }

// shortestRetryAfter bounds what a receiver may ask for from below (S-16).
const shortestRetryAfter = time.Second

// Next is the transition rule of a delivery: the row after an attempt, and what
// else follows from it. It is pure and runs inside the settling transaction, on
// the row as it is then. trigger is the attempt's, jitter a number from 0 to 1.
//
// The attempt counts whatever the state. A success wins over every state. A
// failure moves only a pending delivery, and only when the schedule made the
// attempt: held, cancelled and settled ones stay, and one shot by hand or by a
// resend leaves the schedule as it was.
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

// planned returns when the next attempt is due, and whether there is one.
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
	if p.Retry.MaxAge > 0 && due.Sub(d.CreatedAt) > p.Retry.MaxAge {
		return time.Time{}, false
	}
	return due, true
}

func fail(d Delivery, why Reason, now time.Time) Delivery {
	d.State, d.Reason, d.SettledAt, d.Due, d.Owner = Failed, why, now, time.Time{}, 0
	return d
}

// healthEffect drops effects on health for test events (product rule 7) and for attempts
// that somebody asked for although the endpoint is disabled.
func healthEffect(d Delivery, trigger Trigger, e Effect) Effect {
	if d.Kind == TestEvent || trigger == Anyway {
		return 0
	}
	return e
}
