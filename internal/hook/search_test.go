package hook

import (
	"strings"
	"testing"
)

func TestIDPrefix(t *testing.T) {
	const id = "019396e1-2b60-7a0c-9d51-0c7be3f4a915"
	for text, want := range map[string][3]string{
		id:                              {id, id, id},
		strings.ToUpper(id):             {id, id, id},
		strings.ReplaceAll(id, "-", ""): {id, id, id},
		"019396e1":                      {"019396e1-0000-0000-0000-000000000000", "019396e1-ffff-ffff-ffff-ffffffffffff", "019396e1"},
		"019396e1-":                     {"019396e1-0000-0000-0000-000000000000", "019396e1-ffff-ffff-ffff-ffffffffffff", "019396e1"},
		"019396E12":                     {"019396e1-2000-0000-0000-000000000000", "019396e1-2fff-ffff-ffff-ffffffffffff", "019396e1-2"},
		"019396e1-2b60-7a0c-9d51-0":     {"019396e1-2b60-7a0c-9d51-000000000000", "019396e1-2b60-7a0c-9d51-0fffffffffff", "019396e1-2b60-7a0c-9d51-0"},
		"ffffffff":                      {"ffffffff-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "ffffffff"},
		"":                              {}, "0193": {}, "019396e": {}, "019396g1": {}, "019396e1é": {}, id + "0": {}, strings.Repeat("-", 40): {}, "0193 96e1": {}, strings.Repeat("0", 33): {},
	} {
		low, high, prefix, ok := IDPrefix(text)
		if ok != (want[0] != "") || ok && (low.String() != want[0] || high.String() != want[1] || prefix != want[2]) {
			t.Errorf("%q: %s %s %q %v", text, low, high, prefix, ok)
		}
	}
}

func TestParseTag(t *testing.T) {
	for text, want := range map[string]Tag{
		"order:o-1": {"order", "o-1"}, "a:b:c": {"a", "b:c"}, "a::": {"a", ":"}, "a.b-c_D9:x y": {"a.b-c_D9", "x y"}, "a:" + strings.Repeat("例", 128): {"a", strings.Repeat("例", 128)},
		"": {}, ":": {}, "a": {}, "a:": {}, ":b": {}, "9:b": {}, "a b:c": {}, "a: b": {}, "a:b ": {}, "a:b\x00": {}, "a:b\u0085": {}, "a:\xff": {}, "a:" + strings.Repeat("例", 129): {},
		strings.Repeat("a", 64) + ":b": {strings.Repeat("a", 64), "b"}, strings.Repeat("a", 65) + ":b": {}, "a:\u00ad": {}, "a:\U000e0041": {}, "é:b": {},
	} {
		if tag, ok := ParseTag(text); ok != (want.Name != "") || ok && tag != want {
			t.Errorf("%q: %v %v", text, tag, ok)
		}
	}
}
