package hook_test

import (
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
)

func TestShortFormKeepsValueAndOrder(t *testing.T) {
	last := ""
	for _, id := range []hook.ID{{}, {15: 1}, {15: 61}, {15: 62}, {0: 1}, {0: 0xff, 15: 0xff},
		{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}} {
		text := id.Short()
		if len(text) != 27 || text <= last {
			t.Errorf("%q after %q", text, last)
		}
		last = text
		if back, ok := hook.ParseShort(text, 16); !ok || hook.ID(back) != id {
			t.Errorf("%q was read as %x", text, back)
		}
	}
	for _, text := range []string{"", last + "0", last[1:], strings.Repeat("z", 27), "-" + last[1:], strings.Repeat("0", 26) + "é"} {
		if _, ok := hook.ParseShort(text, 16); ok {
			t.Errorf("%q was read", text)
		}
	}
}
