package cli

import (
	"strings"
	"testing"
)

func TestTypesOfAFile(t *testing.T) {
	list, err := readTypes([]byte(`
event_types:
  - name: orders/create
    check: reject
    schema: {type: object, required: [id], properties: {z: {maximum: 12345678901234567890.50}, a: {}}}
    example:
      id: "7"
      at: 2026-01-31
  - {"name": "payment.settled", "example": {"n": 1e400}}
`))
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	if got := string(list[0].Schema); got != `{"type":"object","required":["id"],"properties":{"z":{"maximum":12345678901234567890.50},"a":{}}}` {
		t.Errorf("schema %s", got)
	}
	if got := string(list[0].Example) + string(list[1].Example); got != `{"id":"7","at":"2026-01-31"}{"n":1e400}` {
		t.Errorf("examples %s", got)
	}
	for text, want := range map[string]string{
		"":                                       "not YAML",
		"a: [":                                   "not YAML",
		"- name: a":                              "line 1: must be a mapping",
		"event_types: 5":                         "line 1: must be a mapping",
		"event_types:\n  - name: a b":            `line 2: the name "a b" has ' ' as character 2`,
		"event_types:\n  - {}":                   `line 2: the name "" is empty`,
		"event_types:\n  - name: a\n  - name: a": "line 3: a is listed twice",
		"event_types:\n  - name: a\n    nmae: b": `line 2: not an event type: json: unknown field "nmae"`,
		"event_types:\n  - name: a\n    name: b": "line 3: a name must be plain text and unique",
		"event_types:\n  - &x {name: a}":         "line 2: anchors",
		"event_types:\n  - name: a\n    schema: {maximum: 0x10}":                   `line 3: "0x10" is not a number`,
		"event_types: [" + strings.Repeat("[", 70) + strings.Repeat("]", 70) + "]": "nested more than",
		"event_types: []\n---\na: 1":                                               "one document",
		"event_types: [" + strings.Repeat("{name: a},", 1001) + "]":                "more than 1000",
	} {
		if _, err := readTypes([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", text, err, want)
		}
	}
}
