package server

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCallLimits(t *testing.T) {
	c, err := loaded(t, "read_rate: 7.5\npublic_url: [https://Hooks.Example.com/base, 'http://10.0.0.1:8080']\n", "--shortest-retry", "1m", "--max-attempts-ceiling", "9")
	if err != nil {
		t.Fatal(err)
	}
	if r := c.Calls.reads(); r.PerSecond != 7.5 || r.Burst != 15 {
		t.Errorf("%+v", r)
	}
	if w, a := c.Calls.writes(), c.Calls.attempts(); w.PerSecond != 100 || w.Burst != 200 || a.PerSecond != 5 || a.Burst != 60 {
		t.Errorf("%+v %+v", w, a)
	}
	if k := c.Calls.ceilings(); k.ShortestRetry != time.Minute || k.Attempts != 9 || k.InFlight != 1000 || k.Endpoints != 1000 {
		t.Errorf("%+v", k)
	}
	if !slices.Equal(c.ownHosts, []string{"hooks.example.com", "10.0.0.1"}) {
		t.Errorf("%q", c.ownHosts)
	}
	if c, err := loaded(t, "", "--read-rate", "0.001", "--write-rate", "0", "--publish-rate", "1e6"); err != nil || c.Calls.reads().Burst != 1 {
		t.Errorf("%v", err)
	}
	for _, wrong := range [][2]string{{"--read-rate", "1e-300"}, {"--write-rate", "0.0009"}, {"--attempt-rate", "1e-9"}, {"--publish-rate", "1e-300"}, {"--publish-rate", "Inf"}, {"--read-rate", "-1"}, {"--write-rate", "NaN"}, {"--attempt-rate", "1e7"}, {"--max-in-flight-ceiling", "0"},
		{"--max-in-flight-ceiling", "1001"}, {"--endpoints-per-tenant", "0"}, {"--endpoints-per-tenant", "1001"}, {"--shortest-retry", "999ms"},
		{"--shortest-retry", "25h"}, {"--max-attempts-ceiling", "-1"}, {"--max-attempts-ceiling", "10001"}, {"--public-url", "hooks.example.com"},
		{"--public-url", "https://user@hooks.example.com"}} {
		if _, err := loaded(t, "", wrong[:]...); err == nil || !strings.HasPrefix(err.Error(), wrong[0]+": ") {
			t.Errorf("%v: %v", wrong, err)
		}
	}
}
