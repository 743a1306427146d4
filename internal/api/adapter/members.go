package adapter

import (
	"errors"
	"maps"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/posthorn/posthorn/internal/api/strict"
	"github.com/posthorn/posthorn/internal/hook"
)

// Members holds the members of a request's JSON object, which are taken one by one. It
// collects errors in the order in which they are found.
type Members struct {
	values map[string]jsontext.Value
	wrong  []*hook.Error
}

// ReadMembers parses a JSON object. A text that is not strict JSON is CodeInvalidJSON;
// another kind of value is CodeInvalidRequest without a field.
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

// Has reports whether the member was sent and has not been taken yet.
func (m *Members) Has(name string) bool {
	_, present := m.values[name]
	return present
}

// Take removes and returns a member. It returns nil if the member is absent or has
// another kind, which it records as an error. null is a kind that no member may have.
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

// Refuse records an error with the sentence for each named member that was sent.
func (m *Members) Refuse(sentence string, names ...string) {
	for _, name := range names {
		if m.Has(name) {
			delete(m.values, name)
			m.Blame(name, sentence)
		}
	}
}

// Blame records an error about a member. The sentence continues after the member's
// name.
func (m *Members) Blame(field, sentence string) {
	m.wrong = append(m.wrong, &hook.Error{Code: hook.CodeInvalidRequest, Field: field, Message: sentence})
}

// Wrong returns all recorded errors, followed by CodeUnknownField for each member that
// was not taken, in the order of their names.
func (m *Members) Wrong() []*hook.Error {
	wrong := m.wrong
	for _, name := range slices.Sorted(maps.Keys(m.values)) {
		wrong = append(wrong, &hook.Error{Code: hook.CodeUnknownField, Field: name, Message: "is not known."})
	}
	return wrong
}
