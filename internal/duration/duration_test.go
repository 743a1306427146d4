package duration

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30d": 30 * day, "1d12h": 36 * time.Hour, "0d": 0, "0": 0, "90m": 90 * time.Minute, "1d0s": day, "-1d1h": -25 * time.Hour, "+2d": 2 * day,
		"1h30m": 90 * time.Minute, "1.5h": 90 * time.Minute, "1d1.5h": day + 90*time.Minute, "106751d": 106751 * day,
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("%q: %v %v, want %v", text, got, err, want)
		}
		if again, err := Parse(Format(want)); err != nil || again != want {
			t.Errorf("%v is written as %q, which is %v %v", want, Format(want), again, err)
		}
	}
	for _, text := range []string{"", "d", "-", "1", "1.5d", "1d2", "12h1d", "1d1d", "1d-1h", "1d+1h", "--1d", "-d", "+-1h", "106752d", "106751d24h", "9999999999d", "1d ", " 1d", "1D", "1d1m1"} {
		if got, err := Parse(text); err == nil {
			t.Errorf("%q is taken as %v", text, got)
		} else if !strings.Contains(err.Error(), "30d") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestFormat(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 720 * time.Hour: "30d", 36 * time.Hour: "1d12h", 35 * time.Second: "35s", time.Hour: "1h", 90 * time.Minute: "1h30m", time.Minute: "1m",
		day + 10*time.Second: "1d10s", 1500 * time.Millisecond: "1.5s", -2 * day: "-2d", math.MaxInt64: "106751d23h47m16.854775807s",
	} {
		if got := Format(d); got != want {
			t.Errorf("%v: %q, want %q", time.Duration(d), got, want)
		}
	}
}

func TestFlag(t *testing.T) {
	var d time.Duration
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	Var(f, &d, "held-for", 30*day, "how long")
	if d != 30*day || f.Lookup("held-for").DefValue != "30d" || f.Lookup("held-for").Value.Type() != "duration" {
		t.Errorf("%v %+v", d, f.Lookup("held-for"))
	}
	if err := f.Parse([]string{"--held-for", "1d12h"}); err != nil || d != 36*time.Hour {
		t.Errorf("%v %v", d, err)
	}
	if err := f.Parse([]string{"--held-for", "a day"}); err == nil || d != 36*time.Hour {
		t.Errorf("%v %v", d, err)
	}
}
