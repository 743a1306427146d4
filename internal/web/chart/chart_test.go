package chart

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// tally counts attempts of which some failed. None of the others is the first delivery of an
// event, as when a replay sends again what was delivered; and the answer to one was cut.
func tally(attempts, failed int64) hook.Tally {
	t := hook.Tally{Attempts: attempts}
	t.AddError(hook.ClassStatus, failed)
	t.AddError(hook.ClassTruncated, 1)
	return t
}

// The chart shows every non-empty bucket within its box, however small the bucket is beside
// the largest one.
func TestChart(t *testing.T) {
	s := &hook.Stats{From: time.Unix(1_800_000_000, 0), Step: time.Hour, Buckets: []hook.Tally{tally(100_000, 1), {}, tally(1, 0), tally(50, 50)}}
	c := AttemptsOf(s, s.From.Add(10*time.Hour))
	if c.Good != "M0 2h238v98h-238zM480 99h238v1h-238z" || c.Bad != "M0 103h238v1h-238zM720 103h238v44h-238z" {
		t.Errorf("%q %q", c.Good, c.Bad)
	}
	if !strings.HasPrefix(c.Sentence, "100,000 attempts delivered and 51 failed from ") {
		t.Error(c.Sentence)
	}
	if now := AttemptsOf(s, s.From.Add(3*time.Hour+time.Minute)); now.Good == "" || now.BadNow != "M720 103h238v44h-238z" {
		t.Errorf("the bar of an hour that is not over: %+v", now)
	}
	if AttemptsOf(&hook.Stats{Buckets: make([]hook.Tally, 3)}, time.Unix(0, 0)) != nil {
		t.Error("a chart of nothing")
	}
}

// Lines of charts hold finite numbers only, also where nothing happened.
func TestLinesHaveGaps(t *testing.T) {
	nan := math.NaN()
	for path, values := range map[string][]float64{"": {0, 0}, "M19.67 2h2M98.33 13h2": {2, nan, 1}, "M29.5 24h2L88.5 2": {0, 1}} {
		if got := Spark(values); got != path {
			t.Errorf("%v: %q, want %q", values, got, path)
		}
	}
	took := hook.Tally{Attempts: 1, Delivered: 1}
	took.DeliveryTime.Note(time.Second)
	c := TimesOf(&hook.Stats{Step: time.Minute, Buckets: []hook.Tally{took, {}, took, took}})
	if c.Half != c.Nearly || c.P50 != "999 ms" || strings.Contains(c.Half, "N") || strings.Count(c.Half, "M") != 2 {
		t.Errorf("%+v", c)
	}
}

// The bars of a row have the same rules, and none are drawn without an attempt.
func TestBars(t *testing.T) {
	took := tally(3, 1)
	took.AttemptTime.Note(time.Second)
	b := BarsOf([]hook.Tally{{}, took}, "2 h")
	if b.Good != "M480 2h478v98h-478z" || b.Bad != "M480 103h478v44h-478z" || b.Delivered != "66.7" || b.P95 != "999 ms" || b.Sentence != "2 attempts delivered and 1 failed in 2 h." {
		t.Errorf("%+v", b)
	}
	if BarsOf(make([]hook.Tally, 24), "24 h") != nil || BarsOf(nil, "24 h") != nil {
		t.Error("bars of nothing")
	}
}
