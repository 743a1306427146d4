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
