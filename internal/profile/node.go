package profile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// FileError is a mistake in a profile file.
type FileError struct {
	File   string
	Line   int // from 1
	Reason string
}

// Error returns "file:line: reason".
func (e *FileError) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Reason) }

// value is a node of the file with its path, which error reasons mention. Its reading
// methods record the first mistake in the file and continue with a zero value, so that
// callers need not check for errors after each call.
type value struct {
	file *file
	node *yaml.Node
	path string
}

// file is a file being loaded, with the first mistake found in it.
type file struct {
	name string
	err  *FileError
}

func (f *file) fail(line int, format string, args ...any) {
	if f.err == nil {
		f.err = &FileError{f.name, max(line, 1), fmt.Sprintf(format, args...)}
	}
}

func (v value) fail(format string, args ...any) {
	reason := fmt.Sprintf(format, args...)
	if v.path != "" {
		reason = v.path + ": " + reason
	}
	v.file.fail(v.node.Line, "%s", reason)
}

// present reports whether the file contains the member.
func (v value) present() bool { return v.node.Kind != 0 }

// members are the members of a mapping, in order.
type members struct {
	of   value
	keys []value
	vals []value
}

// mapping reads a mapping whose names are texts and occur only once.
func (v value) mapping() members {
	m := members{of: v}
	if v.node.Kind != yaml.MappingNode {
		v.fail("must be a mapping of names to values")
		return m
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key := value{v.file, v.node.Content[i], v.path}
		name := key.node.Value
		if key.node.Kind != yaml.ScalarNode || name == "" || key.node.Tag == "!!merge" {
			key.fail("a name must be plain text")
			continue
		}
		if seen[name] {
			key.fail("%q stands here twice", name)
		}
		seen[name] = true
		m.keys = append(m.keys, key)
		m.vals = append(m.vals, value{v.file, v.node.Content[i+1], strings.TrimPrefix(v.path+"."+name, ".")})
	}
	return m
}

// section reads a mapping according to its table. Unknown and missing names are mistakes.
func (v value) section(s *section) members {
	m := v.mapping()
	for _, key := range m.keys {
		if known := s.names(); !slices.Contains(known, key.node.Value) {
			key.fail("unknown name %q; known are %s", key.node.Value, strings.Join(known, ", "))
		}
	}
	for _, f := range s.fields {
		if f.required {
			m.need(f.name)
		}
	}
	return m
}

// get returns a member, or a value that is not present.
func (m members) get(name string) value {
	for i, key := range m.keys {
		if key.node.Value == name {
			return m.vals[i]
		}
	}
	missing := &yaml.Node{Line: m.of.node.Line}
	return value{m.of.file, missing, strings.TrimPrefix(m.of.path+"."+name, ".")}
}

// need returns a member, and records a mistake if it is missing.
func (m members) need(name string) value {
	v := m.get(name)
	if !v.present() {
		v.fail("is missing")
	}
	return v
}

// list reads a sequence.
func (v value) list() []value {
	if v.node.Kind != yaml.SequenceNode {
		v.fail("must be a list")
		return nil
	}
	items := make([]value, 0, len(v.node.Content))
	for i, node := range v.node.Content {
		items = append(items, value{v.file, node, fmt.Sprintf("%s[%d]", v.path, i)})
	}
	return items
}

// text reads a string. Numbers and booleans must be quoted.
func (v value) text() string {
	if !v.present() {
		return ""
	}
	if v.node.Kind != yaml.ScalarNode || v.node.ShortTag() != "!!str" {
		v.fail("must be a text")
		return ""
	}
	return v.node.Value
}

// word reads a text that must be one of the choices.
func (v value) word(choices ...string) string {
	got := v.text()
	if v.present() && !slices.Contains(choices, got) {
		v.fail("%q is not one of %s", got, strings.Join(choices, ", "))
	}
	return got
}

// flag reads true or false. It returns false if the value is absent.
func (v value) flag() bool {
	if v.present() && v.node.ShortTag() != "!!bool" {
		v.fail("must be true or false")
	}
	return strings.EqualFold(v.node.Value, "true")
}

// number reads an integer in the range low to high. It returns 0 if the value is absent.
func (v value) number(low, high int) int {
	if !v.present() {
		return 0
	}
	n, err := strconv.Atoi(v.node.Value)
	if v.node.Kind != yaml.ScalarNode || err != nil || n < low || n > high {
		v.fail("must be a whole number from %d to %d", low, high)
		return 0
	}
	return n
}

// fraction reads a decimal number in the range low to high. It returns 0 if the value is
// absent.
func (v value) fraction(low, high float64) float64 {
	if !v.present() {
		return 0
	}
	n, err := strconv.ParseFloat(v.node.Value, 64)
	if v.node.Kind != yaml.ScalarNode || err != nil || !(low <= n && n <= high) {
		v.fail("must be a number from %g to %g", low, high)
		return 0
	}
	return n
}

// duration reads a duration such as 90s, 5m or 120h in the range low to high. It returns 0
// if the value is absent.
func (v value) duration(low, high time.Duration) time.Duration {
	if !v.present() {
		return 0
	}
	d, err := time.ParseDuration(v.node.Value)
	if v.node.Kind != yaml.ScalarNode || err != nil || d < low || d > high {
		v.fail("must be a duration such as 90s, 5m or 24h, from %s to %s", low, high)
		return 0
	}
	return d
}
