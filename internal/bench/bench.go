// Package bench measures a server on this machine.
package bench

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/internal/build"
	"github.com/posthorn/posthorn/internal/cli"
	"github.com/posthorn/posthorn/internal/duration"
	"github.com/posthorn/posthorn/internal/exit"
)

// benchPlan holds the parameters of a benchmark.
type benchPlan struct {
	duration   time.Duration // of each measured run
	pairs      int           // number of rounds of runs, one run of each setting
	publishers int
	endpoints  int
	inFlight   int // events in flight when memory is measured
	cpuProfile string
	allocs     string
	store      string // URL of PostgreSQL; empty means SQLite
	nodes      int    // on PostgreSQL
	batch      int    // events in a request when batches are compared with single events; 0: not measured
	hold       bool   // with batch: receivers do not answer
	mount      string // API to compare with the native one
	compare    string // name of a scenario
	data       string // directory of the store that "bench reads" filled
	keys       bool   // every event has an idempotency key
	ratioOnly  bool
	progress   *cli.Progress
}

// Command returns the command "posthorn bench".
func Command() *cobra.Command {
	cmd := &cobra.Command{
		Use: "bench", Short: "Measure throughput, latency and memory on this machine", Args: cli.NoArgs,
		Long: `Measure the server on this machine. Server, receiver and load generator are separate
processes that communicate over loopback. The server runs with its defaults and stores
everything that it acknowledges on disk.

Absolute rates depend on the machine. Compare the ratios within one run: "bare" is the
same server without storage, which shows the limit set by the two HTTP hops.

With --compare, settings of a scenario are measured in turn and compared with its first:

` + scenarioList(),
	}
	p := benchPlan{}
	f := cmd.Flags()
	duration.Var(f, &p.duration, "duration", 4*time.Second, "duration of each measured run")
	f.IntVar(&p.pairs, "pairs", 5, "number of pairs of runs, one with the store and one without")
	f.IntVar(&p.publishers, "publishers", 64, "concurrent publishers, each waiting for its response")
	f.IntVar(&p.endpoints, "endpoints", 4, "number of endpoints, each of its own tenant")
	f.IntVar(&p.inFlight, "in-flight", 10_000, "events in flight when memory is measured")
	f.StringVar(&p.cpuProfile, "cpu-profile", "", "file to write the server's CPU profile to; only throughput is measured, with --compare that of the last setting")
	f.StringVar(&p.allocs, "alloc-profile", "", "file to write the server's profile of allocations to; otherwise like --cpu-profile")
	f.IntVar(&p.batch, "batch", 0, "number of events in a request, to compare batches, as JSON and as NDJSON, with single events; only this is measured")
	f.BoolVar(&p.hold, "no-answers", false, "with --batch: receivers do not answer, so that acceptance has the machine for itself")
	f.StringVar(&p.store, "store", "", "PostgreSQL database to measure with (postgres://...), in a temporary schema; its CPU time is not counted")
	f.IntVar(&p.nodes, "nodes", 1, "number of nodes to compare with one, instead of the store with none; requires --store")
	f.StringVar(&p.mount, "mount", "", "API to compare with the native one, instead of the store with none: svix")
	f.StringVar(&p.compare, "compare", "", "scenario whose settings are compared, instead of the store with none; only this is measured")
	f.StringVar(&p.data, "data", "", "with --compare retained: directory that \"bench reads\" filled; what is published is added to it")
	f.BoolVar(&p.keys, "idempotency-keys", false, "send an idempotency key with every event, as libraries do")
	f.BoolVar(&p.ratioOnly, "throughput-only", false, "skip latency and memory")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := p.check(); err != nil {
			return err
		}
		p.progress = cli.NewProgress(cmd.ErrOrStderr(), 0)
		defer p.progress.Done()
		return p.bench(cmd.Context(), cmd.OutOrStdout())
	}
	cmd.AddCommand(newBenchServer(), newBenchReceiver(), newBenchDelayer(), newBenchReads(), newBenchViewers())
	return cmd
}

// check refuses numbers out of range, and flags that would have no effect.
func (p *benchPlan) check() error {
	if p.duration < time.Second || p.pairs < 1 || p.publishers < 1 || p.endpoints < 1 || p.inFlight < 1 {
		return exit.Usagef("bench: --duration must be at least 1s, and each number at least 1")
	}
	if p.batch < 0 || p.batch > 1000 {
		return exit.Usagef("--batch: must be from 0 to 1000")
	}
	if p.hold && p.batch == 0 {
		return exit.Usagef("--no-answers: requires --batch")
	}
	if p.batch > 0 && (p.nodes > 1 || p.mount != "") {
		return exit.Usagef("--batch: compares batches with single events only, so leave out --nodes and --mount")
	}
	if p.nodes < 1 || p.nodes > 16 || p.nodes > 1 && p.store == "" {
		return exit.Usagef("--nodes: must be from 1 to 16, and more than 1 requires --store")
	}
	if p.mount != "" && (p.mount != "svix" || p.nodes > 1) {
		return exit.Usagef("--mount: must be svix, without --nodes")
	}
	named := slices.ContainsFunc(scenarios, func(s scenario) bool { return s.name == p.compare })
	if p.compare != "" && !named {
		return exit.Usagef("--compare: there is no scenario %q; the scenarios are %s", p.compare, strings.Join(scenarioNames(), ", "))
	}
	if named && (p.batch > 0 || p.nodes > 1 || p.mount != "") {
		return exit.Usagef("--compare: compares the settings of a scenario only, so leave out --batch, --nodes and --mount")
	}
	if retained := p.compare == "retained"; retained != (p.data != "") {
		return exit.Usagef("--compare retained and --data require each other")
	} else if retained && p.store != "" {
		return exit.Usagef("--compare retained: measures SQLite only, so leave out --store")
	}
	return nil
}

func (p *benchPlan) bench(ctx context.Context, out io.Writer) error {
	fmt.Fprintf(out, "posthorn %s, %d publishers, %d endpoints, 1 KB of data, runs of %v, unless a setting says otherwise\n\n", build.Version(), p.publishers, p.endpoints, p.duration)
	s := p.scenario()
	if p.cpuProfile+p.allocs != "" {
		head(out)
		_, err := p.measure(ctx, out, s.settings[len(s.settings)-1])
		return err
	}
	if err := p.runScenario(ctx, out, s); err != nil {
		return err
	}
	if p.ratioOnly || p.batch > 0 || p.compare != "" {
		return nil
	}
	if err := p.latency(ctx, out); err != nil {
		return err
	}
	return p.memory(ctx, out)
}

func (p *benchPlan) latency(ctx context.Context, out io.Writer) error {
	p.progress.Say("measuring latency")
	rig, err := newRig(ctx, p, setting{publishers: 4, rate: 50})
	if err != nil {
		return err
	}
	defer rig.close()
	r, err := rig.run(ctx, max(p.duration, 10*time.Second))
	if err != nil {
		return err
	}
	p.progress.Done()
	fmt.Fprintf(out, "latency at 50 events/s, publish to receive: p50 %.1f ms, p99 %.1f ms (server %.0f us/event)\n",
		r[p50], r[p99], r[serverCPU])
	idle := rig.usage()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(5 * time.Second):
	}
	fmt.Fprintf(out, "idle: %.2f ms of CPU a second\n", float64(rig.usage().since(idle).server.Microseconds())/5000)
	return nil
}

// memory fills the server with events whose receivers do not respond.
func (p *benchPlan) memory(ctx context.Context, out io.Writer) error {
	p.progress.Say("measuring memory")
	rig, err := newRig(ctx, p, setting{tenants: 100, hold: true})
	if err != nil {
		return err
	}
	defer rig.close()
	if err := rig.publishCount(ctx, p.publishers, p.inFlight); err != nil {
		return err
	}
	p.progress.Done()
	fmt.Fprintf(out, "memory with %d events in flight (100 endpoints that do not answer): %.0f MiB at peak\n",
		p.inFlight, rig.servers[0].memory("VmHWM"))
	return nil
}

func median(values []float64) float64 {
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}
