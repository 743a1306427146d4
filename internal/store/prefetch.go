package store

import (
	"github.com/posthorn/posthorn/internal/hook"
)

// prefetched is what is known of the keys and ids that the writes of a batch bring,
// read for all of them at once. On SQLite a lookup costs nothing, so there is none.
type prefetched struct {
	once map[onceID]*onceRow // of every key asked for; nil: not used before
	ids  map[eventID]*eventRow
	// Used by an earlier write of the same transaction: the later one reads for itself.
	usedOnce map[onceID]bool
	usedIDs  map[eventID]bool
}

type onceID struct {
	scope      hook.Scope
	route, key string
}

type onceRow struct {
	hash, sealed []byte
	status       int
	created      int64
}

type eventID struct {
	scope hook.Scope
	id    hook.ID
}

type eventRow struct{ event, hash []byte }

func (o *op) onceID() onceID { return onceID{o.once.Scope, o.once.Route, o.once.Key} }

const (
	onceOf = `SELECT i.mode, i.tenant, i.route, i.key, i.body_hash, i.status, i.answer, i.created_at
		FROM unnest(?::int8[], ?::text[], ?::text[], ?::text[]) AS w(mode, tenant, route, key)
		JOIN idempotency i ON i.mode = w.mode AND i.tenant = w.tenant AND i.route = w.route AND i.key = w.key`
	eventsOf = `SELECT e.mode, e.public_id, e.tenant, e.event, e.hash FROM unnest(?::int8[], ?::bytea[], ?::text[]) AS w(mode, public_id, tenant)
		JOIN event_ids e ON e.mode = w.mode AND e.public_id = w.public_id AND e.tenant = w.tenant`
)

// prefetch reads outside the transaction: what it finds stays, and what it does not
// find and is there by then, the unique index finds.
func (t *tx) prefetch(lane *pg, batch []*op) error {
	var modes, idModes []int64
	var tenants, routes, keys, idTenants []string
	var ids [][]byte
	p := &prefetched{once: map[onceID]*onceRow{}, ids: map[eventID]*eventRow{}, usedOnce: map[onceID]bool{}, usedIDs: map[eventID]bool{}}
	for _, o := range batch {
		if o.once != nil {
			id := o.onceID()
			p.once[id] = nil
			modes, tenants = append(modes, int64(id.scope.Mode)), append(tenants, id.scope.Tenant)
			routes, keys = append(routes, id.route), append(keys, id.key)
		}
		for i := range o.events {
			if n := &o.events[i]; !n.PublicID.IsZero() {
				p.ids[eventID{n.Scope, n.PublicID}] = nil
				idModes, ids, idTenants = append(idModes, int64(n.Scope.Mode)), append(ids, n.PublicID[:]), append(idTenants, n.Scope.Tenant)
			}
		}
	}
	t.pre = p
	q := lane.outside()
	if len(keys) > 0 {
		_, err := collect(background, q, func(row scanner) (none struct{}, err error) {
			var id onceID
			r := &onceRow{}
			err = row.Scan(&id.scope.Mode, &id.scope.Tenant, &id.route, &id.key, &r.hash, &r.status, &r.sealed, &r.created)
			p.once[id] = r
			return none, err
		}, onceOf, modes, tenants, routes, keys)
		if err != nil {
			return wrap("read idempotency keys", err)
		}
	}
	if len(ids) > 0 {
		_, err := collect(background, q, func(row scanner) (none struct{}, err error) {
			var id eventID
			r := &eventRow{}
			err = row.Scan(&id.scope.Mode, blob(id.id[:]), &id.scope.Tenant, &r.event, &r.hash)
			p.ids[id] = r
			return none, err
		}, eventsOf, idModes, ids, idTenants)
		if err != nil {
			return wrap("read event ids", err)
		}
	}
	return nil
}

// readOnce returns the row of an idempotency key, nil if it was not used.
func (t *tx) readOnce(o *hook.Once) (*onceRow, error) {
	id := onceID{o.Scope, o.Route, o.Key}
	if t.pre != nil {
		if r, known := t.pre.once[id]; known && !t.pre.usedOnce[id] {
			t.pre.usedOnce[id] = true
			return r, nil
		}
	}
	r := &onceRow{}
	found, err := t.row("read idempotency key", "SELECT body_hash, status, answer, created_at FROM idempotency"+onceKey,
		[]any{int64(o.Scope.Mode), o.Scope.Tenant, o.Route, o.Key}, &r.hash, &r.status, &r.sealed, &r.created)
	if !found {
		return nil, err
	}
	return r, err
}

// readEventID returns the row of an id that the platform gave, nil if it was not used.
func (t *tx) readEventID(n *hook.NewEvent) (*eventRow, error) {
	id := eventID{n.Scope, n.PublicID}
	if t.pre != nil {
		if r, known := t.pre.ids[id]; known && !t.pre.usedIDs[id] {
			t.pre.usedIDs[id] = true
			return r, nil
		}
	}
	r := &eventRow{}
	found, err := t.row("read event id", "SELECT event, hash FROM event_ids WHERE mode = ? AND public_id = ? AND tenant = ?",
		[]any{int64(n.Scope.Mode), n.PublicID[:], n.Scope.Tenant}, &r.event, &r.hash)
	if !found {
		return nil, err
	}
	return r, err
}
