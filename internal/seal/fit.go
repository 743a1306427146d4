package seal

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// A store keeps two records of its master keys: a check value, sealed with the key that
// seals, and the last rotation. While a rotation is in progress, a store also needs the key
// that sealed before.

// check is the plaintext of the check value.
var check, checkPlace = []byte("ok"), []byte("posthorn master key check")

// KeyError says which master key is missing.
type KeyError struct {
	Text string // such as "key 1a2b3c4d is missing (found: 5e6f7a8b)"
	Err  error
}

// Error returns the text.
func (e *KeyError) Error() string { return e.Text }

// Unwrap returns ErrOtherKey or ErrDamaged.
func (e *KeyError) Unwrap() error { return e.Err }

// Why returns which key is missing if err says so, in parentheses after a space, or "".
func Why(err error) string {
	if e, ok := errors.AsType[*KeyError](err); ok {
		return " (" + e.Text + ")"
	}
	return ""
}

// SealCheck returns a check value, sealed with a key of the keyring.
func (k *Keyring) SealCheck(with KeyID) ([]byte, error) { return k.SealWith(with, checkPlace, check) }

// Fit makes the key that sealed the check value seal from now on. It returns an error,
// which usually wraps ErrOtherKey or ErrDamaged, if that key or one that the rotation still
// needs is missing. An empty record means that the store has none.
func (k *Keyring) Fit(checked, rotation []byte) error {
	got, err := k.Open(checkPlace, checked)
	if id, ok := KeyOf(checked); ok && err != nil && !k.Has(id) {
		return &KeyError{Text: k.lacks(id), Err: err}
	}
	if err != nil || !bytes.Equal(got, check) {
		return fmt.Errorf("the check value does not open: %w", ErrDamaged)
	}
	r, err := ParseRotation(rotation)
	if err != nil {
		return err
	}
	if r.Running() {
		from, err := ParseKeyID(r.From)
		if err != nil {
			return err
		}
		if !k.Has(from) {
			return &KeyError{Text: k.lacks(from) + "; the rotation to key " + r.To + " has not ended, so some values still need it", Err: ErrOtherKey}
		}
	}
	id, _ := KeyOf(checked)
	return k.Use(id)
}

// ParseKeyID parses 8 hexadecimal digits.
func ParseKeyID(text string) (id KeyID, err error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != idSize {
		return id, fmt.Errorf("%q is not the id of a master key: 8 hexadecimal digits", text)
	}
	return KeyID(b), nil
}

// rotation is the record of a rotation. Its names are stored.
type rotation struct {
	From     string `json:"from"`
	To       string `json:"to"`
	Started  int64  `json:"started_at"` // unix microseconds
	Ended    int64  `json:"ended_at"`   // 0: in progress
	Resealed int64  `json:"resealed"`
	Damaged  int64  `json:"damaged"`
}

// ParseRotation returns the rotation of a record, nil if the record is empty.
func ParseRotation(record []byte) (*hook.Rotation, error) {
	if len(record) == 0 {
		return nil, nil
	}
	var r rotation
	if err := json.Unmarshal(record, &r); err != nil {
		return nil, fmt.Errorf("read the record of the rotation of the master key: %w", err)
	}
	out := &hook.Rotation{From: r.From, To: r.To, StartedAt: time.UnixMicro(r.Started).UTC(), Resealed: r.Resealed, Damaged: r.Damaged}
	if r.Ended != 0 {
		out.EndedAt = time.UnixMicro(r.Ended).UTC()
	}
	return out, nil
}

// RotationRecord returns the record of a rotation.
func RotationRecord(of *hook.Rotation) []byte {
	r := rotation{From: of.From, To: of.To, Started: of.StartedAt.UnixMicro(), Resealed: of.Resealed, Damaged: of.Damaged}
	if !of.EndedAt.IsZero() {
		r.Ended = of.EndedAt.UnixMicro()
	}
	record, _ := json.Marshal(r) // texts and numbers always encode
	return record
}
