package native

import (
	"context"
	"errors"

	"github.com/danielgtaylor/huma/v2"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/api/strict"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

func (a *api) tenantRoutes(h huma.API) {
	register(a, h, operation("POST", "/v1/tenants", "create-tenant", "Create a tenant", 201), a.createTenant)
	register(a, h, operation("GET", "/v1/tenants", "list-tenants", "List tenants", 200), a.listTenants)
	register(a, h, operation("GET", "/v1/tenants/{id}", "get-tenant", "Get a tenant", 200), a.getTenant)
	register(a, h, operation("PATCH", "/v1/tenants/{id}", "update-tenant", "Change a tenant (merge patch)", 200), a.updateTenant)
	register(a, h, operation("DELETE", "/v1/tenants/{id}", "delete-tenant", "Delete a tenant with its endpoints and keys", 204), a.deleteTenant)
}

type newTenantIn struct {
	OnceIn
	Body body[client.NewTenant]
}

func (a *api) createTenant(ctx context.Context, q *request, in *newTenantIn) (*reply[client.Tenant], error) {
	if in.Body.err != nil {
		return nil, in.Body.err
	}
	once, err := onceFor(q, in.Body.text, 201, wireTenant)
	if err != nil {
		return nil, err
	}
	want := in.Body.value
	t, replay, err := a.o.Service.MakeTenant(ctx, q.caller, hook.Tenant{ID: want.ID, Name: want.Name, Metadata: app.Metadata(want.Metadata), RateLimit: want.RateLimit}, once)
	if err != nil {
		return nil, err
	}
	return made(201, wireTenant(t), replay), nil
}

type tenantsIn struct {
	PageIn
	Name string `query:"name" doc:"Tenants with exactly this name." example:"Acme Ltd"`
}

func (a *api) listTenants(ctx context.Context, q *request, in *tenantsIn) (*reply[client.Page[client.Tenant]], error) {
	rows, next, err := a.o.Service.Tenants(ctx, q.caller, hook.TenantQuery{Name: in.Name, Page: in.page()})
	if err != nil {
		return nil, err
	}
	return page(q, wireAll(rows, wireTenant), next), nil
}

type tenantIn struct {
	ItemIn
	ReadIn
}

func (a *api) getTenant(ctx context.Context, q *request, in *tenantIn) (*reply[client.Tenant], error) {
	t, err := a.o.Service.Tenant(ctx, q.caller, in.ID)
	if err != nil {
		return nil, err
	}
	return single(q, 200, wireTenant(t))
}

type tenantPatchIn struct {
	ItemIn
	ChangeIn
	Body members[client.TenantPatch]
}

func (a *api) updateTenant(ctx context.Context, q *request, in *tenantPatchIn) (*reply[client.Tenant], error) {
	if in.Body.err != nil {
		return nil, in.Body.err
	}
	p := patch{values: in.Body.values}
	change := app.TenantChange{Name: patched(&p, "name", ""), Metadata: mergedMetadata(&p), RateLimit: patched(&p, "rate_limit", 0.0)}
	p.readOnly("id", "created_at")
	if err := p.end(); err != nil {
		return nil, err
	}
	t, err := a.o.Service.UpdateTenant(ctx, q.caller, in.ID, change, ifMatch(q, tenantTag)...)
	if err != nil {
		return nil, err
	}
	return single(q, 200, wireTenant(t))
}

type tenantDeleteIn struct {
	ItemIn
	ChangeIn
}

func (a *api) deleteTenant(ctx context.Context, q *request, in *tenantDeleteIn) (*none, error) {
	return nil, a.o.Service.DeleteTenant(ctx, q.caller, in.ID, ifMatch(q, tenantTag)...)
}

func (a *api) keyRoutes(h huma.API) {
	register(a, h, operation("POST", "/v1/keys", "create-key", "Create a key of the caller's mode", 201), a.createKey)
	register(a, h, operation("GET", "/v1/keys", "list-keys", "List the keys of the caller's mode", 200), a.listKeys)
	register(a, h, operation("DELETE", "/v1/keys/{id}", "revoke-key", "Revoke a key", 204), a.revokeKey)
}

type newKeyIn struct {
	OnceIn
	Body body[client.NewKey]
}

func (a *api) createKey(ctx context.Context, q *request, in *newKeyIn) (*reply[client.Key], error) {
	if e, ok := errors.AsType[*hook.Error](in.Body.err); ok && e.Code == hook.CodeUnknownField && e.Field == "mode" {
		return nil, &hook.Error{Code: e.Code, Field: e.Field, Message: "\"mode\" is that of your own key; use a key of the other mode."}
	}
	if in.Body.err != nil {
		return nil, in.Body.err
	}
	want := in.Body.value
	if want.Kind == "" {
		return nil, strict.Missing("kind")
	}
	once, err := onceFor(q, in.Body.text, 201, wireNewKey)
	if err != nil {
		return nil, err
	}
	networks, err := app.ParseNetworks(want.Networks)
	if err != nil {
		return nil, err
	}
	limits := hook.KeyLimits{ReadOnly: want.ReadOnly, EventTypes: want.EventTypes, Networks: networks}
	if want.ExpiresAt != nil {
		limits.ExpiresAt = want.ExpiresAt.Time
	}
	k, replay, err := a.o.Service.CreateKey(ctx, q.caller, hook.Key{Kind: hook.Kind(want.Kind), Tenant: want.Tenant, Name: want.Name, KeyLimits: limits}, once)
	if err != nil {
		return nil, err
	}
	return made(201, wireNewKey(k), replay), a.replayKey(ctx, replay)
}

type keysIn struct {
	PageIn
	Kind   string `query:"kind" enum:"operator,publisher,tenant" doc:"Keys of this kind." example:"tenant"`
	Tenant string `query:"tenant" doc:"Keys of this tenant. Keys for all tenants are not among them." example:"acme"`
	Name   string `query:"name" doc:"Keys with exactly this name." example:"Acme, production"`
}

func (a *api) listKeys(ctx context.Context, q *request, in *keysIn) (*reply[client.Page[client.Key]], error) {
	rows, next, err := a.o.Service.Keys(ctx, q.caller, hook.KeyQuery{Scope: hook.Scope{Tenant: in.Tenant}, Kind: hook.Kind(in.Kind), Name: in.Name, Page: in.page()})
	if err != nil {
		return nil, err
	}
	return page(q, wireAll(rows, wireKey), next), nil
}

func (a *api) revokeKey(ctx context.Context, q *request, in *ItemIn) (*none, error) {
	id, err := in.parsed("key")
	if err != nil {
		return nil, err
	}
	return nil, a.o.Service.RevokeKey(ctx, q.caller, id)
}
