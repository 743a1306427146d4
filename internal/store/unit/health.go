package unit

import (
	"slices"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/read"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// HealthOf returns the transaction's copy of an endpoint's health.
func (t *Tx) HealthOf(target *hook.Endpoint) (*HealthEntry, error) {
	if h := t.Health[target.ID]; h != nil {
		return h, nil
	}
	h := &HealthEntry{Scope: target.Scope}
	kept, ok := t.core.Directory.Health(target.ID)
	if t.core.Peers.Shared() {
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
		t.Health = map[hook.ID]*HealthEntry{}
	}
	t.Health[target.ID] = h
	return h, nil
}

// lockHealth reads the record that all nodes share, and locks it until the commit.
func (t *Tx) lockHealth(target *hook.Endpoint, h *HealthEntry) error {
	found, err := Returning(t, read.ScanHealth, `INSERT INTO health (endpoint, mode, tenant, failures, first_failure_at, last_failure_at, warned_at)
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

// ClearHealth starts a new record.
func (t *Tx) ClearHealth(target *hook.Endpoint) error {
	h, err := t.HealthOf(target)
	if err != nil {
		return err
	}
	if h.Health != (hook.Health{}) {
		h.Health, h.Dirty = hook.Health{}, true
	}
	return nil
}

func (t *Tx) writeHealth(id hook.ID, h *HealthEntry) error {
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

// mergeHealth keeps the records of a transaction in memory, unless other nodes change them
// too.
func (c *Core) mergeHealth(health map[hook.ID]*HealthEntry) {
	for id, h := range health {
		if h.Shared {
			return
		}
		c.Directory.KeepHealth(id, h.Health)
	}
}

// HealthEntry is the health of an endpoint inside a transaction. It is written once at
// the end, however many attempts changed it.
type HealthEntry struct {
	hook.Health
	Scope  hook.Scope
	Dirty  bool
	Shared bool // with other nodes, so not kept in memory
}

// FlushHealth writes the records that changed.
func (t *Tx) FlushHealth() error {
	for id, h := range t.Health {
		if !h.Dirty {
			continue
		}
		if err := t.writeHealth(id, h); err != nil {
			return err
		}
	}
	return nil
}
