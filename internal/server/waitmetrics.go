package server

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthorn/posthorn/internal/dispatch"
	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/hook"
)

// waitsFresh is how long one reading of what waits is used, however often the page is read.
const waitsFresh = 2 * time.Second

// waitMetrics shows what waits, by reason.
type waitMetrics struct {
	read func() map[hook.Wait]dispatch.Waits

	mu   sync.Mutex
	at   time.Time
	last map[hook.Wait]dispatch.Waits
}

var (
	waitsDeliveries = prometheus.NewDesc("posthorn_queue_deliveries", "Deliveries that are due and wait in memory, by what they wait for.", []string{"waits_for"}, nil)
	waitsEndpoints  = prometheus.NewDesc("posthorn_queue_endpoints", "Endpoints with due deliveries, in memory or in the store, by what they wait for.", []string{"waits_for"}, nil)
	waitsOverdue    = prometheus.NewDesc("posthorn_oldest_due_seconds", "How long ago the delivery that was due first was due, by what it waits for; 0: none waits.", []string{"waits_for"}, nil)
)

// waitReasons are the reasons that are shown also when nothing waits.
var waitReasons = []hook.Wait{hook.WaitCap, hook.WaitRate, hook.WaitPause, hook.WaitHostCap, hook.WaitHostRate, hook.WaitTenant, hook.WaitServer, hook.WaitTurn}

// Describe implements prometheus.Collector.
func (*waitMetrics) Describe(to chan<- *prometheus.Desc) {
	to <- waitsDeliveries
	to <- waitsEndpoints
	to <- waitsOverdue
}

// Collect implements prometheus.Collector.
func (w *waitMetrics) Collect(to chan<- prometheus.Metric) {
	w.mu.Lock()
	if now := time.Now(); w.last == nil || now.Sub(w.at) > waitsFresh {
		w.at, w.last = now, w.read()
	}
	last := w.last
	w.mu.Unlock()
	for _, reason := range waitReasons {
		one := last[reason]
		for desc, value := range map[*prometheus.Desc]float64{waitsDeliveries: float64(one.Deliveries), waitsEndpoints: float64(one.Endpoints), waitsOverdue: one.Overdue.Seconds()} {
			to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, string(reason))
		}
	}
}

// certificateMetrics shows when the certificates of the configuration expire.
type certificateMetrics struct {
	list map[string][]egress.Certificate
}

var certificateExpiry = prometheus.NewDesc("posthorn_certificate_expiry_timestamp_seconds",
	"When the first certificate of a configured file expires: the client certificate for receivers (client), or additional authorities (authority).", []string{"use", "file"}, nil)

// Describe implements prometheus.Collector.
func (certificateMetrics) Describe(to chan<- *prometheus.Desc) { to <- certificateExpiry }

// Collect implements prometheus.Collector.
func (c certificateMetrics) Collect(to chan<- prometheus.Metric) {
	for use, list := range c.list {
		first := map[string]time.Time{}
		for _, one := range list {
			if at, known := first[one.File]; !known || one.NotAfter.Before(at) {
				first[one.File] = one.NotAfter
			}
		}
		for file, at := range first {
			to <- prometheus.MustNewConstMetric(certificateExpiry, prometheus.GaugeValue, float64(at.Unix()), use, file)
		}
	}
}

// healthMetrics registers what is wrong with the machine: commits, clocks, certificates, and
// what waits.
func (n *Node) healthMetrics(r *prometheus.Registry) {
	certificates := certificateMetrics{map[string][]egress.Certificate{"authority": n.cfg.targets.authorities}}
	if n.cfg.targets.clientCert != nil {
		certificates.list["client"] = []egress.Certificate{n.cfg.targets.ownCert}
	}
	r.MustRegister(n.counts.commits, certificates, &waitMetrics{read: n.dispatch.Waits},
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "posthorn_clock_steps_total", Help: "Times that the clock of this machine was set by more than a second."},
			func() float64 { return float64(n.dispatch.Stats().ClockSteps) }))
	if n.attempts.series != nil {
		r.MustRegister(n.attempts.series.tenants, n.attempts.series.endpoints)
	}
}
