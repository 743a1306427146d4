package native

import (
	"context"
	"encoding/hex"

	"github.com/danielgtaylor/huma/v2"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
)

func (a *api) auditRoutes(h huma.API) {
	register(a, h, operation("GET", "/v1/audit", "list-audit-entries", "Search the audit log: who did what", 200), a.listAudit)
}

type auditIn struct {
	PageIn
	SpanIn
	Tenant   string `query:"tenant" doc:"Whose objects. A tenant key may leave it out."`
	Actor    string `query:"actor" doc:"The id of a key; \"bootstrap\": the key from the configuration."`
	Act      string `query:"act" doc:"Such as endpoint.deleted."`
	Object   string `query:"object" doc:"The kind of the object, such as endpoint."`
	ObjectID string `query:"object_id" doc:"The id of the object."`
	Request  string `query:"request_id" doc:"The id of the request: request_id of an answer." example:"3w5e11264sgsf-1z141z4"`
}

func (a *api) listAudit(ctx context.Context, q *request, in *auditIn) (*reply[client.Page[client.AuditEntry]], error) {
	rows, next, err := a.o.Service.AuditEntries(ctx, q.caller, hook.AuditQuery{Scope: hook.Scope{Tenant: in.Tenant}, Actor: in.Actor, Act: in.Act,
		Object: in.Object, ObjectID: in.ObjectID, Request: in.Request, After: in.After.Time, Before: in.Before.Time, Page: in.page()})
	if err != nil {
		return nil, err
	}
	chained := q.caller.Kind == hook.Operator
	return page(q, wireAll(rows, func(e hook.AuditEntry) client.AuditEntry { return wireAudit(e, chained) }), next), nil
}

// wireAudit leaves out the position in the chain for callers who do not see the whole
// chain.
func wireAudit(e hook.AuditEntry, chained bool) client.AuditEntry {
	out := client.AuditEntry{ID: e.ID.String(), At: wireTime(e.At), Mode: e.Mode.String(), Tenant: some(e.Tenant),
		Actor: client.AuditActor{Kind: e.Actor.Kind, ID: some(e.Actor.ID), Address: some(e.Actor.Address)}, RequestID: some(e.Actor.Request),
		Act: string(e.Act), Object: e.Object, ObjectID: some(e.ObjectID), Outcome: e.Outcome, Detail: some(e.Detail)}
	if chained {
		out.Chain = &client.AuditPlace{Number: e.Chain, Sequence: e.Sequence, Hash: hex.EncodeToString(e.Hash[:])}
	}
	return out
}
