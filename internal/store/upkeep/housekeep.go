package upkeep

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/unit"
)

// Housekeep deletes expired idempotency answers (after 24 hours), tokens, sessions of people, and events older
// than Options.Retention. Deliveries held for longer than Options.HeldFor fail with reason
// held_expired. Housekeep drops revisions of endpoints that no one can request any more,
// and binds sealed values of earlier releases to their URL (see bind.go).
//
// Housekeep works in small pages between other writes. A cancelled ctx ends it between two
// pages. On PostgreSQL it also creates the partitions of the next days and drops those of
// past days, which briefly blocks writes. The caller calls it about once an hour, on every
// node.
func (s *Keeper) Housekeep(ctx context.Context) error {
	if err := s.core.Peers.Housekeep(ctx); err != nil {
		return fmt.Errorf("housekeep: %w", err)
	}
	for more := true; more; {
		err := s.maintain(ctx, "housekeep", unit.HousekeepPage, func(t *tx) error {
			n, err := t.Exec("expire answers", `DELETE FROM idempotency WHERE (mode, tenant, route, key) IN
				(SELECT mode, tenant, route, key FROM idempotency WHERE created_at <= ? LIMIT ?)`,
				sqltext.Micros(t.Now.Add(-unit.OnceFor)), int64(unit.HousekeepPage))
			more = n == unit.HousekeepPage
			return err
		})
		if err != nil {
			return fmt.Errorf("housekeep: %w", err)
		}
	}
	own := []func(context.Context) error{s.addUpStats, s.duties().DropStats, s.retain, s.duties().SampleDisk, s.retainAudit, s.dropErasures, s.bindSealed, s.duties().Reseal}
	var failed []error // one that fails does not keep the others from their work
	for _, do := range append(slices.Clone(s.opts.Hourly), own...) {
		if err := do(ctx); err != nil {
			failed = append(failed, fmt.Errorf("housekeep: %w", err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failed...)
}
