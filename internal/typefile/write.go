// Package typefile has event types in files: it writes a catalogue as YAML, and reads event
// types from the webhooks of OpenAPI documents.
package typefile

import (
	"bytes"
	"encoding/json"
	"regexp"

	"go.yaml.in/yaml/v3"

	"github.com/posthorn/posthorn/client"
)

// Write returns the file of event types that sets a catalogue to these types. Schemas and
// examples keep the order of their members and the spelling of their numbers.
func Write(types []client.NewEventType) ([]byte, error) {
	list := &yaml.Node{Kind: yaml.SequenceNode}
	for _, t := range types {
		text, err := json.Marshal(t)
		if err != nil {
			return nil, err
		}
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		one, err := nodeOf(d)
		if err != nil {
			return nil, err
		}
		list.Content = append(list.Content, one)
	}
	if len(list.Content) == 0 {
		list.Style = yaml.FlowStyle
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	err := encoder.Encode(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{word("event_types"), list}})
	if err == nil {
		err = encoder.Close()
	}
	return out.Bytes(), err
}

// nodeOf reads the next JSON value.
func nodeOf(d *json.Decoder) (*yaml.Node, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch token := token.(type) {
	case json.Delim:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		if token == '{' {
			n.Kind = yaml.MappingNode
		}
		for d.More() { // names and values of an object take turns
			child, err := nodeOf(d)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, child)
		}
		if len(n.Content) == 0 {
			n.Style = yaml.FlowStyle
		}
		_, err = d.Token()
		return n, err
	case json.Number:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: token.String()}, nil
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: map[bool]string{true: "true", false: "false"}[token]}, nil
	case string:
		return quoted(token), nil
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Value: "null"}, nil
}

// plain are texts that cannot be taken for anything but text. The encoder quotes words such
// as true.
var plain = regexp.MustCompile(`^[A-Za-z_/#$][\w./ ,()-]*$`)

func quoted(text string) *yaml.Node {
	n := word(text)
	if !plain.MatchString(text) {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}
