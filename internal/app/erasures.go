package app

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/posthorn/posthorn/internal/hook"
)

// Erasure is an erasure as callers see it.
type Erasure struct {
	hook.Erasure
	Kept    []string // what it leaves, and where
	Message string
}

// What an erasure leaves, as sentences for its receipt.
var (
	keptOfTenant = []string{
		"This receipt, with the id of the tenant.",
		"Entries of the audit log: what was done, when, and with which key. Whom it was about, from which address and in which request are removed.",
		"Statistics of the whole mode: numbers without a tenant.",
	}
	keptOfEvent = []string{
		"This receipt, with the ids of the event and its tenant.",
		"Entries of the audit log, with the ids of the event and its deliveries. They never hold data.",
		"Statistics: numbers.",
	}
	keptOutside = []string{
		"Idempotency keys of batches and of administration, and their sealed answers: gone after 24 hours.",
		"Backups and other copies made before, logs of this process, and what receivers have.",
	}
)

// Erase begins to erase a tenant of both modes, or an event of the caller's mode. Only
// operators may erase, and a tenant only those of live mode: it cannot be undone, and a
// leaked key of a tenant must not destroy what the tenant has to keep.
func (s *Service) Erase(ctx context.Context, c Caller, n hook.NewErasure, once *Once) (Erasure, *hook.Replay, error) {
	if err := c.administer(); err != nil {
		return Erasure{}, nil, err
	}
	switch {
	case n.Tenant == "" && n.PublicID.IsZero():
		return Erasure{}, nil, invalid("tenant", "Name the \"tenant\" or the \"event\" to erase.")
	case n.PublicID.IsZero() && c.Mode != hook.Live:
		return Erasure{}, nil, errBothModes
	case n.Tenant != "" && !hook.ValidTenantID(n.Tenant):
		return Erasure{}, nil, noTenant("tenant")
	}
	n.Mode = c.Mode
	e, replay, err := s.o.Store.Erase(ctx, n, once.in(hook.Scope{Mode: c.Mode}, func(stored any) any {
		e, _ := stored.(hook.Erasure)
		return shownErasure(e)
	}))
	if err == nil && replay == nil {
		s.o.Log.LogAttrs(ctx, levelAudit, "audit: erasure asked for", slog.String("erasure", e.ID.String()), slog.String("key", c.keyName()), slog.String("mode", c.Mode.String()))
	}
	return shownErasure(e), replay, err
}

func shownErasure(e hook.Erasure) Erasure {
	out := Erasure{Erasure: e}
	what := "The event"
	if out.Kept = keptOfEvent; e.PublicID.IsZero() {
		what, out.Kept = "The tenant", keptOfTenant
	}
	out.Kept = append(out.Kept[:len(out.Kept):len(out.Kept)], keptOutside...)
	switch {
	case e.State == hook.ErasureDone:
		out.Message = fmt.Sprintf("%s is erased: %d rows.", what, e.Rows())
	case e.Step == "disk":
		out.Message = fmt.Sprintf("%d rows are removed. What the files still have of them is being overwritten.", e.Rows())
	default:
		out.Message = fmt.Sprintf("%d rows are removed so far. It works on: %s.", e.Rows(), e.Step)
	}
	return out
}

// Erasure returns one erasure of the caller's mode. Operators only.
func (s *Service) Erasure(ctx context.Context, c Caller, id hook.ID) (Erasure, error) {
	if err := c.administer(); err != nil {
		return Erasure{}, err
	}
	e, err := s.o.Store.Erasure(ctx, c.Mode, id)
	return shownErasure(e), err
}

// Erasures returns a page of the erasures of the caller's mode. Operators only.
func (s *Service) Erasures(ctx context.Context, c Caller, q hook.ErasureQuery) ([]Erasure, string, error) {
	if err := c.administer(); err != nil {
		return nil, "", err
	}
	q.Mode = c.Mode
	rows, next, err := s.o.Store.Erasures(ctx, q)
	out := make([]Erasure, len(rows))
	for i := range rows {
		out[i] = shownErasure(rows[i])
	}
	return out, next, err
}

// maxReclaim bounds what one call gives back to the file system, in bytes.
const maxReclaim = 64 << 20

// Reclaim gives up to 64 MiB of free space back to the file system. Operators of live mode
// only, because the file is of both modes.
func (s *Service) Reclaim(ctx context.Context, c Caller) (hook.Reclaimed, error) {
	if err := c.changeTenant(); err != nil {
		return hook.Reclaimed{}, err
	}
	return s.o.Store.Reclaim(ctx, maxReclaim)
}
