package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/hook"
)

// Limits of a file of event types, in bytes and entries.
const (
	maxTypesFile = 4 << 20
	maxTypes     = 1000
)

func newApplyTypes() *cobra.Command {
	cmd := &cobra.Command{
		Use: "apply", Short: "Create and update event types from a file", Args: NoArgs,
		Long: `Create and update event types from a file. Event types that the file does not name
stay unchanged.

The file is YAML or JSON with a list of event types:

  event_types:
    - name: payment.settled
      description: Money has arrived.
      group: Payments
      check: reject        # off, warn or reject
      version: 2           # of schema and example, for events that name none
      schema: {type: object, required: [id]}
      example: {id: pay_1}
      searchable: {payment: /id}
      other_versions:      # for events that name one of them
        - {version: 1, schema: {type: object}}
      deprecated: true
      replacement: payment.paid
      redact: [/card/number]  # JSON pointers to values that are never shown
      hidden: false        # true: tenants do not see it

A field that the file leaves out is cleared. The whole file is checked before anything
is changed. Repeating the command changes nothing.`,
		Example: `  posthorn event-type apply -f event-types.yaml`,
	}
	server := serverFlags(cmd)
	file := cmd.Flags().StringP("file", "f", "", "file to apply, or - for standard input")
	dry := cmd.Flags().Bool("dry-run", false, "print the changes without making them")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *file == "" {
			return exit.Usagef("--file is required")
		}
		text, err := readFile(cmd.InOrStdin(), *file, maxTypesFile)
		if err != nil {
			return exit.Usagef("--file: %w", err)
		}
		list, err := readTypes(text)
		if err != nil {
			return exit.Usagef("%s: %w", *file, err)
		}
		c, err := server()
		if err != nil {
			return err
		}
		return applyTypes(cmd, c, list, *dry)
	}
	return cmd
}

func applyTypes(cmd *cobra.Command, c *server, list []client.NewEventType, dry bool) error {
	out := cmd.OutOrStdout()
	for _, want := range list {
		have, err := c.EventType(cmd.Context(), want.Name)
		did, differs := "unchanged", false
		switch {
		case err != nil && !isNotFound(err):
			return c.refused(err)
		case err != nil:
			did, err = "created", nil
			if !dry {
				_, err = c.CreateEventType(cmd.Context(), want)
			}
		case !sameType(have, want):
			did, differs = "changed", !sameJSON(have.Schema, want.Schema)
			if !dry {
				_, err = c.UpdateEventType(cmd.Context(), want.Name, patchOf(want))
			}
		}
		if err != nil {
			return c.refused(fmt.Errorf("%s: %w", want.Name, err))
		}
		change := ""
		if version := max(want.Version, 1); did == "changed" && version != have.Version {
			change = fmt.Sprintf("  version %d to %d", have.Version, version)
		}
		fmt.Fprintf(out, "%-9s  %s%s\n", did, PlainText(want.Name), change)
		if differs && dry {
			printDifferences(out, have.Schema, want.Schema)
		}
	}
	return nil
}

func isNotFound(err error) bool {
	problem, ok := errors.AsType[*client.Problem](err)
	return ok && problem.Code == client.CodeNotFound
}

func sameType(have client.EventType, want client.NewEventType) bool {
	return have.Description == want.Description && have.Group == want.Group && have.Version == max(want.Version, 1) &&
		have.Check == firstOf(want.Check, hook.EnforceOff.String()) && have.Deprecated == want.Deprecated && have.Replacement == want.Replacement && have.Hidden == want.Hidden && slices.Equal(have.Redact, want.Redact) &&
		maps.Equal(have.Searchable, want.Searchable) && sameJSON(have.Schema, want.Schema) && sameJSON(have.Example, want.Example) && slices.EqualFunc(inOrder(have.OtherVersions), inOrder(want.OtherVersions), sameVersion)
}

func inOrder(list []client.EventTypeVersion) []client.EventTypeVersion {
	return slices.SortedFunc(slices.Values(list), func(a, b client.EventTypeVersion) int { return a.Version - b.Version })
}

func sameVersion(a, b client.EventTypeVersion) bool {
	return a.Version == b.Version && sameJSON(a.Schema, b.Schema) && sameJSON(a.Example, b.Example)
}

func sameJSON(a, b json.RawMessage) bool { return bytes.Equal(compactJSON(a), compactJSON(b)) }

func compactJSON(text json.RawMessage) []byte {
	var out bytes.Buffer
	if json.Compact(&out, text) != nil || out.String() == "null" {
		return nil
	}
	return out.Bytes()
}

func patchOf(want client.NewEventType) client.EventTypePatch {
	p := client.EventTypePatch{Description: client.Set(want.Description), Group: client.Set(want.Group), Check: client.Set(firstOf(want.Check, hook.EnforceOff.String())),
		Version: client.Set(max(want.Version, 1)), OtherVersions: client.Set(slices.Clone(want.OtherVersions)), Deprecated: client.Set(want.Deprecated),
		Replacement: client.Set(want.Replacement), Hidden: client.Set(want.Hidden), Redact: client.Set(append([]string{}, want.Redact...)), Schema: client.Null[json.RawMessage](), Example: client.Null[json.RawMessage](), Searchable: client.Null[map[string]string]()}
	if len(want.Searchable) > 0 {
		p.Searchable = client.Set(want.Searchable)
	}
	if want.Group == "" {
		p.Group = client.Null[string]()
	}
	if want.Replacement == "" {
		p.Replacement = client.Null[string]()
	}
	if want.OtherVersions == nil {
		p.OtherVersions = client.Null[[]client.EventTypeVersion]()
	}
	if want.Schema != nil {
		p.Schema = client.Set(want.Schema)
	}
	if want.Example != nil {
		p.Example = client.Set(want.Example)
	}
	return p
}

// readTypes reads a file of event types. Errors name the line.
func readTypes(text []byte) ([]client.NewEventType, error) {
	root, err := readYAML(text)
	if err != nil {
		return nil, err
	}
	if root.Kind != yaml.MappingNode || len(root.Content) != 2 || root.Content[0].Value != "event_types" || root.Content[1].Kind != yaml.SequenceNode {
		return nil, fmt.Errorf("line %d: must be a mapping with one member, the list \"event_types\"", max(root.Line, 1))
	}
	items := root.Content[1].Content
	if len(items) > maxTypes {
		return nil, fmt.Errorf("line %d: more than %d event types", root.Content[1].Line, maxTypes)
	}
	var list []client.NewEventType
	for _, item := range items {
		encoded, err := asJSONText(nil, item, 0)
		if err != nil {
			return nil, err
		}
		var one client.NewEventType
		d := json.NewDecoder(bytes.NewReader(encoded))
		d.DisallowUnknownFields()
		if err := d.Decode(&one); err != nil {
			return nil, fmt.Errorf("line %d: not an event type: %w", item.Line, err)
		}
		if fault := hook.TypeFault(one.Name); fault != "" {
			return nil, fmt.Errorf("line %d: the name %.150q %s", item.Line, one.Name, fault)
		}
		if slices.ContainsFunc(list, func(other client.NewEventType) bool { return other.Name == one.Name }) {
			return nil, fmt.Errorf("line %d: %s is listed twice", item.Line, one.Name)
		}
		list = append(list, one)
	}
	return list, nil
}

// asJSONText writes a YAML node as JSON: members in their order, numbers as they are
// spelt.
func asJSONText(dst []byte, n *yaml.Node, depth int) ([]byte, error) {
	switch {
	case depth > 64:
		return dst, fmt.Errorf("line %d: nested more than 64 levels deep", n.Line)
	case n.Kind == yaml.AliasNode || n.Anchor != "" || n.Tag == "!!merge" || n.Style&yaml.TaggedStyle != 0:
		return dst, fmt.Errorf("line %d: anchors, aliases and tags are not supported", n.Line)
	}
	var err error
	switch n.Kind {
	case yaml.MappingNode:
		seen := map[string]bool{}
		dst = append(dst, '{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" || seen[key.Value] {
				return dst, fmt.Errorf("line %d: a name must be plain text and unique", key.Line)
			}
			seen[key.Value] = true
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(append(dst, quotedJSON(key.Value)...), ':')
			if dst, err = asJSONText(dst, n.Content[i+1], depth+1); err != nil {
				return dst, err
			}
		}
		return append(dst, '}'), nil
	case yaml.SequenceNode:
		dst = append(dst, '[')
		for i, item := range n.Content {
			if i > 0 {
				dst = append(dst, ',')
			}
			if dst, err = asJSONText(dst, item, depth+1); err != nil {
				return dst, err
			}
		}
		return append(dst, ']'), nil
	}
	if c := (n.Value + "x")[0]; n.Style == 0 && (c == '-' || '0' <= c && c <= '9') && json.Valid([]byte(n.Value)) {
		return append(dst, n.Value...), nil // 1e400 too, which YAML takes for a text
	}
	switch n.ShortTag() {
	case "!!null":
		return append(dst, "null"...), nil
	case "!!int", "!!float", "!!bool":
		if !json.Valid([]byte(n.Value)) {
			return dst, fmt.Errorf("line %d: %.80q is not a number or a boolean as JSON writes it; quote it if it is text", n.Line, n.Value)
		}
		return append(dst, n.Value...), nil
	}
	return append(dst, quotedJSON(n.Value)...), nil
}

func quotedJSON(text string) []byte {
	quoted, _ := json.Marshal(text) // a text cannot fail
	return quoted
}
