package store

import (
	"crypto/subtle"
	"encoding/binary"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// onceFor is how long an answer is kept for a repeated request.
const onceFor = 24 * time.Hour

const onceKey = " WHERE mode = ? AND tenant = ? AND route = ? AND key = ?"

// once runs do unless its key was used before. do says with its second result
// whether its answer is worth keeping: a request that stored nothing may be tried
// again under the same key.
func (t *tx) once(o *hook.Once, do func() (result any, keep bool, err error)) (*hook.Replay, error) {
	if o == nil {
		_, _, err := do()
		return nil, err
	}
	place := oncePlace(o)
	known, err := t.readOnce(o)
	if err != nil {
		return nil, err
	}
	if known != nil && known.Created <= sqltext.Micros(t.now.Add(-onceFor)) {
		if _, err := t.exec("forget old answer", "DELETE FROM idempotency"+onceKey, int64(o.Scope.Mode), o.Scope.Tenant, o.Route, o.Key); err != nil {
			return nil, err
		}
		known = nil
	}
	if known != nil {
		if subtle.ConstantTimeCompare(known.Hash, o.BodyHash[:]) != 1 {
			return nil, &hook.Error{Code: hook.CodeIdempotencyReused, Field: "Idempotency-Key",
				Message: "This idempotency key was used before with another request."}
		}
		body, err := t.s.keys.Open(place, known.Sealed)
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
	sealed, err := t.s.keys.Seal(place, body)
	if err != nil {
		return nil, err
	}
	return nil, t.insert("keep answer", sqltext.Answers,
		int64(o.Scope.Mode), o.Scope.Tenant, o.Route, o.Key, o.BodyHash[:], int64(status), sealed, sqltext.Micros(t.now))
}

// oncePlace and its siblings name a place for the seal. Lengths keep the parts
// apart.
func oncePlace(o *hook.Once) []byte { return place("answer", o.Scope, o.Route, o.Key) }

func place(what string, scope hook.Scope, parts ...string) []byte {
	b := append([]byte(what), 0, byte(scope.Mode))
	for _, p := range append([]string{scope.Tenant}, parts...) {
		b = binary.AppendUvarint(b, uint64(len(p)))
		b = append(b, p...)
	}
	return b
}
