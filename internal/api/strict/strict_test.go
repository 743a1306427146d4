package strict_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/api/strict"
	"github.com/posthorn/posthorn/internal/hook"
)

type inner struct {
	N int `json:"n"`
}

type outer struct {
	Name  string  `json:"name"`
	On    bool    `json:"on"`
	List  []inner `json:"list"`
	Inner *inner  `json:"inner"`
	F     float64 `json:"f"`
}

func TestDecode(t *testing.T) {
	for _, c := range []struct {
		text    string
		code    hook.Code // empty: accepted
		field   string
		message string // part of it
	}{
		{` {"name":"x","on":true,"list":[{"n":1}],"inner":{"n":2},"f":1e3} `, "", "", ""},
		{`{"inner":null,"list":null}`, "", "", ""},
		{`null`, "", "", ""},
		{``, hook.CodeInvalidJSON, "", "ends too early"},
		{`{"name":"x"`, hook.CodeInvalidJSON, "", "ends too early"},
		{`{"name":"x"}}`, hook.CodeInvalidJSON, "", "at byte 12"},
		{`{"name":"x","name":"y"}`, hook.CodeInvalidJSON, "", "named twice"},
		{`{"inner":{"n":1,"\u006e":2}}`, hook.CodeInvalidJSON, "", `"inner/n"`},
		{"{\"name\":\"\xc3\x28\"}", hook.CodeInvalidJSON, "", "UTF-8"},
		{`{"name":1}`, hook.CodeInvalidRequest, "name", "a string"},
		{`{"on":"true"}`, hook.CodeInvalidRequest, "on", "true or false"},
		{`{"list":{}}`, hook.CodeInvalidRequest, "list", "an array"},
		{`{"list":[{"n":1},{"n":"1"}]}`, hook.CodeInvalidRequest, "list/1/n", "a whole number"},
		{`{"inner":[]}`, hook.CodeInvalidRequest, "inner", "an object"},
		{`{"f":"1"}`, hook.CodeInvalidRequest, "f", "a number"},
		{`[]`, hook.CodeInvalidRequest, "", "an object"},
		{`{"Name":"x"}`, hook.CodeUnknownField, "Name", "not known"},
		{`{"inner":{"m":1}}`, hook.CodeUnknownField, "inner/m", "not known"},
	} {
		err := strict.Decode([]byte(c.text), &outer{})
		if c.code == "" {
			if err != nil {
				t.Errorf("%s: %v", c.text, err)
			}
			continue
		}
		e, ok := errors.AsType[*hook.Error](err)
		if !ok || e.Code != c.code || e.Field != c.field || !strings.Contains(e.Message, c.message) {
			t.Errorf("%s: %#v", c.text, err)
		}
	}
}

func TestDepth(t *testing.T) {
	nest := func(n int) []byte { return []byte(strings.Repeat("[", n) + strings.Repeat("]", n)) }
	if err := strict.CheckDepth(nest(64), 64); err != nil {
		t.Error(err)
	}
	if err := strict.CheckDepth(nest(65), 64); hook.CodeOf(err) != hook.CodeInvalidJSON {
		t.Error(err)
	}
	for _, flat := range []string{strings.Repeat("[],", 100), `"` + strings.Repeat("[", 100) + `"`, `"` + strings.Repeat(`\"[`, 100) + `"`} {
		if err := strict.CheckDepth([]byte(flat), 64); err != nil {
			t.Errorf("%.20s: %v", flat, err)
		}
	}
}

// FuzzDecode checks that an accepted text is valid JSON to the standard library and
// within the depth, and that every refusal is meant for callers.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{}`, `{"name":"x"}`, `{"a":{"a":[1,"\u0000",null]}}`, `[`, "\xff", `{"a":1,"a":2}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var v any
		err := strict.Decode(text, &v)
		if err != nil {
			if _, ok := errors.AsType[*hook.Error](err); !ok {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if !json.Valid(text) || !bytes.Equal(bytes.ToValidUTF8(text, nil), text) {
			t.Fatalf("%q passed", text)
		}
	})
}
