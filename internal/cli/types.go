package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/schema"
	"github.com/posthorn/posthorn/internal/typefile"
)

// The commands that move event types between the catalogue and files.

func newExportTypes() *cobra.Command {
	cmd := &cobra.Command{
		Use: "export", Short: "Write the catalogue as a file for event-type apply", Args: NoArgs,
		Long: `Write the event types of the catalogue as a YAML file. Applying the file to a server
gives it the same types.`,
		Example: `  posthorn event-type export > event-types.yaml`,
	}
	server := serverFlags(cmd)
	group := cmd.Flags().String("group", "", "export only the types of this group")
	file := cmd.Flags().StringP("output", "o", "", "file to write (default standard output)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := server()
		if err != nil {
			return err
		}
		var list []client.NewEventType
		for t, err := range c.AllEventTypes(cmd.Context(), client.EventTypeQuery{Group: *group, ListOptions: client.ListOptions{Limit: 50}}) {
			if err != nil {
				return c.refused(err)
			}
			if len(list) == maxTypes {
				return exit.With(exit.Failed, fmt.Errorf("more than %d event types do not fit into one file; export them by --group", maxTypes))
			}
			list = append(list, asNew(t))
		}
		text, err := typefile.Write(list)
		if err != nil {
			return err
		}
		if len(text) > maxTypesFile {
			return exit.With(exit.Failed, fmt.Errorf("the file would have %d bytes, and %d are read back; export the types by --group", len(text), maxTypesFile))
		}
		if *file != "" {
			return os.WriteFile(*file, text, 0o644) //nolint:gosec // it holds no secret
		}
		_, err = cmd.OutOrStdout().Write(text)
		return err
	}
	return cmd
}

// asNew returns an entry as what creates it.
func asNew(t client.EventType) client.NewEventType {
	n := client.NewEventType{Name: t.Name, Description: t.Description, Group: t.Group, Version: t.Version, OtherVersions: t.OtherVersions, Check: t.Check,
		Deprecated: t.Deprecated, Replacement: t.Replacement, Hidden: t.Hidden, Redact: t.Redact, Schema: compactJSON(t.Schema), Example: compactJSON(t.Example)}
	if n.Version == 1 {
		n.Version = 0
	}
	if n.Check == hook.EnforceOff.String() {
		n.Check = ""
	}
	if len(t.Searchable) > 0 {
		n.Searchable = t.Searchable
	}
	return n
}

func newImportTypes() *cobra.Command {
	cmd := &cobra.Command{
		Use: "import FILE", Short: "Create and update event types from the webhooks of an OpenAPI document", Args: oneArg("the file"),
		Long: `Create and update event types from the webhooks of an OpenAPI 3.1 document, YAML or JSON.

Each webhook becomes an event type of its name, with description, first tag as group,
deprecated, schema and example. An existing type keeps its check, its other versions, and
whatever else the document does not say. Types that the document does not name stay.

Documents usually describe the whole request body. With --member, the schema of the type is
that of one member of the body, such as data.

The changes are shown first, with what differs between the schemas for receivers. Then the
command asks, unless --yes is given. References must stay inside the document; nothing is
loaded.`,
		Example: `  posthorn event-type import openapi.yaml --member data --dry-run
  posthorn event-type import openapi.yaml --member data --new-version`,
	}
	server := serverFlags(cmd)
	member := cmd.Flags().String("member", "", "member of the request body that is the data of an event (default the whole body)")
	raise := cmd.Flags().Bool("new-version", false, "make a changed schema a new version; the one before it is kept")
	dry := cmd.Flags().Bool("dry-run", false, "print the changes without making them")
	yes := cmd.Flags().BoolP("yes", "y", false, "skip the confirmation; required without a terminal")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !*dry && !*yes && (!IsTerminal(cmd.InOrStdin()) || args[0] == "-") {
			return exit.Usagef("%s asks for confirmation and there is no terminal; add --yes, or --dry-run to see the changes", cmd.CommandPath())
		}
		text, err := readFile(cmd.InOrStdin(), args[0], maxTypesFile)
		if err != nil {
			return exit.Usagef("%w", err)
		}
		list, err := readOpenAPI(text, *member)
		if err != nil {
			return exit.Usagef("%s: %w", args[0], err)
		}
		c, err := server()
		if err != nil {
			return err
		}
		for i := range list {
			have, err := c.EventType(cmd.Context(), list[i].Name)
			switch {
			case err == nil:
				list[i] = merged(have, list[i], *raise)
			case !isNotFound(err):
				return c.refused(err)
			}
		}
		if err := applyTypes(cmd, c, list, true); err != nil || *dry {
			return err
		}
		if !*yes {
			sure, err := askYes(cmd.Context(), cmd.InOrStdin(), cmd.ErrOrStderr(), fmt.Sprintf("Change the catalogue at %s: continue?", c.URL))
			if err != nil {
				return err
			}
			if !sure {
				return exit.With(exit.Failed, errors.New("nothing was done"))
			}
		}
		return applyTypes(cmd, c, list, false)
	}
	return cmd
}

// merged returns an entry with what a document says about it. With raise, a changed schema
// is a new version.
func merged(have client.EventType, said client.NewEventType, raise bool) client.NewEventType {
	out := asNew(have)
	if said.Description != "" {
		out.Description = said.Description
	}
	if said.Group != "" {
		out.Group = said.Group
	}
	if out.Deprecated = said.Deprecated; !out.Deprecated {
		out.Replacement = ""
	}
	if said.Schema != nil && !sameJSON(out.Schema, said.Schema) {
		if raise && out.Schema != nil {
			highest := have.Version
			for _, v := range have.OtherVersions {
				highest = max(highest, v.Version)
			}
			out.OtherVersions = append(out.OtherVersions, client.EventTypeVersion{Version: have.Version, Schema: out.Schema, Example: out.Example})
			out.Version = highest + 1
		}
		out.Schema = said.Schema
	}
	if said.Example != nil {
		out.Example = said.Example
	}
	return out
}

// readOpenAPI reads the event types of an OpenAPI document. Errors name the line.
func readOpenAPI(text []byte, member string) ([]client.NewEventType, error) {
	document, err := readYAML(text)
	if err != nil {
		return nil, err
	}
	hooks, err := typefile.Webhooks(document, member)
	if err != nil {
		return nil, err
	}
	list := make([]client.NewEventType, len(hooks))
	seen := map[string]bool{}
	for i, h := range hooks {
		if fault := hook.TypeFault(h.Name); fault != "" {
			return nil, fmt.Errorf("line %d: the webhook %.150q cannot name an event type: it %s. %s", h.Line, h.Name, fault, hook.TypeRule)
		}
		if seen[h.Name] {
			return nil, fmt.Errorf("line %d: the webhook %s is there twice", h.Line, h.Name)
		}
		seen[h.Name] = true
		list[i] = client.NewEventType{Name: h.Name, Description: h.Description, Group: h.Group, Deprecated: h.Deprecated}
		for _, part := range []struct {
			from *yaml.Node
			to   *json.RawMessage
		}{{h.Schema, &list[i].Schema}, {h.Example, &list[i].Example}} {
			if part.from == nil {
				continue
			}
			if *part.to, err = asJSONText(nil, part.from, 0); err != nil {
				return nil, fmt.Errorf("webhook %s: %w", h.Name, err)
			}
		}
		if list[i].Schema != nil {
			if _, err := schema.Compile(list[i].Schema); err != nil {
				return nil, fmt.Errorf("line %d: webhook %s: its schema cannot be used: %w", h.Line, h.Name, err)
			}
		}
	}
	return list, nil
}

// readYAML reads one YAML or JSON document.
func readYAML(text []byte) (*yaml.Node, error) {
	if len(text) > maxTypesFile {
		return nil, fmt.Errorf("longer than %d bytes", maxTypesFile)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document, more yaml.Node
	if err := decoder.Decode(&document); err != nil {
		return nil, fmt.Errorf("not YAML: %w", err)
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) || len(document.Content) != 1 {
		return nil, errors.New("must contain one document")
	}
	return document.Content[0], nil
}

func newDiffTypes() *cobra.Command {
	cmd := &cobra.Command{
		Use: "diff NAME", Short: "Show what differs between two versions of an event type", Args: oneArg("the name of an event type"),
		Long: `Show what differs between the schemas of two versions of an event type, for receivers that
know the earlier one: compatible, breaking, or unclear.`,
		Example: `  posthorn event-type diff payment.settled --from 1 --to 2`,
	}
	server := serverFlags(cmd)
	from := cmd.Flags().Int("from", 0, "earlier version (default the one before --to)")
	to := cmd.Flags().Int("to", 0, "later version (default the version for events that name none)")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := server()
		if err != nil {
			return err
		}
		found, err := c.TypeDifferences(cmd.Context(), args[0], *from, *to)
		if err != nil {
			return c.refused(err)
		}
		if *asJSON {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(found)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "version %d to %d\n", found.From, found.To)
		if len(found.Differences) == 0 && !found.More {
			fmt.Fprintln(cmd.OutOrStdout(), "no difference that decides about data")
		}
		for _, d := range found.Differences {
			printDifference(cmd.OutOrStdout(), d.Effect, d.Pointer, d.Message)
		}
		return more(cmd.OutOrStdout(), found.More)
	}
	return cmd
}

// printDifferences prints what differs between two schemas.
func printDifferences(out io.Writer, earlier, later json.RawMessage) error {
	list, cut := schema.Compare(compactJSON(earlier), compactJSON(later))
	for _, d := range list {
		printDifference(out, string(d.Effect), d.Pointer, d.Message)
	}
	return more(out, cut)
}

func printDifference(out io.Writer, effect, pointer, message string) {
	if pointer == "" {
		pointer = "(all)"
	}
	fmt.Fprintf(out, "  %-10s  %s  %s\n", effect, PlainText(pointer), PlainText(message))
}

func more(out io.Writer, cut bool) error {
	if cut {
		fmt.Fprintln(out, "  and more: the comparison ended at its bound")
	}
	return nil
}
