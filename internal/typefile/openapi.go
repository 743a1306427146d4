package typefile

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds of a document.
const (
	maxWebhooks  = 1000
	maxRefs      = 16      // references from one object to the next
	maxDepth     = 100     // levels of a schema
	maxNodes     = 10_000  // of one schema with all that it refers to
	maxAllNodes  = 500_000 // of all schemas
	maxEnvelopes = 8       // levels of allOf in which a member is looked for
)

// Webhook is one entry of the webhooks, as an event type.
type Webhook struct {
	Name        string
	Description string
	Group       string // the first tag
	Deprecated  bool
	Schema      *yaml.Node // nil: none
	Example     *yaml.Node // nil: none
	Line        int
}

// Webhooks reads the webhooks of an OpenAPI 3.1 document in their order.
//
// It reads only the document: a reference must stay inside it. Schemas come out
// self-contained, with the components that they refer to under $defs, so a reference that
// leads back to itself stays a reference. What it reads, follows and copies is bounded.
// If member is not empty, schema and
// example are those of this member of the request body: platforms document the whole body,
// and an event type describes its data. Errors name the line.
func Webhooks(document *yaml.Node, member string) ([]Webhook, error) {
	root := document
	if root.Kind == yaml.DocumentNode && len(root.Content) == 1 {
		root = root.Content[0]
	}
	r := &reader{root: root}
	version := field(root, "openapi")
	if version == nil || version.Kind != yaml.ScalarNode {
		return nil, fmt.Errorf("line %d: not an OpenAPI document: it has no member \"openapi\"", max(root.Line, 1))
	}
	if version.Value != "3.1" && !strings.HasPrefix(version.Value, "3.1.") {
		return nil, fmt.Errorf("line %d: OpenAPI %.20q: only 3.1 is read, because earlier versions have no webhooks and schemas of another kind", version.Line, version.Value)
	}
	hooks := field(root, "webhooks")
	if hooks == nil || hooks.Kind != yaml.MappingNode || len(hooks.Content) == 0 {
		return nil, fmt.Errorf("line %d: the document has no webhooks", max(root.Line, 1))
	}
	if len(hooks.Content)/2 > maxWebhooks {
		return nil, fmt.Errorf("line %d: more than %d webhooks", hooks.Line, maxWebhooks)
	}
	var list []Webhook
	for i := 0; i+1 < len(hooks.Content); i += 2 {
		name := hooks.Content[i]
		one, err := r.webhook(name.Value, hooks.Content[i+1], member)
		if err != nil {
			return nil, fmt.Errorf("webhook %.128q: %w", name.Value, err)
		}
		one.Line = name.Line
		list = append(list, one)
	}
	return list, nil
}

type reader struct {
	root *yaml.Node
	all  int // parts counted
}

func (r *reader) webhook(name string, item *yaml.Node, member string) (Webhook, error) {
	out := Webhook{Name: name}
	item, err := r.follow(item)
	if err != nil {
		return out, err
	}
	operation := field(item, "post")
	if operation == nil {
		operation = field(item, "put")
	}
	if operation == nil {
		return out, fmt.Errorf("line %d: it has no \"post\"", item.Line)
	}
	out.Description = text(field(operation, "description"))
	for _, other := range []*yaml.Node{field(operation, "summary"), field(item, "description"), field(item, "summary")} {
		if out.Description == "" {
			out.Description = text(other)
		}
	}
	out.Description = strings.TrimSpace(out.Description)
	if tags := field(operation, "tags"); tags != nil && tags.Kind == yaml.SequenceNode && len(tags.Content) > 0 {
		out.Group = text(tags.Content[0])
	}
	out.Deprecated = text(field(operation, "deprecated")) == "true"
	body, err := r.follow(field(operation, "requestBody"))
	if err != nil || body == nil {
		return out, err
	}
	media, err := r.follow(jsonOf(field(body, "content")))
	if err != nil || media == nil {
		return out, err
	}
	schema := field(media, "schema")
	example, err := r.example(media, schema)
	if err != nil {
		return out, err
	}
	if member != "" && schema != nil {
		line := schema.Line
		if schema, err = r.memberOf(schema, member, 0); err != nil {
			return out, err
		}
		if schema == nil {
			return out, fmt.Errorf("line %d: the body has no member %.80q in its properties", line, member)
		}
		if own, err := r.example(nil, schema); err != nil {
			return out, err
		} else if example = field(example, member); example == nil {
			example = own
		}
	}
	if example != nil && example.Kind == yaml.MappingNode {
		out.Example = example
	}
	if schema != nil {
		out.Schema, err = r.bundle(schema)
	}
	return out, err
}

// jsonOf returns the media type that is JSON.
func jsonOf(content *yaml.Node) *yaml.Node {
	if content == nil || content.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(content.Content); i += 2 {
		kind, _, _ := strings.Cut(strings.ToLower(content.Content[i].Value), ";")
		if kind = strings.TrimSpace(kind); kind == "application/json" || strings.HasSuffix(kind, "+json") || kind == "*/*" {
			return content.Content[i+1]
		}
	}
	return nil
}

// example returns the example of a body: that of the media type, or that of the schema.
func (r *reader) example(media, schema *yaml.Node) (*yaml.Node, error) {
	if one := field(media, "example"); one != nil {
		return one, nil
	}
	if all := field(media, "examples"); all != nil && all.Kind == yaml.MappingNode && len(all.Content) > 1 {
		one, err := r.follow(all.Content[1])
		if err != nil {
			return nil, err
		}
		if value := field(one, "value"); value != nil {
			return value, nil
		}
	}
	schema, err := r.follow(schema)
	if err != nil {
		return nil, err
	}
	if all := field(schema, "examples"); all != nil && all.Kind == yaml.SequenceNode && len(all.Content) > 0 {
		return all.Content[0], nil
	}
	return field(schema, "example"), nil
}

// memberOf returns the schema of a member of an object, nil if it has none.
func (r *reader) memberOf(schema *yaml.Node, member string, depth int) (*yaml.Node, error) {
	schema, err := r.follow(schema)
	if err == nil {
		err = r.part(schema)
	}
	if err != nil {
		return nil, err
	}
	if found := field(field(schema, "properties"), member); found != nil {
		return found, nil
	}
	if parts := field(schema, "allOf"); parts != nil && depth < maxEnvelopes {
		for _, part := range parts.Content {
			if found, err := r.memberOf(part, member, depth+1); found != nil || err != nil {
				return found, err
			}
		}
	}
	return nil, nil
}

// follow returns the object that a reference object leads to.
func (r *reader) follow(n *yaml.Node) (*yaml.Node, error) {
	for range maxRefs {
		ref := field(n, "$ref")
		if ref == nil || ref.Kind != yaml.ScalarNode {
			return n, nil
		}
		target, err := r.target(ref)
		if err != nil {
			return nil, err
		}
		n = target
	}
	return nil, fmt.Errorf("line %d: more than %d references from one to the next; do they lead back to themselves?", n.Line, maxRefs)
}

// target returns what a reference points to.
func (r *reader) target(ref *yaml.Node) (*yaml.Node, error) {
	path, local := strings.CutPrefix(ref.Value, "#")
	if !local {
		return nil, fmt.Errorf("line %d: $ref %.200q leads out of the document, and nothing is loaded; put its target into this file", ref.Line, ref.Value)
	}
	if path != "" && path[0] != '/' {
		return nil, fmt.Errorf("line %d: $ref %.200q: only references with a path are followed, such as #/components/schemas/Payment", ref.Line, ref.Value)
	}
	at := r.root
	for _, step := range strings.Split(path, "/")[1:] {
		step = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
		next := field(at, step)
		if i, err := strconv.Atoi(step); at.Kind == yaml.SequenceNode && err == nil && i >= 0 && i < len(at.Content) {
			next = at.Content[i]
		}
		if next == nil {
			return nil, fmt.Errorf("line %d: $ref %.200q points nowhere", ref.Line, ref.Value)
		}
		at = next
	}
	return at, nil
}

// bundle returns a copy of a schema that contains all that it refers to, under $defs.
func (r *reader) bundle(schema *yaml.Node) (*yaml.Node, error) {
	b := &bundle{reader: r, names: map[*yaml.Node]string{}, taken: map[string]bool{}}
	out, err := b.schema(schema, 0)
	if err != nil {
		return nil, err
	}
	defs := &yaml.Node{Kind: yaml.MappingNode}
	for len(b.open) > 0 {
		target := b.open[0]
		b.open = b.open[1:]
		copied, err := b.schema(target, 0)
		if err != nil {
			return nil, err
		}
		defs.Content = append(defs.Content, word(b.names[target]), copied)
	}
	if len(defs.Content) == 0 {
		return out, nil
	}
	if out.Kind != yaml.MappingNode || field(out, "$defs") != nil {
		out = &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{word("allOf"), {Kind: yaml.SequenceNode, Content: []*yaml.Node{out}}}}
	}
	out.Content = append(out.Content, word("$defs"), defs)
	return out, nil
}

type bundle struct {
	*reader
	nodes int
	names map[*yaml.Node]string // of the targets, under $defs
	taken map[string]bool
	open  []*yaml.Node // targets that are not copied yet
}

// data are the keywords whose value is data, in which nothing is a reference.
var data = map[string]bool{"const": true, "enum": true, "default": true, "example": true, "examples": true}

// named are the keywords whose value has schemas under names of any kind.
var named = map[string]bool{"properties": true, "patternProperties": true, "$defs": true, "definitions": true, "dependentSchemas": true}

func (b *bundle) schema(n *yaml.Node, depth int) (*yaml.Node, error) {
	if err := b.count(n, depth); err != nil {
		return nil, err
	}
	if n.Kind != yaml.MappingNode {
		return b.list(n, depth)
	}
	out := &yaml.Node{Kind: yaml.MappingNode, Line: n.Line}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		var copied *yaml.Node
		var err error
		switch {
		case key.Value == "$ref" && value.Kind == yaml.ScalarNode:
			copied, err = b.reference(value)
		case key.Value == "$id" || key.Value == "$anchor" || key.Value == "$dynamicRef" || key.Value == "$dynamicAnchor":
			return nil, fmt.Errorf("line %d: %s is not read in a schema; use $ref with a path such as #/components/schemas/Payment", key.Line, key.Value)
		case data[key.Value]:
			copied, err = b.data(value, depth+1)
		case named[key.Value] && value.Kind == yaml.MappingNode:
			copied, err = b.members(value, depth+1)
		default:
			copied, err = b.schema(value, depth+1)
		}
		if err != nil {
			return nil, err
		}
		out.Content = append(out.Content, key, copied)
	}
	return out, nil
}

func (b *bundle) list(n *yaml.Node, depth int) (*yaml.Node, error) {
	if n.Kind != yaml.SequenceNode {
		return n, nil
	}
	out := &yaml.Node{Kind: n.Kind, Line: n.Line}
	for _, item := range n.Content {
		copied, err := b.schema(item, depth+1)
		if err != nil {
			return nil, err
		}
		out.Content = append(out.Content, copied)
	}
	return out, nil
}

func (b *bundle) members(n *yaml.Node, depth int) (*yaml.Node, error) {
	if err := b.count(n, depth); err != nil {
		return nil, err
	}
	out := &yaml.Node{Kind: n.Kind, Line: n.Line}
	for i := 0; i+1 < len(n.Content); i += 2 {
		copied, err := b.schema(n.Content[i+1], depth+1)
		if err != nil {
			return nil, err
		}
		out.Content = append(out.Content, n.Content[i], copied)
	}
	return out, nil
}

// data counts a value that is copied as it is.
func (b *bundle) data(n *yaml.Node, depth int) (*yaml.Node, error) {
	if err := b.count(n, depth); err != nil {
		return nil, err
	}
	for _, child := range n.Content {
		if _, err := b.data(child, depth+1); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func (b *bundle) count(n *yaml.Node, depth int) error {
	b.nodes++
	switch {
	case depth > maxDepth:
		return fmt.Errorf("line %d: the schema is nested more than %d levels deep", n.Line, maxDepth)
	case b.nodes > maxNodes:
		return fmt.Errorf("line %d: the schema has more than %d parts, with all that it refers to", n.Line, maxNodes)
	case n.Kind == yaml.AliasNode:
		return fmt.Errorf("line %d: anchors, aliases and tags are not supported", n.Line)
	}
	return b.part(n)
}

// part counts a part of a schema that is copied, or in which a member is looked for.
func (r *reader) part(n *yaml.Node) error {
	if r.all++; r.all > maxAllNodes {
		return fmt.Errorf("line %d: the schemas of all webhooks have more than %d parts", n.Line, maxAllNodes)
	}
	return nil
}

// reference returns a reference to the target's copy under $defs.
func (b *bundle) reference(ref *yaml.Node) (*yaml.Node, error) {
	target, err := b.target(ref)
	if err != nil {
		return nil, err
	}
	name, known := b.names[target]
	if !known {
		name = b.name(ref.Value)
		b.names[target] = name
		b.open = append(b.open, target)
	}
	return word("#/$defs/" + name), nil
}

// name makes a name for the target of a reference, from its path.
func (b *bundle) name(ref string) string {
	parts := strings.Split(strings.TrimPrefix(ref, "#/"), "/")
	if len(parts) > 2 && parts[0] == "components" {
		parts = parts[2:]
	}
	clean := strings.Map(func(c rune) rune {
		if c == '_' || c == '-' || c == '.' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' {
			return c
		}
		return '_'
	}, strings.Join(parts, "."))
	clean = clean[:min(len(clean), 100)]
	name := clean
	for i := 2; name == "" || b.taken[name]; i++ {
		name = clean + "_" + strconv.Itoa(i)
	}
	b.taken[name] = true
	return name
}

// field returns a member of a mapping, nil if there is none.
func field(n *yaml.Node, name string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return nil
}

func text(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
		return ""
	}
	return n.Value
}

func word(text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
}
