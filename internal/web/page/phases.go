package page

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// Phase is a part of the time of an attempt, in a bar that is 1000 wide.
type Phase struct {
	Name     string // dns, connect, tls, first, body, or waiting if nothing was received
	Class    string
	X, Width int
	Took     time.Duration
}

// Phases returns how long the phases of an attempt took, or nil if that was not recorded.
// Above a second the bar is logarithmic, so that short phases beside a long one are seen.
func Phases(a *hook.Attempt) (out []Phase) {
	t := a.Timing
	known := t.DNS + t.Connect + t.TLS + t.FirstByte
	if known == 0 {
		return nil
	}
	parts := []Phase{{Name: "dns", Took: t.DNS}, {Name: "connect", Took: t.Connect}, {Name: "tls", Took: t.TLS}, {Name: "first", Took: t.FirstByte}, {Name: "body", Took: max(0, a.Duration-known)}}
	if t.FirstByte == 0 {
		parts[4].Name = "waiting"
	}
	size := func(d time.Duration) float64 {
		if a.Duration > time.Second {
			return math.Log1p(d.Seconds() * 1000)
		}
		return d.Seconds() * 1000
	}
	all := 0.0
	for _, p := range parts {
		all += size(p.Took)
	}
	x := 0
	for i, p := range parts {
		if p.Took <= 0 {
			continue
		}
		p.Class, p.X, p.Width = "p"+strconv.Itoa(i+1), x, max(4, int(1000*size(p.Took)/all))
		out = append(out, p)
		x += p.Width
	}
	return out
}

// StatusLine returns the status line of an answer, or an empty text if there was none.
func StatusLine(status int) string {
	if status == 0 {
		return ""
	}
	return strings.TrimSpace("HTTP/1.1 " + strconv.Itoa(status) + " " + http.StatusText(status))
}

// RetryAfter returns how long the receiver of an attempt asked to wait, from the end of the
// attempt. It returns 0 if it did not ask, or not in a form of RFC 9110.
func RetryAfter(a *hook.Attempt) time.Duration {
	for line := range strings.Lines(string(a.ResponseHeaders)) {
		name, value, _ := strings.Cut(line, ":")
		if !strings.EqualFold(name, "Retry-After") {
			continue
		}
		value = strings.TrimSpace(value)
		if seconds, err := strconv.ParseUint(value, 10, 64); err == nil {
			return time.Duration(min(seconds, 1e9)) * time.Second
		}
		at, err := http.ParseTime(value)
		if err != nil {
			return 0
		}
		return max(0, at.Sub(a.At.Add(a.Duration)))
	}
	return 0
}
