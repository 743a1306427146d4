package web

import (
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/page"
)

// The path after a log-in is always one of these pages. Another host, a scheme, and what
// browsers interpret as one lead to the start page.
func TestOnlyOurPathsAreLedBackTo(t *testing.T) {
	for next, want := range map[string]string{
		"/ui/live/deliveries?state=failed&tenant=a%20b": "/ui/live/deliveries?state=failed&tenant=a%20b", "/ui/": "/ui/", "": "/ui/", "/": "/ui/", "/v1/events": "/ui/",
		"https://evil.example/ui/": "/ui/", "//evil.example/ui/": "/ui/", `/\evil.example/ui/`: "/ui/", "/ui/\\evil": "/ui/", "javascript:alert(1)": "/ui/", "/ui/%zz": "/ui/",
	} {
		if got := ours(next); got != want {
			t.Errorf("%q leads to %q, want %q", next, got, want)
		}
	}
}

// Displayed foreign text contains no character that hides or reorders the text around it,
// and no more than the limit, cut between characters.
func TestForeignTextIsVisible(t *testing.T) {
	for raw, want := range map[string]string{
		"a\x00b": `a\u{0000}b`, "a\u202eb": `a\u{202e}b`, "a\xffb": `a\xffb`, "a\r\nb\tc": "a\nb\tc", "\x1b[31m": `\u{001b}[31m`, "ü€": "ü€", "\u200b": `\u{200b}`,
	} {
		if got := foreign([]byte(raw), 100).Body; got != want {
			t.Errorf("%q is shown as %q, want %q", raw, got, want)
		}
	}
	cut := foreign([]byte(strings.Repeat("€", 10)), 7)
	if !cut.Cut || cut.Body != "€€" || cut.Size != "30 B" {
		t.Errorf("%+v", cut)
	}
	if got := string(page.Pretty([]byte(`{"b":1.50,"a":12345678901234567890,"s":"<"}`))); got != "{\n  \"b\": 1.50,\n  \"a\": 12345678901234567890,\n  \"s\": \"<\"\n}" {
		t.Error(got)
	}
}

func TestSpans(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for d, want := range map[time.Duration]string{0: "0 ms ago", -5 * time.Second: "5 s ago", -90 * time.Second: "1 min 30 s ago", 25 * time.Hour: "in 1 d 1 h", 20 * time.Minute: "in 20 min"} {
		if got := when(now.Add(d), now).Text; got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	if when(time.Time{}, now).Text != "" {
		t.Error("a time that is not there is shown")
	}
}

// The last value of a name counts in a path, and an empty one drops it.
func TestPathsOfFilters(t *testing.T) {
	if got := at(hook.Live, "deliveries", "state", "failed", "tenant", "a b", "state", ""); got != "/ui/live/deliveries?tenant=a+b" {
		t.Error(got)
	}
}

// The phases of an attempt follow each other without a gap, none is invisible, and an attempt
// of an earlier release has none.
func TestPhases(t *testing.T) {
	for took, want := range map[time.Duration]int{100 * time.Millisecond: 600, 20 * time.Second: 300} {
		a := &hook.Attempt{Duration: took, Timing: hook.Timing{DNS: time.Microsecond, Connect: 10 * time.Millisecond, FirstByte: 20 * time.Millisecond}}
		at := 0
		for _, p := range phasesOf(a) {
			if p.X != at || p.Width < 4 {
				t.Errorf("%v: %+v", took, phasesOf(a))
			}
			at += p.Width
		}
		all := phasesOf(a)
		if len(all) != 4 || all[3].Width < want || all[3].Class != "p5" {
			t.Errorf("%v: %+v", took, all)
		}
	}
	if phasesOf(&hook.Attempt{Duration: time.Second}) != nil {
		t.Error("phases that were not recorded")
	}
}

// A download is for programs: its numbers are written without marks. No cell is a formula.
func TestAuditCells(t *testing.T) {
	cells := auditCells(&hook.AuditEntry{Chain: 1234, Sequence: 1234567, Detail: "=1+1"})
	if got := cells[len(cells)-4 : len(cells)-1]; got[0] != "'=1+1" || got[1] != "1234" || got[2] != "1234567" {
		t.Errorf("%q", got)
	}
}

// The plan of the next attempt counts from the last one by schedule, and names the receiver as
// its reason only where the receiver made it later than planned.
func TestWhyTheNextAttemptIsWhenItIs(t *testing.T) {
	start := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	plan := &hook.Retry{Steps: []time.Duration{time.Minute, 2 * time.Hour}, Jitter: 0.1}
	attempt := func(after time.Duration, trigger hook.Trigger, headers string) hook.Attempt {
		return hook.Attempt{At: start.Add(after), Trigger: trigger, ResponseHeaders: []byte(headers)}
	}
	const asks = "Retry-After: 14400\n"
	first := attempt(0, hook.BySchedule, "")
	for _, c := range []struct {
		due      time.Duration
		attempts []hook.Attempt
		want     string
	}{
		{2*time.Hour + 5*time.Minute, []hook.Attempt{first, attempt(time.Minute, hook.BySchedule, "")}, "2 h after the last one, and up to 10 % more. It is the last one."},
		{2*time.Hour + 5*time.Minute, []hook.Attempt{first, attempt(time.Minute, hook.BySchedule, "Retry-After: 240\n")}, "2 h after the last one, and up to 10 % more. It is the last one."},
		{4*time.Hour + time.Minute, []hook.Attempt{first, attempt(time.Minute, hook.BySchedule, asks)}, "4 h after the last one, because the receiver asked for it. The plan was: 2 h, and up to 10 % more. It is the last one."},
		{2*time.Hour + 5*time.Minute, []hook.Attempt{first, attempt(time.Minute, hook.BySchedule, ""), attempt(10*time.Minute, hook.ByHand, asks)}, "2 h after the last one by schedule, and up to 10 % more. It is the last one."},
	} {
		row := &hook.DeliveryRow{}
		row.Due, row.Scheduled = start.Add(c.due), 2
		if got := planWords(plan, row, c.attempts); got != c.want {
			t.Errorf("%v: %s, want %s", c.due, got, c.want)
		}
	}
	if got := planWords(nil, &hook.DeliveryRow{}, nil); got != "" {
		t.Errorf("without a plan: %s", got)
	}
}
