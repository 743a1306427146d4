package unit

import (
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/directory"
	"github.com/posthorn/posthorn/internal/store/read"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// Scope returns the writer's view of a scope, including the changes of this transaction.
func (t *Tx) Scope(scope hook.Scope) (*directory.Scope, error) {
	if e := t.Scopes[scope]; e != nil {
		return e, nil
	}
	if e, _ := t.core.Directory.Get(scope); e != nil {
		return e, nil
	}
	e, err := t.core.Directory.Load(background, t.Conn, scope)
	if err != nil {
		return nil, err
	}
	t.Scopes[scope] = e
	return e, nil
}

// Endpoint returns the writer's snapshot of an endpoint, nil if it does not exist or is
// deleted.
func (t *Tx) Endpoint(scope hook.Scope, id hook.ID) (*hook.Endpoint, error) {
	e, err := t.Scope(scope)
	if err != nil {
		return nil, err
	}
	return e.Find(id), nil
}

// EndpointByID returns the writer's snapshot of an endpoint that is not deleted. An empty
// tenant means every tenant of the mode.
func (t *Tx) EndpointByID(scope hook.Scope, id hook.ID) (*hook.Endpoint, error) {
	if scope.Tenant == "" {
		ok, err := t.Row("find endpoint", sqltext.TenantOfEndpoint, []any{id[:], scope.Mode}, &scope.Tenant)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, hook.NotFound("endpoint")
		}
	}
	e, err := t.Endpoint(scope, id)
	if err != nil {
		return nil, err
	}
	if e == nil {
		return nil, hook.NotFound("endpoint")
	}
	return e, nil
}

// SetSnapshot replaces the snapshot of an endpoint, on commit, on all nodes.
func (t *Tx) SetSnapshot(ep *hook.Endpoint) error {
	e, err := t.Scope(ep.Scope)
	if err != nil {
		return err
	}
	t.Scopes[ep.Scope] = e.With(ep)
	t.Changed = append(t.Changed, ep)
	t.TellNodes(sqltext.ChangedScope, ep.Scope, hook.Ref{Endpoint: ep.ID})
	return nil
}

// ReloadScope reads a scope again from the database.
func (t *Tx) ReloadScope(scope hook.Scope) error {
	e, err := t.core.Directory.Load(background, t.Conn, scope)
	if err != nil {
		return err
	}
	t.Scopes[scope] = e
	return nil
}

// ReloadTenant reads the scopes of a tenant again, on all nodes.
func (t *Tx) ReloadTenant(id string) error {
	for _, mode := range []hook.Mode{hook.Test, hook.Live} {
		scope := hook.Scope{Tenant: id, Mode: mode}
		if err := t.ReloadScope(scope); err != nil {
			return err
		}
		t.TellNodes(sqltext.ChangedScope, scope, hook.Ref{})
	}
	return nil
}

// RateChanged passes new snapshots of a tenant's endpoints on. Their number is bounded by
// the endpoints that a tenant may have.
func (t *Tx) RateChanged(id string) error {
	if err := t.ReloadTenant(id); err != nil {
		return err
	}
	for _, mode := range []hook.Mode{hook.Test, hook.Live} {
		t.Changed = append(t.Changed, t.Scopes[hook.Scope{Tenant: id, Mode: mode}].Endpoints...)
	}
	return nil
}

// Tenant reads a tenant that is not deleted.
func (t *Tx) Tenant(id string) (hook.Tenant, error) {
	found, err := sqltext.Collect(background, t.Conn, read.ScanTenant, "SELECT "+read.TenantColumns+" FROM tenants WHERE id = ? AND deleted_at = 0", id)
	if err != nil {
		return hook.Tenant{}, sqltext.Wrap("read tenant", err)
	}
	if len(found) == 0 {
		return hook.Tenant{}, hook.NotFound("tenant")
	}
	return found[0], nil
}

// NoTenant returns the error about a tenant that does not exist.
func NoTenant() *hook.Error {
	return &hook.Error{Code: hook.CodeTenantNotFound, Message: "No such tenant.", Field: "tenant"}
}
