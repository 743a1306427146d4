package migrate

import (
	"testing"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/internal/cli"
	"github.com/posthorn/posthorn/internal/server/servertest"
)

func root() *cobra.Command { return cli.Root(Command()) }

func newShell(t *testing.T) *servertest.Shell {
	t.Helper()
	return servertest.NewShell(t, root)
}

func invoke(t *testing.T, stdin string, args ...string) (out, errOut string, code int) {
	t.Helper()
	return servertest.Run(t, root(), stdin, args...)
}
