package server

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func metered(t *testing.T) *Node {
	t.Helper()
	c, err := loaded(t, "", "--listen", "127.0.0.1:0", "--data", t.TempDir(), "--dev", "--operator-key", mountKey)
	if err != nil {
		t.Fatal(err)
	}
	n, err := Start(t.Context(), c, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Stop(context.Background()) })
	return n
}

// The page shows how the store's writer and its log are.
func TestMetricsShowTheWriter(t *testing.T) {
	n := metered(t)
	page := httptest.NewRecorder()
	n.metricsPage().ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
	text := page.Body.String()
	if !strings.Contains(text, "\nposthorn_writes_waiting 0\n") {
		t.Error("the writes that wait are missing")
	}
	if !strings.Contains(text, "\nposthorn_sqlite_log_bytes ") || strings.Contains(text, "\nposthorn_sqlite_log_bytes 0\n") {
		t.Error("the length of the log is missing")
	}
	// Nothing takes long here, so the operations are given.
	r := prometheus.NewRegistry()
	r.MustRegister(longWrites{func() map[string]int64 { return map[string]int64{"publish": 2, "batch": 3} }})
	page = httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
	for _, line := range []string{`posthorn_long_writes_total{operation="batch"} 3`, `posthorn_long_writes_total{operation="publish"} 2`} {
		if !strings.Contains(page.Body.String(), line+"\n") {
			t.Errorf("%s is missing", line)
		}
	}
}

// What is refused at the two doors is counted, and so is what waits for a host.
func TestMetricsShowRefusals(t *testing.T) {
	n := metered(t)
	page := func() string {
		w := httptest.NewRecorder()
		n.metricsPage().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		return w.Body.String()
	}
	if strings.Contains(page(), "posthorn_api_refused_total{") || strings.Contains(page(), "posthorn_egress_blocked_total{") {
		t.Error("refusals are counted before there were any")
	}
	for _, key := range []string{"", "Bearer wrong"} {
		r := httptest.NewRequest("GET", "/v1/tenants", nil)
		if key != "" {
			r.Header.Set("Authorization", key)
		}
		n.servers[0].Handler.ServeHTTP(httptest.NewRecorder(), r)
	}
	n.counts.dialBlocked("loopback")
	text := page()
	for _, line := range []string{`posthorn_api_refused_total{code="unauthorized",status="401"} 2`, `posthorn_egress_blocked_total{rule="loopback"} 1`,
		`posthorn_attempts_held_total{for="in_flight"} 0`, `posthorn_attempts_held_total{for="rate"} 0`, "posthorn_hosts 0",
		`posthorn_attempt_duration_seconds_bucket{le="20"} 0`, `posthorn_attempt_duration_seconds_bucket{le="60"} 0`} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("%s is missing", line)
		}
	}
}
