package doctor

import (
	"bytes"
	"database/sql"
	"encoding/base64"
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

// anotherKey is a master key that has sealed nothing.
var anotherKey = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("x"), 32))

func alter(t *testing.T, database, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+database+"?_pragma=busy_timeout(5000)") // a server may be writing meanwhile
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}
