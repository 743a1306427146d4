package store

import (
	"context"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/unit"
)

const (
	// endpointsWithOldHeld finds endpoints with a held delivery of an event below a bound.
	endpointsWithOldHeld = `SELECT e.id FROM endpoints e WHERE e.status IN (?, ?)
		AND EXISTS (SELECT 1 FROM deliveries d WHERE d.state = 1 AND d.endpoint = e.id AND d.event < ?)`
	// heldPageEnd finds the last event of a page of held deliveries.
	heldPageEnd = `SELECT d.event FROM deliveries d WHERE d.state = 1 AND d.endpoint = ? AND d.event > ? AND d.event < ?
		ORDER BY d.event LIMIT 1 OFFSET ?`
	expireRows = `UPDATE deliveries SET state = 3, reason = ?, due = 0, settled_at = ?, held_at = 0, owner = 0, fence = fence + 1
		WHERE state = 1 AND endpoint = ? AND event > ? AND event <= ? AND held_at <= ? RETURNING event`
)

// expireOldHeld fails deliveries that were held for longer than Options.HeldFor, with the
// reason held_expired. Only endpoints that are not enabled have held deliveries, except for
// those that a sweep is about to release.
func (s *Store) expireOldHeld(ctx context.Context) error {
	oldest := sqltext.FirstID(s.core.Now().Add(-s.opts.HeldFor))
	ids, err := sqltext.Collect(ctx, s.core.Read, sqltext.ScanID, endpointsWithOldHeld, hook.Disabled, hook.Tripped, oldest[:])
	if err != nil {
		return s.core.ReadError("list disabled endpoints", err)
	}
	for _, id := range ids {
		if err := s.expireHeld(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// expireHeld walks the held deliveries of an endpoint, oldest event first. Each page is an
// operation, with a pause after it. A delivery held for HeldFor has an event at least as
// old, so the walk ends at the events of that time. Deliveries may become held in another
// order than their events, so the walk checks each row before that.
func (s *Store) expireHeld(ctx context.Context, endpoint hook.ID) error {
	var from hook.ID
	for {
		var last hook.ID
		more := false
		err := s.maintain(ctx, "expire held", unit.HousekeepPage, func(t *tx) (err error) {
			last, more, err = t.expirePage(endpoint, from)
			return err
		})
		if err != nil || !more {
			return err
		}
		from = last
		if err := sqltext.Pause(ctx, unit.PagePause); err != nil {
			return err
		}
	}
}

// expirePage fails those of the next rows that have been held too long. It returns the
// last event of the page and whether there may be more after it.
func (t *tx) expirePage(endpoint, from hook.ID) (last hook.ID, more bool, err error) {
	long := t.Now.Add(-t.s.opts.HeldFor)
	last = sqltext.FirstID(long)
	more, err = t.Row("read held deliveries", heldPageEnd, []any{endpoint[:], from[:], last[:], unit.HousekeepPage - 1}, sqltext.Blob(last[:]))
	if err != nil {
		return last, false, err
	}
	var scope hook.Scope
	if _, err := t.Row("read endpoint", "SELECT mode, tenant FROM endpoints WHERE id = ?", []any{endpoint[:]}, &scope.Mode, &scope.Tenant); err != nil {
		return last, false, err
	}
	gone, err := unit.Returning(t.Tx, sqltext.ScanID, expireRows, string(hook.ReasonHeldExpired), sqltext.Micros(t.Now), endpoint[:], from[:], last[:], sqltext.Micros(long))
	t.AddOpen(scope, -len(gone))
	if len(gone) > 0 {
		t.Note(unit.Sample{Subject: sqltext.Subject{Scope: scope, Endpoint: endpoint}, GivenUp: int64(len(gone))})
		if err := t.s.alerts.Expired(t.Tx, scope, endpoint, len(gone)); err != nil {
			return last, false, err
		}
	}
	return last, more, sqltext.Wrap("expire held deliveries", err)
}
