package app

import (
	"context"

	"github.com/posthorn/posthorn/internal/hook"
)

// Search finds what an id belongs to: a whole id of any kind, or the first 8 or more
// hexadecimal digits of one. It finds only what the caller may see in its own mode.
// Tenants and keys are found for operators only, requests for those who may read the audit
// log.
func (s *Service) Search(ctx context.Context, c Caller, text string) (hook.FoundPage, error) {
	scope, err := c.reach("")
	if err != nil {
		return hook.FoundPage{}, err
	}
	if !hook.ValidTenantID(text) { // the form of all ids
		return hook.FoundPage{}, invalid("q", "\"q\" must be an id, an event's own id, or at least the first 8 hexadecimal digits of one: "+hook.IDRule+". GET /v1/events?tag=name:value finds events by their tags.")
	}
	q := hook.IDQuery{Scope: scope, Text: text, Administers: c.Kind == hook.Operator, Audits: c.may(never) == nil}
	q.Low, q.High, q.Prefix, q.IsPrefix = hook.IDPrefix(text)
	return s.o.Store.FindID(ctx, q)
}
