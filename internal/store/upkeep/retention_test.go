package upkeep

import (
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
)

func TestRunsWithout(t *testing.T) {
	ids := make([]hook.ID, 8)
	for i := range ids {
		ids[i] = hook.ID{byte(i)}
	}
	for _, c := range []struct {
		needed []int
		want   [][3]int // low, high, events
	}{
		{nil, [][3]int{{0, 7, 8}}},
		{[]int{0, 7}, [][3]int{{1, 6, 6}}},
		{[]int{3, 5}, [][3]int{{0, 2, 3}, {4, 4, 1}, {6, 7, 2}}},
		{[]int{0, 1, 2, 3, 4, 5, 6, 7}, nil},
	} {
		needed := map[hook.ID]bool{}
		for _, n := range c.needed {
			needed[ids[n]] = true
		}
		runs := runsWithout(ids, needed)
		if len(runs) != len(c.want) {
			t.Fatalf("without %v: %v", c.needed, runs)
		}
		for i, r := range runs {
			if want := c.want[i]; r.low != ids[want[0]] || r.high != ids[want[1]] || r.events != want[2] {
				t.Errorf("without %v: %v", c.needed, runs)
			}
		}
	}
}
