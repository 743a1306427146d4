package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/internal/exit"
)

// newContext shows and changes the saved contexts.
func newContext() *cobra.Command {
	cmd := &cobra.Command{
		Use: "context", Short: "Manage saved servers and keys", Args: NoArgs,
		Long: `A context is a server with an API key. The key decides the mode, test or live.
"posthorn login" creates contexts. Commands that call the API use the current context,
unless a flag or the environment names a server or a key.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newContextList(), newContextUse(), newContextRemove())
	return cmd
}

// shownContext is a context without its key.
type shownContext struct {
	Current bool   `json:"current"`
	Name    string `json:"name"`
	Mode    string `json:"mode"` // empty for a bootstrap key
	Kind    string `json:"kind"` // of the key; empty for a bootstrap key
	URL     string `json:"url"`
}

func newContextList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List contexts, without their keys", Args: NoArgs}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := readContexts()
		if err != nil {
			return err
		}
		rows := []json.RawMessage{}
		shown := []shownContext{}
		for _, name := range slices.Sorted(maps.Keys(all.Contexts)) {
			a := all.Contexts[name]
			s := shownContext{Current: name == all.Current, Name: name, Mode: ModeOf(a.Key), Kind: KindOf(a.Key), URL: a.URL}
			row, err := json.Marshal(s)
			if err != nil {
				return err
			}
			shown, rows = append(shown, s), append(rows, row)
		}
		out := cmd.OutOrStdout()
		if *asJSON {
			return printJSON(out, shown)
		}
		if len(rows) == 0 {
			fmt.Fprintln(cmd.ErrOrStderr(), "There are no contexts; \"posthorn login\" creates one.")
			return nil
		}
		return newTable(out, []string{"current", "name", "mode", "kind", "url"}, false).print(rows, true)
	}
	return cmd
}

func newContextUse() *cobra.Command {
	return &cobra.Command{
		Use: "use NAME", Short: "Switch to another context", Args: oneArg("the name of a context"), ValidArgsFunction: completeContexts,
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := readContexts()
			if err != nil {
				return err
			}
			if err := all.need(args[0]); err != nil {
				return err
			}
			all.Current = args[0]
			if err := all.write(); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "using context %s: %s\n", args[0], PlainText(all.Contexts[args[0]].URL))
			return nil
		},
	}
}

func newContextRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "Remove a context; its key stays valid", Args: oneArg("the name of a context"), ValidArgsFunction: completeContexts,
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := readContexts()
			if err != nil {
				return err
			}
			if err := all.need(args[0]); err != nil {
				return err
			}
			delete(all.Contexts, args[0])
			if all.Current == args[0] {
				all.Current = ""
			}
			if err := all.write(); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "removed context %s; \"posthorn key revoke\" revokes its key\n", args[0])
			return nil
		},
	}
}

// need returns an error if there is no context of the name.
func (c contexts) need(name string) error {
	if _, ok := c.Contexts[name]; !ok {
		return exit.Usagef("there is no context %q; \"posthorn context list\" shows them", name)
	}
	return nil
}

func completeContexts(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	all, err := readContexts()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return slices.Sorted(maps.Keys(all.Contexts)), cobra.ShellCompDirectiveNoFileComp
}
