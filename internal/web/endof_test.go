package web

import (
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// A session ends half an hour after its use, and no later than its last end.
func TestEndOf(t *testing.T) {
	now := time.Date(2026, 11, 27, 14, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		seen, expires time.Duration
		want          ending
		clock         string
	}{
		{0, 12 * time.Hour, ending{Idle: 30 * 60_000, Hard: 12 * 3600_000}, "14:30:00"},
		{-40 * time.Second, time.Hour, ending{Idle: 30*60_000 - 40_000, Hard: 3600_000}, "14:29:20"},
		{0, 20 * time.Minute, ending{Last: true, Idle: 30 * 60_000, Hard: 20 * 60_000}, "14:20:00"},
		{-time.Hour, -time.Minute, ending{Idle: 0, Hard: 0}, "13:30:00"},
	} {
		got := endOf(&hook.WebSession{SeenAt: now.Add(c.seen), ExpiresAt: now.Add(c.expires)}, now)
		if got.Last != c.want.Last || got.Idle != c.want.Idle || got.Hard != c.want.Hard || got.At.Clock != c.clock {
			t.Errorf("used %s ago, ends in %s: %+v, want %+v at %s", c.seen, c.expires, got, c.want, c.clock)
		}
	}
}

// The hour of the last delivery is that of the last bucket with one; the last hour is not over.
func TestDeliveredIn(t *testing.T) {
	now := time.Date(2026, 11, 27, 1, 20, 0, 0, time.UTC)
	day := func(delivered ...int) []hook.Tally {
		hours := make([]hook.Tally, 24)
		for _, ago := range delivered {
			hours[23-ago].Delivered = 1
		}
		return hours
	}
	for _, c := range []struct {
		hours []hook.Tally
		want  string
	}{{day(0, 5), "this hour"}, {day(1, 5), "00:00 to 01:00"}, {day(2), "23:00 to 00:00"}, {day(23), "02:00 to 03:00"}, {day(), "not in 24 h"}, {nil, "not in 24 h"}} {
		if got := deliveredIn(c.hours, now); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
