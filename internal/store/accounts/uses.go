package accounts

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/unit"
)

const (
	usesPage   = 64          // keys whose use one operation writes
	usesGather = time.Second // how long uses are collected before they are written
	maxUses    = 10_000      // keys in memory, in each of the two maps
)

// keyUses records the uses of keys, to the minute. A request only notes its key here. The
// store writes the notes a second later, in the background, and each key at most once a
// minute. A use that finds no room is dropped. keyUses is safe for concurrent use.
type keyUses struct {
	mu      sync.RWMutex
	waiting map[hook.ID]time.Time // the minute of the latest use, not written yet
	written map[hook.ID]time.Time // the minute that was written
	wake    chan struct{}
}

func newKeyUses() *keyUses {
	return &keyUses{waiting: map[hook.ID]time.Time{}, written: map[hook.ID]time.Time{}, wake: make(chan struct{}, 1)}
}

// note records a use.
func (u *keyUses) note(id hook.ID, now time.Time) {
	minute := now.Truncate(time.Minute)
	u.mu.RLock()
	known := !u.waiting[id].Before(minute) || !u.written[id].Before(minute)
	u.mu.RUnlock()
	if known {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, there := u.waiting[id]; !there && len(u.waiting) >= maxUses {
		return
	}
	u.waiting[id] = minute
	unit.Wake(u.wake)
}

// take removes and returns some keys with a use to be written, all of one minute, ordered
// by id.
func (u *keyUses) take() (ids []hook.ID, minute time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for id, at := range u.waiting {
		if len(ids) == usesPage {
			break
		}
		if minute.IsZero() {
			minute = at
		}
		if at.Equal(minute) {
			ids = append(ids, id)
			delete(u.waiting, id)
		}
	}
	slices.SortFunc(ids, func(a, b hook.ID) int { return bytes.Compare(a[:], b[:]) })
	return ids, minute
}

// wrote records which uses were written.
func (u *keyUses) wrote(ids []hook.ID, minute time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.written) >= maxUses {
		clear(u.written)
	}
	for _, id := range ids {
		u.written[id] = minute
	}
}

// KeyUsed records that a request came with the key. It neither waits nor fails. The use
// appears in the lists about a second later, unless the process ends before that.
func (s *Accounts) KeyUsed(id hook.ID) { s.uses.note(id, s.core.Now()) }

// writeUses writes the uses of keys until ctx ends. A use that cannot be written is
// dropped; the next request with the key records another.
func (s *Accounts) writeUses(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.uses.wake:
		}
		if sqltext.Pause(ctx, usesGather) != nil {
			return
		}
		for ids, minute := s.uses.take(); len(ids) > 0; ids, minute = s.uses.take() {
			if err := s.writeUsesOf(ctx, ids, minute); err == nil {
				s.uses.wrote(ids, minute)
			}
		}
	}
}

// writeUse has as many placeholders as a page has keys, so that one statement suffices.
var writeUse = "UPDATE keys SET last_used_at = ? WHERE id IN (SELECT id FROM keys WHERE last_used_at < ? AND id IN (?" +
	string(bytes.Repeat([]byte(", ?"), usesPage-1)) + ") ORDER BY id{free})"

func (s *Accounts) writeUsesOf(ctx context.Context, ids []hook.ID, minute time.Time) error {
	at := sqltext.Micros(minute)
	args := []any{at, at}
	for i := range usesPage {
		args = append(args, ids[min(i, len(ids)-1)][:])
	}
	return s.maintain(ctx, "note uses of keys", len(ids), func(t *tx) error {
		_, err := t.Exec("note uses of keys", writeUse, args...)
		return err
	})
}
