// Package cli holds the commands that call the API, and those that need no server.
package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/internal/build"
	"github.com/posthorn/posthorn/internal/exit"
)

// Root returns the root command with the commands of this package and those given.
func Root(more ...*cobra.Command) *cobra.Command {
	root := &cobra.Command{
		Use:   "posthorn",
		Short: "Store, sign, deliver and retry webhooks",
		Long: `Posthorn is a self-hosted webhook sender for payment platforms.

Run "posthorn demo" to see it work, and "posthorn serve" to run a server.`,
		Version:       build.Version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(exit.FlagError)
	root.SetVersionTemplate(build.Line())
	root.SetHelpCommand(newHelp())
	root.AddCommand(newSend(), newListen(), newProfile(), newVersion(), newVerify(), newHealthcheck(), newStats(), newReclaim(), newSearch(), newLogin(), newContext())
	root.AddCommand(newNouns()...)
	root.AddCommand(newVerb(uiVerb))
	root.AddCommand(more...)
	return root
}

// newHelp shows the help of a command, and fails for an unknown one.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Show the help of a command",
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

// NoArgs returns an error if there are arguments, which lists the known commands.
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
				return exit.Usagef("%s takes no arguments, got %q; if that is its %s, use --%s %s", cmd.CommandPath(), args[0], flag, flag, args[0])
			}
		}
		return exit.Usagef("%s takes no arguments, got %q", cmd.CommandPath(), args[0])
	}
	return exit.Usagef("unknown command %q; the commands are %s", args[0], strings.Join(names, ", "))
}

// OneLine replaces each run of white space by one space.
func OneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
