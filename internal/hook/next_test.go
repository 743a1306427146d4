package hook_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/posthorn/posthorn/internal/hook"
)

var at = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func twice() *hook.Policy {
	return &hook.Policy{
		Success: hook.StatusSet{{200, 299}}, RetryAfterCap: 24 * time.Hour, GoneDisables: true,
		Retry: hook.Retry{Steps: []time.Duration{time.Minute, 5 * time.Minute}},
	}
}

func failure(status int) hook.Outcome {
	return hook.Outcome{Status: status, Class: hook.ClassStatus, StartedAt: at, Duration: time.Second}
}

func success() hook.Outcome {
	return hook.Outcome{Success: true, Status: 200, StartedAt: at, Duration: time.Second}
}

// The names of the cases are the transitions of docs/states.md.
func TestTransitions(t *testing.T) {
	none := hook.Effect(0)
	failed := hook.EffectFailed
	cases := []struct {
		name    string
		from    hook.Delivery
		trigger hook.Trigger
		outcome hook.Outcome
		state   hook.State
		reason  hook.Reason
		due     time.Duration // after at; 0: none
		effect  hook.Effect
	}{
		{"pending --success--> succeeded", hook.Delivery{}, hook.BySchedule, success(), hook.Succeeded, "", 0, hook.EffectSucceeded},
		{"pending --failure--> pending, due later", hook.Delivery{}, hook.BySchedule, failure(500), hook.Pending, "", time.Second + time.Minute, failed},
		{"pending --policy ended--> failed", hook.Delivery{Attempts: 2, Scheduled: 2}, hook.BySchedule, failure(500), hook.Failed, hook.ReasonPolicyEnded, 0, failed | hook.EffectExhausted},
		{"pending --410--> failed", hook.Delivery{}, hook.BySchedule, failure(410), hook.Failed, hook.ReasonGone, 0, failed | hook.EffectExhausted | hook.EffectGone},
		{"pending --failure by hand--> pending, schedule kept", hook.Delivery{Due: at.Add(time.Hour)}, hook.ByHand, failure(500), hook.Pending, "", time.Hour, failed},
		{"pending --success by hand--> succeeded", hook.Delivery{Due: at.Add(time.Hour)}, hook.ByHand, success(), hook.Succeeded, "", 0, hook.EffectSucceeded},
		{"held --success--> succeeded", hook.Delivery{State: hook.Held, Reason: hook.ReasonTripped}, hook.BySchedule, success(), hook.Succeeded, "", 0, hook.EffectSucceeded},
		{"held --failure--> held", hook.Delivery{State: hook.Held, Reason: hook.ReasonTripped}, hook.BySchedule, failure(500), hook.Held, hook.ReasonTripped, 0, failed},
		{"cancelled --success--> succeeded", hook.Delivery{State: hook.Cancelled}, hook.BySchedule, success(), hook.Succeeded, "", 0, hook.EffectSucceeded},
		{"cancelled --failure--> cancelled", hook.Delivery{State: hook.Cancelled}, hook.BySchedule, failure(500), hook.Cancelled, "", 0, failed},
		{"failed --success by hand--> succeeded", hook.Delivery{State: hook.Failed, Reason: hook.ReasonPolicyEnded, Attempts: 3}, hook.ByHand, success(), hook.Succeeded, "", 0, hook.EffectSucceeded},
		{"failed --failure by hand--> failed", hook.Delivery{State: hook.Failed, Reason: hook.ReasonPolicyEnded, Attempts: 3}, hook.ByHand, failure(500), hook.Failed, hook.ReasonPolicyEnded, 0, failed},
		{"succeeded --failure by hand--> succeeded", hook.Delivery{State: hook.Succeeded}, hook.ByHand, failure(500), hook.Succeeded, "", 0, failed},
		{"test event --failure--> failed", hook.Delivery{Kind: hook.TestEvent}, hook.ByTest, failure(500), hook.Failed, hook.ReasonTestFailed, 0, none},
		{"test event --success--> succeeded", hook.Delivery{Kind: hook.TestEvent}, hook.ByTest, success(), hook.Succeeded, "", 0, none},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, effect := hook.Next(c.from, twice(), c.trigger, c.outcome, at.Add(time.Second), 0)
			var due time.Time
			if c.due != 0 {
				due = at.Add(c.due)
			}
			if got.State != c.state || got.Reason != c.reason || !got.Due.Equal(due) || effect != c.effect {
				t.Errorf("got %v %q due %v effects %b; want %v %q due %v effects %b",
					got.State, got.Reason, got.Due, effect, c.state, c.reason, due, c.effect)
			}
			if got.Attempts != c.from.Attempts+1 {
				t.Errorf("attempts %d after %d", got.Attempts, c.from.Attempts)
			}
		})
	}
}

func TestRetryAfterIsHonouredWithinBounds(t *testing.T) {
	for _, c := range []struct{ asked, want time.Duration }{
		{0, time.Minute},
		{10 * time.Second, time.Minute}, // never earlier than the step
		{time.Hour, time.Hour},
		{72 * time.Hour, 24 * time.Hour},
	} {
		o := failure(503)
		o.RetryAfter = c.asked
		got, _ := hook.Next(hook.Delivery{}, twice(), hook.BySchedule, o, at, 0)
		if wait := got.Due.Sub(at.Add(time.Second)); wait != c.want {
			t.Errorf("Retry-After %v: next after %v, want %v", c.asked, wait, c.want)
		}
	}
	p := twice()
	p.RetryAfterCap = 0
	o := failure(503)
	o.RetryAfter = time.Hour
	if got, _ := hook.Next(hook.Delivery{}, p, hook.BySchedule, o, at, 0); got.Due.Sub(at) > 2*time.Minute {
		t.Error("Retry-After honoured although the policy ignores it")
	}
}

func TestSingleShotsDoNotUseUpTheSchedule(t *testing.T) {
	var d hook.Delivery
	for range 5 {
		for _, trigger := range []hook.Trigger{hook.ByHand, hook.ByReplay} {
			d, _ = hook.Next(d, twice(), trigger, failure(500), at, 0)
		}
	}
	for _, want := range []hook.State{hook.Pending, hook.Pending, hook.Failed} {
		if d, _ = hook.Next(d, twice(), hook.BySchedule, failure(500), at, 0); d.State != want {
			t.Fatalf("%v after %d scheduled attempts, want %v", d.State, d.Scheduled, want)
		}
	}
}

func TestMaxAgeEndsTheSchedule(t *testing.T) {
	p := twice()
	p.Retry = hook.Retry{First: time.Hour, Factor: 1, MaxAge: 90 * time.Minute}
	d := hook.Delivery{CreatedAt: at}
	d, _ = hook.Next(d, p, hook.BySchedule, failure(500), at, 0)
	if d.State != hook.Pending {
		t.Fatalf("state %v after the first failure", d.State)
	}
	o := failure(500)
	o.StartedAt = at.Add(time.Hour)
	if d, _ = hook.Next(d, p, hook.BySchedule, o, at, 0); d.State != hook.Failed || d.Reason != hook.ReasonPolicyEnded {
		t.Fatalf("%v %q past the age", d.State, d.Reason)
	}
}

func TestDelays(t *testing.T) {
	exponential := hook.Retry{First: 10 * time.Second, Factor: 2, Cap: time.Hour}
	for attempts, want := range map[int]time.Duration{
		1: 10 * time.Second, 2: 20 * time.Second, 9: 2560 * time.Second, 10: time.Hour, 5000: time.Hour,
	} {
		if got, again := exponential.Delay(attempts); got != want || !again {
			t.Errorf("exponential after %d: %v %v, want %v", attempts, got, again, want)
		}
	}
	exponential.MaxAttempts = 3
	if _, again := exponential.Delay(3); again {
		t.Error("a fourth of three attempts")
	}
	list := hook.Retry{Steps: []time.Duration{time.Minute, time.Hour}}
	if _, again := list.Delay(3); again {
		t.Error("a list went on after its end")
	}
	list.Repeat = true
	if got, again := list.Delay(300); got != time.Hour || !again {
		t.Errorf("repeated list: %v %v", got, again)
	}
	if _, again := (hook.Retry{}).Delay(1); again {
		t.Error("no policy means no retry")
	}
}

// These invariants hold whatever happens to a delivery.
func TestNextProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := twice()
		p.Retry.Jitter = rapid.Float64Range(0, 1).Draw(t, "jitter share")
		d := hook.Delivery{
			State: hook.State(rapid.IntRange(0, 4).Draw(t, "state")), Fence: 7, Owner: 3,
			Kind: hook.EventKind(rapid.IntRange(0, 1).Draw(t, "kind")), CreatedAt: at,
		}
		for range rapid.IntRange(1, 8).Draw(t, "attempts") {
			before := d
			o := failure(rapid.SampledFrom([]int{0, 301, 404, 410, 429, 500, 503}).Draw(t, "status"))
			if rapid.Bool().Draw(t, "success") {
				o = success()
			}
			o.RetryAfter = time.Duration(rapid.IntRange(0, 1<<20).Draw(t, "retry after")) * time.Second
			trigger := hook.Trigger(rapid.IntRange(0, 3).Draw(t, "trigger"))
			now := at.Add(time.Second)
			var effect hook.Effect
			d, effect = hook.Next(d, p, trigger, o, now, rapid.Float64Range(0, 1).Draw(t, "jitter"))

			end := o.StartedAt.Add(o.Duration)
			switch {
			case before.State == hook.Succeeded && d.State != hook.Succeeded:
				t.Fatal("succeeded regressed")
			case o.Success && d.State != hook.Succeeded:
				t.Fatalf("a success left %v", d.State)
			case !o.Success && before.State != hook.Pending && d.State != before.State:
				t.Fatalf("a failure moved %v to %v", before.State, d.State)
			case d.State == hook.Pending && !trigger.OneShot() && d.Due.Before(end.Add(time.Minute)):
				t.Fatalf("due %v, before the first step after %v", d.Due, end)
			case d.State != hook.Pending && !d.Due.IsZero() && d.State != before.State:
				t.Fatalf("%v with a next attempt", d.State)
			case !d.State.Open() && d.State != before.State && d.SettledAt.IsZero():
				t.Fatalf("%v without the time", d.State)
			case d.Kind == hook.TestEvent && effect != 0:
				t.Fatal("a test event counted for health")
			case d.Fence != before.Fence:
				t.Fatal("the rule moved the fence")
			}
		}
	})
}

func TestHealth(t *testing.T) {
	count := hook.Trip{Count: hook.TripAttempts, N: 3}
	var h hook.Health
	var v hook.Verdict
	for i, want := range []hook.Verdict{hook.CarryOn, hook.Warn} {
		if h, v = h.After(hook.EffectFailed, count, at.Add(time.Duration(i)*time.Second)); v != want {
			t.Fatalf("verdict %v after %d failures of 3, want %v", v, i+1, want)
		}
	}
	if cleared, _ := h.After(hook.EffectSucceeded, count, at); cleared != (hook.Health{}) {
		t.Errorf("success left %+v", cleared)
	}
	if h, v = h.After(hook.EffectFailed, count, at); v != hook.Disable || h.Failures != 3 {
		t.Errorf("verdict %v with %d failures of 3", v, h.Failures)
	}

	deliveries := hook.Trip{Count: hook.TripDeliveries, N: 1}
	if h, v = (hook.Health{}).After(hook.EffectFailed, deliveries, at); v != hook.CarryOn || h.Failures != 0 {
		t.Errorf("an attempt counted as a delivery: %v %+v", v, h)
	}
	if _, v = h.After(hook.EffectFailed|hook.EffectExhausted, deliveries, at); v != hook.Disable {
		t.Errorf("verdict %v after an exhausted delivery", v)
	}

	days := hook.Trip{Count: hook.TripDuration, For: 120 * time.Hour}
	h = hook.Health{}
	var verdicts []hook.Verdict
	for hours := 0; hours <= 120; hours += 20 {
		h, v = h.After(hook.EffectFailed, days, at.Add(time.Duration(hours)*time.Hour))
		verdicts = append(verdicts, v)
	}
	want := []hook.Verdict{0, 0, 0, hook.Warn, 0, 0, hook.Disable}
	for i := range want {
		if verdicts[i] != want[i] {
			t.Fatalf("verdicts by duration %v, want %v", verdicts, want)
		}
	}
}

// An endpoint with few deliveries is not disabled by few failures: the rule by duration
// requires a number, too, and so does its warning.
func TestHealthByDurationAndNumber(t *testing.T) {
	at := time.Date(2026, 9, 27, 0, 0, 0, 0, time.UTC)
	rule := hook.Trip{Count: hook.TripDuration, N: 10, For: 120 * time.Hour}
	last := func(rule hook.Trip, hours ...int) hook.Verdict {
		var h hook.Health
		var v hook.Verdict
		for _, after := range hours {
			h, v = h.After(hook.EffectFailed, rule, at.Add(time.Duration(after)*time.Hour))
		}
		return v
	}
	alone := hook.Trip{Count: hook.TripDuration, For: rule.For}
	for name, c := range map[string]struct {
		rule  hook.Trip
		hours []int
		want  hook.Verdict
	}{
		"two failures five days apart":             {rule, []int{0, 120}, hook.CarryOn},
		"the same without a number: the control":   {alone, []int{0, 120}, hook.Disable},
		"two failures half the time apart":         {rule, []int{0, 60}, hook.CarryOn},
		"the same without a number: a warning":     {alone, []int{0, 60}, hook.Warn},
		"half the number in half the time":         {rule, []int{0, 1, 2, 3, 60}, hook.Warn},
		"half the number too early":                {rule, []int{0, 1, 2, 3, 59}, hook.CarryOn},
		"the number too early":                     {rule, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, hook.CarryOn},
		"nine in more than the time":               {rule, []int{0, 1, 2, 3, 4, 5, 6, 7, 130}, hook.Warn},
		"the number, and the time with the last":   {rule, []int{0, 1, 2, 3, 4, 5, 6, 7, 61, 120}, hook.Disable},
		"an odd number is halved upwards: 2 of 3":  {hook.Trip{Count: hook.TripDuration, N: 3, For: rule.For}, []int{0, 60}, hook.Warn},
		"an odd number is halved upwards: 1 of 3":  {hook.Trip{Count: hook.TripDuration, N: 3, For: rule.For}, []int{60}, hook.CarryOn},
		"one delivery's ten attempts, then a next": {rule, []int{0, 0, 0, 1, 3, 8, 18, 32, 52, 76, 120}, hook.Disable},
	} {
		if got := last(c.rule, c.hours...); got != c.want {
			t.Errorf("%s: verdict %v, want %v", name, got, c.want)
		}
	}
}

// The table in docs/states.md and the cases of TestTransitions are the same.
func TestEveryTransitionIsDrawn(t *testing.T) {
	page, err := os.ReadFile("../../docs/states.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("next_test.go")
	if err != nil {
		t.Fatal(err)
	}
	drawn := regexp.MustCompile(`(?m)^\| ([a-z ]+ --.*?--> .*?) \|`).FindAllSubmatch(page, -1)
	tested := regexp.MustCompile(`(?m)^\t\t\{"([a-z ]+ --.*?--> .*?)", `).FindAllSubmatch(source, -1)
	names := func(found [][][]byte) (list []string) {
		for _, f := range found {
			list = append(list, string(f[1]))
		}
		slices.Sort(list)
		return list
	}
	if got, want := names(drawn), names(tested); len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("docs/states.md names\n%q\nthe tests prove\n%q", got, want)
	}
}

// The cases that docs/states.md lists for the other transitions exist.
func TestEveryOtherTransitionHasACase(t *testing.T) {
	page, err := os.ReadFile("../../docs/states.md")
	if err != nil {
		t.Fatal(err)
	}
	suite, err := os.ReadFile("../store/storetest/storetest.go")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\| \S.* -> .* \| ([^|]+) \|$`).FindAllSubmatch(page, -1)
	if len(rows) < 9 {
		t.Fatalf("only %d rows found", len(rows))
	}
	for _, row := range rows {
		if !strings.Contains(string(suite), `{"`+string(row[1])+`", `) {
			t.Errorf("docs/states.md names the case %q, which the suite does not have", row[1])
		}
	}
}
