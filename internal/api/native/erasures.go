package native

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

func (a *api) erasureRoutes(h huma.API) {
	register(a, h, operation("POST", "/v1/erasures", "create-erasure", "Erase a tenant or an event", 202), a.createErasure)
	register(a, h, operation("GET", "/v1/erasures", "list-erasures", "List erasures, newest first", 200), a.listErasures)
	register(a, h, operation("GET", "/v1/erasures/{id}", "get-erasure", "Get an erasure with its progress, or its receipt", 200), a.getErasure)
	register(a, h, operation("POST", "/v1/reclaim", "reclaim", "Give free space of the database back", 200), a.reclaim)
}

type newErasureIn struct {
	OnceIn
	Body body[client.NewErasure]
}

func (a *api) createErasure(ctx context.Context, q *request, in *newErasureIn) (*reply[client.Erasure], error) {
	if in.Body.err != nil {
		return nil, in.Body.err
	}
	n := hook.NewErasure{Tenant: in.Body.value.Tenant}
	var err error
	if n.PublicID, err = filterEvent(in.Body.value.Event); err != nil {
		return nil, err
	}
	once, err := onceFor(q, in.Body.text, 202, wireErasure)
	if err != nil {
		return nil, err
	}
	out, replay, err := a.o.Service.Erase(ctx, q.caller, n, once)
	if err != nil {
		return nil, err
	}
	return made(202, wireErasure(out), replay), nil
}

func wireErasure(e app.Erasure) client.Erasure {
	out := client.Erasure{ID: e.ID.String(), Mode: e.Mode.String(), Tenant: e.Tenant, State: e.State.String(), Step: some(e.Step), Removed: e.Counts, Rows: e.Rows(),
		Kept: e.Kept, By: client.AuditActor{Kind: e.By.Kind, ID: some(e.By.ID)}, Message: e.Message,
		CreatedAt: wireTime(e.CreatedAt), UpdatedAt: wireTime(e.UpdatedAt), EndedAt: someTime(e.EndedAt)}
	if !e.PublicID.IsZero() {
		out.Event = some(e.PublicID.String())
	}
	return out
}

type erasuresIn struct {
	PageIn
	Tenant string `query:"tenant" doc:"Erasures of this tenant, and of its events." example:"acme"`
	State  string `query:"state" enum:"running,done" doc:"Erasures in this state." example:"running"`
}

func (a *api) listErasures(ctx context.Context, q *request, in *erasuresIn) (*reply[client.Page[client.Erasure]], error) {
	query := hook.ErasureQuery{Tenant: in.Tenant, Page: in.page()}
	if state, known := hook.ParseErasureState(in.State); known {
		query.State = &state
	}
	rows, next, err := a.o.Service.Erasures(ctx, q.caller, query)
	if err != nil {
		return nil, err
	}
	return page(q, wireAll(rows, wireErasure), next), nil
}

func (a *api) getErasure(ctx context.Context, q *request, in *ItemIn) (*reply[client.Erasure], error) {
	id, err := in.parsed("erasure")
	if err != nil {
		return nil, err
	}
	e, err := a.o.Service.Erasure(ctx, q.caller, id)
	if err != nil {
		return nil, err
	}
	return ok(wireErasure(e)), nil
}

func (a *api) reclaim(ctx context.Context, q *request, _ *struct{}) (*reply[client.Reclaimed], error) {
	r, err := a.o.Service.Reclaim(ctx, q.caller)
	if err != nil {
		return nil, err
	}
	return ok(client.Reclaimed{FreedBytes: r.Freed, LeftBytes: r.Left, SizeBytes: r.Size, Kept: some(r.Kept)}), nil
}
