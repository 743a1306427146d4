package adapter

import (
	"errors"
	"maps"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/posthorn/posthorn/internal/api/strict"
	"github.com/posthorn/posthorn/internal/hook"
)

// Members are the members of a request's JSON object, taken one by one. What is
// wrong with them is gathered, in the order in which it was found.
type Members struct {
	values map[string]jsontext.Value
	wrong  []*hook.Error
}

// ReadMembers reads a JSON object: CodeInvalidJSON for what is not strict JSON,
// CodeInvalidRequest without a field for another kind of value.
func ReadMembers(body []byte) (*Members, error) {
	m := &Members{}
	if err := strict.Decode(body, &m.values); err != nil {
		return nil, err
	}
	if m.values == nil { // null
		return nil, strict.Wrong("", "an object")
	}
	return m, nil
}

// Has reports whether the member was sent and not taken yet.
func (m *Members) Has(name string) bool {
	_, present := m.values[name]
	return present
}

// Take hands out a member, nil if it is absent or of another kind, which is noted.
// null is a kind of its own that no member may have.
func Take[T any](m *Members, name, want string) *T {
	value, present := m.values[name]
	delete(m.values, name)
	if !present {
		return nil
	}
	var v T
	err := strict.Decode(value, &v)
	if value.Kind() == 'n' || err != nil {
		field := name
		if inner, ok := errors.AsType[*hook.Error](err); ok && inner.Field != "" {
			field += "/" + inner.Field
		}
		m.Blame(field, "must be "+want+".")
		return nil
	}
	return &v
}

// Refuse notes every named member that was sent, with the sentence.
func (m *Members) Refuse(sentence string, names ...string) {
	for _, name := range names {
		if m.Has(name) {
			delete(m.values, name)
			m.Blame(name, sentence)
		}
	}
}

// Blame notes a sentence about a member; it goes on after the member's name.
func (m *Members) Blame(field, sentence string) {
	m.wrong = append(m.wrong, &hook.Error{Code: hook.CodeInvalidRequest, Field: field, Message: sentence})
}

// Wrong returns everything that was noted, then the members that nobody took, in
// the order of their names, as CodeUnknownField.
func (m *Members) Wrong() []*hook.Error {
	wrong := m.wrong
	for _, name := range slices.Sorted(maps.Keys(m.values)) {
		wrong = append(wrong, &hook.Error{Code: hook.CodeUnknownField, Field: name, Message: "is not known."})
	}
	return wrong
}
