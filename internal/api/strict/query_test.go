package strict_test

import (
	"errors"
	"testing"

	"github.com/posthorn/posthorn/internal/api/strict"
	"github.com/posthorn/posthorn/internal/hook"
)

func TestQuery(t *testing.T) {
	for raw, want := range map[string]struct {
		code         hook.Code // empty: accepted
		field, value string    // value is the value of parameter a
	}{
		"": {}, "&": {}, "a=1": {value: "1"}, "a=1&b=2&": {value: "1"}, "a=x+y%26%3B%c3%a9": {value: "x y&;é"}, "%61=1": {value: "1"}, "a=b=c": {value: "b=c"},
		"a": {hook.CodeInvalidRequest, "a", ""}, "a=": {hook.CodeInvalidRequest, "a", ""}, "a=1&a=1": {hook.CodeInvalidRequest, "a", ""},
		"a=1&%61=2": {hook.CodeInvalidRequest, "a", ""}, "b=1&a=%zz": {hook.CodeInvalidRequest, "a", ""}, "a=%": {hook.CodeInvalidRequest, "a", ""},
		"a=%ff": {hook.CodeInvalidRequest, "a", ""}, "a=%00": {hook.CodeInvalidRequest, "a", ""}, "a=%C2%9B": {hook.CodeInvalidRequest, "a", ""},
		"a=1;b=2": {hook.CodeInvalidRequest, "a", ""}, "%zz=1": {hook.CodeInvalidRequest, "%zz", ""}, "\xff%zz=1": {hook.CodeInvalidRequest, "\uFFFD%zz", ""},
		"c=1": {hook.CodeUnknownField, "c", ""}, "A=1": {hook.CodeUnknownField, "A", ""}, "=1": {hook.CodeUnknownField, "", ""}, "c=": {hook.CodeUnknownField, "c", ""},
		"a[]=1": {hook.CodeUnknownField, "a[]", ""},
	} {
		values, err := strict.Query(raw, "a", "b")
		if want.code == "" {
			if err != nil || values.Get("a") != want.value {
				t.Errorf("%q: %v %v", raw, values, err)
			}
			continue
		}
		if e, ok := errors.AsType[*hook.Error](err); !ok || e.Code != want.code || e.Field != want.field || values != nil {
			t.Errorf("%q: %v %+v", raw, values, e)
		}
	}
}

func TestNotEmpty(t *testing.T) {
	for text, field := range map[string]string{`{}`: "", `{"a":"x"}`: "", `{"a":""}`: "a", `{"b":"","a":""}`: "a", `{"free":""}`: "", `{"a":"\""}`: "", `{"a":{"b":""}}`: "",
		`{"a":[""]}`: "", `{"a":null}`: "", `{"":"x"}`: "", `[""]`: "", `""`: "", `{"\u0061":""}`: "a"} {
		err := strict.NotEmpty([]byte(text), "free")
		if e, ok := errors.AsType[*hook.Error](err); ok != (field != "") || ok && (e.Field != field || e.Code != hook.CodeInvalidRequest) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
