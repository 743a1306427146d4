package web

import (
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
)

// The box of the disk says how the store grows and when it is full, and nothing that is not
// known.
func TestGrowthOfTheStore(t *testing.T) {
	day := func(n int64) *int64 { return &n }
	for _, c := range []struct {
		use  hook.DiskUse
		want string
	}{
		{hook.DiskUse{Used: 1e9}, "How it grows is known after an hour."},
		{hook.DiskUse{Used: 1e9, PerDay: day(0)}, "It does not grow: retention removes as much as arrives."},
		{hook.DiskUse{Used: 1e9, PerDay: day(-5e6)}, "It shrinks by 5 MB a day."},
		{hook.DiskUse{Used: 1e9, PerDay: day(1e8)}, "It grows by 100 MB a day."},
		{hook.DiskUse{Used: 1e9, PerDay: day(1e8), Budget: 3e9}, "It grows by 100 MB a day; at this pace it is full in 20 days."},
		{hook.DiskUse{Used: 1e9, PerDay: day(1e9), Budget: 15e8}, "It grows by 1 GB a day; at this pace it is full in 12 h."},
		{hook.DiskUse{Used: 1e9, PerDay: day(1), Budget: 3e18}, "It grows by 1 B a day; at this pace it has room for more than 10 years."},
		{hook.DiskUse{Used: 4e9, PerDay: day(1e8), Budget: 3e9}, "It grows by 100 MB a day."},
	} {
		if got := growthWords(&c.use); got != c.want {
			t.Errorf("%+v: %q, want %q", c.use, got, c.want)
		}
	}
	v := &visit{mode: hook.Live}
	for state, want := range map[hook.DiskState]string{hook.DiskOK: "", hook.DiskWarning: "retry", hook.DiskFull: "bad"} {
		tone := map[hook.DiskState]string{hook.DiskWarning: "retry", hook.DiskFull: "bad"}[state]
		line := v.diskConcern(&hook.DiskUse{Used: 9e8, Budget: 1e9, State: state}, &diskBox{Percent: 90, Tone: tone})
		if (line == nil) != (want == "") || line != nil && (line.State.Class != want || line.Name != "The store has 90 % of its budget") {
			t.Errorf("%v: %+v", state, line)
		}
	}
}
