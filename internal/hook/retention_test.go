package hook

import (
	"strings"
	"testing"
	"time"
)

func TestDue(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for name, c := range map[string]struct {
		needs Needs
		keep  time.Duration
		due   time.Time
		goes  bool
	}{
		"no delivery":        {Needs{Accepted: ago(time.Hour)}, time.Hour, now, true},
		"a moment too early": {Needs{Accepted: ago(time.Hour - 1)}, time.Hour, now.Add(1), false},
		"settled later":      {Needs{Accepted: ago(time.Hour), Settled: ago(time.Minute)}, time.Hour, now.Add(59 * time.Minute), false},
		"settled":            {Needs{Accepted: ago(time.Hour), Settled: ago(time.Minute)}, 0, ago(time.Minute), true},
		"open and young":     {Needs{Accepted: ago(time.Second), Open: true}, 0, now.Add(time.Minute), false},
		"open":               {Needs{Accepted: ago(8 * time.Hour), Open: true}, 0, now.Add(time.Hour), false},
		"open and old":       {Needs{Accepted: ago(9000 * time.Hour), Settled: ago(time.Hour), Open: true}, 0, now.Add(24 * time.Hour), false},
	} {
		if due, goes := c.needs.Due(c.keep, now); !due.Equal(c.due) || goes != c.goes {
			t.Errorf("%s: %v %v, want %v %v", name, due, goes, c.due, c.goes)
		}
	}
	if due, goes := (Needs{Accepted: now}).Due(Forever, now); goes || due.Before(now) {
		t.Errorf("forever: %v %v", due, goes)
	}
}

func TestRetentionWithin(t *testing.T) {
	limit := Retention{Payloads: 30 * time.Hour, Answers: Forever, Events: 90 * time.Hour}
	own := Retention{Payloads: 40 * time.Hour, Answers: 0, Events: NotSet}
	if got := own.Within(limit); got != (Retention{Payloads: 30 * time.Hour, Answers: 0, Events: 90 * time.Hour}) {
		t.Errorf("%+v", got)
	}
	if got := NoRetention.Within(limit); got != limit {
		t.Errorf("%+v", got)
	}
	for d, want := range map[time.Duration]string{0: "0s", 720 * time.Hour: "720h", 90 * time.Minute: "1h30m", 30 * time.Minute: "30m0s", time.Second: "1s"} {
		if got := HoursText(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestDiskBudget(t *testing.T) {
	const budget = DiskBudget(1000)
	state := DiskOK
	for _, step := range []struct {
		used int64
		want DiskState
	}{{799, DiskOK}, {800, DiskWarning}, {781, DiskWarning}, {779, DiskOK}, {800, DiskWarning}, {999, DiskWarning}, {1000, DiskFull}, {951, DiskFull}, {5000, DiskFull}, {949, DiskWarning}, {999, DiskWarning}, {0, DiskOK}, {1 << 60, DiskFull}, {0, DiskOK}} {
		if state = budget.Next(state, step.used); state != step.want {
			t.Errorf("%d: %s, want %s", step.used, state, step.want)
		}
		if (budget.Notice(state, step.used) == "") != (state == DiskOK) {
			t.Errorf("%d: notice %q", step.used, budget.Notice(state, step.used))
		}
	}
	if DiskBudget(0).Next(DiskFull, 1<<60) != DiskOK {
		t.Error("no budget is never used up")
	}
	err := DiskBudget(20e9).Refusal(21_400_000_000)
	for _, word := range []string{"21.4 GB", "budget of 20 GB", "below 19 GB", "--disk-budget"} {
		if err.Code != CodeStorageFull || !strings.Contains(err.Message, word) {
			t.Errorf("%q is not in %s", word, err.Message)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1 kB", 999_999: "1 MB", 1_500_000_000: "1.5 GB", -2_000_000: "-2 MB", 1 << 62: "4.61 EB"} {
		if got := BytesText(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
