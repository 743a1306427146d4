package transfer_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/store/storetest"
	"github.com/posthorn/posthorn/internal/store/transfer"
)

// missingIn returns how many of the events are missing from the database in the directory.
func missingIn(t *testing.T, dir string, events []hook.ID) (missing int) {
	t.Helper()
	s := storetest.Open(t, store.Options{Dir: dir, Reserve: -1})
	defer func() { _ = s.Close() }()
	for _, id := range events {
		if _, err := s.Event(t.Context(), live, id); err != nil {
			missing++
		}
	}
	return missing
}

// A backup made while others publish can be restored and contains everything that was
// acknowledged before it started.
func TestBackupUnderLoad(t *testing.T) {
	dir := t.TempDir()
	s := storetest.Open(t, store.Options{Dir: dir, Reserve: -1})
	var mu sync.Mutex
	var acked []hook.ID
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range 3 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				id, err := s.PublishBytes(500)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acked = append(acked, id)
				mu.Unlock()
			}
		})
	}
	before := func() []hook.ID {
		for {
			mu.Lock()
			n, all := len(acked), acked[:len(acked):len(acked)]
			mu.Unlock()
			if n >= 50 {
				return all
			}
			<-time.After(time.Millisecond)
		}
	}
	source := filepath.Join(dir, "posthorn.db")
	for range 3 {
		want := before()
		at := time.Now()
		file := filepath.Join(t.TempDir(), "b.db")
		c, err := transfer.Backup(t.Context(), source, file, storetest.Keyring(t, 7), at)
		if err != nil {
			t.Fatal(err)
		}
		if c.Events < int64(len(want)) || !c.KeyChecked || c.At.UnixMicro() != at.UnixMicro() || c.Tenants != 1 || c.Endpoints != 1 {
			t.Errorf("%d events were acknowledged before; the backup says %+v", len(want), c)
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the mode of the backup is %v: %v", info.Mode(), err)
		}
		to := filepath.Join(t.TempDir(), "data", "posthorn.db")
		if _, err := transfer.Restore(t.Context(), file, to, storetest.Keyring(t, 7), false, at); err != nil {
			t.Fatal(err)
		}
		if n := missingIn(t, filepath.Dir(to), want); n > 0 {
			t.Errorf("%d of %d acknowledged events are not in the backup", n, len(want))
		}
	}
	want := before()
	plain := t.TempDir()
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(plain, "posthorn.db"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	close(stop)
	load.Wait()
	if n := missingIn(t, plain, want); n == 0 {
		t.Error("control: a plain copy of the file has every event too; the test shows nothing")
	}
}

// Restore keeps the previous store under another name, with its log.
func TestRestoreKeepsWhatWasThere(t *testing.T) {
	dir := t.TempDir()
	s := storetest.Open(t, store.Options{Dir: dir, Reserve: -1})
	first, err := s.PublishBytes(10)
	if err != nil {
		t.Fatal(err)
	}
	file, db := filepath.Join(t.TempDir(), "b.db"), filepath.Join(dir, "posthorn.db")
	if _, err := transfer.Backup(t.Context(), db, file, storetest.Keyring(t, 7), time.Now()); err != nil {
		t.Fatal(err)
	}
	later, err := s.PublishBytes(10)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := transfer.Restore(t.Context(), file, db, storetest.Keyring(t, 7), true, time.Now()); !errors.Is(err, store.ErrLocked) {
		t.Errorf("while a server works on it: %v", err)
	}
	_ = s.Close()
	if _, err := transfer.Restore(t.Context(), file, db, storetest.Keyring(t, 7), false, time.Now()); !errors.Is(err, transfer.ErrOccupied) {
		t.Errorf("over a store: %v", err)
	}
	r, err := transfer.Restore(t.Context(), file, db, storetest.Keyring(t, 7), true, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if n := missingIn(t, dir, []hook.ID{first}); n != 0 {
		t.Error("the event in the backup is not there")
	}
	if n := missingIn(t, dir, []hook.ID{later}); n != 1 {
		t.Error("an event from after the backup is there")
	}
	aside := t.TempDir()
	if err := os.Rename(r.Aside, filepath.Join(aside, "posthorn.db")); err != nil {
		t.Fatal(err)
	}
	if n := missingIn(t, aside, []hook.ID{first, later}); n != 0 {
		t.Errorf("%d events are missing in the store that was put aside", n)
	}
}

// An invalid backup is refused, and nothing is changed or left behind.
func TestBadBackups(t *testing.T) {
	dir := t.TempDir()
	s := storetest.Open(t, store.Options{Dir: dir, Reserve: -1})
	for range 40 {
		if _, err := s.PublishBytes(2000); err != nil {
			t.Fatal(err)
		}
	}
	good, db := filepath.Join(t.TempDir(), "b.db"), filepath.Join(dir, "posthorn.db")
	if _, err := transfer.Backup(t.Context(), db, good, storetest.Keyring(t, 7), time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := transfer.Backup(t.Context(), db, good, storetest.Keyring(t, 7), time.Now()); !errors.Is(err, transfer.ErrExists) {
		t.Errorf("onto a file that exists: %v", err)
	}
	if _, err := transfer.Backup(t.Context(), db, good+"2", storetest.Keyring(t, 8), time.Now()); !errors.Is(err, store.ErrMasterKeyMismatch) {
		t.Errorf("with another master key: %v", err)
	}
	if _, err := os.Stat(good + "2"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a backup that was refused is there: %v", err)
	}
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	spoiled := bytes.Clone(text)
	for i := len(text) / 2; i < len(text)/2+8192; i++ {
		spoiled[i] ^= 0x55
	}
	for name, c := range map[string]struct {
		text []byte
		want error
	}{
		"cut short":       {text[:len(text)*2/3], store.ErrCorrupt},
		"a spoiled page":  {spoiled, store.ErrCorrupt},
		"not a database":  {[]byte("this is text, and long enough to be looked at"), store.ErrCorrupt},
		"an empty file":   {nil, transfer.ErrNoStore},
		"control: a good": {text, nil},
	} {
		file := filepath.Join(t.TempDir(), "bad.db")
		if err := os.WriteFile(file, c.text, 0o600); err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(t.TempDir(), "posthorn.db")
		_, err := transfer.Restore(t.Context(), file, to, storetest.Keyring(t, 7), false, time.Now())
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if _, err := os.Stat(to); (err == nil) != (c.want == nil) {
			t.Errorf("%s: the store is there: %v", name, err)
		}
	}
}
