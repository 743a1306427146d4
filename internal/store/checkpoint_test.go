package store

import (
	"os"
	"os/signal"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/posthorn/posthorn/internal/hook"
)

func openSmall(t *testing.T, fatal func(error)) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{Dir: t.TempDir(), Keys: testKeys(t), Reserve: -1, Fatal: fatal})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func fill(t *testing.T, s *Store, size int) {
	t.Helper()
	_, _, err := s.Publish(t.Context(), []hook.NewEvent{{Scope: hook.Scope{Tenant: "acme", Mode: hook.Live}, CreateTenant: true, Type: "a",
		Data: make([]byte, size)}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
}

// The log is moved into the database as it grows, so that neither the log nor the start
// after a crash grows without bound.
func TestLogStaysShort(t *testing.T) {
	s := openSmall(t, nil)
	const total, limit = 120 << 20, 60 << 20
	for written := 0; written < total; written += 1 << 20 {
		fill(t, s, 1<<20)
	}
	info, err := os.Stat(s.opts.Path + "-wal")
	if err != nil || info.Size() > limit {
		t.Errorf("the log has %d MiB after %d MiB of data, %v", info.Size()>>20, total>>20, err)
	}
}

// A disk error during a checkpoint must be reported like any other.
func TestFailedCheckpointStopsTheStore(t *testing.T) {
	fatal := make(chan error, 2)
	s := openSmall(t, func(err error) { fatal <- err })
	for range 30 {
		fill(t, s, 100_000)
	}
	if !s.core.Engine.MakeRoom() || len(fatal) != 0 { // control
		t.Fatal("a healthy checkpoint failed")
	}
	for range 30 {
		fill(t, s, 100_000)
	}
	restore := noLargerFiles(t, s)
	done := s.core.Engine.MakeRoom() // the writer is idle, so the test may call it
	restore()
	if done || len(fatal) != 1 || s.writer.Stopped() == nil {
		t.Errorf("a checkpoint that failed: done %v, Fatal called %d times", done, len(fatal))
	}
}

// The same for a checkpoint that runs outside the writer.
func TestFailedCheckpointBesideTheWriterStopsTheStore(t *testing.T) {
	fatal := make(chan error, 2)
	s := openSmall(t, func(err error) { fatal <- err })
	publish := func() error {
		_, _, err := s.Publish(t.Context(), []hook.NewEvent{{Scope: hook.Scope{Tenant: "acme", Mode: hook.Live}, CreateTenant: true, Type: "a",
			Data: make([]byte, 1<<20)}}, nil, nil)
		return err
	}
	for range 60 { // the database must be longer than the log
		if err := publish(); err != nil {
			t.Fatal(err)
		}
	}
	if !s.core.Engine.MakeRoom() || len(fatal) != 0 { // control
		t.Fatal("a healthy checkpoint failed")
	}
	restore := noLargerFiles(t, s)
	defer restore()
	var err error
	for range 30 {
		if err = publish(); err != nil {
			break
		}
	}
	select {
	case <-fatal:
	case <-time.After(10 * time.Second):
		t.Fatalf("the failure of a checkpoint was not fatal; publishing: %v", err)
	}
	if err := publish(); s.writer.Stopped() == nil || err == nil {
		t.Errorf("published after a checkpoint failed: stopped %v, %v", s.writer.Stopped(), err)
	}
}

// noLargerFiles prevents every file from growing beyond the current size of the database.
func noLargerFiles(t *testing.T, s *Store) (restore func()) {
	t.Helper()
	info, err := os.Stat(s.opts.Path)
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
	return func() {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
			t.Fatal(err)
		}
	}
}
