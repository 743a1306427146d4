package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A backup of a running server is restored beside it, and over it once it has stopped.
func TestBackupAndRestore(t *testing.T) {
	s := newShell(t)
	s.ok("tenant", "create", "--id", "acme")
	file := filepath.Join(t.TempDir(), "b.db")
	key := filepath.Join(s.data, "master.key")
	step := func(want int, part string, args ...string) string {
		t.Helper()
		out, errOut, code := invoke(t, "", args...)
		if code != want || !strings.Contains(out+errOut, part) {
			t.Errorf("%v: code %d, want %d and %q:\n%s%s", args, code, want, part, out, errOut)
		}
		return out
	}
	step(exitOK, "tenants         1", "backup", "--data", s.data, file)
	step(exitUsage, "never overwritten", "backup", "--data", s.data, file)
	step(exitUsage, "one argument is expected", "backup", "--data", s.data)
	step(exitUsage, "pg_basebackup", "backup", "--store", "postgres://posthorn@db/posthorn", file+"2")
	step(exitOpen, "no such file", "backup", "--store", "sqlite:"+filepath.Join(t.TempDir(), "none.db"), "--master-key-file", key, file+"2")
	step(exitOK, "was not checked", "restore", "--check", "--data", t.TempDir(), file)
	step(exitOK, "fits", "restore", "--check", "--data", s.data, file)
	step(exitMasterKey, "there is no master key", "restore", "--data", t.TempDir(), file)
	wrong := filepath.Join(t.TempDir(), "wrong.key")
	if err := os.WriteFile(wrong, []byte(anotherKey), 0o600); err != nil {
		t.Fatal(err)
	}
	step(exitMasterKey, "master_key_mismatch", "restore", "--data", t.TempDir(), "--master-key-file", wrong, file)
	step(exitLocked, "stop it", "restore", "--replace", "--data", s.data, file)
	step(exitOK, "are gone", "restore", "--data", t.TempDir(), "--master-key-file", key, file)
	stopNode(t, s.node)
	step(exitUsage, "--replace", "restore", "--data", s.data, file)
	out := step(exitOK, ".before-", "restore", "--replace", "--data", s.data, file)
	if !strings.Contains(out, "Never start a server on both") {
		t.Errorf("what it says of the store that was there:\n%s", out)
	}
}
