// Command posthorn is the front door: it reads flags and configuration, joins the
// rooms, handles signals and carries the verbs of the command line. It decides
// nothing about events or deliveries.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

func main() { os.Exit(run(os.Args[1:])) }

// run executes one command line and returns the exit code. The first signal
// cancels the context; a second one ends the process at once.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	root := newRoot()
	root.SetOut(&screen{to: os.Stdout})
	root.SetErr(&screen{to: os.Stderr})
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(os.Stderr, "posthorn: "+plainText(oneLine(err.Error())))
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	return exitFailed
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "posthorn",
		Short: "Sends webhooks: keeps every event, signs it, delivers it, retries until the receiver has it",
		Long: `Posthorn is a self-hosted webhook sender for payment platforms.

Start with "posthorn demo" to see it work, then "posthorn serve" to run it.`,
		Version:       versionText(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(flagError)
	root.SetVersionTemplate(versionLine())
	root.SetHelpCommand(newHelp())
	root.AddCommand(newServe(), newDemo(), newSend(), newListen(), newConfig(), newBench(), newProfile(), newVersion())
	root.AddCommand(newNouns()...)
	root.AddCommand(newStats(), newVerify(), newDoctor(), newMigrate(), newHealthcheck())
	return root
}

// newHelp shows a command's help, and refuses one that there is not.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Help about any command",
		RunE: func(cmd *cobra.Command, args []string) error {
			found, rest, err := cmd.Root().Find(args)
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				return noArgs(found, rest)
			}
			return found.Help()
		},
	}
}

// noArgs refuses arguments, and names the commands there are.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	if len(names) == 0 {
		return usage("%s takes no arguments, got %q", cmd.CommandPath(), args[0])
	}
	return usage("unknown command %q; the commands are %s", args[0], strings.Join(names, ", "))
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
