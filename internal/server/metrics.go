package server

import (
	"context"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/posthorn/posthorn/internal/build"
	"github.com/posthorn/posthorn/internal/dispatch"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/threshold"
)

// attemptCounter counts the results of the sender's attempts.
type attemptCounter struct {
	sender   dispatch.Sender
	made     *prometheus.CounterVec
	putOff   *prometheus.CounterVec
	repeated prometheus.Counter
	duration prometheus.Histogram
	delay    prometheus.Histogram
	series   *series          // nil: none
	delays   threshold.Delays // of first attempts
}

func newAttemptCounter(s dispatch.Sender, limit int) *attemptCounter {
	c := &attemptCounter{
		sender: s,
		made: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "posthorn_attempts_total", Help: "Attempts by result: success, or the error class.",
		}, []string{"outcome"}),
		putOff: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "posthorn_attempts_put_off_total", Help: "Attempts postponed because of an error of this server, by error class. They do not count as attempts.",
		}, []string{"class"}),
		repeated: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "posthorn_requests_repeated_total", Help: "Attempts whose request was sent twice because the endpoint closed a reused connection without a response.",
		}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "posthorn_attempt_duration_seconds", Help: "Duration of attempts.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15, 20, 25, 30, 60},
		}),
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "posthorn_first_attempt_delay_seconds", Help: "Time from the acceptance of a delivery, or the deliver_at of its event, to the start of its first attempt.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600},
		}),
	}
	if limit > 0 {
		c.series = newSeries(limit)
	}
	return c
}

// Send makes the attempt and counts it.
func (c *attemptCounter) Send(ctx context.Context, j hook.Job) hook.Outcome {
	o := c.sender.Send(ctx, j)
	if first := &j.Delivery; !o.Skipped && first.Attempts == 0 && j.Trigger == hook.BySchedule {
		delay := max(0, o.StartedAt.Sub(first.Begins(o.DeliverAt)))
		c.delay.Observe(delay.Seconds())
		c.delays.Note(o.StartedAt, delay)
	}
	if o.Skipped {
		if o.Class != hook.ClassNone {
			c.putOff.WithLabelValues(string(o.Class)).Inc()
		}
		return o
	}
	outcome := "success"
	if !o.Success {
		outcome = string(o.Class)
	}
	c.made.WithLabelValues(outcome).Inc()
	if c.series != nil {
		c.series.count(&j.Delivery, o.Success)
	}
	if o.Repeated {
		c.repeated.Inc()
	}
	c.duration.Observe(o.Duration.Seconds())
	return o
}

// metricsPage serves /metrics. The numbers are read at each request.
func (n *Node) metricsPage() http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(n.counts.blocked, n.counts.refused, n.attempts.made, n.attempts.putOff, n.attempts.repeated, n.attempts.duration, n.attempts.delay,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for check, read := range map[string]func() uint64{
		"warn":   func() uint64 { warned, _ := n.app.Mismatches(); return warned },
		"reject": func() uint64 { _, refused := n.app.Mismatches(); return refused },
	} {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "posthorn_event_data_invalid_total", ConstLabels: prometheus.Labels{"check": check},
			Help: "Published events whose data does not match the schema of their type."}, func() float64 { return float64(read()) }))
	}
	n.healthMetrics(r)
	gauge := func(name, help string, read func(dispatch.Stats) int) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
			func() float64 { return float64(read(n.dispatch.Stats())) }))
	}
	gauge("posthorn_in_flight", "Attempts in progress or not yet recorded.", func(s dispatch.Stats) int { return s.InFlight })
	gauge("posthorn_attempts_fast", "Attempts that hold a slot of the fast budget.", func(s dispatch.Stats) int { return s.Fast })
	gauge("posthorn_attempts_slow", "Attempts that hold a slot of the slow budget.", func(s dispatch.Stats) int { return s.Slow })
	gauge("posthorn_waiting", "Deliveries waiting in memory.", func(s dispatch.Stats) int { return s.Waiting })
	gauge("posthorn_hosts", "Hosts and addresses with attempts to count.", func(s dispatch.Stats) int { return s.Sites })
	r.MustRegister(heldAttempts{n.dispatch.Stats}, diskMetrics{n.store.DiskUse})
	gauge("posthorn_endpoint_queues", "Endpoints with a queue in memory.", func(s dispatch.Stats) int { return s.Endpoints })
	counter := func(name, help string, read func(store.Stats) int64) {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help},
			func() float64 { return float64(read(n.store.Stats())) }))
	}
	counter("posthorn_events_total", "Events accepted.", func(s store.Stats) int64 { return s.Events })
	counter("posthorn_deliveries_total", "Deliveries created.", func(s store.Stats) int64 { return s.Deliveries })
	counter("posthorn_attempts_recorded_total", "Attempts recorded.", func(s store.Stats) int64 { return s.Attempts })
	counter("posthorn_commits_total", "Transactions committed.", func(s store.Stats) int64 { return s.Commits })
	r.MustRegister(longWrites{func() map[string]int64 { return n.store.Stats().Long }},
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "posthorn_writes_waiting", Help: "Writes waiting for the store's writer."},
			func() float64 { return float64(n.store.Stats().Queued) }))
	if n.pages != nil {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "posthorn_ui_streams", Help: "Pages of the web interface that are kept up to date."},
			func() float64 { return float64(n.pages.Streams()) }))
	}
	if n.cfg.postgres() {
		n.clusterMetrics(r)
	} else {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "posthorn_sqlite_log_bytes", Help: "Size of SQLite's write-ahead log (the -wal file)."},
			func() float64 { return float64(n.store.Stats().LogLength) }))
	}
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "posthorn_build_info", Help: "1, with the version as a label.",
		ConstLabels: prometheus.Labels{"version": build.Version(), "go": runtime.Version()},
	}, func() float64 { return 1 }))
	if proxy := n.cfg.targets.proxy; proxy != nil {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "posthorn_egress_proxy_info", Help: "1, with the egress proxy as a label, without credentials.",
			ConstLabels: prometheus.Labels{"proxy": proxy.String()},
		}, func() float64 { return 1 }))
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(r, promhttp.HandlerOpts{}))
	return mux
}

// counts counts refused dials and refused requests.
type counts struct {
	blocked *prometheus.CounterVec
	refused *prometheus.CounterVec
	commits prometheus.Histogram
}

func newCounts() *counts {
	return &counts{
		blocked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "posthorn_egress_blocked_total", Help: "Connections of deliveries that were blocked because of their address, by rule.",
		}, []string{"rule"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "posthorn_api_refused_total", Help: "Requests rejected with 401, 403 or 429, by status and error code.",
		}, []string{"status", "code"}),
		commits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "posthorn_commit_duration_seconds", Help: "Duration of the store's commits, from sending one until the database has it on disk.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
	}
}

// commitTook counts a commit.
func (c *counts) commitTook(took time.Duration) { c.commits.Observe(took.Seconds()) }

// dialBlocked counts a refused dial.
func (c *counts) dialBlocked(rule string) { c.blocked.WithLabelValues(rule).Inc() }

// refuse counts a refused request.
func (c *counts) refuse(status int, code string) {
	c.refused.WithLabelValues(strconv.Itoa(status), code).Inc()
}

// heldAttempts counts attempts that waited for their host or address.
type heldAttempts struct{ read func() dispatch.Stats }

var heldAttemptsTotal = prometheus.NewDesc("posthorn_attempts_held_total",
	"Times that an attempt waited because its host or address, across all tenants, had reached its limit of concurrent attempts (in_flight) or of attempts per second (rate).",
	[]string{"for"}, nil)

// Describe implements prometheus.Collector.
func (heldAttempts) Describe(to chan<- *prometheus.Desc) { to <- heldAttemptsTotal }

// Collect implements prometheus.Collector.
func (h heldAttempts) Collect(to chan<- prometheus.Metric) {
	s := h.read()
	to <- prometheus.MustNewConstMetric(heldAttemptsTotal, prometheus.CounterValue, float64(s.HeldInFlight), "in_flight")
	to <- prometheus.MustNewConstMetric(heldAttemptsTotal, prometheus.CounterValue, float64(s.HeldRate), "rate")
}

// longWrites counts operations that held the store's writer for long, by name.
type longWrites struct{ read func() map[string]int64 }

var longWritesTotal = prometheus.NewDesc("posthorn_long_writes_total",
	"Operations that held the store's writer for longer than 100 ms, by name; batch counts whole transactions.", []string{"operation"}, nil)

// Describe implements prometheus.Collector.
func (longWrites) Describe(to chan<- *prometheus.Desc) { to <- longWritesTotal }

// Collect implements prometheus.Collector.
func (l longWrites) Collect(to chan<- prometheus.Metric) {
	for name, n := range l.read() {
		to <- prometheus.MustNewConstMetric(longWritesTotal, prometheus.CounterValue, float64(n), name)
	}
}

// clusterMetrics are the metrics of a node in a cluster.
func (n *Node) clusterMetrics(r *prometheus.Registry) {
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "posthorn_nodes", Help: "Live nodes on the database, including this one."},
		func() float64 { return float64(n.store.Nodes()) }))
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "posthorn_database_clock_offset_seconds",
		Help: "How far the clock of this machine was ahead of the database's when it was last compared, at the start and once an hour."},
		func() float64 { return n.store.ClusterStats().ClockAhead.Seconds() }))
	counter := func(name, help string, read func(store.ClusterStats) int64) {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help},
			func() float64 { return float64(read(n.store.ClusterStats())) }))
	}
	counter("posthorn_takeovers_total", "Dead nodes whose work this node took over.", func(s store.ClusterStats) int64 { return s.Takeovers })
	counter("posthorn_taken_deliveries_total", "Deliveries taken over from the memory of dead nodes.", func(s store.ClusterStats) int64 { return s.TakenDeliveries })
	counter("posthorn_stale_settlements_total", "Outcomes of attempts that no longer belonged to this node: logged, without effect on the schedule.",
		func(s store.ClusterStats) int64 { return s.StaleSettles })
}
