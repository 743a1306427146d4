package live

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// Parts that are too large to be sent are not kept for a stream. Their word changes with them,
// but not with their relative times.
func TestLargePartsAreNotKept(t *testing.T) {
	large := func(ago, end string) map[string]string {
		return map[string]string{"head": "one", "line": "<time>" + ago + "</time>" + strings.Repeat("x", maxPart) + end, "live-said": "two"}
	}
	parts := large("1 s ago", "")
	word := Large(parts)
	if names := slices.Sorted(maps.Keys(parts)); word == "" || !slices.Equal(names, []string{"head", "live-said"}) {
		t.Errorf("%q, and %v are kept", word, names)
	}
	if Large(large("2 s ago", "")) != word || Large(large("1 s ago", "y")) == word {
		t.Error("the word does not say whether the part changed")
	}
	small := map[string]string{"line": strings.Repeat("x", maxPart)}
	if Large(small) != "" || len(small) != 1 { // control
		t.Error("a part that is sent is taken out")
	}
}

// The text of elements time does not count, whatever surrounds it.
func TestTimeless(t *testing.T) {
	for html, want := range map[string]string{
		"": "", "a": "a", "<b>1</b>": "<b>1</b>", "<time>1 s ago</time>": "<time></time>", `a<time datetime="x">1</time>b<time>2</time>`: `a<time datetime="x"></time>b<time></time>`,
		"a<time": "a<time", "a<time>1": "a<time>1", "<time><b>1</b></time>": "<time><b>1</b></time>",
	} {
		if got := timeless(html); got != want {
			t.Errorf("%q: %q, want %q", html, got, want)
		}
	}
}
