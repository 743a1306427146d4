package schema

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// Random schemas of common keywords are plain, and what the plain form recognizes matches by
// the library too. It recognizes nearly all that matches, or it would be of no use.
func TestPlainSchemasAgreeWithTheLibrary(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	var schema func(depth int) string
	schema = func(depth int) string {
		if random.IntN(12) == 0 {
			return pick("true", "false", `{"$ref":"#/$defs/d"}`, `{}`)
		}
		members := []string{}
		add := func(one string) {
			if random.IntN(3) == 0 {
				members = append(members, one)
			}
		}
		add(`"type":` + pick(`"object"`, `"array"`, `"string"`, `"number"`, `"integer"`, `["integer","null"]`, `["string","boolean","object"]`))
		add(`"enum":[1,"a",{"a":1},[],null,true]`)
		add(`"required":["a"]`)
		add(`"minProperties":1,"maxProperties":2`)
		add(`"minLength":1,"maxLength":2`)
		add(`"pattern":"^[ab]"`)
		add(`"minimum":-1,"exclusiveMaximum":2`)
		add(`"maximum":1.5,"exclusiveMinimum":0`)
		add(`"minItems":1,"maxItems":2`)
		add(`"uniqueItems":true`)
		add(`"title":"T","default":7,"$ref":"#/$defs/d"`)
		if depth < 3 {
			add(`"properties":{"a":` + schema(depth+1) + `,"b":` + schema(depth+1) + `}`)
			add(`"additionalProperties":` + schema(depth+1))
			add(`"items":` + schema(depth+1))
		}
		return "{" + strings.Join(members, ",") + "}"
	}
	var value func(depth int) string
	value = func(depth int) string {
		switch random.IntN(7) {
		case 0:
			if depth < 3 {
				return `{"a":` + value(depth+1) + `,"` + pick("b", "c") + `":` + value(depth+1) + `}`
			}
			return `{}`
		case 1:
			if depth < 3 {
				return `[` + value(depth+1) + `,` + value(depth+1) + `]`
			}
			return `[]`
		case 2:
			return pick(`""`, `"a"`, `"é"`, `"abc"`)
		}
		return pick("0", "-0", "1", "1.0", "1e0", "1.5", "-2", "2", "null", "true", `{"a":1}`, "{}", "[]", "[1,1.0]")
	}
	matched, recognized := 0, 0
	for range 120 {
		text := schema(0)
		if text[0] != '{' {
			continue
		}
		text = strings.Replace(text, "{", `{"$defs":{"d":`+schema(2)+`},`, 1)
		text = strings.Replace(text, ",}", "}", 1)
		s, err := Compile([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if s.plain == nil {
			t.Fatalf("%s is not plain", text)
		}
		own := s.plain
		for range 40 {
			data := value(0)
			v, err := decode([]byte(data))
			if err != nil {
				t.Fatal(data, err)
			}
			left := maxEvaluations
			yes := own.recognizes(v, &left)
			s.plain = nil
			found := s.Check([]byte(data))
			if yes && found != nil {
				t.Fatalf("%s is recognized by %s, and the library says %+v", data, text, found)
			}
			if found == nil {
				if matched++; yes {
					recognized++
				}
			}
		}
	}
	if matched < 800 || recognized*20 < matched*19 {
		t.Errorf("%d values match, %d of them are recognized", matched, recognized)
	}
}

// Each keyword that plain does not know makes a schema uncommon.
func TestUncommonSchemas(t *testing.T) {
	for _, text := range []string{`{"not":{}}`, `{"anyOf":[{}]}`, `{"oneOf":[{}]}`, `{"allOf":[{}]}`, `{"if":{},"then":{}}`, `{"patternProperties":{"a":{}}}`, `{"propertyNames":{}}`,
		`{"prefixItems":[{}]}`, `{"contains":{}}`, `{"dependentRequired":{"a":["b"]}}`, `{"unevaluatedProperties":false}`, `{"unevaluatedItems":false}`, `{"const":1}`, `{"multipleOf":2}`,
		`{"properties":{"a":{"items":{"not":{}}}}}`, `{"$dynamicRef":"#x","$defs":{"x":{"$dynamicAnchor":"x"}}}`, `{"$schema":"http://json-schema.org/draft-07/schema#","items":[{}]}`} {
		s, err := Compile([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if s.plain != nil {
			t.Errorf("%s is plain", text)
		}
	}
	for i, text := range []string{`{"$ref":"#"}`, `{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}}`} { // they never arrive
		s, err := Compile([]byte(text))
		if err != nil {
			continue
		}
		if found := s.Check([]byte(fmt.Sprint(i))); found == nil {
			t.Errorf("%s matches", text)
		}
	}
}
