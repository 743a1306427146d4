package bench

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/duration"
)

// setting is what a run is measured with. A member that is not set is as the flags say, or as
// in a server in use.
type setting struct {
	name       string
	bare       bool // without storage
	nodes      int
	tenants    int           // default --endpoints
	endpoints  int           // of each tenant; default 1
	all        bool          // an event is for all endpoints of its tenant, and not for one of them
	publishers int           // default --publishers
	rate       int           // events a second; 0: a publisher sends its next event when the one before is accepted
	size       int           // bytes of data; default about 1,000
	batch      int           // events in a request; 0: single events
	content    string        // of batches: json, ndjson
	svix       bool          // publish through the Svix API
	hold       bool          // receivers do not answer
	answer     time.Duration // how long receivers take to answer; deliveries that wait at the end are not awaited
	tls        bool          // receivers with TLS
	sync       time.Duration // by how much each sync of the disk is delayed
	filled     bool          // on the store in --data
	cold       bool          // the server has just started: nothing is published before
	killed     bool          // the server is killed under load and started again
	flood      flood
}

// flood is load on other tenants beside that which is measured.
type flood struct {
	rate      int  // events a second
	endpoints int  // ten of each tenant
	dead      bool // one half of the endpoints refuses connections, the other one does not answer
}

// scenario compares settings with its first one.
type scenario struct {
	name, about, aim string
	settings         []setting
}

var scenarios = []scenario{
	{name: "endpoints", about: "100,000 endpoints of 10,000 tenants, against 100 of 10", aim: "delivered/s 0.9; start 2 s; 300 MiB", settings: []setting{
		{name: "100", tenants: 10, endpoints: 10},
		{name: "100000", tenants: 10_000, endpoints: 10},
	}},
	{name: "tenants", about: "10,000 tenants with an endpoint each, and the first events for them after a start, against 10", aim: "delivered/s 0.9", settings: []setting{
		{name: "10", tenants: 10},
		{name: "first", tenants: 10_000, cold: true},
		{name: "10000", tenants: 10_000},
	}},
	{name: "fan-out", about: "events for 10 endpoints, and 2 events a second for 1,000 endpoints, against one endpoint", aim: "40 us/delivery", settings: []setting{
		{name: "1", tenants: 1},
		{name: "10", tenants: 1, endpoints: 10, all: true},
		{name: "1000", tenants: 1, endpoints: 1000, all: true, publishers: 4, rate: 2},
	}},
	{name: "retained", about: "a store that \"bench reads\" filled, against an empty one", aim: "delivered/s 0.85; start 2 s", settings: []setting{
		{name: "empty"},
		{name: "filled", filled: true},
	}},
	{name: "payload", about: "16 and 200 KB of data, against 1 KB", settings: []setting{
		{name: "1 KB"},
		{name: "16 KB", size: 16_000},
		{name: "200 KB", size: 200_000},
	}},
	{name: "tls", about: "receivers with TLS, against plain HTTP", aim: "delivered/s 0.7", settings: []setting{
		{name: "http"},
		{name: "https", tls: true},
	}},
	{name: "slow-disk", about: "1 ms more for each sync of the disk", aim: "delivered/s 0.8", settings: []setting{
		{name: "disk"},
		{name: "disk+1ms", sync: time.Millisecond},
	}},
	{name: "dead", about: "50 events a second beside 1,000 a second for 1,000 endpoints that answer, and that do not, against alone", aim: "p99 1.2, or 5 ms more", settings: []setting{
		{name: "alone", publishers: 4, rate: 50},
		{name: "alive", publishers: 4, rate: 50, flood: flood{rate: 1000, endpoints: 1000}},
		{name: "dead", publishers: 4, rate: 50, flood: flood{rate: 1000, endpoints: 1000, dead: true}},
	}},
	{name: "publishers", about: "4 publishers, against one", settings: []setting{
		{name: "1", publishers: 1},
		{name: "4", publishers: 4},
	}},
	{name: "kill", about: "a server killed under load while its writer is behind a slow disk, against one that is not", aim: "1,000 repeated", settings: []setting{
		{name: "alive", batch: 100, content: "json", publishers: 8, sync: 20 * time.Millisecond},
		{name: "killed", batch: 100, content: "json", publishers: 8, sync: 20 * time.Millisecond, killed: true},
	}},
	{name: "overload", about: "receivers that take 0.5 s to answer, so that most deliveries wait, against receivers that answer at once", settings: []setting{
		{name: "in time"},
		{name: "too slow", answer: 500 * time.Millisecond},
	}},
}

func scenarioNames() (names []string) {
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return names
}

func scenarioList() string {
	var b strings.Builder
	for _, s := range scenarios {
		fmt.Fprintf(&b, "  %-11s %s\n", s.name, s.about)
	}
	return strings.TrimRight(b.String(), "\n")
}

// scenario returns what the flags ask for.
func (p *benchPlan) scenario() scenario {
	if at := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == p.compare }); at >= 0 {
		return scenarios[at]
	}
	switch {
	case p.batch > 0:
		// More batches at once would not fit into one caller's share of the server's memory for bodies.
		few := min(p.publishers, 8)
		return scenario{settings: []setting{
			{name: "single", hold: p.hold},
			{name: "json", hold: p.hold, batch: p.batch, publishers: few, content: "json"},
			{name: "ndjson", hold: p.hold, batch: p.batch, publishers: few, content: "ndjson"},
		}}
	case p.nodes > 1:
		return scenario{settings: []setting{{name: "one node"}, {name: fmt.Sprint(p.nodes, " nodes"), nodes: p.nodes}}}
	case p.mount == "svix":
		return scenario{settings: []setting{{name: "native"}, {name: "svix", svix: true}}}
	}
	return scenario{settings: []setting{{name: "bare", bare: true}, {name: "store"}}}
}

// figure is a column of the table.
type figure int

const (
	accepted figure = iota
	delivered
	megabytes
	serverCPU
	deliveryCPU
	allCPU
	perCommit
	p50
	p99
	last
	repeated
	started
	atStart
	peak
	figures
)

var figureNames = [figures]string{
	accepted: "accepted/s", delivered: "delivered/s", megabytes: "MB/s", serverCPU: "us/event", deliveryCPU: "us/delivery", allCPU: "all us", perCommit: "events/commit",
	p50: "p50 ms", p99: "p99 ms", last: "last ms", repeated: "repeated", started: "start ms", atStart: "start MiB", peak: "peak MiB",
}

// result is what a run measured. NaN means that it did not.
type result [figures]float64

const legend = `us/event, us/delivery: CPU time of the server; all us: of server, receiver and load generator, per event
p50, p99: from publishing to receiving; last: until the last endpoint of an event has it (median of the events)
repeated: deliveries that were received before
start, MiB: from the start of the process until it listens; memory then, and at most
`

func head(out io.Writer) {
	fmt.Fprint(out, legend, "\n")
	fmt.Fprintf(out, "%-10s", "")
	for _, name := range figureNames {
		fmt.Fprintf(out, " %*s", width(name), name)
	}
	fmt.Fprintln(out)
}

func width(name string) int { return max(len(name), 7) }

func (r result) print(out io.Writer, name string) {
	fmt.Fprintf(out, "%-10s", name)
	for f, v := range r {
		text := "-"
		if !math.IsNaN(v) {
			digits := 0
			if f := figure(f); f == megabytes || f == perCommit || f >= p50 && f <= last {
				digits = 1
			}
			text = fmt.Sprintf("%.*f", digits, v)
		}
		fmt.Fprintf(out, " %*s", width(figureNames[f]), text)
	}
	fmt.Fprintln(out)
}

// runScenario measures the settings in turn, so that what else happens on the machine affects
// all of them, and prints the ratios to the first one.
func (p *benchPlan) runScenario(ctx context.Context, out io.Writer, s scenario) error {
	head(out)
	runs := make([][]result, len(s.settings))
	for range p.pairs {
		for i, one := range s.settings {
			r, err := p.measure(ctx, out, one)
			if err != nil {
				return err
			}
			runs[i] = append(runs[i], r)
		}
	}
	fmt.Fprintln(out, "\nmedians")
	for i, one := range s.settings {
		medians(runs[i]).print(out, one.name)
	}
	fmt.Fprintln(out)
	for i, one := range s.settings[1:] {
		var ratios []result
		var of []float64
		for n, r := range runs[i+1] {
			ratios = append(ratios, r.over(runs[0][n]))
			of = append(of, ratios[n][delivered])
		}
		m := medians(ratios)
		fmt.Fprintf(out, "%s / %s, median of %d pairs: delivered/s %.2f (%.2f to %.2f), accepted/s %.2f, server CPU per event %.2f, per delivery %.2f, p99 %.2f\n",
			one.name, s.settings[0].name, p.pairs, m[delivered], slices.Min(of), slices.Max(of), m[accepted], m[serverCPU], m[deliveryCPU], m[p99])
	}
	if s.aim != "" {
		fmt.Fprintf(out, "aim: %s\n", s.aim)
	}
	fmt.Fprintln(out)
	return nil
}

// over divides each figure by that of another run.
func (r result) over(base result) (ratio result) {
	for f := range figures {
		ratio[f] = r[f] / base[f]
	}
	return ratio
}

// medians are those of each figure.
func medians(runs []result) (m result) {
	for f := range figures {
		var values []float64
		for _, r := range runs {
			values = append(values, r[f])
		}
		m[f] = median(values)
	}
	return m
}

// measure makes one run and prints it.
func (p *benchPlan) measure(ctx context.Context, out io.Writer, s setting) (result, error) {
	p.progress.Say("measuring %s, %s", s.name, duration.Format(p.duration))
	rig, err := newRig(ctx, p, s)
	if err != nil {
		return result{}, err
	}
	defer rig.close()
	r, err := rig.run(ctx, p.duration)
	if err != nil {
		return result{}, err
	}
	p.progress.Done()
	r.print(out, s.name)
	return r, nil
}

// run measures from the first publish until the last of the published events is delivered, if
// it is to be. Before it, something is published to each tenant, for a second at least.
func (r *rig) run(ctx context.Context, d time.Duration) (result, error) {
	s := &r.setting
	stop := r.beginFlood(ctx)
	defer stop()
	if !s.hold && s.answer == 0 && !s.cold {
		if err := r.warmUp(ctx); err != nil {
			return result{}, err
		}
		if err := r.resetReceiver(ctx); err != nil {
			return result{}, err
		}
	}
	if r.profiled {
		if _, err := r.get(ctx, r.servers[0].url+"/bench/profile"); err != nil {
			return result{}, err
		}
	}
	before, began := r.usage(), time.Now()
	sent, err := r.publishAndKill(ctx, d)
	if err != nil {
		return result{}, err
	}
	taken := time.Since(began).Seconds()
	if !s.hold && s.answer == 0 {
		if err := r.drained(ctx); err != nil {
			return result{}, err
		}
	}
	took, used := time.Since(began).Seconds(), r.usage().since(before)
	if err := stop(); err != nil {
		return result{}, err
	}
	stats, err := r.receiverTimes(ctx)
	if err != nil {
		return result{}, err
	}
	n, arrived := float64(sent), float64(stats.Count)
	us := func(d time.Duration, of float64) float64 {
		if of == 0 {
			return math.NaN()
		}
		return float64(d.Microseconds()) / of
	}
	out := result{
		accepted: n / taken, delivered: arrived / took, megabytes: arrived / took * float64(s.size) / 1e6,
		serverCPU: us(used.server, n), deliveryCPU: us(used.server, arrived), allCPU: us(used.server+used.receiver+used.load, n), perCommit: n / float64(used.commits),
		p50: stats.P50, p99: stats.P99, last: stats.Last, repeated: arrived - float64(stats.Distinct*s.perEvent()),
		started: float64(r.servers[0].took.Milliseconds()), atStart: r.servers[0].atStart, peak: r.servers[0].memory("VmHWM"),
	}
	if used.commits == 0 {
		out[perCommit] = math.NaN()
	}
	if s.killed { // what the first process used is not known
		out[serverCPU], out[deliveryCPU], out[allCPU], out[perCommit] = math.NaN(), math.NaN(), math.NaN(), math.NaN()
	}
	return out, nil
}

// perEvent is how many deliveries an event has.
func (s *setting) perEvent() int {
	if s.all {
		return s.endpoints
	}
	return 1
}

// withDefaults fills in what is not set.
func (s setting) withDefaults(p *benchPlan) setting {
	s.nodes, s.tenants, s.endpoints = cmp.Or(s.nodes, 1), cmp.Or(s.tenants, p.endpoints), cmp.Or(s.endpoints, 1)
	s.publishers, s.size = cmp.Or(s.publishers, p.publishers), cmp.Or(s.size, 1000)
	return s
}
