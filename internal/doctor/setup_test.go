package doctor

import (
	"testing"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/internal/cli"
	"github.com/posthorn/posthorn/internal/server/servertest"
)

func root() *cobra.Command {
	all := cli.Root(Command())
	if audit, _, err := all.Find([]string{"audit"}); err == nil {
		audit.AddCommand(AuditVerify())
	}
	return all
}

func newShell(t *testing.T) *servertest.Shell {
	t.Helper()
	return servertest.NewShell(t, root)
}

func invoke(t *testing.T, stdin string, args ...string) (out, errOut string, code int) {
	t.Helper()
	return servertest.Run(t, root(), stdin, args...)
}
