package backup

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/internal/cli"
	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/server/servertest"
)

// A backup of a running server is restored beside it and, once it has stopped, over it.
func TestBackupAndRestore(t *testing.T) {
	root := func() *cobra.Command { return cli.Root(Command(), RestoreCommand()) }
	s := servertest.NewShell(t, root)
	s.OK("tenant", "create", "--id", "acme")
	file := filepath.Join(t.TempDir(), "b.db")
	key := filepath.Join(s.Data, "master.key")
	step := func(want int, part string, args ...string) string {
		t.Helper()
		out, errOut, code := servertest.Run(t, root(), "", args...)
		if code != want || !strings.Contains(out+errOut, part) {
			t.Errorf("%v: code %d, want %d and %q:\n%s%s", args, code, want, part, out, errOut)
		}
		return out
	}
	step(exit.OK, "tenants         1", "backup", "--data", s.Data, file)
	step(exit.Usage, "never overwritten", "backup", "--data", s.Data, file)
	step(exit.Usage, "one argument is required", "backup", "--data", s.Data)
	step(exit.Usage, "pg_basebackup", "backup", "--store", "postgres://posthorn@db/posthorn", file+"2")
	step(exit.Open, "no such file", "backup", "--store", "sqlite:"+filepath.Join(t.TempDir(), "none.db"), "--master-key-file", key, file+"2")
	step(exit.OK, "was not checked", "restore", "--check", "--data", t.TempDir(), file)
	step(exit.OK, "matches", "restore", "--check", "--data", s.Data, file)
	step(exit.MasterKey, "there is no master key", "restore", "--data", t.TempDir(), file)
	wrong := servertest.WriteFile(t, t.TempDir(), "wrong.key", servertest.AnotherKey)
	step(exit.MasterKey, "master_key_mismatch", "restore", "--data", t.TempDir(), "--master-key-file", wrong, file)
	step(exit.Locked, "stop it", "restore", "--replace", "--data", s.Data, file)
	step(exit.OK, "are lost", "restore", "--data", t.TempDir(), "--master-key-file", key, file)
	servertest.StopNode(t, s.Node)
	step(exit.Usage, "--replace", "restore", "--data", s.Data, file)
	out := step(exit.OK, ".before-", "restore", "--replace", "--data", s.Data, file)
	if !strings.Contains(out, "Never start a server on both") {
		t.Errorf("what it says of the store that was there:\n%s", out)
	}
}
