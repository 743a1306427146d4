package store

import (
	"github.com/posthorn/posthorn/internal/hook"
)

// deliveryColumns are what scanDelivery reads, from deliveries d.
const deliveryColumns = `d.event, d.endpoint, d.id, d.mode, d.tenant, d.type, d.kind, d.profile, d.state, d.reason,
	d.attempts, d.scheduled, d.due, d.last_status, d.last_error, d.created_at, d.settled_at, d.owner, d.fence`

func scanDelivery(row scanner) (hook.Delivery, error) {
	return scanDeliveryAnd(row)
}

// scanDeliveryAnd also reads columns that follow.
func scanDeliveryAnd(row scanner, more ...any) (hook.Delivery, error) {
	var d hook.Delivery
	var due, created, settled int64
	err := row.Scan(append([]any{blob(d.Event[:]), blob(d.Endpoint[:]), blob(d.ID[:]), &d.Scope.Mode, &d.Scope.Tenant,
		&d.EventType, &d.Kind, blob(d.Profile[:]), &d.State, &d.Reason, &d.Attempts, &d.Scheduled, &due, &d.LastStatus, &d.LastError,
		&created, &settled, &d.Owner, &d.Fence}, more...)...)
	d.Due, d.CreatedAt, d.SettledAt = fromMicros(due), fromMicros(created), fromMicros(settled)
	return d, err
}

// blob scans a column of fixed length into the bytes it is given.
type blob []byte

// Scan implements sql.Scanner. NULL leaves zeros.
func (b blob) Scan(value any) error {
	text, _ := value.([]byte)
	copy(b, text)
	return nil
}

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
		int64(d.State), string(d.Reason), int64(d.Attempts), int64(d.Scheduled), micros(d.Due), int64(d.LastStatus), string(d.LastError),
		micros(d.SettledAt), d.Owner, d.Fence, held, micros(t.now), d.Event[:], d.Endpoint[:])
	return err
}

// readDelivery reads a row by its key inside the transaction.
func (t *tx) readDelivery(event, endpoint hook.ID) (hook.Delivery, bool, error) {
	found, err := collect(background, t.q(), scanDelivery,
		"SELECT "+deliveryColumns+" FROM deliveries d WHERE d.event = ? AND d.endpoint = ?{lock}", event[:], endpoint[:])
	if err != nil || len(found) == 0 {
		return hook.Delivery{}, false, wrap("read delivery", err)
	}
	return found[0], true, nil
}

// findDelivery reads a row by its id within a scope; an empty tenant means all of
// the mode. The id leads to the event, so no index of its own is needed.
func (t *tx) findDelivery(scope hook.Scope, id hook.ID) (hook.Delivery, error) {
	found, err := collect(background, t.q(), scanDelivery, findDelivery+"{lock}", findDeliveryArgs(scope, id)...)
	if err != nil {
		return hook.Delivery{}, wrap("find delivery", err)
	}
	if len(found) == 0 {
		return hook.Delivery{}, hook.NotFound("delivery")
	}
	return found[0], nil
}

const findDelivery = "SELECT " + deliveryColumns + ` FROM deliveries d
	WHERE d.event BETWEEN ? AND ? AND d.id = ? AND d.mode = ? AND (? = '' OR d.tenant = ?)`

func findDeliveryArgs(scope hook.Scope, id hook.ID) []any {
	low, high := hook.EventRange(id)
	return []any{low[:], high[:], id[:], scope.Mode, scope.Tenant, scope.Tenant}
}
