package server

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthorn/posthorn/internal/hook"
)

// notice says what is wrong although requests are accepted.
func (n *Node) notice() string {
	outage, disk := n.egress.Outage(), n.store.DiskNotice()
	if outage != "" && disk != "" {
		return outage + "; " + disk
	}
	return outage + disk
}

// diskMetrics are what the store takes on disk, as it was measured last.
type diskMetrics struct {
	read func(context.Context) (hook.DiskUse, error)
}

// metricTenants bounds the tenants with a series of their own. The others are in one.
const metricTenants = 20

var (
	diskClassBytes  = prometheus.NewDesc("posthorn_disk_bytes", "Bytes of the store by class. All but free add up to the bytes in use.", []string{"class"}, nil)
	diskBudgetBytes = prometheus.NewDesc("posthorn_disk_budget_bytes", "The disk budget; 0 means none.", nil, nil)
	diskState       = prometheus.NewDesc("posthorn_disk_state", "0: within the disk budget. 1: 80 % of it is used. 2: it is used up, and publishing is rejected.", nil, nil)
	diskGrowth      = prometheus.NewDesc("posthorn_disk_growth_bytes_per_day", "Growth of the store a day, on average over the last days. Absent in the first hour.", nil, nil)
	diskTenantBytes = prometheus.NewDesc("posthorn_disk_tenant_bytes", "Estimated bytes of the tenants that use the most; the tenant \"\" stands for all others.", []string{"mode", "tenant"}, nil)
)

// Describe implements prometheus.Collector.
func (diskMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{diskClassBytes, diskBudgetBytes, diskState, diskGrowth, diskTenantBytes} {
		to <- d
	}
}

// Collect implements prometheus.Collector. There are no numbers while the store cannot be
// read.
func (m diskMetrics) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	use, err := m.read(ctx)
	if err != nil {
		return
	}
	gauge := func(d *prometheus.Desc, v int64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	c := &use.Classes
	for class, n := range map[string]int64{"payloads": c.Payloads, "metadata": c.Metadata, "attempts": c.Attempts, "audit": c.Audit, "statistics": c.Statistics,
		"other": c.Other, "log": c.Log, "free": c.Free} {
		gauge(diskClassBytes, n, class)
	}
	gauge(diskBudgetBytes, int64(use.Budget))
	gauge(diskState, int64(use.State))
	if use.PerDay != nil {
		gauge(diskGrowth, *use.PerDay)
	}
	rest := use.Rest.Sum()
	for i, d := range use.Tenants {
		if i >= metricTenants {
			rest += d.Sum()
			continue
		}
		gauge(diskTenantBytes, d.Sum(), d.Scope.Mode.String(), d.Scope.Tenant)
	}
	gauge(diskTenantBytes, rest, "", "")
}
