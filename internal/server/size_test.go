package server

import (
	"strings"
	"testing"
)

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "500MB": 500e6, "20GB": 20e9, "20GiB": 20 << 30, "1.5tib": 3 << 39, " 7 kB": 7000, "1KiB": 1024, "9223372TB": 9223372e12} {
		got, err := parseSize(text)
		if err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
		s := size(got)
		if again, err := parseSize(s.String()); err != nil || again != want {
			t.Errorf("%q is written as %q, which is %d %v", text, s.String(), again, err)
		}
	}
	for _, text := range []string{"", "20", "-1GB", "GB", "20G", "20 giga", "1e3GB", "0x10GB", "infGB", "nanGB", "1_000MB", "9223373TB", "99999999999999999999TB", "20GB/s"} {
		if got, err := parseSize(text); err == nil || !strings.Contains(err.Error(), "20GiB") {
			t.Errorf("%q is taken as %d (%v)", text, got, err)
		}
	}
}
