package store

import (
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// prefetched is what is known of the keys and ids that the writes of a batch bring, read
// for all of them at once where that is worth it.
type prefetched struct {
	known *sqltext.Known // nil: everything is read when it is needed
	// Used by an earlier write of the same transaction: the later one reads for itself.
	usedOnce map[sqltext.OnceKey]bool
	usedIDs  map[sqltext.GivenID]bool
}

// lookup reads what the operations of a batch will ask for.
func (t *tx) lookup(ops []*op) error {
	var keys []sqltext.OnceKey
	var ids []sqltext.GivenID
	for _, o := range ops {
		asks, ok := o.Detail.(*lookups)
		if !ok {
			continue
		}
		if o := asks.once; o != nil {
			keys = append(keys, onceKeyOf(o))
		}
		for i := range asks.events {
			if n := &asks.events[i]; !n.PublicID.IsZero() {
				ids = append(ids, sqltext.GivenID{Scope: n.Scope, ID: n.PublicID})
			}
		}
	}
	if len(keys)+len(ids) == 0 {
		return nil
	}
	known, err := t.c.Lookup(keys, ids)
	t.pre = prefetched{known: known, usedOnce: map[sqltext.OnceKey]bool{}, usedIDs: map[sqltext.GivenID]bool{}}
	return err
}

func onceKeyOf(o *hook.Once) sqltext.OnceKey {
	return sqltext.OnceKey{Scope: o.Scope, Route: o.Route, Key: o.Key}
}

// readOnce returns the row of an idempotency key, nil if it was not used.
func (t *tx) readOnce(o *hook.Once) (*sqltext.OnceRow, error) {
	key := onceKeyOf(o)
	if t.pre.known != nil {
		if r, known := t.pre.known.Once[key]; known && !t.pre.usedOnce[key] {
			t.pre.usedOnce[key] = true
			return r, nil
		}
	}
	r := &sqltext.OnceRow{}
	found, err := t.row("read idempotency key", "SELECT body_hash, status, answer, created_at FROM idempotency"+onceKey,
		[]any{int64(o.Scope.Mode), o.Scope.Tenant, o.Route, o.Key}, &r.Hash, &r.Status, &r.Sealed, &r.Created)
	if !found {
		return nil, err
	}
	return r, err
}

// readEventID returns the row of an id that the platform gave, nil if it was not used.
func (t *tx) readEventID(n *hook.NewEvent) (*sqltext.GivenRow, error) {
	id := sqltext.GivenID{Scope: n.Scope, ID: n.PublicID}
	if t.pre.known != nil {
		if r, known := t.pre.known.IDs[id]; known && !t.pre.usedIDs[id] {
			t.pre.usedIDs[id] = true
			return r, nil
		}
	}
	r := &sqltext.GivenRow{}
	found, err := t.row("read event id", "SELECT event, hash FROM event_ids WHERE mode = ? AND public_id = ? AND tenant = ?",
		[]any{int64(n.Scope.Mode), n.PublicID[:], n.Scope.Tenant}, &r.Event, &r.Hash)
	if !found {
		return nil, err
	}
	return r, err
}
