package server

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.yaml.in/yaml/v3"

	"github.com/posthorn/posthorn/client"
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

// What is refused by the API and by egress is counted, and so is what waits for a host.
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
	api := &client.Client{URL: n.URL(), Key: n.cfg.OperatorKey}
	if _, err := api.CreateTenant(t.Context(), client.NewTenant{ID: "acme"}); err != nil {
		t.Fatal(err)
	}
	if _, err := api.CreateEventType(t.Context(), client.NewEventType{Name: "a.b", Schema: json.RawMessage(`{"required": ["id"]}`), Check: "warn"}); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Publish(t.Context(), client.NewEvent{Tenant: "acme", Type: "a.b", Data: json.RawMessage("{}")}, client.PublishOptions{}); err != nil {
		t.Fatal(err)
	}
	text := page()
	for _, line := range []string{`posthorn_api_refused_total{code="unauthorized",status="401"} 2`, `posthorn_egress_blocked_total{rule="loopback"} 1`,
		`posthorn_disk_budget_bytes 0`, `posthorn_disk_state 0`, `posthorn_disk_bytes{class="free"} 0`, `posthorn_disk_tenant_bytes{mode="",tenant=""} 0`,
		`posthorn_event_data_invalid_total{check="warn"} 1`, `posthorn_event_data_invalid_total{check="reject"} 0`,
		`posthorn_attempts_held_total{for="in_flight"} 0`, `posthorn_attempts_held_total{for="rate"} 0`, "posthorn_hosts 0",
		`posthorn_attempt_duration_seconds_bucket{le="20"} 0`, `posthorn_attempt_duration_seconds_bucket{le="60"} 0`} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("%s is missing", line)
		}
	}
}

var alertName = regexp.MustCompile(`\balert:(\w+)`)

var metricName = regexp.MustCompile(`\bposthorn_[a-z_]+`)

// The alert rules and the dashboard name metrics that the server has.
func TestMonitoringFilesNameOurMetrics(t *testing.T) {
	n := metered(t)
	known := map[string]bool{}
	described := make(chan *prometheus.Desc, 1000)
	series := newSeries(1)
	for _, c := range []prometheus.Collector{series.tenants, series.endpoints, certificateMetrics{}, n.counts.blocked, n.counts.refused, n.attempts.made, n.attempts.putOff, longWrites{}, heldAttempts{}} {
		c.Describe(described) // they are on the page once something happened
	}
	close(described)
	for d := range described {
		known[metricName.FindString(d.String())] = true
	}
	page := httptest.NewRecorder()
	n.metricsPage().ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
	nodes := prometheus.NewRegistry() // what only PostgreSQL nodes have
	n.clusterMetrics(nodes)
	promhttp.HandlerFor(nodes, promhttp.HandlerOpts{}).ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
	for _, name := range metricName.FindAllString(page.Body.String(), -1) {
		known[name] = true
	}
	var rules, dashboard any
	for file, read := range map[string]func([]byte) error{
		"alerts.yaml":  func(text []byte) error { return yaml.Unmarshal(text, &rules) },
		"grafana.json": func(text []byte) error { return json.Unmarshal(text, &dashboard) },
	} {
		text, err := os.ReadFile(filepath.Join("../../deploy/monitoring", file))
		if err == nil {
			err = read(text)
		}
		if err != nil {
			t.Fatal(file, err)
		}
		names := metricName.FindAllString(string(text), -1)
		if len(names) < 10 {
			t.Errorf("%s names %d metrics", file, len(names))
		}
		for _, name := range names {
			if !known[name] {
				t.Errorf("%s names %s, which the server does not have", file, name)
			}
		}
	}
	// promtool runs the tests of the rules (scripts/test). Here: there is one for each rule.
	tests, err := os.ReadFile("../../deploy/monitoring/alerts_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	names := alertName.FindAllStringSubmatch(fmt.Sprint(rules), -1)
	for _, name := range names {
		if !strings.Contains(string(tests), "alertname: "+name[1]+"\n") {
			t.Errorf("alerts_test.yaml does not test %s", name[1])
		}
	}
	if len(names) < 15 {
		t.Errorf("%d alerts found", len(names))
	}
	if known["posthorn_planted_total"] {
		t.Error("control: a metric that is not there is known")
	}
}
