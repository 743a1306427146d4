package native

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/api/strict"
	"github.com/posthorn/posthorn/internal/hook"
)

func (a *api) partnerRoutes(h huma.API) {
	register(a, h, operation("POST", "/v1/partner-users", "create-partner-user", "Let a partner's keys act for a tenant", 201), a.createPartnerUser)
	register(a, h, operation("GET", "/v1/partner-users", "list-partner-users", "List for whom partners may act", 200), a.listPartnerUsers)
	register(a, h, operation("DELETE", "/v1/partner-users/{id}", "delete-partner-user", "End a partner's grant", 204), a.deletePartnerUser)
}

func wirePartnerUser(p hook.PartnerUser) client.PartnerUser {
	return client.PartnerUser{ID: p.ID.String(), Partner: p.Partner, User: p.User, Tenant: p.Tenant, CreatedAt: wireTime(p.CreatedAt)}
}

type newPartnerUserIn struct {
	OnceIn
	Body body[client.NewPartnerUser]
}

func (a *api) createPartnerUser(ctx context.Context, q *request, in *newPartnerUserIn) (*reply[client.PartnerUser], error) {
	if in.Body.err != nil {
		return nil, in.Body.err
	}
	want := in.Body.value
	if want.User == "" {
		return nil, strict.Missing("user")
	}
	once, err := onceFor(q, in.Body.text, 201, wirePartnerUser)
	if err != nil {
		return nil, err
	}
	p, replay, err := a.o.Service.CreatePartnerUser(ctx, q.caller, want.Partner, want.User, want.Tenant, once)
	if err != nil {
		return nil, err
	}
	return made(201, wirePartnerUser(p), replay), nil
}

type partnerUsersIn struct {
	PageIn
	Partner string `query:"partner"`
}

func (a *api) listPartnerUsers(ctx context.Context, q *request, in *partnerUsersIn) (*reply[client.Page[client.PartnerUser]], error) {
	rows, next, err := a.o.Service.PartnerUsers(ctx, q.caller, in.Partner, in.page())
	if err != nil {
		return nil, err
	}
	return page(q, wireAll(rows, wirePartnerUser), next), nil
}

func (a *api) deletePartnerUser(ctx context.Context, q *request, in *ItemIn) (*none, error) {
	id, err := in.parsed("partner user")
	if err != nil {
		return nil, err
	}
	return nil, a.o.Service.DeletePartnerUser(ctx, q.caller, id)
}
