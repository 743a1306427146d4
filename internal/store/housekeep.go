package store

import (
	"context"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

const housekeepPage = 500

// Housekeep ends what has lasted its time: answers to idempotency keys after 24
// hours, tokens that have expired, deliveries held for longer than Options.HeldFor, which become failed
// with reason held_expired, and events older than Options.Retention. It works in small
// pages between other writes and is to be called about once an hour, on every node; a
// cancelled ctx ends it between two pages. On PostgreSQL it makes the partitions of the
// days to come and drops those of days past, for which writes wait a moment.
func (s *Store) Housekeep(ctx context.Context) error {
	if err := s.peers.Housekeep(ctx); err != nil {
		return fmt.Errorf("housekeep: %w", err)
	}
	for more := true; more; {
		err := s.maintain(ctx, "housekeep", housekeepPage, func(t *tx) error {
			n, err := t.exec("expire answers", `DELETE FROM idempotency WHERE (mode, tenant, route, key) IN
				(SELECT mode, tenant, route, key FROM idempotency WHERE created_at <= ? LIMIT ?)`,
				sqltext.Micros(t.now.Add(-onceFor)), int64(housekeepPage))
			more = n == housekeepPage
			return err
		})
		if err != nil {
			return fmt.Errorf("housekeep: %w", err)
		}
	}
	if err := s.expireTokens(ctx); err != nil {
		return err
	}
	// Only endpoints that are not enabled have held deliveries, apart from those
	// that a sweep is just about to release.
	ids, err := sqltext.Collect(ctx, s.read, sqltext.ScanID, "SELECT id FROM endpoints WHERE status IN (?, ?)", hook.Disabled, hook.Tripped)
	if err != nil {
		return s.readError("housekeep: list disabled endpoints", err)
	}
	for _, id := range ids {
		if err := s.expireHeld(ctx, id); err != nil {
			return fmt.Errorf("housekeep: %w", err)
		}
	}
	if err := s.retain(ctx); err != nil {
		return fmt.Errorf("housekeep: %w", err)
	}
	return nil
}

// expireHeld walks the backlog of one endpoint, oldest event first.
func (s *Store) expireHeld(ctx context.Context, endpoint hook.ID) error {
	var from hook.ID
	for more := true; more; {
		var last hook.ID
		err := s.maintain(ctx, "expire held", housekeepPage, func(t *tx) error {
			rows, err := sqltext.Collect(background, t.c, func(row sqltext.Scanner) (h heldRow, err error) {
				h.Delivery, err = sqltext.ScanDeliveryAnd(row, &h.heldAt)
				return h, err
			}, "SELECT "+sqltext.DeliveryColumns+`, d.held_at FROM deliveries d WHERE d.state = 1 AND d.endpoint = ? AND d.event > ?
				ORDER BY d.event LIMIT ?{lock}`, endpoint[:], from[:], housekeepPage)
			if err != nil {
				return sqltext.Wrap("read held deliveries", err)
			}
			more = len(rows) == housekeepPage
			for i := range rows {
				if err := t.expire(&rows[i]); err != nil {
					return err
				}
			}
			if more {
				last = rows[len(rows)-1].Event
			}
			return nil
		})
		if err != nil {
			return err
		}
		from = last
	}
	return nil
}

type heldRow struct {
	hook.Delivery
	heldAt int64
}

func (t *tx) expire(h *heldRow) error {
	if h.heldAt > sqltext.Micros(t.now.Add(-t.s.opts.HeldFor)) {
		return nil
	}
	h.State, h.Reason, h.SettledAt, h.Due, h.Owner = hook.Failed, hook.ReasonHeldExpired, t.now, time.Time{}, 0
	h.Fence++
	t.opened(h.Scope, -1)
	return t.writeDelivery(&h.Delivery)
}
