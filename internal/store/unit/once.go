package unit

import (
	"crypto/subtle"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/batch"
	"github.com/posthorn/posthorn/internal/store/directory"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// OnceFor is how long the answer to a request with an idempotency key is kept.
const OnceFor = 24 * time.Hour

// Once runs do unless the idempotency key was used before. The second result of do reports
// whether to keep its answer: a request that stored nothing may be retried under the same
// key.
func (t *Tx) Once(o *hook.Once, do func() (result any, keep bool, err error)) (*hook.Replay, error) {
	if o == nil {
		_, _, err := do()
		return nil, err
	}
	place := oncePlace(o)
	known, err := t.readOnce(o)
	if err != nil {
		return nil, err
	}
	if known != nil && known.Created <= sqltext.Micros(t.Now.Add(-OnceFor)) {
		if _, err := t.Exec("forget old answer", "DELETE FROM idempotency"+sqltext.OnceIs, int64(o.Scope.Mode), o.Scope.Tenant, o.Route, o.Key); err != nil {
			return nil, err
		}
		known = nil
	}
	if known != nil {
		if subtle.ConstantTimeCompare(known.Hash, o.BodyHash[:]) != 1 {
			return nil, &hook.Error{Code: hook.CodeIdempotencyReused, Field: "Idempotency-Key",
				Message: "This idempotency key was used before with another request."}
		}
		body, err := t.core.Keys.Open(place, known.Sealed)
		if err != nil {
			return nil, err
		}
		return &hook.Replay{Status: known.Status, Body: body}, nil
	}
	result, keep, err := do()
	if err != nil || !keep {
		return nil, err
	}
	status, body := o.Answer(result)
	sealed, err := t.core.Keys.Seal(place, body)
	if err != nil {
		return nil, err
	}
	return nil, t.Insert("keep answer", sqltext.Answers,
		int64(o.Scope.Mode), o.Scope.Tenant, o.Route, o.Key, o.BodyHash[:], int64(status), sealed, sqltext.Micros(t.Now))
}

// oncePlace returns the associated data with which an answer is sealed.
func oncePlace(o *hook.Once) []byte { return directory.AnswerPlace(o.Scope, o.Route, o.Key) }

// prefetched holds the rows of the keys and ids in the operations of a batch, read before
// the first of them.
type prefetched struct {
	known *sqltext.Known // nil: each row is read when it is needed
	// Keys and ids that an operation of the transaction has used. Their rows may have changed
	// since, so later operations read them again.
	usedOnce map[sqltext.OnceKey]bool
	usedIDs  map[sqltext.GivenID]bool
}

// LookUp reads the rows that the operations of a batch will look up.
func LookUp[T batch.Tx](t *Tx, ops []*batch.Op[T]) error {
	var keys []sqltext.OnceKey
	var ids []sqltext.GivenID
	for _, o := range ops {
		asks, ok := o.Detail.(*Lookups)
		if !ok {
			continue
		}
		if o := asks.Once; o != nil {
			keys = append(keys, onceKeyOf(o))
		}
		for i := range asks.Events {
			if n := &asks.Events[i]; !n.PublicID.IsZero() {
				ids = append(ids, sqltext.GivenID{Scope: n.Scope, ID: n.PublicID})
			}
		}
	}
	if len(keys)+len(ids) == 0 {
		return nil
	}
	known, err := t.Conn.Lookup(keys, ids)
	t.prefetched = prefetched{known: known, usedOnce: map[sqltext.OnceKey]bool{}, usedIDs: map[sqltext.GivenID]bool{}}
	return err
}

func onceKeyOf(o *hook.Once) sqltext.OnceKey {
	return sqltext.OnceKey{Scope: o.Scope, Route: o.Route, Key: o.Key}
}

// readOnce returns the row of an idempotency key, nil if it was not used.
func (t *Tx) readOnce(o *hook.Once) (*sqltext.OnceRow, error) {
	key := onceKeyOf(o)
	if t.prefetched.known != nil {
		if r, known := t.prefetched.known.Once[key]; known && !t.prefetched.usedOnce[key] {
			t.prefetched.usedOnce[key] = true
			return r, nil
		}
	}
	r := &sqltext.OnceRow{}
	found, err := t.Row("read idempotency key", sqltext.FindOnce,
		[]any{int64(o.Scope.Mode), o.Scope.Tenant, o.Route, o.Key}, &r.Hash, &r.Status, &r.Sealed, &r.Created)
	if !found {
		return nil, err
	}
	return r, err
}

// ReadEventID returns the row of an id that the platform assigned, nil if it was not used.
func (t *Tx) ReadEventID(n *hook.NewEvent) (*sqltext.GivenRow, error) {
	id := sqltext.GivenID{Scope: n.Scope, ID: n.PublicID}
	if t.prefetched.known != nil {
		if r, known := t.prefetched.known.IDs[id]; known && !t.prefetched.usedIDs[id] {
			t.prefetched.usedIDs[id] = true
			return r, nil
		}
	}
	r := &sqltext.GivenRow{}
	found, err := t.Row("read event id", sqltext.FindGiven,
		[]any{int64(n.Scope.Mode), n.PublicID[:], n.Scope.Tenant}, &r.Event, &r.Hash)
	if !found {
		return nil, err
	}
	return r, err
}
