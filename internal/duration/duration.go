// Package duration reads and writes durations as people write them: Go's own, with days
// before them. 30d, 1d12h, 90m and 1h30m are durations; a day has 24 hours.
package duration

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

const day = 24 * time.Hour

// Parse reads a duration. Days are a whole number and come first.
func Parse(text string) (time.Duration, error) {
	sign, rest := time.Duration(1), text
	switch {
	case strings.HasPrefix(rest, "-"):
		sign, rest = -1, rest[1:]
	case strings.HasPrefix(rest, "+"):
		rest = rest[1:]
	}
	total := time.Duration(0)
	if days, after, found := strings.Cut(rest, "d"); found {
		n, err := strconv.ParseUint(days, 10, 32)
		if err != nil || n > uint64(math.MaxInt64/day) {
			return 0, invalid(text)
		}
		total, rest = time.Duration(n)*day, after
		if rest == "" {
			return sign * total, nil
		}
	}
	if strings.HasPrefix(rest, "-") || strings.HasPrefix(rest, "+") {
		return 0, invalid(text)
	}
	part, err := time.ParseDuration(rest)
	if err != nil || total > math.MaxInt64-part {
		return 0, invalid(text)
	}
	return sign * (total + part), nil
}

func invalid(text string) error {
	return fmt.Errorf("%q is not a duration such as 30s, 1h30m or 30d", text)
}

// Format writes a duration as Parse reads it, without parts that are nothing: 30d, 1d12h,
// 1h30m, 0s.
func Format(d time.Duration) string {
	if d < 0 && d != math.MinInt64 {
		return "-" + Format(-d)
	}
	text := ""
	if days := d / day; days > 0 {
		text, d = fmt.Sprintf("%dd", days), d%day
		if d == 0 {
			return text
		}
	}
	rest := d.String()
	if strings.HasSuffix(rest, "m0s") {
		rest = strings.TrimSuffix(rest, "0s")
	}
	if strings.HasSuffix(rest, "h0m") {
		rest = strings.TrimSuffix(rest, "0m")
	}
	return text + rest
}

// value is a flag.
type value time.Duration

// String writes the value.
func (v *value) String() string { return Format(time.Duration(*v)) }

// Type is the name of the kind of value in help texts.
func (*value) Type() string { return "duration" }

// Set reads the value.
func (v *value) Set(text string) error {
	d, err := Parse(text)
	if err == nil {
		*v = value(d)
	}
	return err
}

// Var adds a flag whose value is a duration to a set.
func Var(f *pflag.FlagSet, to *time.Duration, name string, preset time.Duration, usage string) {
	*to = preset
	f.Var((*value)(to), name, usage)
}
