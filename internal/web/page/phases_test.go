package page

import (
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

func TestPhases(t *testing.T) {
	a := &hook.Attempt{Duration: 100 * time.Millisecond, Timing: hook.Timing{DNS: 10 * time.Millisecond, TLS: 40 * time.Millisecond, FirstByte: 20 * time.Millisecond}}
	got := Phases(a)
	names, x := "", 0
	for _, p := range got {
		if p.X != x {
			t.Errorf("%+v begins not at %d", p, x)
		}
		names, x = names+p.Name+" ", x+p.Width
	}
	if names != "dns tls first body " || x != 1000 || got[1].Width != 400 || got[3].Took != 30*time.Millisecond || got[1].Class != "p3" {
		t.Errorf("%+v", got)
	}
	a.Duration, a.Timing = 20*time.Second, hook.Timing{Connect: 3 * time.Millisecond}
	if got = Phases(a); len(got) != 2 || got[1].Name != "waiting" || got[0].Width < 100 { // seen beside one of 20 s
		t.Errorf("%+v", got)
	}
	if Phases(&hook.Attempt{Duration: time.Second}) != nil {
		t.Error("phases that were not recorded")
	}
}

func TestRetryAfter(t *testing.T) {
	at := time.Date(2026, 11, 27, 14, 35, 0, 0, time.UTC)
	for headers, want := range map[string]time.Duration{
		"Retry-After: 240\n": 240 * time.Second, "Server: x\r\nretry-after:  7 \r\n": 7 * time.Second, "Retry-After: Fri, 27 Nov 2026 14:36:01 GMT\n": time.Minute,
		"Retry-After: Fri, 27 Nov 2026 14:00:00 GMT\n": 0, "Retry-After: soon\n": 0, "Retry-After: -5\n": 0, "X-Retry-After: 5\n": 0, "": 0, "Retry-After: 99999999999999999999\n": 0, "Retry-After: 999999999999\n": 1e9 * time.Second,
	} {
		if got := RetryAfter(&hook.Attempt{At: at, Duration: time.Second, ResponseHeaders: []byte(headers)}); got != want {
			t.Errorf("%q: %v, want %v", headers, got, want)
		}
	}
}
