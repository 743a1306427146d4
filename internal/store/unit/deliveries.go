package unit

import (
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// ReadDelivery reads a row by its key inside the transaction.
func (t *Tx) ReadDelivery(event, endpoint hook.ID) (hook.Delivery, bool, error) {
	found, err := sqltext.Collect(background, t.Conn, sqltext.ScanDelivery,
		"SELECT "+sqltext.DeliveryColumns+" FROM deliveries d WHERE d.event = ? AND d.endpoint = ?{lock}", event[:], endpoint[:])
	if err != nil || len(found) == 0 {
		return hook.Delivery{}, false, sqltext.Wrap("read delivery", err)
	}
	return found[0], true, nil
}

// ShotRequested reports whether a single shot of a delivery is already requested, and when
// the payload of its event was removed. The delivery's row is locked, so no other node
// requests a single shot or removes the payload at the same time.
func (t *Tx) ShotRequested(d *hook.Delivery) (asked bool, removed time.Time, err error) {
	var shots, at int64
	_, err = t.Row("read single shot", "SELECT (SELECT count(*) FROM oneshots WHERE event = ? AND endpoint = ?), coalesce((SELECT payload_removed_at FROM events WHERE id = ?), 0)",
		[]any{d.Event[:], d.Endpoint[:], d.Event[:]}, &shots, &at)
	return shots > 0, sqltext.FromMicros(at), err
}
