// Command posthorn is the server and its command line.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/internal/backup"
	"github.com/posthorn/posthorn/internal/bench"
	"github.com/posthorn/posthorn/internal/build"
	"github.com/posthorn/posthorn/internal/cli"
	"github.com/posthorn/posthorn/internal/demo"
	"github.com/posthorn/posthorn/internal/doctor"
	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/importsvix"
	"github.com/posthorn/posthorn/internal/migrate"
	"github.com/posthorn/posthorn/internal/scaffold"
)

// version is set by the linker in releases (-X main.version=1.2.3).
var version = ""

func main() {
	build.Release = version
	os.Exit(run(os.Args[1:]))
}

// run executes one command line and returns the exit code. The first signal
// cancels the context; a second one ends the process at once.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	root := newCommands()
	root.SetOut(cli.NewScreen(os.Stdout))
	root.SetErr(cli.NewScreen(os.Stderr))
	root.SetArgs(args)
	err := root.ExecuteContext(exit.WithArgs(ctx, args))
	if err == nil {
		return exit.OK
	}
	fmt.Fprintln(os.Stderr, "posthorn: "+cli.PlainText(cli.OneLine(err.Error())))
	if e, ok := errors.AsType[*exit.Error](err); ok {
		return e.Code
	}
	return exit.Failed
}

// newCommands returns the root command with all commands.
func newCommands() *cobra.Command {
	root := cli.Root(newServe(), newConfig(), demo.Command(), bench.Command(), doctor.Command(), migrate.Command(), backup.Command(), backup.RestoreCommand(), scaffold.Command(), importsvix.Command())
	if audit, _, err := root.Find([]string{"audit"}); err == nil {
		audit.AddCommand(doctor.AuditVerify())
	}
	return root
}
