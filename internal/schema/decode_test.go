package schema

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// The values are those of encoding/json with numbers as they are spelt.
func TestDecodedValues(t *testing.T) {
	for _, text := range []string{`{}`, `[]`, `""`, `null`, `true`, `false`, `-0`, `1e400`, `{"a":{"b":[1,"x",null,true,{}]},"é\u00e9\n\"":[[],[[]]]}`, ` { "a" : 1.50 } `, `"\ud83d\ude00"`} {
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		var want any
		if err := d.Decode(&want); err != nil {
			t.Fatal(text, err)
		}
		if got, err := decode([]byte(text)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %#v, %v; want %#v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "{", `{"a"}`, "[1,]", "nul", `{"a":1`, "[1", `{"a":}`} {
		if got, err := decode([]byte(text)); err == nil {
			t.Errorf("%q: %#v", text, got)
		}
	}
}
