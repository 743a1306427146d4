package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/store/storetest"
)

func profileOf(*hook.Endpoint) hook.ProfileHash { return hook.ProfileHash{1} }

func TestSecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	first := storetest.Open(t, store.Options{Dir: dir})
	_, err := store.Open(t.Context(), store.Options{Dir: dir, Keys: storetest.Keyring(t, 7)})
	if !errors.Is(err, store.ErrLocked) {
		t.Fatalf("got %v, want ErrLocked", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	storetest.Open(t, store.Options{Dir: dir})
}

func TestWrongMasterKeyIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := storetest.Open(t, store.Options{Dir: dir}).Close(); err != nil {
		t.Fatal(err)
	}
	_, err := store.Open(t.Context(), store.Options{Dir: dir, Keys: storetest.Keyring(t, 8)})
	if !errors.Is(err, store.ErrMasterKeyMismatch) {
		t.Fatalf("got %v, want ErrMasterKeyMismatch", err)
	}
	storetest.Open(t, store.Options{Dir: dir})
}

func TestNewerSchemaIsRefusedUntouched(t *testing.T) {
	dir := t.TempDir()
	if err := storetest.Open(t, store.Options{Dir: dir, Reserve: -1}).Close(); err != nil {
		t.Fatal(err)
	}
	exec(t, dir, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)")
	before := storetest.Bytes(t, dir)
	_, err := store.Open(t.Context(), store.Options{Dir: dir, Keys: storetest.Keyring(t, 7), Reserve: -1})
	if !errors.Is(err, store.ErrNewerSchema) {
		t.Fatalf("got %v, want ErrNewerSchema", err)
	}
	if !bytes.Equal(before, storetest.Bytes(t, dir)) {
		t.Error("something on disk was changed")
	}
	exec(t, dir, "DELETE FROM goose_db_version WHERE version_id = 9999")
	storetest.Open(t, store.Options{Dir: dir})
}

// exec changes the database on a connection outside the store.
func exec(t *testing.T, dir, query string, args ...any) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "posthorn.db")+"?_pragma=busy_timeout(30000)") // the store may be open
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(query, args...); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestDamageIsNoticed(t *testing.T) {
	dir := t.TempDir()
	s := storetest.Open(t, store.Options{Dir: dir})
	good, err := s.PublishBytes(10)
	if err != nil {
		t.Fatal(err)
	}
	bad, err := s.PublishBytes(10)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	exec(t, dir, "UPDATE events SET data = x'7878787878787878787a' WHERE id = ?", bad[:])
	s = storetest.Open(t, store.Options{Dir: dir})
	if _, err := s.Event(t.Context(), live, good); err != nil {
		t.Errorf("the undamaged event: %v", err)
	}
	if _, err := s.Event(t.Context(), live, bad); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("the damaged event: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "posthorn.db"), bytes.Repeat([]byte("not a database "), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(t.Context(), store.Options{Dir: dir, Keys: storetest.Keyring(t, 7)}); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("a file that is no database: %v", err)
	}
}

func TestManyWritersShareCommits(t *testing.T) {
	s := storetest.Open(t, store.Options{Dir: t.TempDir()})
	before := s.Stats()
	const writers, each = 64, 20
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range each {
				if _, err := s.PublishBytes(100); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	after := s.Stats()
	events, commits := after.Events-before.Events, after.Commits-before.Commits
	t.Logf("%d events in %d commits", events, commits)
	if events != writers*each || commits > events/4 {
		t.Errorf("%d events took %d commits", events, commits)
	}
	before = after
	for range 10 { // control: a single caller shares no commit
		if _, err := s.PublishBytes(100); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.Stats().Commits - before.Commits; n != 10 {
		t.Errorf("10 events one after the other took %d commits", n)
	}
}

// A caller that gives up does not undo its write.
func TestCallerThatLeft(t *testing.T) {
	s := storetest.Open(t, store.Options{Dir: t.TempDir()})
	ctx, leave := context.WithCancel(t.Context())
	_, _, err := s.Publish(ctx, []hook.NewEvent{{Scope: live, Type: "a", Data: []byte("{}")}}, func(*hook.Endpoint) hook.ProfileHash {
		leave()
		return hook.ProfileHash{}
	}, nil)
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := s.PublishBytes(1); err != nil { // now the writer has written the first
		t.Fatal(err)
	}
	if jobs := s.Take(); len(jobs) != 2 {
		t.Errorf("%d jobs handed over, want both", len(jobs))
	}
}

// Tests of other packages use a real store inside a synctest bubble.
func TestInsideABubble(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := storetest.Open(t, store.Options{Dir: dir})
		for range 10 {
			if _, err := s.PublishBytes(10); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
		}
		if err := s.Succeed(s.Take()...); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// After a write fails with an I/O error, the store acknowledges nothing.
func TestIOErrorStopsTheStore(t *testing.T) {
	dir := t.TempDir()
	fatal := make(chan error, 10)
	s := storetest.Open(t, store.Options{Dir: dir, Reserve: -1, Fatal: func(err error) { fatal <- err }})
	var acked []hook.ID
	for range 20 {
		id, err := s.PublishBytes(1000)
		if err != nil {
			t.Fatal(err)
		}
		acked = append(acked, id)
	}
	raise := limitFiles(t, filepath.Join(dir, "posthorn.db-wal"))
	_, err := s.PublishBytes(100_000)
	raise()
	if hook.CodeOf(err) != hook.CodeStorageDown {
		t.Fatalf("got %v, want storage_unavailable", err)
	}
	for range 5 { // writes would succeed again, but the store must not try
		if _, err := s.PublishBytes(1); hook.CodeOf(err) != hook.CodeStorageDown {
			t.Errorf("acknowledged after an I/O error: %v", err)
		}
	}
	if err := s.Succeed(s.Take()[0]); hook.CodeOf(err) != hook.CodeStorageDown {
		t.Errorf("settled after an I/O error: %v", err)
	}
	if err := s.Ready(t.Context()); hook.CodeOf(err) != hook.CodeStorageDown {
		t.Errorf("ready after an I/O error: %v", err)
	}
	if len(fatal) != 1 {
		t.Errorf("Fatal called %d times", len(fatal))
	}
	_ = s.Close()
	s = storetest.Open(t, store.Options{Dir: dir, Reserve: -1})
	for _, id := range acked {
		if _, err := s.Event(t.Context(), live, id); err != nil {
			t.Errorf("acknowledged and lost: %v", err)
		}
	}
}

// limitFiles makes writes beyond the current end of the file fail with EFBIG. Unlike
// ENOSPC, that does not mean a full disk.
func limitFiles(t *testing.T, path string) (raise func()) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	signal.Ignore(unix.SIGXFSZ)
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: uint64(info.Size()), Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	raise = func() {
		once.Do(func() {
			if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(raise)
	return raise
}

// smallDisk mounts a small file system, which needs root.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Fatalf("mount a small disk (this test runs as root): %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// fillDisk publishes until the disk is full and returns the acknowledged events.
func fillDisk(t *testing.T, s *storetest.Opened) (acked []hook.ID) {
	t.Helper()
	for range 10_000 {
		id, err := s.PublishBytes(50_000)
		if hook.CodeOf(err) == hook.CodeStorageFull && err != nil {
			return acked
		}
		if err != nil {
			t.Fatalf("after %d events: %v", len(acked), err)
		}
		acked = append(acked, id)
	}
	t.Fatal("the disk did not fill")
	return nil
}

func TestDiskFull(t *testing.T) {
	dir := smallDisk(t, 24<<20)
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	var fatal atomic.Int32
	s := storetest.Open(t, store.Options{Dir: dir, Reserve: 2 << 20, Fatal: func(error) { fatal.Add(1) }})
	acked := fillDisk(t, s)
	jobs := s.Take()
	if len(jobs) != len(acked) {
		t.Fatalf("%d jobs for %d acknowledged events", len(jobs), len(acked))
	}
	start := time.Now()
	if _, err := s.PublishBytes(50_000); hook.CodeOf(err) != hook.CodeStorageFull || time.Since(start) > 10*time.Second {
		t.Errorf("publish on a full disk: %v after %v", err, time.Since(start))
	}
	if err := s.Ready(t.Context()); hook.CodeOf(err) != hook.CodeStorageFull {
		t.Errorf("ready on a full disk: %v", err)
	}
	for i, j := range jobs[:20] { // some alone, the rest together, as under load
		if err := s.Succeed(j); err != nil {
			t.Fatalf("outcome %d was not recorded: %v", i, err)
		}
	}
	for part := range chunks(jobs[20:], 64) {
		if err := s.Succeed(part...); err != nil {
			t.Fatalf("outcomes were not recorded: %v", err)
		}
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	start = time.Now()
	for {
		id, err := s.PublishBytes(1000)
		if err == nil {
			acked = append(acked, id)
			break
		}
		if hook.CodeOf(err) != hook.CodeStorageFull || time.Since(start) > 30*time.Second {
			t.Fatalf("%v after there was space: %v", time.Since(start), err)
		}
		<-time.After(20 * time.Millisecond)
	}
	t.Logf("%d events acknowledged, all settled; accepted again %v after there was space", len(acked), time.Since(start))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = storetest.Open(t, store.Options{Dir: dir, Reserve: 2 << 20})
	for i, id := range acked {
		if _, err := s.Event(t.Context(), live, id); err != nil {
			t.Errorf("acknowledged and lost: %v", err)
		}
		if i < len(jobs) {
			if d, _, err := s.Delivery(t.Context(), live, jobs[i].Delivery.ID); err != nil || d.State != hook.Succeeded {
				t.Errorf("outcome lost: %v, %v", d.State, err)
			}
		}
	}
	if fatal.Load() != 0 {
		t.Error("a full disk was taken for a broken one")
	}
}

// The write that first finds the disk full may be that of an outcome.
func TestDiskFullFoundByAnOutcome(t *testing.T) {
	dir := smallDisk(t, 16<<20)
	s := storetest.Open(t, store.Options{Dir: dir, Reserve: 2 << 20})
	for range 60 {
		if _, err := s.PublishBytes(1000); err != nil {
			t.Fatal(err)
		}
	}
	filler, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = filler.Write(make([]byte, 4096))
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	_ = filler.Close()
	for i, j := range s.Take() {
		if err := s.Succeed(j); err != nil {
			t.Fatalf("outcome %d: %v", i, err)
		}
	}
	if _, err := s.PublishBytes(1); hook.CodeOf(err) != hook.CodeStorageFull {
		t.Errorf("the disk was not full: %v", err)
	}
}

// Control for TestDiskFull: without a reserve, outcomes cannot be stored.
func TestDiskFullWithoutReserve(t *testing.T) {
	s := storetest.Open(t, store.Options{Dir: smallDisk(t, 8<<20), Reserve: -1})
	fillDisk(t, s)
	for _, j := range s.Take() {
		if err := s.Succeed(j); hook.CodeOf(err) == hook.CodeStorageFull && err != nil {
			return
		}
	}
	t.Error("every outcome was recorded: the reserve proves nothing")
}
