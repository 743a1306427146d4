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
