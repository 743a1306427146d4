package store

import (
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// writeDelivery stores what a transition may change. Held says since when; a
// fence that differs from before takes the row away from its holder.
func (t *tx) writeDelivery(d *hook.Delivery) error {
	held := int64(0)
	if d.State == hook.Held {
		held = 1
	}
	_, err := t.exec("update delivery", `UPDATE deliveries SET state = ?, reason = ?, attempts = ?, scheduled = ?, due = ?, last_status = ?,
		last_error = ?, settled_at = ?, owner = ?, fence = ?, held_at = CASE WHEN ? = 0 THEN 0 WHEN held_at > 0 THEN held_at ELSE ? END
		WHERE event = ? AND endpoint = ?`,
		int64(d.State), string(d.Reason), int64(d.Attempts), int64(d.Scheduled), sqltext.Micros(d.Due), int64(d.LastStatus), string(d.LastError),
		sqltext.Micros(d.SettledAt), d.Owner, d.Fence, held, sqltext.Micros(t.now), d.Event[:], d.Endpoint[:])
	return err
}

// readDelivery reads a row by its key inside the transaction.
func (t *tx) readDelivery(event, endpoint hook.ID) (hook.Delivery, bool, error) {
	found, err := sqltext.Collect(background, t.c, sqltext.ScanDelivery,
		"SELECT "+sqltext.DeliveryColumns+" FROM deliveries d WHERE d.event = ? AND d.endpoint = ?{lock}", event[:], endpoint[:])
	if err != nil || len(found) == 0 {
		return hook.Delivery{}, false, sqltext.Wrap("read delivery", err)
	}
	return found[0], true, nil
}

// findDelivery reads a row by its id within a scope; an empty tenant means all of
// the mode. The id leads to the event, so no index of its own is needed.
func (t *tx) findDelivery(scope hook.Scope, id hook.ID) (hook.Delivery, error) {
	found, err := sqltext.Collect(background, t.c, sqltext.ScanDelivery, sqltext.FindDelivery+"{lock}", sqltext.FindDeliveryArgs(scope, id)...)
	if err != nil {
		return hook.Delivery{}, sqltext.Wrap("find delivery", err)
	}
	if len(found) == 0 {
		return hook.Delivery{}, hook.NotFound("delivery")
	}
	return found[0], nil
}
