package schema

import (
	"encoding/json"
	"math/big"
	"reflect"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// plain is a compiled schema of common keywords only. It recognizes data that matches, in a
// fraction of the library's time, because it neither explains nor keeps track of what was
// evaluated. Whatever it does not recognize, the library decides.
type plain struct {
	always                 *bool
	types                  map[string]bool // nil: any
	ref                    *plain
	required               []string
	properties             map[string]*plain
	further                *plain // additionalProperties; nil: any
	items                  *plain // nil: any
	minLength, maxLength   *int
	minItems, maxItems     *int
	minMembers, maxMembers *int
	pattern                jsonschema.Regexp
	minimum, maximum       *big.Rat
	above, below           *big.Rat
	bounded                bounded
}

// understood are the fields of a compiled schema that plain covers, and annotations. A
// schema in which another field is set is not plain.
var understood = map[string]bool{"DraftVersion": true, "Location": true, "Bool": true, "ID": true, "Ref": true, "Anchor": true, "Types": true, "MaxProperties": true,
	"MinProperties": true, "Required": true, "Properties": true, "AdditionalProperties": true, "MinItems": true, "MaxItems": true, "Items2020": true, "MinLength": true,
	"MaxLength": true, "Pattern": true, "Maximum": true, "Minimum": true, "ExclusiveMaximum": true, "ExclusiveMinimum": true, "Extensions": true, "Title": true,
	"Description": true, "Default": true, "Comment": true, "ReadOnly": true, "WriteOnly": true, "Examples": true, "Deprecated": true}

// plainOf returns the plain form of a schema, nil if it has other keywords.
func plainOf(s *jsonschema.Schema, seen map[*jsonschema.Schema]*plain) *plain {
	if p, ok := seen[s]; ok {
		return p
	}
	v := reflect.ValueOf(s).Elem()
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() && !understood[f.Name] && !v.Field(i).IsZero() {
			return nil
		}
	}
	if s.DraftVersion != 2020 || s.Bool == nil && len(s.Extensions) != 1 {
		return nil
	}
	p := &plain{always: s.Bool, required: s.Required, minLength: s.MinLength, maxLength: s.MaxLength, minItems: s.MinItems, maxItems: s.MaxItems,
		minMembers: s.MinProperties, maxMembers: s.MaxProperties, pattern: s.Pattern, minimum: s.Minimum, maximum: s.Maximum, above: s.ExclusiveMinimum, below: s.ExclusiveMaximum}
	seen[s] = p
	if s.Bool == nil {
		var ok bool
		if p.bounded, ok = s.Extensions[0].(bounded); !ok {
			return nil
		}
	}
	if s.Types != nil && !s.Types.IsEmpty() {
		p.types = map[string]bool{}
		for _, name := range s.Types.ToStrings() {
			p.types[name] = true
		}
	}
	of := func(child *jsonschema.Schema, to **plain) bool {
		if child == nil {
			return true
		}
		*to = plainOf(child, seen)
		return *to != nil
	}
	if !of(s.Ref, &p.ref) || !of(s.Items2020, &p.items) {
		return nil
	}
	switch further := s.AdditionalProperties.(type) {
	case bool:
		if !further {
			p.further = &plain{always: new(bool)}
		}
	case *jsonschema.Schema:
		if !of(further, &p.further) {
			return nil
		}
	}
	p.properties = make(map[string]*plain, len(s.Properties))
	for name, child := range s.Properties {
		if p.properties[name] = plainOf(child, seen); p.properties[name] == nil {
			return nil
		}
	}
	return p
}

// recognizes reports whether a value surely matches. left is the number of evaluations that
// remain.
func (p *plain) recognizes(value any, left *int) bool {
	if *left -= max(1, p.bounded.weight); *left < 0 {
		return false
	}
	if p.always != nil {
		return *p.always
	}
	if p.ref != nil && !p.ref.recognizes(value, left) {
		return false
	}
	if p.bounded.values != nil && !p.bounded.keys[string(appendKey(nil, value))] {
		return false
	}
	switch value := value.(type) {
	case map[string]any:
		return p.is("object") && p.object(value, left)
	case []any:
		return p.is("array") && p.list(value, left)
	case string:
		if !p.is("string") || p.pattern != nil && !p.pattern.MatchString(value) {
			return false
		}
		return p.minLength == nil && p.maxLength == nil || within(utf8.RuneCountInString(value), p.minLength, p.maxLength)
	case json.Number:
		return p.number(string(value))
	case bool:
		return p.is("boolean")
	}
	return value == nil && p.is("null")
}

func (p *plain) is(kind string) bool { return p.types == nil || p.types[kind] }

func within(n int, least, most *int) bool {
	return (least == nil || n >= *least) && (most == nil || n <= *most)
}

func (p *plain) object(object map[string]any, left *int) bool {
	if !within(len(object), p.minMembers, p.maxMembers) {
		return false
	}
	for _, name := range p.required {
		if _, ok := object[name]; !ok {
			return false
		}
	}
	for name, value := range object {
		of := p.properties[name]
		if of == nil {
			of = p.further
		}
		if of != nil && !of.recognizes(value, left) {
			return false
		}
	}
	return true
}

func (p *plain) list(list []any, left *int) bool {
	if !within(len(list), p.minItems, p.maxItems) {
		return false
	}
	if p.bounded.unique {
		if *left -= len(list); *left < 0 {
			return false
		}
		seen := make(map[string]bool, len(list))
		for _, item := range list {
			key := string(appendKey(nil, item))
			if seen[key] {
				return false
			}
			seen[key] = true
		}
	}
	if p.items != nil {
		for _, item := range list {
			if !p.items.recognizes(item, left) {
				return false
			}
		}
	}
	return true
}

// number leaves integers with a fraction or an exponent to the library.
func (p *plain) number(text string) bool {
	if !p.is("number") {
		if !p.is("integer") {
			return false
		}
		for i := range len(text) {
			if c := text[i]; (c < '0' || c > '9') && (i > 0 || c != '-') {
				return false
			}
		}
	}
	if p.minimum == nil && p.maximum == nil && p.above == nil && p.below == nil {
		return true
	}
	n, ok := new(big.Rat).SetString(text)
	return ok && (p.minimum == nil || n.Cmp(p.minimum) >= 0) && (p.maximum == nil || n.Cmp(p.maximum) <= 0) &&
		(p.above == nil || n.Cmp(p.above) > 0) && (p.below == nil || n.Cmp(p.below) < 0)
}
