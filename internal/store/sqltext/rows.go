package sqltext

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// DeliveryColumns are the columns that ScanDelivery reads, from deliveries d.
const DeliveryColumns = `d.event, d.endpoint, d.id, d.mode, d.tenant, d.type, d.kind, d.profile, d.state, d.reason,
	d.attempts, d.scheduled, d.due, d.last_status, d.last_error, d.created_at, d.settled_at, d.owner, d.fence`

// ScanDelivery reads a delivery.
func ScanDelivery(row Scanner) (hook.Delivery, error) {
	return ScanDeliveryAnd(row)
}

// ScanDeliveryAnd reads a delivery and the columns that follow.
func ScanDeliveryAnd(row Scanner, more ...any) (hook.Delivery, error) {
	var d hook.Delivery
	var due, created, settled int64
	err := row.Scan(append([]any{Blob(d.Event[:]), Blob(d.Endpoint[:]), Blob(d.ID[:]), &d.Scope.Mode, &d.Scope.Tenant,
		&d.EventType, &d.Kind, Blob(d.Profile[:]), &d.State, &d.Reason, &d.Attempts, &d.Scheduled, &due, &d.LastStatus, &d.LastError,
		&created, &settled, &d.Owner, &d.Fence}, more...)...)
	d.Due, d.CreatedAt, d.SettledAt = FromMicros(due), FromMicros(created), FromMicros(settled)
	return d, err
}

// FindDelivery finds a delivery by its id within a scope. An empty tenant means all of the
// mode. The id determines the range of its event's id, so it needs no index.
const FindDelivery = "SELECT " + DeliveryColumns + ` FROM deliveries d
	WHERE d.event BETWEEN ? AND ? AND d.id = ? AND d.mode = ? AND (? = '' OR d.tenant = ?) AND ` + DeliveryShown

// EventShown and DeliveryShown are true for a row of events e and of deliveries d whose
// tenant is not deleted. The data of a deleted tenant is never shown. They are not written
// with NOT EXISTS: PostgreSQL would join the tenants, expect that nearly no row remains, and
// sort a whole list for its first page.
const (
	EventShown    = "coalesce((SELECT gone.deleted_at FROM tenants gone WHERE gone.id = e.tenant), 0) < 1"
	DeliveryShown = "coalesce((SELECT gone.deleted_at FROM tenants gone WHERE gone.id = d.tenant), 0) < 1"
)

// FindDeliveryArgs are the arguments of FindDelivery.
func FindDeliveryArgs(scope hook.Scope, id hook.ID) []any {
	low, high := hook.EventRange(id)
	return []any{low[:], high[:], id[:], scope.Mode, scope.Tenant, scope.Tenant}
}

// MoveDelivery moves a row that is exactly as its job says. With the insertion of the
// attempt, it is the whole cost of settling on the happy path. The condition state + 0
// makes PostgreSQL find the row by its key. With the index over open work it would search
// for the row among everything that its endpoint has in memory.
const MoveDelivery = `UPDATE deliveries SET state = ?, reason = ?, attempts = ?, scheduled = ?, due = ?, last_status = ?, last_error = ?,
	settled_at = ?, owner = ?
	WHERE event = ? AND endpoint = ? AND fence = ? AND state + 0 = 0 AND attempts = ? AND owner = ?`

// EventColumns are the columns that ScanEvent reads, from events e.
const EventColumns = "e.id, e.mode, e.tenant, e.public_id, e.kind, e.type, coalesce(e.channels, ''), e.created_at, e.accepted_at, e.data, e.checksum, coalesce(e.payload_removed_at, 0), coalesce(e.deliver_at, 0)"

// OnChannel is true for a row of events e that has a channel. Its argument is the channel,
// as hook.Channels.Text returns it.
const OnChannel = "replace(e.channels, ?, '') <> e.channels"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum returns the CRC-32C of data, which is stored with the event.
func Checksum(data []byte) int64 { return int64(crc32.Checksum(data, castagnoli)) }

// ScanEvent reads an event. It returns ErrCorrupt if the data does not match its checksum,
// because a wrong body must never be sent.
func ScanEvent(row Scanner) (*hook.Event, error) {
	return ScanEventAnd(row)
}

// ScanEventAnd is ScanEvent, and reads the columns that follow.
func ScanEventAnd(row Scanner, more ...any) (*hook.Event, error) {
	e := &hook.Event{}
	var channels string
	var created, accepted, checksum, removed, deliver int64
	err := row.Scan(append([]any{Blob(e.ID[:]), &e.Scope.Mode, &e.Scope.Tenant, PublicPlace{&e.PublicID, &e.GivenID}, &e.Kind, &e.Type, &channels, &created, &accepted,
		&e.Data, &checksum, &removed, &deliver}, more...)...)
	if err != nil {
		return nil, err
	}
	if e.PublicID.IsZero() {
		e.PublicID = e.ID
	}
	e.Channels = hook.ParseChannels(channels)
	e.CreatedAt, e.AcceptedAt, e.DeliverAt = FromMicros(created), FromMicros(accepted), FromMicros(deliver)
	if removed != 0 {
		e.Data, e.PayloadRemovedAt = nil, FromMicros(removed)
		return e, nil
	}
	if Checksum(e.Data) != checksum {
		return nil, errors.Join(ErrCorrupt, errors.New("event "+e.ID.String()+" does not match its checksum"))
	}
	return e, nil
}

// ScanAudit reads an entry of the audit log from the columns of Audit.
func ScanAudit(row Scanner) (hook.AuditEntry, error) {
	var e hook.AuditEntry
	var at int64
	err := row.Scan(&e.Chain, &e.Mode, &e.Sequence, Blob(e.ID[:]), &at, &e.Tenant, &e.Actor.Kind, &e.Actor.ID, &e.Actor.Address, &e.Actor.Request,
		&e.Act, &e.Object, &e.ObjectID, &e.Outcome, &e.Detail, Blob(e.Hash[:]))
	e.At = FromMicros(at)
	return e, err
}

// ScanID reads an id.
func ScanID(row Scanner) (hook.ID, error) {
	var id hook.ID
	err := row.Scan(Blob(id[:]))
	return id, err
}

// TenantIs returns the condition on the tenant of the row e, with one argument. It has two
// forms, so that the index on (mode, tenant, id) serves a scope with a tenant.
func TenantIs(scope hook.Scope) string {
	if scope.Tenant == "" {
		return "? = ''"
	}
	return "e.tenant = ?"
}

// FirstID returns the smallest id with a time.
func FirstID(at time.Time) (id hook.ID) {
	ms := uint64(max(at.UnixMilli(), 0))
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	return id
}

// NewestEvent finds the newest event.
const NewestEvent = "SELECT id FROM events ORDER BY id DESC LIMIT 1"

// aheadMost is how far the newest id may be ahead of the clock.
const aheadMost = time.Minute

// ClockWasAhead reports whether the time in the newest event's id shows that the clock was
// ahead. Until that time has come, lists by time take longer.
func ClockWasAhead(newest, now time.Time) bool { return newest.Sub(now) > aheadMost }

// Place returns the associated data that binds a sealed value to a place. Lengths separate
// the parts.
func Place(what string, scope hook.Scope, parts ...string) []byte {
	b := append([]byte(what), 0, byte(scope.Mode))
	for _, p := range append([]string{scope.Tenant}, parts...) {
		b = binary.AppendUvarint(b, uint64(len(p)))
		b = append(b, p...)
	}
	return b
}

// TenantOfEndpoint finds the tenant of an endpoint in a mode.
const TenantOfEndpoint = "SELECT tenant FROM endpoints WHERE id = ? AND mode = ?"

// CountOpen counts the open deliveries and single shots of a scope, by the indexes over
// open work. It includes deleted endpoints whose work is still being cancelled.
const CountOpen = `SELECT coalesce(sum(
	(SELECT count(*) FROM deliveries d WHERE d.state = 0 AND {anybody} AND d.endpoint = e.id) +
	(SELECT count(*) FROM deliveries d WHERE d.state = 1 AND d.endpoint = e.id) +
	(SELECT count(*) FROM oneshots o WHERE o.endpoint = e.id)), 0)
	FROM endpoints e WHERE e.mode = ? AND e.tenant = ? AND (e.status <> 3 OR e.sweep <> '')`

// CountFewOpen is CountOpen that stops counting deliveries, held deliveries and single shots
// at a limit each. Its arguments are those of CountOpen and the limit, three times.
const CountFewOpen = "SELECT " + fewOf + "deliveries d ON d.endpoint = e.id AND d.state = 0 AND {anybody}" + fewEnd + " + " +
	fewOf + "deliveries d ON d.endpoint = e.id AND d.state = 1" + fewEnd + " + " + fewOf + "oneshots o ON o.endpoint = e.id" + fewEnd

const (
	fewOf  = "(SELECT count(*) FROM (SELECT 1 FROM endpoints e {then} "
	fewEnd = " WHERE e.mode = ? AND e.tenant = ? AND (e.status <> 3 OR e.sweep <> '') LIMIT ?))"
)

// Number returns 1 for true and 0 for false.
func Number(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}
