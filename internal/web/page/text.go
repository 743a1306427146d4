package page

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/posthorn/posthorn/internal/hook"
)

// MaxShown limits the text of a payload or response on a page, in bytes.
const MaxShown = 64 << 10

// Start returns at most limit bytes from the beginning of a text, cut between characters,
// and reports whether there is more.
func Start(raw []byte, limit int) (start []byte, cut bool) {
	if len(raw) <= limit {
		return raw, false
	}
	for end := limit; end > 0 && end > limit-utf8.UTFMax; end-- {
		if utf8.RuneStart(raw[end]) {
			return raw[:end], true
		}
	}
	return raw[:limit], true // it is not UTF-8
}

// Visible returns a text with its control and direction characters, and what is not UTF-8,
// as escapes.
func Visible(raw []byte) string {
	var b strings.Builder
	for len(raw) > 0 {
		r, n := utf8.DecodeRune(raw)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, "\\x%02x", raw[0])
		case r == '\n' || r == '\t':
			b.WriteRune(r)
		case r == '\r' && len(raw) > 1 && raw[1] == '\n':
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp):
			fmt.Fprintf(&b, "\\u{%04x}", r)
		default:
			b.WriteRune(r)
		}
		raw = raw[n:]
	}
	return b.String()
}

// Pretty indents JSON and preserves order, numbers and strings. Text that is not JSON stays
// unchanged.
func Pretty(raw []byte) []byte {
	var out bytes.Buffer
	if json.Indent(&out, raw, "", "  ") != nil {
		return raw
	}
	return out.Bytes()
}

// HostOf splits a URL into its host and the rest for display, with secrets masked.
func HostOf(raw string) (host, rest string) {
	masked := hook.MaskURL(raw)
	u, err := url.Parse(masked)
	if err != nil || u.Host == "" {
		return masked, ""
	}
	_, after, _ := strings.Cut(masked, u.Host)
	return u.Host, after
}

// Short returns the first part of an id, for tables.
func Short(id hook.ID) string { return id.String()[:13] + "…" }

// longestID is the most characters of an id that a platform gave which a table shows.
const longestID = 24

// ShortEvent is Short for the id of an event, which is the platform's own if it gave one.
func ShortEvent(id hook.ID, given string) string {
	switch {
	case given == "":
		return Short(id)
	case len(given) > longestID: // ASCII only
		return given[:longestID-1] + "…"
	}
	return given
}

// Number writes a whole number with a mark between its thousands.
func Number(n int64, mark string) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + mark + text[i:]
	}
	return text
}

// Size writes a number of bytes with its unit.
func Size(n int) string {
	switch {
	case n < 1024:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/1024)
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

// Span writes a duration with one or two units. word writes a number of ms, s, min, h or d.
func Span(d time.Duration, word func(n int, unit string) string) string {
	two := func(big, small time.Duration, bigName, smallName string) string {
		n, rest := int(d/big), int(d%big/small)
		if n >= 10 || rest == 0 {
			return word(n, bigName)
		}
		return word(n, bigName) + " " + word(rest, smallName)
	}
	switch {
	case d < time.Second:
		return word(int(d/time.Millisecond), "ms")
	case d < time.Minute:
		return word(int(d/time.Second), "s")
	case d < time.Hour:
		return two(time.Minute, time.Second, "min", "s")
	case d < 24*time.Hour:
		return two(time.Hour, time.Minute, "h", "min")
	}
	return two(24*time.Hour, time.Hour, "d", "h")
}

// Bar appends the bar of a bucket of a chart to a path, in a box of 960 by 148. A number above
// 0 goes up from 100, one below 0 down from 103. However small it is beside the most of its
// half, its bar is seen.
func Bar(path *strings.Builder, bucket, buckets int, n, most int64) {
	const width, up, down = 960, 98, 44
	left := bucket * width / buckets
	wide := max(1, (bucket+1)*width/buckets-left-2)
	switch {
	case n > 0:
		high := max(1, n*up/most)
		fmt.Fprintf(path, "M%d %dh%dv%dh-%dz", left, 100-high, wide, high, wide)
	case n < 0:
		fmt.Fprintf(path, "M%d 103h%dv%dh-%dz", left, wide, max(1, -n*down/most), wide)
	}
}

// Took formats a duration that was measured, with two digits or three.
func Took(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 1, 64) + " ms"
	case d < time.Second:
		return strconv.FormatInt(d.Round(time.Millisecond).Milliseconds(), 10) + " ms"
	case d < time.Minute:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	}
	return Span(d, func(n int, unit string) string { return strconv.Itoa(n) + " " + unit })
}
