package app

import (
	"slices"
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
)

func TestShownHeaderValuesSentBackChangeNothing(t *testing.T) {
	shown, fresh := shownValue, "new"
	old := []hook.Header{{Name: "X-A", Value: "one"}, {Name: "X-B", Value: "two"}}
	for _, c := range []struct {
		name    string
		changes []HeaderChange
		want    []hook.Header
	}{
		{"as shown", []HeaderChange{{"x-a", &shown}, {"X-B", &shown}}, old},
		{"one as shown, one new", []HeaderChange{{"X-A", &shown}, {"X-B", &fresh}}, []hook.Header{old[0], {Name: "X-B", Value: "new"}}},
		{"one as shown, one taken away", []HeaderChange{{"X-A", &shown}, {"X-B", nil}}, old[:1]},
		{"as shown, but not there", []HeaderChange{{"X-C", &shown}}, append(slices.Clone(old), hook.Header{Name: "X-C", Value: shownValue})}, // refused later
	} {
		if got := mergeHeaders(old, c.changes); !slices.Equal(got, c.want) {
			t.Errorf("%s: %d headers, want %d", c.name, len(got), len(c.want))
		}
	}
}
