package page

import (
	"strings"
	"testing"
)

// A text is cut between characters and loses no whole one, wherever its characters begin. Of
// what is not UTF-8, everything up to the limit is shown.
func TestStart(t *testing.T) {
	for raw, want := range map[string]string{
		strings.Repeat("€", 10): "€€€€", "x" + strings.Repeat("€", 10): "x€€€", "xx" + strings.Repeat("€", 10): "xx€€€", "xxx" + strings.Repeat("€", 10): "xxx€€€",
		strings.Repeat("ü", 10): "üüüüüü", strings.Repeat("😀", 10): "😀😀😀", strings.Repeat("a", 20): strings.Repeat("a", 12),
		"a" + strings.Repeat("\x80", 20): "a" + strings.Repeat("\x80", 11), strings.Repeat("\xff", 20): strings.Repeat("\xff", 12),
	} {
		if got, cut := Start([]byte(raw), 12); string(got) != want || !cut {
			t.Errorf("%q begins with %q (%v), want %q", raw, got, cut, want)
		}
	}
	for _, whole := range []string{"", "€€€€"} {
		if got, cut := Start([]byte(whole), 12); string(got) != whole || cut {
			t.Errorf("%q begins with %q (%v)", whole, got, cut)
		}
	}
}

func TestNumber(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1.000", -100: "-100", -1000: "-1.000", 1234567: "1.234.567"} {
		if got := Number(n, "."); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}
