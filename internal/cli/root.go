// Package cli is the command line for people and scripts: the commands that call the
// API, and those that need no server.
package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/internal/build"
	"github.com/posthorn/posthorn/internal/exit"
)

// Root is the command line: what calls the API, and the commands given.
func Root(more ...*cobra.Command) *cobra.Command {
	root := &cobra.Command{
		Use:   "posthorn",
		Short: "Sends webhooks: keeps every event, signs it, delivers it, retries until the receiver has it",
		Long: `Posthorn is a self-hosted webhook sender for payment platforms.

Start with "posthorn demo" to see it work, then "posthorn serve" to run it.`,
		Version:       build.Version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(exit.FlagError)
	root.SetVersionTemplate(build.Line())
	root.SetHelpCommand(newHelp())
	root.AddCommand(newSend(), newListen(), newProfile(), newVersion(), newVerify(), newHealthcheck(), newStats(), newLogin(), newContext())
	root.AddCommand(newNouns()...)
	root.AddCommand(more...)
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
				return NoArgs(found, rest)
			}
			return found.Help()
		},
	}
}

// NoArgs refuses arguments, and names the commands there are.
func NoArgs(cmd *cobra.Command, args []string) error {
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
		for _, flag := range []string{"id", "name"} {
			if cmd.Flags().Lookup(flag) != nil {
				return exit.Usagef("%s takes no arguments, got %q; if that is its %s, write --%s %s", cmd.CommandPath(), args[0], flag, flag, args[0])
			}
		}
		return exit.Usagef("%s takes no arguments, got %q", cmd.CommandPath(), args[0])
	}
	return exit.Usagef("unknown command %q; the commands are %s", args[0], strings.Join(names, ", "))
}

// OneLine joins the lines of a text.
func OneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
