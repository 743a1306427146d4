package upkeep

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store/directory"
	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/unit"
)

// Rotation of the master key.
//
// One transaction makes another key the one that seals: it replaces the check value of the
// database, and records that the key before is still needed. The configuration gets a new
// version with it, so no node commits a value that it sealed with the key before (see
// package cluster). Then one process seals every value again, in pages. A page reads and
// seals outside the writer; the writer only replaces values that are still the same. A
// process that dies leaves nothing half done: the next one walks the tables again and skips
// what has the new key. The rotation ends after a walk that finds nothing left. Until then
// a process without the earlier key does not open the database.
//
// The id of the installation stays that of the first key. It is stored when that key stops
// sealing.

const (
	// ResealPage bounds the rows that one operation seals again.
	ResealPage  = 32
	resealBytes = 1 << 20 // an operation ends after this many
)

// KeySource is where the master keys of a process are stored.
type KeySource interface {
	hook.KeyChange
	// Read reads all keys.
	Read(ctx context.Context) (*seal.Keyring, error)
}

// rotations is the state of this process.
type rotations struct {
	changing sync.Mutex // a caller changes the keyring
	walking  sync.Mutex // values are being sealed again
	wake     chan struct{}
	public   string // the id of the installation
}

// beginKeys reads which installation this is.
func (s *Keeper) beginKeys(ctx context.Context) error {
	s.rotations.public = s.core.Keys.Installation()
	var stored []byte
	found, err := sqltext.ReadRow(ctx, s.core.Read, "SELECT value FROM meta WHERE key = 'installation'", nil, &stored)
	if found {
		s.rotations.public = string(stored)
	}
	return sqltext.Wrap("read id of the installation", err)
}

// Installation returns an id of 16 hexadecimal digits that all processes of this database
// share, and that stays the same when the master key changes. It may be shown.
func (s *Keeper) Installation() string { return s.rotations.public }

// rotation reads the last rotation, nil if there is none.
func rotation(ctx context.Context, q sqltext.Querier) (*hook.Rotation, error) {
	var record []byte
	if _, err := sqltext.ReadRow(ctx, q, "SELECT value FROM meta WHERE key = 'master_key_rotation'", nil, &record); err != nil {
		return nil, fmt.Errorf("read rotation: %w", err)
	}
	return seal.ParseRotation(record)
}

func (t *tx) writeRotation(r *hook.Rotation) error {
	return t.setMeta("master_key_rotation", seal.RotationRecord(r))
}

func (t *tx) setMeta(key string, value []byte) error {
	_, err := t.Exec("write "+key, "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", key, value)
	return err
}

// MasterKeys returns the keys of this process and the last rotation.
func (s *Keeper) MasterKeys(ctx context.Context) (hook.MasterKeys, error) {
	r, err := rotation(ctx, s.core.Read)
	if err != nil {
		return hook.MasterKeys{}, s.core.ReadError("read master keys", err)
	}
	out := hook.MasterKeys{Rotation: r}
	current := s.core.Keys.Current().String()
	if r != nil {
		current = r.To // another node may have chosen it a moment ago
	}
	for _, id := range s.core.Keys.IDs() {
		k := hook.MasterKey{ID: id.String(), State: hook.KeyUnused}
		switch {
		case k.ID == current:
			k.State = hook.KeySeals
		case r.Running() && r.From == k.ID:
			k.State = hook.KeyNeeded
		}
		if k.Missing, err = s.core.Peers.Lacking(ctx, s.core.Read, k.ID, false); err != nil {
			return hook.MasterKeys{}, s.core.ReadError("read master keys", err)
		}
		out.Keys = append(out.Keys, k)
	}
	return out, nil
}

// ReadMasterKeys reads the keys of this process again from where they are stored. If one
// that the database needs is missing there, nothing changes and an error says which.
func (s *Keeper) ReadMasterKeys(ctx context.Context) error {
	s.rotations.changing.Lock()
	defer s.rotations.changing.Unlock()
	return s.readMasterKeys(ctx)
}

func (s *Keeper) readMasterKeys(ctx context.Context) error {
	if s.opts.KeySource == nil {
		return errNoKeySource
	}
	fresh, err := s.opts.KeySource.Read(ctx)
	if err != nil {
		return &hook.Error{Code: hook.CodeKeySource, Err: err, Message: "The master keys cannot be read from " + s.opts.KeySource.Where() + ": " + err.Error() + ". Nothing was changed."}
	}
	r, err := rotation(ctx, s.core.Read)
	if err != nil {
		return s.core.ReadError("read rotation", err)
	}
	var needed []seal.KeyID
	if r != nil { // what it made the key that seals, this process may not have learned yet
		needed = appendKey(needed, r.To)
	}
	if r.Running() {
		needed = appendKey(needed, r.From)
	}
	if err := s.core.Keys.Replace(fresh, needed...); err != nil {
		return &hook.Error{Code: hook.CodeKeyNeeded, Err: err, Message: "Not taken from " + s.opts.KeySource.Where() + ": " + err.Error() + ". The keys stay as they were; put that key back before the next start."}
	}
	if err := s.core.Peers.ToldKeys(ctx); err != nil {
		return s.core.ReadError("write master keys", err)
	}
	return nil
}

func appendKey(to []seal.KeyID, text string) []seal.KeyID {
	if id, err := seal.ParseKeyID(text); err == nil {
		to = append(to, id)
	}
	return to
}

var errNoKeySource = &hook.Error{Code: hook.CodeKeySource, Message: "This process does not know where its master keys come from."}

func errRotating(r *hook.Rotation) error {
	return &hook.Error{Code: hook.CodeKeyRotating, Message: fmt.Sprintf("The rotation from key %s to %s is in progress, %d values are sealed again so far. Nothing was changed. Wait until it has ended, then rotate again.", r.From, r.To, r.Resealed)}
}

// RotateMasterKey makes the newest key seal, and starts sealing everything else again. If
// no key is newer, it adds one, if this process owns the place where the keys are and is
// the only one on the database.
func (s *Keeper) RotateMasterKey(ctx context.Context) (hook.Rotation, error) {
	s.rotations.changing.Lock()
	defer s.rotations.changing.Unlock()
	if r, err := rotation(ctx, s.core.Read); err != nil || r.Running() {
		if err != nil {
			return hook.Rotation{}, s.core.ReadError("read rotation", err)
		}
		return hook.Rotation{}, errRotating(r)
	}
	if err := s.readMasterKeys(ctx); err != nil {
		return hook.Rotation{}, err
	}
	if s.core.Keys.Newest() == s.core.Keys.Current() {
		if err := s.addMasterKey(ctx); err != nil {
			return hook.Rotation{}, err
		}
	}
	var out hook.Rotation
	err := s.do(ctx, "rotate master key", 8, func(t *tx) (err error) {
		out, err = t.rotate(s.core.Keys.Newest())
		return err
	})
	return out, err
}

func (s *Keeper) addMasterKey(ctx context.Context) error {
	source := s.opts.KeySource
	how := "add one there as the last line (openssl rand -base64 32), keep the others, let every node read it (SIGHUP, or a restart), then rotate."
	switch {
	case !source.Own():
		return &hook.Error{Code: hook.CodeKeyNotNewer, Message: "No key is newer than " + s.core.Keys.Current().String() + ", which already seals, and this process cannot add one to " + source.Where() + ": " + how}
	case s.core.Peers.Nodes() > 1:
		return &hook.Error{Code: hook.CodeKeyNotNewer, Message: fmt.Sprintf("No key is newer than %s, which already seals, and %d nodes need the next one: %s", s.core.Keys.Current(), s.core.Peers.Nodes(), how)}
	}
	if err := source.Add(ctx); err != nil {
		return &hook.Error{Code: hook.CodeKeySource, Err: err, Message: "A key cannot be added to " + source.Where() + ": " + err.Error() + ". Nothing was changed: " + how}
	}
	return s.readMasterKeys(ctx)
}

// rotate makes a key seal.
func (t *tx) rotate(to seal.KeyID) (hook.Rotation, error) {
	r, err := rotation(background, t.Conn)
	if err != nil {
		return hook.Rotation{}, err
	}
	from := t.s.core.Keys.Current()
	switch {
	case r.Running():
		return hook.Rotation{}, errRotating(r)
	case from == to:
		return hook.Rotation{}, &hook.Error{Code: hook.CodeKeyNotNewer, Message: "Key " + to.String() + " already seals. Nothing was changed."}
	}
	missing, err := t.s.core.Peers.Lacking(background, t.Conn, to.String(), true)
	if err != nil {
		return hook.Rotation{}, err
	}
	if len(missing) > 0 {
		return hook.Rotation{}, &hook.Error{Code: hook.CodeKeyMissing, Message: "These nodes do not have key " + to.String() + " yet: " + strings.Join(missing, ", ") +
			". Nothing was changed. Copy the key to them, below the one that is in use, let them read it (SIGHUP, or a restart), then rotate again."}
	}
	check, err := t.s.core.Keys.SealCheck(to)
	if err != nil {
		return hook.Rotation{}, err
	}
	next := hook.Rotation{From: from.String(), To: to.String(), StartedAt: t.Now}
	if err := errors.Join(t.setMeta("master_key_check", check), t.writeRotation(&next)); err != nil {
		return hook.Rotation{}, err
	}
	if !t.s.core.Directory.Unbound() {
		mark, err := t.s.core.Directory.SealBoundWith(to)
		if err == nil {
			err = t.setMeta("bound_to_urls", mark)
		}
		if err != nil {
			return hook.Rotation{}, err
		}
	}
	if err := t.setMeta("installation", []byte(t.s.Installation())); err != nil {
		return hook.Rotation{}, err
	}
	t.Seals = &to
	t.Config = true
	t.TellNodes(sqltext.ChangedMasterKey, hook.Scope{}, hook.Ref{})
	t.Audited(hook.ActMasterKeyRotated, "master_key", next.To, t.AuditScope(""), "from "+next.From)
	return next, nil
}

// LearnKey makes the key seal that another node chose.
func (d Duties) LearnKey(t *unit.Tx) error {
	s := d.keeper
	var check, record []byte
	if _, err := t.Row("read master key check", sqltext.KeyRecords, nil, &check, &record); err != nil {
		return err
	}
	if err := s.core.Keys.Fit(check, record); err != nil {
		err = fmt.Errorf("%w: another node made it the one that seals: %w", sqltext.ErrMasterKeyMismatch, err)
		if s.opts.Fatal != nil {
			s.opts.Fatal(err)
		}
		return err
	}
	return nil
}

// sealsNow applies the effect of rotate.
func (s *Keeper) sealsNow(id seal.KeyID) {
	if err := s.core.Keys.Use(id); err != nil { // it was there a moment ago
		s.core.Log.Error("use the new master key", "error", err)
		return
	}
	s.core.Log.Warn("another master key seals from now on, and what the one before sealed is sealed again; back up the new key now, and keep the one before for backups that were made until now", "key", id.String())
	s.wakeReseal()
}

func (s *Keeper) wakeReseal() { unit.Wake(s.rotations.wake) }

// watchRotation seals values again, at once after a rotation and after a start, until ctx
// ends.
func (s *Keeper) watchRotation(ctx context.Context) {
	for {
		if err := s.duties().Reseal(ctx); err != nil && ctx.Err() == nil {
			s.core.Log.Error("seal values again with the new master key; it goes on within an hour", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.rotations.wake:
		}
	}
}

// Reseal walks all tables until nothing is left that the earlier key sealed.
func (d Duties) Reseal(ctx context.Context) error {
	s := d.keeper
	s.rotations.walking.Lock()
	defer s.rotations.walking.Unlock()
	for {
		r, err := rotation(ctx, s.core.Read)
		if err != nil || !r.Running() {
			return err
		}
		if r.To != s.core.Keys.Current().String() {
			return nil // another node chose it a moment ago: this one learns of it before its next write
		}
		changed, damaged := 0, int64(0)
		for table := range directory.SealedTables {
			n, bad, err := s.duties().ResealTable(ctx, table)
			if err != nil {
				return err
			}
			changed, damaged = changed+n, damaged+bad
		}
		if changed == 0 {
			return s.endRotation(ctx, damaged)
		}
	}
}

// ResealTable seals the values of a table again, and returns how many it changed and how
// many cannot be opened.
func (d Duties) ResealTable(ctx context.Context, table int) (changed int, damaged int64, err error) {
	s := d.keeper
	for after, more := []any(nil), true; more; {
		page, err := s.core.Directory.Reseal(ctx, s.core.Read, table, after, ResealPage)
		if err != nil {
			return changed, damaged, err
		}
		for some := range chunks(page.Values) {
			if err := s.replaceSealed(ctx, some); err != nil {
				return changed, damaged, err
			}
			if err := sqltext.Pause(ctx, unit.PagePause); err != nil {
				return changed, damaged, err
			}
		}
		if ctx.Err() != nil {
			return changed, damaged, ctx.Err()
		}
		changed, damaged = changed+len(page.Values), damaged+page.Damaged
		after, more = page.After, page.More
	}
	return changed, damaged, nil
}

// chunks divides values by their size.
func chunks(values []directory.Resealed) func(yield func([]directory.Resealed) bool) {
	return func(yield func([]directory.Resealed) bool) {
		for from := 0; from < len(values); {
			to, size := from, 0
			for to < len(values) && (to == from || size < resealBytes) {
				fresh, _ := values[to].Args[0].([]byte)
				to, size = to+1, size+2*len(fresh)
			}
			if !yield(values[from:to]) {
				return
			}
			from = to
		}
	}
}

// replaceSealed writes values that were sealed again. It leaves those that changed since
// they were read: what is stored now was sealed with the new key.
func (s *Keeper) replaceSealed(ctx context.Context, values []directory.Resealed) error {
	return s.maintain(ctx, "seal again", len(values)+1, func(t *tx) error {
		r, err := rotation(background, t.Conn)
		if err != nil || !r.Running() {
			return err
		}
		for _, v := range values {
			n, err := t.Exec("seal again", v.Update, v.Args...)
			if err != nil {
				return err
			}
			r.Resealed += n
		}
		return t.writeRotation(r)
	})
}

// endRotation records that nothing needs the earlier key any more.
func (s *Keeper) endRotation(ctx context.Context, damaged int64) error {
	var ended *hook.Rotation
	err := s.maintain(ctx, "end rotation", 1, func(t *tx) error {
		r, err := rotation(background, t.Conn)
		if err != nil || !r.Running() {
			return err
		}
		r.EndedAt, r.Damaged = t.Now, damaged
		ended = r
		return t.writeRotation(r)
	})
	if err == nil && ended != nil {
		s.core.Log.Warn("everything is sealed with the new master key; the database no longer needs the one before, backups that were made until now do", "key", ended.To, "before", ended.From, "resealed", ended.Resealed, "damaged", damaged)
	}
	return err
}

// DropMasterKey removes a key that nothing in the database needs from where this process
// stores its keys.
func (s *Keeper) DropMasterKey(ctx context.Context, id string) error {
	s.rotations.changing.Lock()
	defer s.rotations.changing.Unlock()
	keys, err := s.MasterKeys(ctx)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(keys.Keys, func(k hook.MasterKey) bool { return k.ID == id })
	switch source := s.opts.KeySource; {
	case at < 0:
		return &hook.Error{Code: hook.CodeNotFound, Message: "This process has no master key with this id."}
	case keys.Keys[at].State == hook.KeySeals:
		return &hook.Error{Code: hook.CodeKeyNeeded, Message: "Key " + id + " seals. Rotate first."}
	case keys.Keys[at].State == hook.KeyNeeded:
		return &hook.Error{Code: hook.CodeKeyNeeded, Message: fmt.Sprintf("Stored values need key %s until the rotation has ended; %d are sealed again so far. Nothing was changed.", id, keys.Rotation.Resealed)}
	case source == nil:
		return errNoKeySource
	case !source.Own():
		return &hook.Error{Code: hook.CodeKeySource, Message: "Nothing in the database needs key " + id + ", but this process cannot remove it from " + source.Where() + ". Remove it there, then send SIGHUP or restart."}
	default:
		if err := source.Remove(ctx, id); err != nil {
			return &hook.Error{Code: hook.CodeKeySource, Err: err, Message: "The key cannot be removed from " + source.Where() + ": " + err.Error()}
		}
	}
	if err := s.readMasterKeys(ctx); err != nil {
		return err
	}
	return s.do(ctx, "drop master key", 1, func(t *tx) error {
		t.Audited(hook.ActMasterKeyDropped, "master_key", id, t.AuditScope(""))
		return nil
	})
}
