package hook_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// The catalogue of alerts is complete, and its examples are what receivers get.
func TestAlertTypes(t *testing.T) {
	word := regexp.MustCompile(`<|>|secret|\n`)
	seen := map[string]bool{}
	for _, a := range hook.AlertTypes() {
		text, err := json.Marshal(a.Example)
		if err != nil {
			t.Fatal(err)
		}
		var data struct{ Message string }
		if err := json.Unmarshal(text, &data); err != nil || data.Message == "" || word.MatchString(data.Message) || !strings.HasSuffix(data.Message, ".") {
			t.Errorf("%s: the message is %q, %v", a.Name, data.Message, err)
		}
		if !hook.ReservedType(a.Name) || !hook.ValidType(a.Name) || seen[a.Name] || strings.Contains(string(text), "secret") {
			t.Errorf("%s: %s", a.Name, text)
		}
		seen[a.Name] = true
	}
	for _, name := range []string{hook.AlertEndpointWarned, hook.AlertDigest, hook.AlertTest, hook.AlertJobFinished, hook.AlertCleared} {
		if !seen[name] {
			t.Errorf("%s is not in the catalogue", name)
		}
	}
}

// Profiles take at most 1,024 bytes of a value out of the data, so the longest message must
// fit.
func TestLongestMessage(t *testing.T) {
	e := &hook.Endpoint{ID: hook.ID{1}, Scope: hook.Scope{Tenant: strings.Repeat("t", 64), Mode: hook.Live}, URL: "https://" + strings.Repeat("h", 253) + "/",
		DisabledReason: "failures", Status: hook.Disabled}
	h := &hook.Health{Failures: 1 << 31, FirstFailureAt: time.Date(2026, 9, 27, 10, 0, 0, 0, time.UTC)}
	d := &hook.Delivery{Scope: e.Scope, EventType: strings.Repeat("x", 128), Attempts: 1 << 31, LastError: hook.ClassTLSName}
	full := &hook.DigestAlert{Counts: map[string]int64{}}
	for _, a := range hook.AlertTypes() {
		full.Counts[a.Name] = 1 << 40
	}
	full.Finish(hook.Live)
	messages := []string{full.Message, hook.NewDeliveryAlert(d, e, hook.ID{2}, time.Time{}).Message,
		hook.NewEndpointAlert(hook.AlertEndpointUpdated, e, nil, nil, nil, "url", "event_types", "title", "description", "profile", "headers", "rate_limit", "max_in_flight",
			"max_consecutive_failures", "retry", "secrets", "verification", "enabled").Message}
	for _, name := range []string{hook.AlertEndpointWarned, hook.AlertEndpointDisabled, hook.AlertEndpointFailing} {
		messages = append(messages, hook.NewEndpointAlert(name, e, h, &hook.Trip{Count: hook.TripDuration, N: 1000, For: time.Hour}, &hook.Outcome{Class: hook.ClassTLSName}).Message)
	}
	for _, m := range messages {
		if text, _ := json.Marshal(m); len(text) > 1000 {
			t.Errorf("%d bytes: %s", len(text), m)
		}
	}
}

// An event and an endpoint belong together only if both are operational or neither is.
func TestWants(t *testing.T) {
	for _, c := range []struct {
		operational bool
		filter      string
		name        string
		want        bool
	}{
		{false, "*", "invoice.paid", true}, {false, "*", hook.AlertTest, false}, {false, hook.AlertTest, hook.AlertTest, false},
		{true, "*", hook.AlertTest, true}, {true, "*", "invoice.paid", false}, {true, "posthorn.endpoint.*", hook.AlertEndpointWarned, true},
		{true, "posthorn.endpoint.*", hook.AlertTest, false}, {false, "*", "posthorn", true}, {false, "*", "Posthorn.x", true},
	} {
		e := &hook.Endpoint{Operational: c.operational, Types: hook.Filter{c.filter}}
		if got := e.Wants(c.name, nil); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	if hook.ValidTenantID(hook.OperatorTenant) {
		t.Error("a platform may give its tenant the operator's id")
	}
}

// A short outage is no alert, and neither is a single failure long ago.
func TestFailing(t *testing.T) {
	at := time.Date(2026, 9, 27, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		failures int
		after    time.Duration
		want     bool
	}{{4, 5 * time.Minute, true}, {1000, 4 * time.Minute, false}, {3, time.Hour, false}, {0, 0, false}} {
		h := hook.Health{Failures: c.failures, FirstFailureAt: at}
		if got := h.Failing(at.Add(c.after)); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
