package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// Effect is what a difference means for receivers that know the earlier schema.
type Effect string

// The values of Effect.
const (
	Compatible Effect = "compatible" // data of the later schema is data of the earlier one
	Breaking   Effect = "breaking"   // data of the later schema may be none of the earlier one
	Unclear    Effect = "unclear"    // it cannot be told from the keywords
)

// Difference is one difference between two schemas.
type Difference struct {
	Pointer string // JSON pointer into the data, with * for each item or further member; empty for all of it
	Effect  Effect
	Message string // a sentence
}

// Bounds of a comparison.
const (
	maxDifferences = 100
	maxCompared    = 50_000 // subschemas and values
	maxCompareDeep = 64
)

// Compare lists the differences between an earlier and a later schema, as receivers see
// them: a later schema is compatible if its data is data of the earlier one too. A nil
// schema allows all data. Annotations such as titles are not compared. It stops after a
// bounded number of differences, subschemas and levels, and then returns more.
func Compare(earlier, later []byte) (list []Difference, more bool) {
	c := &comparison{followed: map[[2]string]bool{{"#", "#"}: true}}
	var err error
	if c.roots[0], err = parsed(earlier); err == nil {
		c.roots[1], err = parsed(later)
	}
	if err != nil {
		return []Difference{{Effect: Unclear, Message: "A schema is not JSON."}}, false
	}
	c.schemas("", c.roots[0], c.roots[1], 0)
	return c.list, c.more
}

func parsed(text []byte) (any, error) {
	if text == nil {
		return true, nil
	}
	return decode(text)
}

type comparison struct {
	roots    [2]any
	list     []Difference
	more     bool
	steps    int
	followed map[[2]string]bool // pairs of references that were compared
}

func (c *comparison) add(pointer string, effect Effect, format string, args ...any) {
	if len(c.list) == maxDifferences {
		c.more = true
		return
	}
	c.list = append(c.list, Difference{pointer, effect, shortened(fmt.Sprintf(format, args...))})
}

// step counts n steps and reports whether the comparison may go on.
func (c *comparison) step(n int) bool {
	c.steps += n
	c.more = c.more || c.steps > maxCompared
	return !c.more
}

// keywords that say nothing about which data is valid.
var annotations = map[string]bool{"title": true, "description": true, "default": true, "examples": true, "example": true, "deprecated": true, "readOnly": true,
	"writeOnly": true, "$comment": true, "$schema": true, "$id": true, "$anchor": true, "$defs": true, "definitions": true, "externalDocs": true, "xml": true}

// schemas compares two subschemas for the data at a pointer.
func (c *comparison) schemas(pointer string, earlier, later any, depth int) {
	if depth > maxCompareDeep {
		c.more = true
	}
	if !c.step(1) {
		return
	}
	a, refA := c.resolved(0, earlier)
	b, refB := c.resolved(1, later)
	if refA != "" && refB != "" {
		if c.followed[[2]string{refA, refB}] {
			return
		}
		c.followed[[2]string{refA, refB}] = true
	}
	if a == nil || b == nil {
		switch {
		case a == nil && b == nil:
		case a == nil:
			c.add(pointer, Breaking, "It may be there now; the earlier schema allowed nothing here.")
		default:
			c.add(pointer, Compatible, "Nothing is allowed here any more.")
		}
		return
	}
	if len(a) == 0 && len(b) > 0 {
		for name := range b {
			if !annotations[name] {
				c.add(pointer, Compatible, "It was anything; it has a schema now.")
				return
			}
		}
		return
	}
	c.types(pointer, a, b)
	c.values(pointer, a, b)
	c.bounds(pointer, a, b)
	c.members(pointer, a, b, depth)
	c.parts(pointer, a, b, depth)
	c.others(pointer, a, b, depth)
}

// resolved returns a subschema as an object: that which its $ref points to, with the
// keywords beside the $ref; an empty one for true; nil for false. ref names the target.
func (c *comparison) resolved(side int, v any) (object map[string]any, ref string) {
	for range 16 {
		switch is := v.(type) {
		case bool:
			if is {
				return map[string]any{}, ref
			}
			return nil, ref
		case map[string]any:
			target, ok := is["$ref"].(string)
			if !ok {
				return is, ref
			}
			found, known := pointed(c.roots[side], target)
			if !known {
				return is, ref
			}
			if ref == "" {
				ref = target
			}
			if len(is) > 1 {
				if beside, ok := found.(map[string]any); ok {
					merged := maps.Clone(beside)
					for name, value := range is {
						if name != "$ref" {
							merged[name] = value
						}
					}
					found = merged
				}
			}
			v = found
		default:
			return map[string]any{}, ref
		}
	}
	return map[string]any{}, ref
}

// pointed returns what a reference within the document points to.
func pointed(root any, ref string) (any, bool) {
	path, ok := strings.CutPrefix(ref, "#")
	if !ok || path != "" && path[0] != '/' {
		return nil, false
	}
	at := root
	for _, step := range strings.Split(path, "/")[1:] {
		step = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
		switch is := at.(type) {
		case map[string]any:
			if at, ok = is[step]; !ok {
				return nil, false
			}
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(is) {
				return nil, false
			}
			at = is[i]
		default:
			return nil, false
		}
	}
	return at, true
}

var allTypes = []string{"array", "boolean", "integer", "null", "number", "object", "string"}

func typesOf(s map[string]any) []string {
	var list []string
	switch is := s["type"].(type) {
	case string:
		list = []string{is}
	case []any:
		for _, one := range is {
			if name, ok := one.(string); ok {
				list = append(list, name)
			}
		}
	default:
		return allTypes
	}
	if slices.Contains(list, "number") && !slices.Contains(list, "integer") {
		list = append(list, "integer")
	}
	slices.Sort(list)
	return list
}

func (c *comparison) types(pointer string, a, b map[string]any) {
	was, is := typesOf(a), typesOf(b)
	if slices.Equal(was, is) {
		return
	}
	if len(is) == len(allTypes) {
		c.add(pointer, Breaking, "It may be of any type now; it was of type %s.", words(was))
		return
	}
	if fresh := without(is, was); len(fresh) > 0 {
		c.add(pointer, Breaking, "It may be of type %s now, which it was not before.", words(fresh))
	}
	if gone := without(was, is); len(gone) > 0 {
		c.add(pointer, Compatible, "It is never of type %s any more.", words(gone))
	}
}

func without(list, these []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(one string) bool { return slices.Contains(these, one) })
}

func words(list []string) string {
	const most = 8
	if len(list) > most {
		return strings.Join(list[:most], ", ") + fmt.Sprintf(" and %d more", len(list)-most)
	}
	if last := len(list) - 1; last > 0 {
		return strings.Join(list[:last], ", ") + " or " + list[last]
	}
	return strings.Join(list, "")
}

// values compares enum and const.
func (c *comparison) values(pointer string, a, b map[string]any) {
	was, limited := valuesOf(a)
	is, stays := valuesOf(b)
	c.step(len(was) + len(is))
	switch {
	case !limited && stays:
		c.add(pointer, Compatible, "Only certain values are left: %s.", words(is))
	case limited && !stays:
		c.add(pointer, Breaking, "It may have any value now; it was %s.", words(was))
	case limited:
		known := map[string]bool{}
		for _, v := range was {
			known[v] = true
		}
		fresh := slices.DeleteFunc(slices.Clone(is), func(v string) bool { return known[v] })
		if len(fresh) > 0 {
			c.add(pointer, Breaking, "It may be %s now, which it was not before.", words(fresh))
		}
		if len(is)-len(fresh) < len(was) {
			left := map[string]bool{}
			for _, v := range is {
				left[v] = true
			}
			c.add(pointer, Compatible, "It is never %s any more.", words(slices.DeleteFunc(slices.Clone(was), func(v string) bool { return left[v] })))
		}
	}
}

func valuesOf(s map[string]any) (list []string, limited bool) {
	if one, ok := s["const"]; ok {
		return []string{string(appendKey(nil, one))}, true
	}
	values, ok := s["enum"].([]any)
	for _, v := range values {
		list = append(list, string(appendKey(nil, v)))
	}
	return list, ok
}

// bounds compares keywords with one value.
func (c *comparison) bounds(pointer string, a, b map[string]any) {
	for _, k := range []struct {
		name  string
		lower bool // a smaller value allows more
	}{{"minimum", true}, {"exclusiveMinimum", true}, {"minLength", true}, {"minItems", true}, {"minProperties", true},
		{"maximum", false}, {"exclusiveMaximum", false}, {"maxLength", false}, {"maxItems", false}, {"maxProperties", false}} {
		was, had := a[k.name].(json.Number)
		is, has := b[k.name].(json.Number)
		switch {
		case had && !has:
			c.add(pointer, Breaking, "%s was %s and is gone.", k.name, was)
		case !had && has:
			c.add(pointer, Compatible, "%s is new: %s.", k.name, is)
		case had:
			if order, ok := ordered(was, is); !ok {
				c.add(pointer, Unclear, "%s was %s and is %s.", k.name, was, is)
			} else if order != 0 {
				effect := Compatible
				if (order > 0) == k.lower {
					effect = Breaking
				}
				c.add(pointer, effect, "%s was %s and is %s.", k.name, was, is)
			}
		}
	}
	if was, is := a["uniqueItems"] == true, b["uniqueItems"] == true; was && !is {
		c.add(pointer, Breaking, "An item may be there twice now.")
	} else if is && !was {
		c.add(pointer, Compatible, "No item is there twice any more.")
	}
	for _, name := range []string{"pattern", "format", "multipleOf", "contentEncoding", "contentMediaType"} {
		was, had := a[name]
		is, has := b[name]
		switch {
		case had && !has:
			c.add(pointer, Breaking, "%s was %s and is gone.", name, appendKey(nil, was))
		case !had && has:
			c.add(pointer, Compatible, "%s is new: %s.", name, appendKey(nil, is))
		case had && !equal(was, is):
			effect := Unclear
			if name != "pattern" && name != "multipleOf" {
				effect = Breaking
			}
			c.add(pointer, effect, "%s was %s and is %s.", name, appendKey(nil, was), appendKey(nil, is))
		}
	}
}

// ordered compares two numbers. It is not ok if they are too large to calculate with.
func ordered(a, b json.Number) (order int, ok bool) {
	for _, n := range []json.Number{a, b} {
		if _, huge := hugeNumber(n); huge {
			return 0, false
		}
	}
	x, okX := new(big.Rat).SetString(string(a))
	y, okY := new(big.Rat).SetString(string(b))
	if !okX || !okY {
		return 0, false
	}
	return x.Cmp(y), true
}

func equal(a, b any) bool { return bytes.Equal(appendKey(nil, a), appendKey(nil, b)) }

// members compares properties, required and additionalProperties.
func (c *comparison) members(pointer string, a, b map[string]any, depth int) {
	was, is := object(a["properties"]), object(b["properties"])
	needed, needs := names(a["required"]), names(b["required"])
	moreA, moreB := orTrue(a["additionalProperties"]), orTrue(b["additionalProperties"])
	all := slices.Collect(maps.Keys(was))
	for _, m := range []map[string]bool{needed, needs} {
		for name := range m {
			if _, there := was[name]; !there {
				all = append(all, name)
			}
		}
	}
	for name := range is {
		if _, there := was[name]; !there {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	for _, name := range slices.Compact(all) {
		at := pointer + pointerTo([]string{name})
		old, had := was[name]
		now, has := is[name]
		switch {
		case had && !has:
			c.add(at, Breaking, "The member is gone.")
			continue
		case !had && has && moreA == false:
			c.add(at, Breaking, "The member is new, and the earlier schema allowed no others.")
		case !had && has && moreA != true:
			c.schemas(at, moreA, now, depth+1)
		case !had && has && needs[name]:
			c.add(at, Compatible, "The member is new and always there.")
			continue
		case !had && has:
			c.add(at, Compatible, "The member is new and may be left out.")
			continue
		case had:
			c.schemas(at, old, now, depth+1)
		}
		switch {
		case needed[name] && !needs[name]:
			c.add(at, Breaking, "The member may be left out now.")
		case !needed[name] && needs[name]:
			c.add(at, Compatible, "The member is always there now.")
		}
		if !c.step(1) {
			return
		}
	}
	c.rest(pointer+"/*", moreA, moreB, "Further members", depth)
}

// rest compares the schemas of further members or items.
func (c *comparison) rest(pointer string, a, b any, what string, depth int) {
	switch {
	case a == true && b == true, a == false && b == false:
	case a == false:
		c.add(pointer, Breaking, "%s are allowed now.", what)
	case b == false:
		c.add(pointer, Compatible, "%s are not allowed any more.", what)
	case b == true:
		c.add(pointer, Breaking, "%s may be anything now.", what)
	case a == true:
		c.add(pointer, Compatible, "%s were anything; they have a schema now.", what)
	default:
		c.schemas(pointer, a, b, depth+1)
	}
}

func orTrue(v any) any {
	if v == nil {
		return true
	}
	if o, ok := v.(map[string]any); ok && len(o) == 0 {
		return true
	}
	return v
}

func object(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

func names(v any) map[string]bool {
	list, _ := v.([]any)
	set := make(map[string]bool, len(list))
	for _, one := range list {
		if name, ok := one.(string); ok {
			set[name] = true
		}
	}
	return set
}

// parts compares items, and the branches of allOf, anyOf and oneOf.
func (c *comparison) parts(pointer string, a, b map[string]any, depth int) {
	c.rest(pointer+"/*", orTrue(a["items"]), orTrue(b["items"]), "Items", depth)
	for _, name := range []string{"allOf", "anyOf", "oneOf"} {
		was, had := a[name].([]any)
		is, has := b[name].([]any)
		switch {
		case !had && !has:
		case len(was) == len(is):
			for i := range was {
				c.schemas(pointer, was[i], is[i], depth+1)
			}
		case !had:
			c.add(pointer, Compatible, "%s is new.", name)
		case !has:
			c.add(pointer, Breaking, "%s is gone.", name)
		case name == "allOf" && c.among(was, is):
			c.add(pointer, Compatible, "allOf asks for more than before.")
		case name == "allOf":
			c.add(pointer, Breaking, "allOf has %d branches; it had %d.", len(is), len(was))
		case c.among(is, was):
			c.add(pointer, Compatible, "%s allows fewer forms than before.", name)
		default:
			c.add(pointer, Breaking, "%s allows a form that it did not allow before.", name)
		}
		if !c.step(1) {
			return
		}
	}
}

// among reports whether each of the branches is one of all.
func (c *comparison) among(branches, all []any) bool {
	known := map[string]bool{}
	for _, one := range all {
		known[string(appendKey(nil, one))] = true
	}
	c.step(len(branches) + len(all))
	return !slices.ContainsFunc(branches, func(one any) bool { return !known[string(appendKey(nil, one))] })
}

var compared = map[string]bool{"type": true, "enum": true, "const": true, "minimum": true, "exclusiveMinimum": true, "minLength": true, "minItems": true,
	"minProperties": true, "maximum": true, "exclusiveMaximum": true, "maxLength": true, "maxItems": true, "maxProperties": true, "uniqueItems": true,
	"pattern": true, "format": true, "multipleOf": true, "contentEncoding": true, "contentMediaType": true, "properties": true, "required": true,
	"additionalProperties": true, "items": true, "allOf": true, "anyOf": true, "oneOf": true, "$ref": true}

// others compares the keywords that have no rule of their own.
func (c *comparison) others(pointer string, a, b map[string]any, depth int) {
	all := slices.Collect(maps.Keys(a))
	for name := range b {
		if _, there := a[name]; !there {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	for _, name := range all {
		if annotations[name] || compared[name] {
			continue
		}
		was, had := a[name]
		is, has := b[name]
		switch {
		case !had:
			c.add(pointer, Unclear, "%s is new.", name)
		case !has:
			c.add(pointer, Unclear, "%s is gone.", name)
		case !equal(was, is):
			c.add(pointer, Unclear, "%s has changed.", name)
		default:
			c.references(pointer, was, depth)
		}
		if !c.step(1) {
			return
		}
	}
}

// references compares what the references in an equal value point to on both sides.
func (c *comparison) references(pointer string, v any, depth int) {
	if depth > maxCompareDeep || !c.step(1) {
		c.more = true
		return
	}
	switch is := v.(type) {
	case map[string]any:
		if ref, ok := is["$ref"].(string); ok {
			c.schemas(pointer, map[string]any{"$ref": ref}, map[string]any{"$ref": ref}, depth+1)
		}
		for _, name := range slices.Sorted(maps.Keys(is)) {
			c.references(pointer, is[name], depth+1)
		}
	case []any:
		for _, one := range is {
			c.references(pointer, one, depth+1)
		}
	}
}
