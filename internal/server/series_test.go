package server

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/posthorn/posthorn/internal/dispatch"
	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/hook"
)

// shown returns the page of some metrics.
func shown(all ...prometheus.Collector) string {
	r := prometheus.NewRegistry()
	r.MustRegister(all...)
	page := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
	return page.Body.String()
}

// However many tenants and endpoints there are, the number of series is bounded, and every
// attempt is counted once. Control: with a greater cap they all have their own.
func TestSeriesAreBounded(t *testing.T) {
	ids := hook.NewIDs(time.Now)
	for limit, want := range map[int]int{3: 4, 1000: 50} {
		s := newSeries(limit)
		for range 2 {
			for i := range 50 {
				d := &hook.Delivery{Scope: hook.Scope{Tenant: "t" + strings.Repeat("x", i), Mode: hook.Live}, Endpoint: ids.Next()}
				s.count(d, true)
			}
		}
		text := shown(s.tenants, s.endpoints)
		for name, most := range map[string]int{"posthorn_tenant_attempts_total{": want, "posthorn_endpoint_attempts_total{": min(limit+1, 100)} {
			if got := strings.Count(text, name); got != most {
				t.Errorf("cap %d: %d series of %s, want %d", limit, got, name, most)
			}
		}
		if rest := `posthorn_tenant_attempts_total{mode="other",result="success",tenant="other"} 94`; strings.Contains(text, rest) != (limit == 3) {
			t.Errorf("cap %d: the rest is not counted together:\n%s", limit, text)
		}
	}
}

// The store's bytes have a series of their own for some tenants; the rest is one series, and
// nothing is missing.
func TestDiskSeriesAreBounded(t *testing.T) {
	use := hook.DiskUse{Rest: hook.DiskBytes{Attempts: 1000}}
	for i := range 25 {
		use.Tenants = append(use.Tenants, hook.TenantDisk{Scope: hook.Scope{Tenant: fmt.Sprint("t", i), Mode: hook.Live}, DiskBytes: hook.DiskBytes{Payloads: 10, Metadata: 1}})
	}
	text := shown(diskMetrics{func(context.Context) (hook.DiskUse, error) { return use, nil }})
	if n := strings.Count(text, "posthorn_disk_tenant_bytes{"); n != 21 {
		t.Errorf("%d series of tenants, want 21", n)
	}
	for _, line := range []string{`posthorn_disk_tenant_bytes{mode="live",tenant="t19"} 11`, `posthorn_disk_tenant_bytes{mode="",tenant=""} 1055`} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("%s is missing:\n%s", line, text)
		}
	}
	if text := shown(diskMetrics{func(context.Context) (hook.DiskUse, error) { return use, context.DeadlineExceeded }}); strings.Contains(text, "posthorn_disk") {
		t.Errorf("numbers of a store that cannot be read:\n%s", text)
	}
}

func TestMetricsShowWhatWaits(t *testing.T) {
	reads := 0
	w := &waitMetrics{read: func() map[hook.Wait]dispatch.Waits {
		reads++
		return map[hook.Wait]dispatch.Waits{hook.WaitCap: {Deliveries: 7, Endpoints: 2, Overdue: 90 * time.Second}}
	}}
	expires := time.Unix(2_000_000_000, 0)
	text := shown(w, certificateMetrics{map[string][]egress.Certificate{"authority": {{File: "ca.pem", NotAfter: expires.Add(time.Hour)}, {File: "ca.pem", NotAfter: expires}}}})
	_ = shown(w)
	for _, line := range []string{`posthorn_queue_deliveries{waits_for="cap"} 7`, `posthorn_queue_endpoints{waits_for="cap"} 2`, `posthorn_oldest_due_seconds{waits_for="cap"} 90`,
		`posthorn_oldest_due_seconds{waits_for="host_rate"} 0`, `posthorn_certificate_expiry_timestamp_seconds{file="ca.pem",use="authority"} 2e+09`} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("%s is missing:\n%s", line, text)
		}
	}
	if reads != 1 {
		t.Errorf("the dispatcher was read %d times for two pages at once", reads)
	}
}

func TestMetricsSeriesOption(t *testing.T) {
	for value, ok := range map[string]bool{"0": true, "10000": true, "-1": false, "10001": false} {
		if _, err := loaded(t, "", "--metrics-series", value); (err == nil) != ok {
			t.Errorf("%s: %v", value, err)
		}
	}
}
