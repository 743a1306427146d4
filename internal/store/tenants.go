package store

import (
	"context"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/read"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// CreateTenant stores a tenant. An empty id becomes a UUID. CreateTenant returns
// CodeTenantExists if the id is in use, even by a deleted tenant.
func (s *Store) CreateTenant(ctx context.Context, n hook.Tenant, once *hook.Once) (hook.Tenant, *hook.Replay, error) {
	var made hook.Tenant
	var replay *hook.Replay
	err := s.do(ctx, "create tenant", 1, func(t *tx) (err error) {
		replay, err = t.once(once, func() (any, bool, error) {
			made = n
			if made.ID == "" {
				made.ID = t.s.ids.Next().String()
			}
			made.CreatedAt = t.now
			if err := t.createTenant(made); err != nil {
				return nil, false, err
			}
			t.audited(hook.ActTenantCreated, "tenant", made.ID, t.auditScope(made.ID))
			return made, true, nil
		})
		return err
	})
	if err != nil {
		return hook.Tenant{}, nil, err
	}
	return made, replay, nil
}

func (t *tx) createTenant(n hook.Tenant) error {
	changed, err := t.exec("insert tenant", "INSERT INTO tenants (id, name, metadata, rate_limit, created_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
		n.ID, n.Name, n.Metadata, n.RateLimit, sqltext.Micros(n.CreatedAt))
	if err != nil {
		return err
	}
	if changed == 0 {
		return &hook.Error{Code: hook.CodeTenantExists, Field: "id", Message: "A tenant with this id exists or existed."}
	}
	return t.reloadTenant(n.ID)
}

func (t *tx) reloadTenant(id string) error {
	for _, mode := range []hook.Mode{hook.Test, hook.Live} {
		scope := hook.Scope{Tenant: id, Mode: mode}
		if err := t.reloadScope(scope); err != nil {
			return err
		}
		t.tellNodes(sqltext.ChangedScope, scope, hook.Ref{})
	}
	return nil
}

// UpdateTenant changes the name, the metadata and the rate limit of a tenant. update runs on
// the writer under the contract of UpdateEndpoint. It cannot change the id or the time of creation.
func (s *Store) UpdateTenant(ctx context.Context, id string, update func(old hook.Tenant) (hook.Tenant, error)) (hook.Tenant, error) {
	var made hook.Tenant
	err := s.do(ctx, "update tenant", 1, func(t *tx) error {
		old, err := t.tenant(id)
		if err != nil {
			return err
		}
		if made, err = update(old); err != nil {
			return err
		}
		made.ID, made.CreatedAt = old.ID, old.CreatedAt
		_, err = t.exec("update tenant", "UPDATE tenants SET name = ?, metadata = ?, rate_limit = ? WHERE id = ?", made.Name, made.Metadata, made.RateLimit, id)
		if err == nil && made.RateLimit != old.RateLimit {
			err = t.rateChanged(id)
		}
		if err == nil && made != old {
			t.audited(hook.ActTenantUpdated, "tenant", id, t.auditScope(id), tenantChanges(&old, &made)...)
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

// rateChanged passes new snapshots of a tenant's endpoints on. Their number is bounded by
// the endpoints that a tenant may have.
func (t *tx) rateChanged(id string) error {
	if err := t.reloadTenant(id); err != nil {
		return err
	}
	for _, mode := range []hook.Mode{hook.Test, hook.Live} {
		t.changed = append(t.changed, t.scopes[hook.Scope{Tenant: id, Mode: mode}].Endpoints...)
	}
	return nil
}

func (t *tx) tenant(id string) (hook.Tenant, error) {
	found, err := sqltext.Collect(background, t.c, read.ScanTenant, "SELECT "+read.TenantColumns+" FROM tenants WHERE id = ? AND deleted_at = 0", id)
	if err != nil {
		return hook.Tenant{}, sqltext.Wrap("read tenant", err)
	}
	if len(found) == 0 {
		return hook.Tenant{}, hook.NotFound("tenant")
	}
	return found[0], nil
}

// deletePage bounds the endpoints and the keys that one step of a deletion deletes.
const deletePage = 50

// DeleteTenant deletes a tenant with its endpoints and keys, in both modes. The tenant
// accepts no more events, and its open deliveries are cancelled. Its id stays in use. Each
// check is called with the tenant first, on the writer; an error of a check stops the
// deletion.
//
// A tenant with many endpoints is deleted in steps, and the tenant itself in the last. The
// steps after the first run even if the caller has gone. A crash in between leaves the
// tenant with fewer endpoints; another call completes the deletion.
func (s *Store) DeleteTenant(ctx context.Context, id string, checks ...func(hook.Tenant) error) error {
	for more := true; more; {
		err := s.do(ctx, "delete tenant", 16, func(t *tx) (err error) {
			if more, err = t.deleteTenant(id, checks); err != nil {
				return err
			}
			act := hook.ActTenantDeleted
			if more {
				act = hook.ActTenantDeleting
			}
			t.audited(act, "tenant", id, t.auditScope(id))
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
	old, err := t.tenant(id)
	if err != nil {
		return false, err
	}
	for _, check := range checks {
		if err := check(old); err != nil {
			return false, err
		}
	}
	left := deletePage
	for _, mode := range []hook.Mode{hook.Test, hook.Live} {
		entry, err := t.scope(hook.Scope{Tenant: id, Mode: mode})
		if err != nil {
			return false, err
		}
		for _, e := range entry.Endpoints {
			if left--; left < 0 {
				return true, nil
			}
			if err := t.deleteEndpoint(e); err != nil {
				return false, err
			}
		}
		keys, err := t.exec("revoke keys", `UPDATE keys SET revoked_at = ? WHERE id IN
			(SELECT id FROM keys WHERE mode = ? AND tenant = ? AND revoked_at = 0 LIMIT ?)`, sqltext.Micros(t.now), int64(mode), id, int64(deletePage))
		if err != nil {
			return false, err
		}
		if keys > 0 {
			t.keysChanged()
		}
		if left -= int(keys); left < 0 || keys == deletePage {
			return true, nil
		}
	}
	if _, err := t.exec("delete tenant", "UPDATE tenants SET deleted_at = ? WHERE id = ?", sqltext.Micros(t.now), id); err != nil {
		return false, err
	}
	return false, t.reloadTenant(id)
}
