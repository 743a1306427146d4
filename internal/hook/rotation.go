package hook

import (
	"context"
	"time"
)

// States of a MasterKey.
const (
	KeySeals  = "seals"  // it seals what is stored from now on
	KeyNeeded = "needed" // stored values that it sealed are being sealed again
	KeyUnused = "unused" // nothing in the database needs it
)

// MasterKey describes a master key of this process. It contains nothing of the key itself.
type MasterKey struct {
	ID    string // 8 hexadecimal digits
	State string
	// Missing names the other nodes that do not have the key.
	Missing []string
}

// Rotation is the last change of the master key that seals. Values that From sealed are
// sealed again with To.
type Rotation struct {
	From, To  string // ids of keys
	StartedAt time.Time
	EndedAt   time.Time // zero: it is in progress
	Resealed  int64     // values sealed again so far
	Damaged   int64     // values that do not open with any key, counted at the end; they stay as they are
}

// Running reports whether values may be left that need the key From.
func (r *Rotation) Running() bool { return r != nil && r.EndedAt.IsZero() }

// MasterKeys is what callers see of the keyring.
type MasterKeys struct {
	Keys     []MasterKey // oldest first
	Rotation *Rotation   // the last one; nil: none
}

// KeyChange is how a caller's change of the keyring is carried out by the place that stores
// the keys.
type KeyChange interface {
	// Where names the place for messages.
	Where() string
	// Own reports whether the process may change the place itself.
	Own() bool
	// Add adds a new key, Remove removes one.
	Add(ctx context.Context) error
	Remove(ctx context.Context, id string) error
}
