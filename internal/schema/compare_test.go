package schema

import (
	"fmt"
	"strings"
	"testing"
)

func TestDifferencesAsReceiversSeeThem(t *testing.T) {
	for _, c := range []struct{ earlier, later, want string }{
		{`{"type":"object"}`, `{"type":"object","title":"T","description":"D"}`, ""},
		{`{}`, `true`, ""},
		{`{"properties":{"a":{}}}`, `{"properties":{}}`, "breaking /a The member is gone."},
		{`{}`, `{"properties":{"a":{}},"required":["a"]}`, "compatible  It was anything; it has a schema now."},
		{`{"type":"object"}`, `{"type":"object","properties":{"a":{}},"required":["a"]}`, "compatible /a The member is new and always there."},
		{`{"type":"object"}`, `{"type":"object","properties":{"a":{}}}`, "compatible /a The member is new and may be left out."},
		{`{"additionalProperties":false}`, `{"additionalProperties":false,"properties":{"a":{}}}`, "breaking /a The member is new, and the earlier schema allowed no others."},
		{`{"properties":{"a":{}},"required":["a"]}`, `{"properties":{"a":{}}}`, "breaking /a The member may be left out now."},
		{`{"properties":{"a":{}}}`, `{"properties":{"a":{}},"required":["a"]}`, "compatible /a The member is always there now."},
		{`{"properties":{"a":{"type":"string"}}}`, `{"properties":{"a":{"type":["string","null"]}}}`, "breaking /a It may be of type null now, which it was not before."},
		{`{"properties":{"a":{"type":["string","null"]}}}`, `{"properties":{"a":{"type":"string"}}}`, "compatible /a It is never of type null any more."},
		{`{"type":"number"}`, `{"type":"integer"}`, "compatible  It is never of type number any more."},
		{`{"type":"integer"}`, `{"type":"number"}`, "breaking  It may be of type number now, which it was not before."},
		{`{"type":"integer"}`, `{"minimum":1}`, "breaking  It may be of any type now; it was of type integer.\ncompatible  minimum is new: 1."},
		{`{"enum":["a","b"]}`, `{"enum":["b","c"]}`, "breaking  It may be \"c\" now, which it was not before.\ncompatible  It is never \"a\" any more."},
		{`{"const":1}`, `{"enum":[1.0]}`, ""},
		{`{"enum":[1]}`, `{"title":"x"}`, "breaking  It may have any value now; it was 1."},
		{`{"minimum":1}`, `{"minimum":0}`, "breaking  minimum was 1 and is 0."},
		{`{"minimum":1}`, `{"minimum":2}`, "compatible  minimum was 1 and is 2."},
		{`{"maxLength":1}`, `{"maxLength":2}`, "breaking  maxLength was 1 and is 2."},
		{`{"maximum":1e999999}`, `{"maximum":1e999998}`, "unclear  maximum was 1e999999 and is 1e999998."},
		{`{"pattern":"a"}`, `{"pattern":"b"}`, "unclear  pattern was \"a\" and is \"b\"."},
		{`{"format":"date"}`, `{"format":"date-time"}`, "breaking  format was \"date\" and is \"date-time\"."},
		{`{"uniqueItems":true}`, `{}`, "breaking  An item may be there twice now."},
		{`{"items":{"type":"string"}}`, `{"items":{"type":"null"}}`, "breaking /* It may be of type null now, which it was not before.\ncompatible /* It is never of type string any more."},
		{`{"items":{"type":"string"}}`, `{"title":"x"}`, "breaking /* Items may be anything now."},
		{`{"anyOf":[{"type":"null"}]}`, `{"anyOf":[{"type":"null"},{"type":"string"}]}`, "breaking  anyOf allows a form that it did not allow before."},
		{`{"oneOf":[{"type":"null"},{"type":"string"}]}`, `{"oneOf":[{"type":"string"}]}`, "compatible  oneOf allows fewer forms than before."},
		{`{"allOf":[{"type":"null"}]}`, `{"x":1}`, "breaking  allOf is gone.\nunclear  x is new."},
		{`{"not":{"type":"null"}}`, `{"not":{"type":"string"}}`, "unclear  not has changed."},
		{`{"properties":{"a/b":{"$ref":"#/$defs/x"}},"$defs":{"x":{"type":"string"}}}`, `{"properties":{"a/b":{"type":"null"}}}`,
			"breaking /a~1b It may be of type null now, which it was not before.\ncompatible /a~1b It is never of type string any more."},
		{`{"not":{"$ref":"#/$defs/x"},"$defs":{"x":{"minimum":1}}}`, `{"not":{"$ref":"#/$defs/x"},"$defs":{"x":{"minimum":0}}}`, "breaking  minimum was 1 and is 0."},
		{`{"properties":{"a":false}}`, `{"properties":{"a":{}}}`, "breaking /a It may be there now; the earlier schema allowed nothing here."},
		// A reference to itself ends, and so does one that never arrives.
		{`{"properties":{"next":{"$ref":"#"},"n":{"type":"string"}}}`, `{"properties":{"next":{"$ref":"#"},"n":{"type":"null"}}}`,
			"breaking /n It may be of type null now, which it was not before.\ncompatible /n It is never of type string any more."},
		{`{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}}`, `{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/a"}}}`, ""},
	} {
		list, more := Compare([]byte(c.earlier), []byte(c.later))
		var got []string
		for _, d := range list {
			got = append(got, fmt.Sprintf("%s %s %s", d.Effect, d.Pointer, d.Message))
		}
		if text := strings.Join(got, "\n"); text != c.want || more {
			t.Errorf("%s -> %s\ngot  %s (more: %v)\nwant %s", c.earlier, c.later, text, more, c.want)
		}
	}
	if list, _ := Compare(nil, []byte(`{"type":"object"}`)); len(list) != 1 || list[0].Effect != Compatible {
		t.Errorf("no schema before: %v", list)
	}
	if list, _ := Compare([]byte(`{"type":"object"}`), nil); len(list) != 1 || list[0].Effect != Breaking {
		t.Errorf("no schema any more: %v", list)
	}
}

func TestComparisonsAreBounded(t *testing.T) {
	deep := func(leaf string) []byte {
		return []byte(strings.Repeat(`{"items":`, 200) + leaf + strings.Repeat("}", 200))
	}
	if _, more := Compare(deep(`{"type":"null"}`), deep(`{"type":"string"}`)); !more {
		t.Error("200 levels: no mark that there is more")
	}
	wide := func(kind string) []byte {
		var b strings.Builder
		for i := range 500 {
			fmt.Fprintf(&b, `,"p%d":{"type":%q}`, i, kind)
		}
		return []byte(`{"properties":{"a":{}` + b.String() + `}}`)
	}
	if list, more := Compare(wide("null"), wide("string")); len(list) != maxDifferences || !more {
		t.Errorf("500 members: %d differences, more %v", len(list), more)
	}
	// 2 to the power of 40 paths through few definitions.
	doubling := func(leaf string) []byte {
		var b strings.Builder
		for i := range 40 {
			fmt.Fprintf(&b, `"d%d":{"properties":{"a":{"$ref":"#/$defs/d%d"},"b":{"$ref":"#/$defs/d%d"}}},`, i, i+1, i+1)
		}
		return []byte(`{"$ref":"#/$defs/d0","$defs":{` + b.String() + `"d40":{"type":"` + leaf + `"}}}`)
	}
	if list, more := Compare(doubling("null"), doubling("string")); len(list) != 2 || more {
		t.Errorf("%v, more %v", list, more)
	}
	big := []byte(`{"enum":[` + strings.TrimSuffix(strings.Repeat("1,", 60_000), ",") + `]}`)
	if _, more := Compare(big, big); !more {
		t.Error("60,000 values: no mark that there is more")
	}
}
