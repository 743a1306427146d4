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
	pairs      int           // number of pairs of runs, one with the store and one without
	publishers int
	endpoints  int
	inFlight   int // events in flight when memory is measured
	cpuProfile string
	allocs     string
	store      string // URL of PostgreSQL; empty means SQLite
	nodes      int    // on PostgreSQL
	batch      int    // events in a request when batches are compared with single events; 0: not measured
	hold       bool   // with batch: receivers do not answer
	svix       bool   // compare publishing through the Svix API with the native one
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
same server without storage, which shows the limit set by the two HTTP hops.`,
	}
	p := benchPlan{}
	f := cmd.Flags()
	duration.Var(f, &p.duration, "duration", 4*time.Second, "duration of each measured run")
	f.IntVar(&p.pairs, "pairs", 5, "number of pairs of runs, one with the store and one without")
	f.IntVar(&p.publishers, "publishers", 64, "concurrent publishers, each waiting for its response")
	f.IntVar(&p.endpoints, "endpoints", 4, "number of endpoints, each of its own tenant")
	f.IntVar(&p.inFlight, "in-flight", 10_000, "events in flight when memory is measured")
	f.StringVar(&p.cpuProfile, "cpu-profile", "", "file to write the server's CPU profile to; only throughput is measured")
	f.StringVar(&p.allocs, "alloc-profile", "", "file to write the server's profile of allocations to; only throughput is measured")
	f.IntVar(&p.batch, "batch", 0, "number of events in a request, to compare batches, as JSON and as NDJSON, with single events; only this is measured")
	f.BoolVar(&p.hold, "no-answers", false, "with --batch: receivers do not answer, so that acceptance has the machine for itself")
	f.StringVar(&p.store, "store", "", "PostgreSQL database to measure with (postgres://...), in a temporary schema; its CPU time is not counted")
	f.IntVar(&p.nodes, "nodes", 1, "number of nodes to compare with one, instead of the store with none; requires --store")
	mount := f.String("mount", "", "API to compare with the native one, instead of the store with none: svix")
	f.BoolVar(&p.keys, "idempotency-keys", false, "send an idempotency key with every event, as libraries do")
	f.BoolVar(&p.ratioOnly, "throughput-only", false, "skip latency and memory")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if p.duration < time.Second || p.pairs < 1 || p.publishers < 1 || p.endpoints < 1 || p.inFlight < 1 {
			return exit.Usagef("bench: --duration must be at least 1s, and each number at least 1")
		}
		if p.batch < 0 || p.batch > 1000 {
			return exit.Usagef("--batch: must be from 0 to 1000")
		}
		if p.hold && p.batch == 0 {
			return exit.Usagef("--no-answers: requires --batch")
		}
		if p.batch > 0 && (p.nodes > 1 || *mount != "") {
			return exit.Usagef("--batch: compares batches with single events only, so leave out --nodes and --mount")
		}
		if p.nodes < 1 || p.nodes > 16 || p.nodes > 1 && p.store == "" {
			return exit.Usagef("--nodes: must be from 1 to 16, and more than 1 requires --store")
		}
		if p.svix = *mount == "svix"; !p.svix && *mount != "" || p.svix && p.nodes > 1 {
			return exit.Usagef("--mount: must be svix, without --nodes")
		}
		p.progress = cli.NewProgress(cmd.ErrOrStderr(), 0)
		defer p.progress.Done()
		return bench(cmd.Context(), cmd.OutOrStdout(), p)
	}
	cmd.AddCommand(newBenchServer(), newBenchReceiver(), newBenchReads(), newBenchViewers())
	return cmd
}

func bench(ctx context.Context, out io.Writer, p benchPlan) error {
	fmt.Fprintf(out, "posthorn %s, %d publishers, %d endpoints, 1 KB of data, runs of %v\n\n", build.Version(), p.publishers, p.endpoints, p.duration)
	if p.batch > 0 {
		return benchBatches(ctx, out, p)
	}
	if p.cpuProfile+p.allocs != "" {
		name := "store"
		if p.svix {
			name = "svix"
		}
		_, err := p.throughput(ctx, out, name)
		return err
	}
	if err := benchThroughput(ctx, out, p); err != nil {
		return err
	}
	if p.ratioOnly {
		return nil
	}
	if err := benchLatency(ctx, out, p); err != nil {
		return err
	}
	return benchMemory(ctx, out, p)
}

func benchThroughput(ctx context.Context, out io.Writer, p benchPlan) error {
	fmt.Fprintf(out, "%-7s %12s %16s %16s %14s\n", "server", "delivered/s", "server us/event", "all us/event", "events/commit")
	var rates, cpus []float64
	base, measured := "bare", "store"
	if p.nodes > 1 {
		base, measured = "store", fmt.Sprint(p.nodes, " nodes")
	}
	if p.svix {
		base, measured = "native", "svix"
	}
	for range p.pairs {
		bare, err := p.throughput(ctx, out, base)
		if err != nil {
			return err
		}
		full, err := p.throughput(ctx, out, measured)
		if err != nil {
			return err
		}
		rates = append(rates, full.rate/bare.rate)
		cpus = append(cpus, full.serverCPU/bare.serverCPU)
	}
	name := "with the store / bare"
	if p.nodes > 1 {
		name = measured + " / one"
	}
	if p.svix {
		name = "through the Svix API / native"
	}
	fmt.Fprintf(out, "\n%s, median of %d pairs: delivered/s %.2f (%.2f to %.2f), server CPU per event %.2f\n\n",
		name, p.pairs, median(rates), slices.Min(rates), slices.Max(rates), median(cpus))
	return nil
}

type benchResult struct {
	rate      float64 // deliveries per second
	serverCPU float64 // microseconds per event
}

// throughput measures one run, from the first publish until the last of the published events
// is delivered.
func (p benchPlan) throughput(ctx context.Context, out io.Writer, name string) (benchResult, error) {
	nodes := 1
	if strings.HasSuffix(name, "nodes") {
		nodes = p.nodes
	}
	p.progress.Say("measuring throughput: %s, %s", name, duration.Format(p.duration))
	rig, err := newRig(ctx, p, nodes, p.endpoints, p.serverArgs(name == "bare")...)
	if err != nil {
		return benchResult{}, err
	}
	defer rig.close()
	rig.svix = name == "svix"
	if _, err := rig.publish(ctx, p.publishers, time.Second, 0); err != nil { // warm-up
		return benchResult{}, err
	}
	if err := rig.drained(ctx); err != nil {
		return benchResult{}, err
	}
	before, began := rig.usage(), time.Now()
	sent, err := rig.publish(ctx, p.publishers, p.duration, 0)
	if err != nil {
		return benchResult{}, err
	}
	if err := rig.drained(ctx); err != nil {
		return benchResult{}, err
	}
	took, used := time.Since(began), rig.usage().since(before)
	n := float64(sent)
	r := benchResult{rate: n / took.Seconds(), serverCPU: float64(used.server.Microseconds()) / n}
	p.progress.Done()
	fmt.Fprintf(out, "%-7s %12.0f %16.0f %16.0f %14s\n", name, r.rate, r.serverCPU,
		float64((used.server+used.receiver+used.load).Microseconds())/n, used.perCommit(sent))
	return r, nil
}

func (p benchPlan) serverArgs(bare bool) (args []string) {
	if bare {
		args = append(args, "--bare")
	}
	if p.cpuProfile != "" {
		args = append(args, "--cpu-profile", p.cpuProfile)
	}
	if p.allocs != "" {
		args = append(args, "--alloc-profile", p.allocs)
	}
	return args
}

func benchLatency(ctx context.Context, out io.Writer, p benchPlan) error {
	p.progress.Say("measuring latency")
	rig, err := newRig(ctx, p, 1, p.endpoints)
	if err != nil {
		return err
	}
	defer rig.close()
	if _, err := rig.publish(ctx, 4, time.Second, 50); err != nil {
		return err
	}
	if err := rig.resetReceiver(ctx); err != nil {
		return err
	}
	before := rig.usage()
	sent, err := rig.publish(ctx, 4, max(p.duration, 10*time.Second), 50)
	if err != nil {
		return err
	}
	if err := rig.drained(ctx); err != nil {
		return err
	}
	stats, err := rig.receiverStats(ctx)
	if err != nil {
		return err
	}
	used := rig.usage().since(before)
	p.progress.Done()
	fmt.Fprintf(out, "latency at 50 events/s, publish to receive: p50 %.1f ms, p99 %.1f ms (%d events, server %.0f us/event)\n",
		stats.P50, stats.P99, stats.Count, float64(used.server.Microseconds())/float64(sent))
	idle := rig.usage()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(5 * time.Second):
	}
	fmt.Fprintf(out, "idle: %.2f ms of CPU a second\n", float64(rig.usage().since(idle).server.Microseconds())/5000)
	return nil
}

// benchMemory fills the server with events whose receivers do not respond.
func benchMemory(ctx context.Context, out io.Writer, p benchPlan) error {
	p.progress.Say("measuring memory")
	rig, err := newRig(ctx, p, 1, 100)
	if err != nil {
		return err
	}
	defer rig.close()
	if err := rig.holdReceiver(ctx); err != nil {
		return err
	}
	if err := rig.publishCount(ctx, p.publishers, p.inFlight); err != nil {
		return err
	}
	p.progress.Done()
	fmt.Fprintf(out, "memory with %d events in flight (100 endpoints that do not answer): %.0f MiB at peak\n",
		p.inFlight, rig.serverPeak())
	return nil
}

func median(values []float64) float64 {
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}
