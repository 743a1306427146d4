package accounts

import (
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// The use of a key is written once a minute, and the memory for uses is bounded.
func TestUsesOfKeys(t *testing.T) {
	u := newKeyUses()
	start := time.Date(2026, 11, 28, 12, 0, 30, 0, time.UTC)
	minute := start.Truncate(time.Minute)
	a, b := hook.ID{1}, hook.ID{2}
	written := func(now time.Time, ids ...hook.ID) (n int) {
		for _, id := range ids {
			u.note(id, now)
		}
		got, at := u.take()
		u.wrote(got, at)
		if len(got) > 0 && !at.Equal(now.Truncate(time.Minute)) {
			t.Errorf("written as %s, used at %s", at, now)
		}
		return len(got)
	}
	for i, step := range []struct {
		now  time.Time
		ids  []hook.ID
		want int
	}{
		{start, []hook.ID{a, a, b}, 2},
		{start.Add(29 * time.Second), []hook.ID{a, b}, 0},
		{start.Add(30 * time.Second), []hook.ID{a}, 1},
		{start, []hook.ID{a}, 0}, // the clock was set back
		{start.Add(time.Hour), []hook.ID{a, b}, 2},
	} {
		if got := written(step.now, step.ids...); got != step.want {
			t.Errorf("step %d: %d written, want %d", i, got, step.want)
		}
	}
	// One operation writes keys of one minute, so uses on both sides of a minute boundary take
	// two.
	u.note(hook.ID{3}, minute.Add(2*time.Hour))
	u.note(hook.ID{4}, minute.Add(2*time.Hour+time.Minute))
	first, one := u.take()
	second, other := u.take()
	if len(first) != 1 || len(second) != 1 || one.Equal(other) {
		t.Errorf("%v at %s, %v at %s", first, one, second, other)
	}
	for i := range 3 * maxUses {
		u.note(hook.ID{0: 9, 1: byte(i >> 16), 2: byte(i >> 8), 3: byte(i)}, start.Add(3*time.Hour))
	}
	if len(u.waiting) != maxUses {
		t.Errorf("%d uses wait, want %d", len(u.waiting), maxUses)
	}
	n := 0
	for ids, at := u.take(); len(ids) > 0; ids, at = u.take() {
		if len(ids) > usesPage {
			t.Fatalf("%d keys in one operation", len(ids))
		}
		u.wrote(ids, at)
		n += len(ids)
	}
	if n != maxUses || len(u.written) > maxUses+usesPage {
		t.Errorf("%d written, %d remembered", n, len(u.written))
	}
}

func BenchmarkKeyUsed(b *testing.B) {
	u, now := newKeyUses(), time.Now()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			u.note(hook.ID{1}, now)
		}
	})
}
