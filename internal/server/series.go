package server

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthorn/posthorn/internal/hook"
)

// maxSeries bounds --metrics-series.
const maxSeries = 10_000

// otherSeries is the label of what has no series of its own.
const otherSeries = "other"

// series counts attempts by tenant and by endpoint. The first tenants and endpoints up to a
// cap have their own labels; the others share one. So the number of series is bounded
// however many tenants and endpoints there are.
type series struct {
	tenants, endpoints   *prometheus.CounterVec
	tenantOf, endpointOf firsts
}

func newSeries(limit int) *series {
	return &series{
		tenants: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "posthorn_tenant_attempts_total",
			Help: "Attempts by tenant, for the first tenants up to --metrics-series; the others are \"other\"."}, []string{"tenant", "mode", "result"}),
		endpoints: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "posthorn_endpoint_attempts_total",
			Help: "Attempts by endpoint, for the first endpoints up to --metrics-series; the others are \"other\"."}, []string{"endpoint", "result"}),
		tenantOf: firsts{limit: limit}, endpointOf: firsts{limit: limit},
	}
}

// count counts an attempt.
func (s *series) count(d *hook.Delivery, success bool) {
	result := "failure"
	if success {
		result = "success"
	}
	tenant, mode := d.Scope.Tenant, d.Scope.Mode.String()
	if !s.tenantOf.has(tenant + "/" + mode) {
		tenant, mode = otherSeries, otherSeries
	}
	s.tenants.WithLabelValues(tenant, mode, result).Inc()
	endpoint := d.Endpoint.String()
	if !s.endpointOf.has(endpoint) {
		endpoint = otherSeries
	}
	s.endpoints.WithLabelValues(endpoint, result).Inc()
}

// firsts are the first names that were seen, up to a limit.
type firsts struct {
	limit int
	mu    sync.Mutex
	seen  map[string]bool
}

// has reports whether a name is among them.
func (f *firsts) has(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen[name] {
		return true
	}
	if len(f.seen) >= f.limit {
		return false
	}
	if f.seen == nil {
		f.seen = map[string]bool{}
	}
	f.seen[name] = true
	return true
}
