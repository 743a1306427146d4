package native_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// jsonSchema checks values against the part of JSON Schema that the document uses. An
// unknown keyword is a violation: nothing is ignored.
type jsonSchema struct {
	components map[string]any // schemas by name
}

var uuidText = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// check returns what is wrong with a value, with the place of each error.
func (v jsonSchema) check(at string, schema map[string]any, value any) []string {
	var out []string
	wrong := func(format string, args ...any) { out = append(out, at+": "+fmt.Sprintf(format, args...)) }
	for keyword, want := range schema {
		switch keyword {
		case "description", "title", "examples", "default", "deprecated", "contentEncoding":
		case "$ref":
			out = append(out, v.check(at, v.component(want), value)...)
		case "type":
			if !isOneOf(value, want) {
				wrong("%v is not of the type %v", value, want)
			}
		case "enum":
			if !slices.Contains(want.([]any), value) {
				wrong("%v is none of %v", value, want)
			}
		case "format":
			if text, ok := value.(string); ok && !hasFormat(text, want) {
				wrong("%q has not the format %v", text, want)
			}
		case "anyOf":
			out = append(out, v.anyOf(at, want.([]any), value)...)
		case "items":
			for i, item := range slice(value) {
				out = append(out, v.check(fmt.Sprintf("%s[%d]", at, i), want.(map[string]any), item)...)
			}
		case "required":
			for _, name := range want.([]any) {
				if members, ok := value.(map[string]any); ok && !has(members, name.(string)) {
					wrong("%v is missing", name)
				}
			}
		case "properties", "additionalProperties":
		case "minimum", "maximum":
			if n, ok := value.(float64); ok && (keyword == "minimum" && n < want.(float64) || keyword == "maximum" && n > want.(float64)) {
				wrong("%v is beyond the %s %v", n, keyword, want)
			}
		default:
			wrong("the keyword %s is not known", keyword)
		}
	}
	return append(out, v.members(at, schema, value)...)
}

// members checks the members of an object.
func (v jsonSchema) members(at string, schema map[string]any, value any) []string {
	var out []string
	members, _ := value.(map[string]any)
	known, _ := schema["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(members)) {
		where := at + "." + name
		if member, ok := known[name].(map[string]any); ok {
			out = append(out, v.check(where, member, members[name])...)
			continue
		}
		switch further := schema["additionalProperties"].(type) {
		case bool:
			if !further {
				out = append(out, where+": is not a member")
			}
		case map[string]any:
			out = append(out, v.check(where, further, members[name])...)
		default:
			// Undeclared members are permitted, but this server must declare all of its
			// own.
			if known != nil {
				out = append(out, where+": is not declared")
			}
		}
	}
	return out
}

func (v jsonSchema) anyOf(at string, branches []any, value any) []string {
	var all []string
	for _, one := range branches {
		out := v.check(at, one.(map[string]any), value)
		if len(out) == 0 {
			return nil
		}
		all = append(all, out...)
	}
	return all
}

func (v jsonSchema) component(ref any) map[string]any {
	name := strings.TrimPrefix(ref.(string), "#/components/schemas/")
	schema, ok := v.components[name].(map[string]any)
	if !ok {
		return map[string]any{"unresolved " + name: true}
	}
	return schema
}

func has(members map[string]any, name string) bool { _, ok := members[name]; return ok }

func slice(value any) []any { list, _ := value.([]any); return list }

func isOneOf(value, want any) bool {
	if list, ok := want.([]any); ok {
		return slices.ContainsFunc(list, func(one any) bool { return isOneOf(value, one) })
	}
	switch v := value.(type) {
	case nil:
		return want == "null"
	case bool:
		return want == "boolean"
	case string:
		return want == "string"
	case float64:
		return want == "number" || want == "integer" && v == float64(int64(v))
	case []any:
		return want == "array"
	}
	return want == "object"
}

func hasFormat(text string, format any) bool {
	switch format {
	case "uuid":
		return uuidText.MatchString(text)
	case "date-time":
		_, err := time.Parse(time.RFC3339Nano, text)
		return err == nil
	case "uri":
		return strings.Contains(text, ":")
	}
	return false
}
