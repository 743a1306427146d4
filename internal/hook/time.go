package hook

import (
	"errors"
	"regexp"
	"time"
)

// instant matches RFC 3339 times, without forms that some parsers do not accept: leap
// seconds, lower-case letters, and a fraction after a comma or of more than nine digits.
var instant = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:[0-5]\d(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

// ErrTime reports that a text is not a time that ParseTime accepts.
var ErrTime = errors.New("not a time of RFC 3339 such as 2026-01-31T12:00:00Z, in the years 1970 to 9999 of UTC")

// ParseTime parses a time in the format of RFC 3339 section 5.6, with upper-case T and Z,
// seconds up to 59, and an optional fraction of one to nine digits after a point. The year
// in UTC is 1970 to 9999, so that every RFC 3339 parser can read an accepted time when it
// is written again. The result is in UTC, truncated to microseconds. The error is ErrTime.
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
