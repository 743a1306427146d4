package store

import (
	"context"
	"fmt"

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
	oldest := sqltext.FirstID(s.now().Add(-s.opts.HeldFor))
	ids, err := sqltext.Collect(ctx, s.read, sqltext.ScanID, endpointsWithOldHeld, hook.Disabled, hook.Tripped, oldest[:])
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

const (
	// endpointsWithOldHeld are those that hold a delivery of an event older than one given.
	endpointsWithOldHeld = `SELECT e.id FROM endpoints e WHERE e.status IN (?, ?)
		AND EXISTS (SELECT 1 FROM deliveries d WHERE d.state = 1 AND d.endpoint = e.id AND d.event < ?)`
	// heldPageEnd is the last event of a page of held deliveries.
	heldPageEnd = `SELECT d.event FROM deliveries d WHERE d.state = 1 AND d.endpoint = ? AND d.event > ? AND d.event < ?
		ORDER BY d.event LIMIT 1 OFFSET ?`
	expireRows = `UPDATE deliveries SET state = 3, reason = ?, due = 0, settled_at = ?, held_at = 0, owner = 0, fence = fence + 1
		WHERE state = 1 AND endpoint = ? AND event > ? AND event <= ? AND held_at <= ? RETURNING event`
)

// expireHeld walks the backlog of one endpoint, oldest event first, a page a write with
// a pause after it. What is held for so long is of an event that is at least as old, so
// the walk ends there: of a backlog that is younger it looks at nothing. When a delivery
// was held does not follow the order of events, so within that it looks at each.
func (s *Store) expireHeld(ctx context.Context, endpoint hook.ID) error {
	var from hook.ID
	for {
		var last hook.ID
		more := false
		err := s.maintain(ctx, "expire held", housekeepPage, func(t *tx) (err error) {
			last, more, err = t.expirePage(endpoint, from)
			return err
		})
		if err != nil || !more {
			return err
		}
		from = last
		if err := sqltext.Pause(ctx, retentionPause); err != nil {
			return err
		}
	}
}

// expirePage ends what is held for too long of the next rows. It returns the last event
// it looked at and whether there may be more behind it.
func (t *tx) expirePage(endpoint, from hook.ID) (last hook.ID, more bool, err error) {
	long := t.now.Add(-t.s.opts.HeldFor)
	last = sqltext.FirstID(long)
	more, err = t.row("read held deliveries", heldPageEnd, []any{endpoint[:], from[:], last[:], housekeepPage - 1}, sqltext.Blob(last[:]))
	if err != nil {
		return last, false, err
	}
	var scope hook.Scope
	if _, err := t.row("read endpoint", "SELECT mode, tenant FROM endpoints WHERE id = ?", []any{endpoint[:]}, &scope.Mode, &scope.Tenant); err != nil {
		return last, false, err
	}
	gone, err := returning(t, sqltext.ScanID, expireRows, string(hook.ReasonHeldExpired), sqltext.Micros(t.now), endpoint[:], from[:], last[:], sqltext.Micros(long))
	t.opened(scope, -len(gone))
	return last, more, sqltext.Wrap("expire held deliveries", err)
}
