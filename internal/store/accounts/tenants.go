package accounts

import (
	"context"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/unit"
)

// CreateTenant stores a tenant. An empty id becomes a UUID. CreateTenant returns
// CodeTenantExists if the id is in use, even by a deleted tenant.
func (s *Accounts) CreateTenant(ctx context.Context, n hook.Tenant, once *hook.Once) (hook.Tenant, *hook.Replay, error) {
	var made hook.Tenant
	var replay *hook.Replay
	err := s.do(ctx, "create tenant", 1, func(t *tx) (err error) {
		replay, err = t.Once(once, func() (any, bool, error) {
			made = n
			if made.ID == "" {
				made.ID = t.s.core.IDs.Next().String()
			}
			made.CreatedAt = t.Now
			if err := t.s.duties().CreateTenant(t.Tx, made); err != nil {
				return nil, false, err
			}
			t.Audited(hook.ActTenantCreated, "tenant", made.ID, t.AuditScope(made.ID))
			return made, true, nil
		})
		return err
	})
	if err != nil {
		return hook.Tenant{}, nil, err
	}
	return made, replay, nil
}

// CreateTenant stores a tenant, in an operation of a caller.
func (d Duties) CreateTenant(t *unit.Tx, n hook.Tenant) error {
	changed, err := t.Exec("insert tenant", "INSERT INTO tenants (id, name, metadata, rate_limit, created_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
		n.ID, n.Name, n.Metadata, n.RateLimit, sqltext.Micros(n.CreatedAt))
	if err != nil {
		return err
	}
	if changed == 0 {
		return &hook.Error{Code: hook.CodeTenantExists, Field: "id", Message: "A tenant with this id exists or existed."}
	}
	return t.ReloadTenant(n.ID)
}

// UpdateTenant changes the name, the metadata and the rate limit of a tenant. update runs on
// the writer under the contract of UpdateEndpoint. It cannot change the id or the time of creation.
func (s *Accounts) UpdateTenant(ctx context.Context, id string, update func(old hook.Tenant) (hook.Tenant, error)) (hook.Tenant, error) {
	var made hook.Tenant
	err := s.do(ctx, "update tenant", 1, func(t *tx) error {
		old, err := t.Tenant(id)
		if err != nil {
			return err
		}
		if made, err = update(old); err != nil {
			return err
		}
		made.ID, made.CreatedAt = old.ID, old.CreatedAt
		_, err = t.Exec("update tenant", "UPDATE tenants SET name = ?, metadata = ?, rate_limit = ? WHERE id = ?", made.Name, made.Metadata, made.RateLimit, id)
		if err == nil && made.RateLimit != old.RateLimit {
			err = t.RateChanged(id)
		}
		if err == nil && made != old {
			t.Audited(hook.ActTenantUpdated, "tenant", id, t.AuditScope(id), tenantChanges(&old, &made)...)
		}
		return err
	})
	if err != nil {
		return hook.Tenant{}, err
	}
	return made, nil
}

// tenantChanges names the fields in which two states of a tenant differ.
func tenantChanges(old, made *hook.Tenant) (names []string) {
	if old.Name != made.Name {
		names = append(names, "name")
	}
	if old.Metadata != made.Metadata {
		names = append(names, "metadata")
	}
	if old.RateLimit != made.RateLimit {
		names = append(names, "rate_limit")
	}
	return names
}

// DeletePage bounds the endpoints and the keys that one step of a deletion deletes.
const DeletePage = 50

// DeleteTenant deletes a tenant with its endpoints and keys, in both modes. The tenant
// accepts no more events, and its open deliveries are cancelled. Its id stays in use. Each
// check is called with the tenant first, on the writer; an error of a check stops the
// deletion.
//
// A tenant with many endpoints is deleted in steps, and the tenant itself in the last. The
// steps after the first run even if the caller has gone. A crash in between leaves the
// tenant with fewer endpoints; another call completes the deletion.
func (s *Accounts) DeleteTenant(ctx context.Context, id string, checks ...func(hook.Tenant) error) error {
	for more := true; more; {
		err := s.do(ctx, "delete tenant", 16, func(t *tx) (err error) {
			if more, err = t.deleteTenant(id, checks); err != nil {
				return err
			}
			act := hook.ActTenantDeleted
			if more {
				act = hook.ActTenantDeleting
			}
			t.Audited(act, "tenant", id, t.AuditScope(id))
			return nil
		})
		if err != nil {
			return err
		}
		ctx = context.WithoutCancel(ctx)
	}
	return nil
}

// deleteTenant runs one step and reports whether there are more.
func (t *tx) deleteTenant(id string, checks []func(hook.Tenant) error) (more bool, err error) {
	old, err := t.Tenant(id)
	if err != nil {
		return false, err
	}
	for _, check := range checks {
		if err := check(old); err != nil {
			return false, err
		}
	}
	left := DeletePage
	for _, mode := range []hook.Mode{hook.Test, hook.Live} {
		entry, err := t.Scope(hook.Scope{Tenant: id, Mode: mode})
		if err != nil {
			return false, err
		}
		for _, e := range entry.Endpoints {
			if left--; left < 0 {
				return true, nil
			}
			if err := t.s.deleteEndpoint(t.Tx, e); err != nil {
				return false, err
			}
		}
		keys, err := t.Exec("revoke keys", `UPDATE keys SET revoked_at = ? WHERE id IN
			(SELECT id FROM keys WHERE mode = ? AND tenant = ? AND revoked_at = 0 LIMIT ?)`, sqltext.Micros(t.Now), int64(mode), id, int64(DeletePage))
		if err != nil {
			return false, err
		}
		if keys > 0 {
			t.KeysChanged()
		}
		if left -= int(keys); left < 0 || keys == DeletePage {
			return true, nil
		}
	}
	if _, err := t.Exec("delete tenant", "UPDATE tenants SET deleted_at = ? WHERE id = ?", sqltext.Micros(t.Now), id); err != nil {
		return false, err
	}
	return false, t.ReloadTenant(id)
}
