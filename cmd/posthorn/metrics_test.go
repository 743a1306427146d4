package main

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// The page shows how the store's writer and its log are.
func TestMetricsShowTheWriter(t *testing.T) {
	s := newShell(t)
	s.ok("tenant", "create", "--id", "acme")
	page := httptest.NewRecorder()
	s.node.metricsPage().ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
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
