package hook

import (
	"errors"
	"regexp"
	"time"
)

// instant is RFC 3339 without what some of its readers do not take: a leap second,
// lower-case letters, a fraction after a comma or of more than nine digits.
var instant = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:[0-5]\d(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

// ErrTime says that a text is no time that ParseTime reads.
var ErrTime = errors.New("not a time of RFC 3339 such as 2026-01-31T12:00:00Z, in the years 1970 to 9999 of UTC")

// ParseTime reads a time as RFC 3339 (section 5.6) writes it, with upper-case T and Z,
// seconds up to 59, and a point before a fraction of one to nine digits. The year is
// that of UTC, 1970 to 9999: what it lets pass can be written so that every reader of
// RFC 3339 reads it. The result is in UTC and cut to microseconds. The error is ErrTime.
func ParseTime(text string) (time.Time, error) {
	if !instant.MatchString(text) {
		return time.Time{}, ErrTime
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	at = at.UTC().Truncate(time.Microsecond)
	if err != nil || at.Year() < 1970 || at.Year() > 9999 {
		return time.Time{}, ErrTime
	}
	return at, nil
}
