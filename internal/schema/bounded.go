package schema

import (
	"encoding/json"
	"math/big"
	"reflect"
	"slices"
	"strconv"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// bounded is in every subschema. It stops a check that takes too long, and it decides
// uniqueItems and enum in linear time: the library compares values pair by pair, and data
// can be made so that its hashes of items collide.
type bounded struct {
	of     *compiled
	weight int // the subschema and the branches that it tries
	unique bool
	values []any           // of enum; nil: there is none
	keys   map[string]bool // of values
}

func newBounded(of *compiled, object map[string]any) bounded {
	b := bounded{of: of, weight: 1}
	for _, name := range []string{"anyOf", "oneOf", "allOf"} {
		branches, _ := object[name].([]any)
		b.weight += len(branches)
	}
	b.unique, _ = object["uniqueItems"].(bool)
	if values, ok := object["enum"].([]any); ok {
		b.values, b.keys = values, map[string]bool{}
		for _, value := range values {
			b.keys[string(appendKey(nil, value))] = true
		}
	}
	return b
}

// leaveToBounded takes from all schemas below a value what bounded decides.
func leaveToBounded(v reflect.Value, seen map[any]bool) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() || !v.CanInterface() || seen[v.Interface()] {
			return
		}
		seen[v.Interface()] = true
		if s, ok := v.Interface().(*jsonschema.Schema); ok {
			s.UniqueItems, s.Enum = false, nil
		} else if _, ok := v.Interface().(*jsonschema.DynamicRef); !ok {
			return
		}
		leaveToBounded(v.Elem(), seen)
	case reflect.Interface:
		if s, ok := v.Interface().(*jsonschema.Schema); ok {
			leaveToBounded(reflect.ValueOf(s), seen)
		} else if list, ok := v.Interface().([]*jsonschema.Schema); ok {
			leaveToBounded(reflect.ValueOf(list), seen)
		}
	case reflect.Slice:
		if v.Type().Elem() == reflect.TypeFor[*jsonschema.Schema]() {
			for i := range v.Len() {
				leaveToBounded(v.Index(i), seen)
			}
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			leaveToBounded(v.MapIndex(key), seen)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				leaveToBounded(v.Field(i), seen)
			}
		}
	}
}

// Validate counts the evaluation and decides uniqueItems and enum.
func (b bounded) Validate(ctx *jsonschema.ValidatorContext, value any) {
	b.count(b.weight)
	if b.values != nil && !b.keys[string(appendKey(nil, value))] {
		ctx.AddError(&kind.Enum{Got: value, Want: b.values})
	}
	if list, ok := value.([]any); ok && b.unique {
		b.count(len(list))
		at := make(map[string]int, len(list))
		for i, item := range list {
			key := string(appendKey(nil, item))
			if first, twice := at[key]; twice {
				ctx.AddError(&kind.UniqueItems{Duplicates: [2]int{first, i}})
				return
			}
			at[key] = i
		}
	}
}

func (b bounded) count(n int) {
	if b.of.left -= n; b.of.left < 0 {
		panic(errTooLong) // recovered in run: the library has no other way to stop
	}
}

// appendKey appends a text that two values share exactly if they are equal by JSON Schema:
// numbers by their value, objects whatever the order of their members.
func appendKey(to []byte, value any) []byte {
	switch value := value.(type) {
	case map[string]any:
		names := make([]string, 0, len(value))
		for name := range value {
			names = append(names, name)
		}
		slices.Sort(names)
		to = append(to, '{')
		for _, name := range names {
			to = appendKey(append(strconv.AppendQuote(to, name), ':'), value[name])
			to = append(to, ',')
		}
		return append(to, '}')
	case []any:
		to = append(to, '[')
		for _, item := range value {
			to = append(appendKey(to, item), ',')
		}
		return append(to, ']')
	case json.Number:
		number, ok := new(big.Rat).SetString(string(value))
		if !ok {
			return append(to, value...)
		}
		return append(to, number.RatString()...)
	case string:
		return strconv.AppendQuote(to, value)
	case bool:
		return strconv.AppendBool(to, value)
	}
	return append(to, "null"...)
}
