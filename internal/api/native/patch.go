package native

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/posthorn/posthorn/internal/api/strict"
	"github.com/posthorn/posthorn/internal/hook"
)

// patch reads the members of a merge patch (RFC 7396) one by one and keeps the first
// error.
type patch struct {
	values map[string]jsontext.Value
	err    error
}

// take removes and returns a member. null means a reset.
func (p *patch) take(name string) (value jsontext.Value, null, present bool) {
	value, null, present = p.peek(name)
	delete(p.values, name)
	return value, null, present
}

// peek returns a member without removing it.
func (p *patch) peek(name string) (value jsontext.Value, null, present bool) {
	value, present = p.values[name]
	return value, present && value.Kind() == 'n', present
}

// patched returns the value of a member: reset for null, nil if it is absent.
func patched[T any](p *patch, name string, reset T) *T {
	value, null, present := p.take(name)
	switch {
	case !present:
		return nil
	case null:
		return &reset
	}
	var v T
	p.decode(name, value, &v)
	return &v
}

// required is patched for a member that cannot be reset.
func required[T any](p *patch, name, want string) *T {
	if _, null, _ := p.peek(name); null {
		p.blame(strict.Wrong(name, want))
	}
	var zero T
	return patched(p, name, zero)
}

func (p *patch) decode(name string, value jsontext.Value, v any) {
	err := strict.Decode(value, v)
	if e, ok := errors.AsType[*hook.Error](err); ok {
		moved := *e
		moved.Field = name
		if e.Field != "" {
			moved.Field += "/" + e.Field
		}
		switch {
		case e.Code == hook.CodeUnknownField:
			err = strict.Unknown(moved.Field)
		case e.Field == "":
			moved.Message = fmt.Sprintf("%q does not have the right kind of value.", name)
			err = &moved
		default:
			err = &moved
		}
	}
	p.blame(err)
}

func (p *patch) blame(err error) {
	if p.err == nil {
		p.err = err
	}
}

// readOnly refuses members that exist but cannot be changed.
func (p *patch) readOnly(names ...string) {
	for _, name := range names {
		if _, _, present := p.take(name); present {
			p.blame(&hook.Error{Code: hook.CodeInvalidRequest, Field: name, Message: fmt.Sprintf("%q cannot be changed.", name)})
		}
	}
}

// end returns the first error. Members that were not taken are unknown.
func (p *patch) end() error {
	for _, name := range slices.Sorted(maps.Keys(p.values)) {
		p.blame(strict.Unknown(name))
	}
	return p.err
}
