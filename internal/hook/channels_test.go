package hook_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
)

func TestChannels(t *testing.T) {
	for name, valid := range map[string]bool{"a": true, "A-b_c.d:e+9": true, strings.Repeat("c", 128): true,
		"": false, strings.Repeat("c", 129): false, "a b": false, "a,b": false, "ä": false, "a/b": false, "*": false, "a\n": false, "a\x00": false} {
		if hook.ValidChannel(name) != valid {
			t.Errorf("%q: %v", name, !valid)
		}
	}
	for _, c := range []struct {
		endpoint, event hook.Channels
		want            bool
	}{
		{nil, nil, true}, {nil, hook.Channels{"a"}, true}, {hook.Channels{"a"}, nil, false},
		{hook.Channels{"a"}, hook.Channels{"a"}, true}, {hook.Channels{"a"}, hook.Channels{"b"}, false}, {hook.Channels{"a", "b"}, hook.Channels{"b", "c"}, true},
		{hook.Channels{"a"}, hook.Channels{"A"}, false}, {hook.Channels{"ab"}, hook.Channels{"a", "b"}, false},
	} {
		if c.endpoint.Admit(c.event) != c.want {
			t.Errorf("%v, event %v: %v", c.endpoint, c.event, !c.want)
		}
	}
	for text, names := range map[string][]string{"": nil, ",a,": {"a"}, ",a,b,": {"b", "a", "b"}} {
		c := hook.NewChannels(names...)
		if back := hook.ParseChannels(text); c.Text() != text || !slices.Equal(back, c) || (back == nil) != (names == nil) {
			t.Errorf("%v: %q, and back %v", names, c.Text(), back)
		}
	}
}
