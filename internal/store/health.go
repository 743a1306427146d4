package store

import (
	"slices"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/read"
	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/unit"
)

// judge counts an attempt in the endpoint's health, and trips the endpoint if its rule
// requires it. Attempts that began before the endpoint was last enabled do not count.
func (t *tx) judge(target *hook.Endpoint, effects hook.Effect, trip hook.Trip, o *hook.Outcome) error {
	if effects == 0 || o.Enablings != target.Enablings {
		return nil
	}
	if effects.Has(hook.EffectSucceeded) && target.Alarm != 0 && target.Status == hook.Enabled {
		if err := t.recovered(target); err != nil {
			return err
		}
	}
	if t.s.core.Peers.Shared() && effects.Has(hook.EffectSucceeded) && t.Health[target.ID] == nil {
		t.Clean = append(t.Clean, target.ID)
		return nil
	}
	h, err := t.healthOf(target)
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
		t.report("endpoint disabled: it answered 410 Gone", line)
		return t.tripped(target, hook.DisabledGone, &after, &trip, o)
	case verdict == hook.Disable:
		t.report("endpoint disabled: only failures", line)
		return t.tripped(target, hook.DisabledFailures, &after, &trip, o)
	case verdict == hook.Warn:
		t.report("endpoint is half-way to being disabled: only failures", line)
		return t.raiseAlarm(target, hook.AlarmWarned, &after, &trip, o)
	case after.Failing(t.Now) && !target.Alarm.Has(hook.AlarmFailing):
		return t.raiseAlarm(target, hook.AlarmFailing, &after, &trip, o)
	}
	return nil
}

func (t *tx) report(message string, line []any) {
	t.Logs = append(t.Logs, func() { t.s.core.Log.Warn(message, line...) })
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

// healthOf returns the transaction's copy of an endpoint's health.
func (t *tx) healthOf(target *hook.Endpoint) (*unit.HealthEntry, error) {
	if h := t.Health[target.ID]; h != nil {
		return h, nil
	}
	h := &unit.HealthEntry{Scope: target.Scope}
	kept, ok := t.s.core.Directory.Health(target.ID)
	if t.s.core.Peers.Shared() {
		if err := t.lockHealth(target, h); err != nil {
			return nil, err
		}
	} else if ok {
		h.Health = kept
	} else {
		var err error
		if h.Health, err = read.HealthOf(background, t.Conn, target.ID); err != nil {
			return nil, err
		}
	}
	if t.Health == nil {
		t.Health = map[hook.ID]*unit.HealthEntry{}
	}
	t.Health[target.ID] = h
	return h, nil
}

// lockHealth reads the record that all nodes share, and locks it until the commit.
func (t *tx) lockHealth(target *hook.Endpoint, h *unit.HealthEntry) error {
	found, err := unit.Returning(t.Tx, read.ScanHealth, `INSERT INTO health (endpoint, mode, tenant, failures, first_failure_at, last_failure_at, warned_at)
		VALUES (?, ?, ?, 0, 0, 0, 0) ON CONFLICT (endpoint) DO UPDATE SET mode = excluded.mode
		RETURNING failures, first_failure_at, last_failure_at, warned_at`, target.ID[:], int64(target.Scope.Mode), target.Scope.Tenant)
	if err != nil || len(found) == 0 {
		return sqltext.Wrap("lock health", err)
	}
	h.Health = found[0]
	if slices.Contains(t.Clean, target.ID) { // already in this transaction
		h.Health = hook.Health{}
		t.Clean = slices.DeleteFunc(t.Clean, func(id hook.ID) bool { return id == target.ID })
	}
	h.Shared = true
	h.Dirty = true // even if nothing changes, because the insert created a row
	return nil
}

// clearHealth starts a new record.
func (t *tx) clearHealth(target *hook.Endpoint) error {
	h, err := t.healthOf(target)
	if err != nil {
		return err
	}
	if h.Health != (hook.Health{}) {
		h.Health, h.Dirty = hook.Health{}, true
	}
	return nil
}

func (t *tx) writeHealth(id hook.ID, h *unit.HealthEntry) error {
	if h.Health == (hook.Health{}) {
		_, err := t.Exec("clear health", "DELETE FROM health WHERE endpoint = ?", id[:])
		return err
	}
	_, err := t.Exec("write health", `INSERT INTO health
		(endpoint, mode, tenant, failures, first_failure_at, last_failure_at, warned_at) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (endpoint) DO UPDATE SET failures = excluded.failures, first_failure_at = excluded.first_failure_at,
		last_failure_at = excluded.last_failure_at, warned_at = excluded.warned_at`,
		id[:], int64(h.Scope.Mode), h.Scope.Tenant, int64(h.Failures), sqltext.Micros(h.FirstFailureAt), sqltext.Micros(h.LastFailureAt), sqltext.Micros(h.WarnedAt))
	return err
}
