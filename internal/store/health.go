package store

import (
	"github.com/posthorn/posthorn/internal/hook"
)

// judge counts an attempt in the endpoint's health, and trips the endpoint if its rule
// requires it. Attempts that began before the endpoint was last enabled do not count.
func (t *tx) judge(target *hook.Endpoint, effects hook.Effect, trip hook.Trip, o *hook.Outcome) error {
	if effects == 0 || o.Enablings != target.Enablings {
		return nil
	}
	if effects.Has(hook.EffectSucceeded) && target.Alarm != 0 && target.Status == hook.Enabled {
		if err := t.s.alerts.Recovered(t.Tx, target); err != nil {
			return err
		}
	}
	if t.s.core.Peers.Shared() && effects.Has(hook.EffectSucceeded) && t.Health[target.ID] == nil {
		t.Clean = append(t.Clean, target.ID)
		return nil
	}
	h, err := t.HealthOf(target)
	if err != nil {
		return err
	}
	after, verdict := h.After(effects, trip, t.Now)
	if after != h.Health {
		h.Health, h.Dirty = after, true
	}
	if target.Status != hook.Enabled {
		return nil
	}
	line := []any{"endpoint", target.ID.String(), "tenant", target.Scope.Tenant, "mode", target.Scope.Mode.String(),
		"failures", after.Failures, "failing_since", after.FirstFailureAt}
	switch {
	case effects.Has(hook.EffectGone):
		t.Report("endpoint disabled: it answered 410 Gone", line)
		return t.tripped(target, hook.DisabledGone, &after, &trip, o)
	case verdict == hook.Disable:
		t.Report("endpoint disabled: only failures", line)
		return t.tripped(target, hook.DisabledFailures, &after, &trip, o)
	case verdict == hook.Warn:
		t.Report("endpoint is half-way to being disabled: only failures", line)
		return t.s.alerts.RaiseAlarm(t.Tx, target, hook.AlarmWarned, &after, &trip, o)
	case after.Failing(t.Now) && !target.Alarm.Has(hook.AlarmFailing):
		return t.s.alerts.RaiseAlarm(t.Tx, target, hook.AlarmFailing, &after, &trip, o)
	}
	return nil
}

// trip disables a failing endpoint and orders a hold of its deliveries.
func (t *tx) trip(old *hook.Endpoint, word string) error {
	next := *old
	next.Status, next.DisabledReason, next.DisabledAt, next.Alarm = hook.Tripped, word, t.Now, hook.AlarmUnwell
	if err := t.saveEndpoint(&next); err != nil {
		return err
	}
	return t.orderHold(&next, heldReason(&next))
}

// tripped is trip with the alert about it.
func (t *tx) tripped(target *hook.Endpoint, word string, h *hook.Health, trip *hook.Trip, o *hook.Outcome) error {
	if err := t.trip(target, word); err != nil {
		return err
	}
	next := *target
	next.Status, next.DisabledReason = hook.Tripped, word
	t.s.alerts.Health(t.Tx, hook.AlertEndpointDisabled, &next, h, trip, o)
	return nil
}
