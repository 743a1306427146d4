package schema_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/posthorn/posthorn/internal/schema"
)

func compile(t testing.TB, text string) *schema.Schema {
	t.Helper()
	s, err := schema.Compile([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const payment = `{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "required": ["amount"],
  "properties": {"amount": {"$ref": "#/$defs/money"}, "lines": {"type": "array", "items": {"type": "integer"}}, "a/b": {"const": 1}},
  "$defs": {"money": {"type": "object", "properties": {"value": {"type": "string", "pattern": "^[0-9]+$"}}, "unevaluatedProperties": false}}}`

func TestCheck(t *testing.T) {
	s := compile(t, payment)
	for data, want := range map[string][2]string{
		`{"amount":{"value":"12"}}`:              {},
		`{"amount":{},"lines":[1,2.0]}`:          {},
		`{}`:                                     {"", "amount"},
		`{"amount":{"value":12}}`:                {"/amount/value", "want string"},
		`{"amount":{"value":"x"}}`:               {"/amount/value", "pattern"},
		`{"amount":{"x":1}}`:                     {"/amount/x", "false"},
		`{"amount":{},"lines":[1,2.5]}`:          {"/lines/1", "want integer"},
		`{"amount":{},"a/b":2}`:                  {"/a~1b", "1"},
		`{"amount":{},"lines":[1e999999]}`:       {"/lines/0", "powers of ten"},
		`{"amount":{},"x":{"y":[0,-1E-999999]}}`: {"/x/y/1", "powers of ten"},
		`{"amount":{},"lines":[` + strings.Repeat("1", 401) + `]}`: {"/lines/0", "digits"},
	} {
		got := s.Check([]byte(data))
		switch {
		case want[1] == "" && got != nil:
			t.Errorf("%s: %+v", data, *got)
		case want[1] != "" && (got == nil || got.Pointer != want[0] || !strings.Contains(got.Reason, want[1])):
			t.Errorf("%.80s: %+v, want %q", data, got, want)
		}
	}
}

// Invalid schemas and schemas with external references do not compile.
func TestBadSchemas(t *testing.T) {
	for text, want := range map[string]string{
		`{`:                                          "not JSON",
		`{"type":"objekt"}`:                          "/type",
		`{"properties":{"a":{"type":7}}}`:            "/properties/a/type",
		`{"pattern":"("}`:                            "/pattern",
		`{"$ref":"https://example.com/s"}`:           "nothing is loaded",
		`{"$ref":"http://127.0.0.1:1/s"}`:            "nothing is loaded",
		`{"$ref":"file:///etc/passwd"}`:              "nothing is loaded",
		`{"$ref":"#/$defs/none"}`:                    "none",
		`{"$schema":"https://example.com/meta"}`:     "nothing is loaded",
		`{"$id":"https://example.com/a","$ref":"b"}`: "nothing is loaded",
		`{"description":"` + strings.Repeat("x", schema.MaxSize) + `"}`: "at most",
	} {
		if _, err := schema.Compile([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", text, err, want)
		}
	}
}

// A small schema that needs an unbounded amount of work is stopped, and does not affect
// later checks.
func TestChecksAreBounded(t *testing.T) {
	var defs []string
	for i := range 40 {
		defs = append(defs, fmt.Sprintf(`"d%d":{"allOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]}`, i, i+1, i+1))
	}
	doubling := compile(t, `{"$ref":"#/$defs/d0","$defs":{`+strings.Join(defs, ",")+`,"d40":{"minProperties":1}}}`)
	deep := compile(t, `{"allOf":[{"properties":{"a":{"$ref":"#"}}},{"properties":{"a":{"$ref":"#"}}}]}`)
	for range 2 {
		if got := doubling.Check([]byte(`{"a":1}`)); got == nil || !strings.Contains(got.Reason, "steps") {
			t.Errorf("doubling: %+v", got)
		}
		if got := deep.Check([]byte(strings.Repeat(`{"a":`, 60) + `1` + strings.Repeat("}", 60))); got == nil || !strings.Contains(got.Reason, "steps") {
			t.Errorf("deep: %+v", got)
		}
		if got := deep.Check([]byte(`{"a":{"a":1}}`)); got != nil { // control
			t.Errorf("shallow: %+v", got)
		}
	}
	if got := compile(t, `{"$ref":"#"}`).Check([]byte(`{}`)); got == nil {
		t.Error("a schema that is only itself lets data pass")
	}
}

func TestConcurrentChecks(t *testing.T) {
	s := compile(t, payment)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 50 {
				if s.Check([]byte(`{"amount":{"value":"12"}}`)) != nil || s.Check([]byte(`{"amount":{"value":12}}`)) == nil {
					t.Error("wrong")
					return
				}
			}
		})
	}
	group.Wait()
}

// BenchmarkCheckSmall checks a payload like those of the built-in examples.
func BenchmarkCheckSmall(b *testing.B) {
	s := compile(b, `{"type":"object","required":["payment_id","amount","state"],"properties":{"payment_id":{"type":"string","pattern":"^pay_"},
		"amount":{"type":"object","required":["value","currency"],"properties":{"value":{"type":"string"},"currency":{"enum":["EUR","GBP"]}}},"state":{"type":"string"}}}`)
	data := []byte(`{"payment_id": "pay_4f1c09d2", "amount": {"value": "49.90", "currency": "EUR"}, "state": "created", "reference": "INV-2041"}`)
	b.ReportAllocs()
	for b.Loop() {
		if s.Check(data) != nil {
			b.Fatal("wrong")
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	s := compile(b, payment)
	data := []byte(`{"amount":{"value":"12"},"lines":[` + strings.TrimSuffix(strings.Repeat("12345,", 150), ",") + `],"reference":"` + strings.Repeat("x", 300) + `"}`)
	b.ReportAllocs()
	for b.Loop() {
		if s.Check(data) != nil {
			b.Fatal("wrong")
		}
	}
}

// Values are unique, and equal to one of an enum, by value, wherever the schema stands.
func TestUniqueItemsAndEnum(t *testing.T) {
	for _, c := range []struct {
		schema, data string
		ok           bool
	}{
		{`{"uniqueItems":true}`, `[1,-1,"1",true,null,[1],{"a":1}]`, true},
		{`{"uniqueItems":true}`, `[1,2,1.0]`, false},
		{`{"uniqueItems":true}`, `[{"a":1,"b":[2]},{"b":[2.0],"a":10e-1}]`, false},
		{`{"uniqueItems":true}`, `[["a","b"],["a\",\"b"],["ab"]]`, true},
		{`{"uniqueItems":false}`, `[1,1]`, true},
		{`{"properties":{"a":{"items":{"uniqueItems":true}}}}`, `{"a":[[1],[2,2]]}`, false},
		{`{"$defs":{"x":{"enum":[1,"a",{"b":[null]}]}},"items":{"$ref":"#/$defs/x"}}`, `[1.0,"a",{"b":[null]}]`, true},
		{`{"$defs":{"x":{"enum":[1,"a"]}},"items":{"$ref":"#/$defs/x"}}`, `[1,"1"]`, false},
		{`{"not":{"enum":[1]}}`, `1`, false},
		{`{"not":{"enum":[1]}}`, `2`, true},
		{`{"anyOf":[{"enum":["a"]},{"uniqueItems":true,"minItems":2}]}`, `[1,1]`, false},
		{`{"if":{"enum":["a"]},"then":false}`, `"b"`, true},
		{`{"additionalProperties":{"enum":["a"]}}`, `{"x":"b"}`, false},
		{`{"patternProperties":{"^x":{"enum":["a"]}}}`, `{"x":"b"}`, false},
		{`{"prefixItems":[{"enum":["a"]}]}`, `["b"]`, false},
		{`{"contains":{"enum":["a"]}}`, `["b"]`, false},
		{`{"dependentSchemas":{"x":{"properties":{"y":{"enum":["a"]}}}}}`, `{"x":1,"y":"b"}`, false},
		{`{"propertyNames":{"enum":["a"]}}`, `{"b":1}`, false},
		{`{"const":[1,2]}`, `[1,2]`, true},
	} {
		s, err := schema.Compile([]byte(c.schema))
		if err != nil {
			t.Fatalf("%s: %v", c.schema, err)
		}
		if found := s.Check([]byte(c.data)); (found == nil) != c.ok {
			t.Errorf("%s of %s: %+v, want it to pass: %v", c.data, c.schema, found, c.ok)
		}
	}
}

// Data that is made so that items seem equal, and long enumerations, cost no more than
// others. Pair by pair this would be 25 million and 3 million comparisons of numbers.
func TestComparisonsAreBounded(t *testing.T) {
	unique, err := schema.Compile([]byte(`{"uniqueItems":true}`))
	if err != nil {
		t.Fatal(err)
	}
	items := make([]string, 7000)
	for i := range items {
		numbers := make([]string, 13)
		for bit := range numbers {
			numbers[bit] = "1"
			if i>>bit&1 == 1 {
				numbers[bit] = "-1"
			}
		}
		items[i] = "[" + strings.Join(numbers, ",") + "]"
	}
	list := "[" + strings.Join(items, ",") + "]"
	if found := unique.Check([]byte(list)); found != nil {
		t.Errorf("%+v", found)
	}
	if found := unique.Check([]byte(strings.TrimSuffix(list, "]") + "," + items[6999] + "]")); found == nil {
		t.Error("the control: an item that stands twice was not found")
	}
	words := make([]string, 100)
	for i := range words {
		words[i] = fmt.Sprint(i)
	}
	numbers, err := schema.Compile([]byte(`{"items":{"enum":[` + strings.Join(words, ",") + `]}}`))
	if err != nil {
		t.Fatal(err)
	}
	if found := numbers.Check([]byte("[" + strings.Repeat("99,", 30_000) + "100]")); found == nil || found.Pointer != "/30000" {
		t.Errorf("%+v", found)
	}
}
