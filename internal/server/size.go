package server

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/posthorn/posthorn/internal/hook"
)

// size is a flag whose value is a number of bytes with a unit.
type size int64

var sizeUnits = []struct {
	name string
	n    float64
}{
	{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"tib", 1 << 40}, {"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"tb", 1e12},
}

// parseSize reads 0, or a number with a unit: 500MB, 20GB, 1.5TiB. Case does not matter.
func parseSize(text string) (int64, error) {
	lower := strings.ToLower(strings.TrimSpace(text))
	if lower == "0" {
		return 0, nil
	}
	for _, u := range sizeUnits {
		number, ok := strings.CutSuffix(lower, u.name)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || math.IsNaN(v) || v < 0 || v*u.n >= math.MaxInt64 || strings.ContainsAny(number, "xpe_in") {
			break
		}
		return int64(v * u.n), nil
	}
	return 0, fmt.Errorf("%q is not a size with a unit, such as 500MB, 20GB or 20GiB; 0 means none", text)
}

// String writes the value as parseSize reads it.
func (s *size) String() string {
	n := int64(*s)
	for i := len(sizeUnits) - 1; i >= 0 && n > 0; i-- {
		if u := int64(sizeUnits[i].n); n%u == 0 {
			name := strings.ToUpper(sizeUnits[i].name)
			return strconv.FormatInt(n/u, 10) + strings.Replace(strings.Replace(name, "IB", "iB", 1), "KB", "kB", 1)
		}
	}
	if n == 0 {
		return "0"
	}
	return strconv.FormatFloat(float64(n)/1e3, 'f', -1, 64) + "kB"
}

// Type is the name of the kind of value in help texts.
func (*size) Type() string { return "size" }

// Set reads the value.
func (s *size) Set(text string) error {
	n, err := parseSize(text)
	if err == nil {
		*s = size(n)
	}
	return err
}

// leastBudget is the smallest budget, in bytes. SQLite's log and the tables of an empty
// store take a part of it.
const leastBudget = 100e6

func (c *Config) checkDisk(all *Faults) {
	if c.DiskBudget != 0 && c.DiskBudget < leastBudget {
		all.add(wrong("disk-budget", "%s is less than %s; 0 means none", hook.BytesText(int64(c.DiskBudget)), hook.BytesText(leastBudget)))
	}
	for name, d := range map[string]int64{"retention-payloads": int64(c.RetentionPayloads), "retention-answers": int64(c.RetentionAnswers)} {
		if d < 0 {
			all.add(wrong(name, "must not be negative; 0 keeps them as long as the event"))
		}
	}
}
