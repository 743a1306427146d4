package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/build"
	"github.com/posthorn/posthorn/internal/cli"
	"github.com/posthorn/posthorn/internal/duration"
	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/store/postgres"
)

// viewersPlan holds the parameters of "posthorn bench viewers".
type viewersPlan struct {
	duration   time.Duration
	pairs      int
	publishers int
	viewers    int
	streams    int
	store      string // URL of PostgreSQL; empty means SQLite
	cpuProfile string
	progress   *cli.Progress
}

// streamsOf is how many streams one session opens, as many as a server allows.
const streamsOf = 10

func newBenchViewers() *cobra.Command {
	cmd := &cobra.Command{
		Use: "viewers", Short: "Measure what people who look at live pages cost", Args: cli.NoArgs,
		Long: `Measure what people cost who look at pages of the dashboard that keep themselves up to date:
the throughput of publishing in alternating runs without and with them, and the memory of
many open streams.

The runs publish as fast as the server accepts, on a new store, until everything is delivered.
Each viewer is a session of its own with one page: the overview, deliveries, events, endpoints
or an endpoint. Load generator, receiver and viewers are in one process.`,
	}
	p := viewersPlan{}
	f := cmd.Flags()
	duration.Var(f, &p.duration, "duration", 4*time.Second, "duration of each run")
	f.IntVar(&p.pairs, "pairs", 8, "number of pairs of runs, one without and one with viewers; 0: throughput is not measured")
	f.IntVar(&p.publishers, "publishers", 64, "concurrent publishers, each waiting for its response")
	f.IntVar(&p.viewers, "viewers", 20, "people who look at a page while events are published")
	f.IntVar(&p.streams, "streams", 200, "open streams whose memory is measured")
	f.StringVar(&p.cpuProfile, "cpu-profile", "", "file to write the server's CPU profile to")
	f.StringVar(&p.store, "store", "", "PostgreSQL database to measure with (postgres://...), in a temporary schema")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if p.duration < time.Second || p.pairs < 0 || p.publishers < 1 || p.viewers < 1 || p.streams < 1 {
			return exit.Usagef("bench viewers: --duration must be at least 1s, --pairs at least 0, and each other number at least 1")
		}
		p.progress = cli.NewProgress(cmd.ErrOrStderr(), 0)
		defer p.progress.Done()
		return p.run(cmd.Context(), cmd.OutOrStdout())
	}
	return cmd
}

func (p *viewersPlan) run(ctx context.Context, out io.Writer) (err error) {
	fmt.Fprintf(out, "posthorn %s, %d publishers, 1 KB of data, runs of %v\n\n", build.Version(), p.publishers, p.duration)
	dir, err := os.MkdirTemp(".", "posthorn-bench-") // not in /tmp, which may be in memory
	if err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	defer os.RemoveAll(dir)
	args := []string{"bench", "server", "--dev", "--log-level", "error", "--listen", "127.0.0.1:0", "--data", filepath.Join(dir, "data"),
		"--read-rate", "0", "--write-rate", "0", "--host-in-flight", "100000", "--host-rate", "0"} // all endpoints are on one host
	if p.cpuProfile != "" {
		args = append(args, "--cpu-profile", p.cpuProfile)
	}
	if p.store != "" {
		there, drop, err := postgres.Scratch(ctx, p.store)
		if err != nil {
			return err
		}
		defer func() { _ = drop() }() // any remains are in a schema named posthorn_*
		args = append(args, "--store", there)
	}
	server, err := spawn(ctx, args...)
	if err != nil {
		return err
	}
	defer server.end()
	load, err := newTraffic(ctx, server, 4)
	if err != nil {
		return err
	}
	defer load.close()
	if _, _, err := p.publish(ctx, load, time.Second); err != nil { // warm-up
		return err
	}
	if err := p.throughput(ctx, out, load); err != nil {
		return err
	}
	return p.memory(ctx, out, server)
}

// publish publishes for the duration and returns the events delivered a second, and the
// microseconds of the server's processor time for each.
func (p *viewersPlan) publish(ctx context.Context, load *traffic, d time.Duration) (rate, cpu float64, err error) {
	limited, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	sent, used, began := load.sent.Load(), load.server.cpu(), time.Now()
	if err := load.publish(limited, p.publishers, 0); err != nil {
		return 0, 0, err
	}
	if err := load.drained(ctx); err != nil {
		return 0, 0, err
	}
	n := float64(load.sent.Load() - sent)
	return n / time.Since(began).Seconds(), float64((load.server.cpu() - used).Microseconds()) / n, nil
}

func (p *viewersPlan) throughput(ctx context.Context, out io.Writer, load *traffic) error {
	if p.pairs == 0 {
		return nil
	}
	sessions, err := viewing(ctx, load.server, p.viewers)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%-8s %12s %16s %14s\n", "viewers", "delivered/s", "server us/event", "stream events")
	var losses, cpus []float64
	for pair := range p.pairs {
		var rates, used [2]float64 // without, with
		for i := range 2 {
			with := (i + pair) % 2 // who begins alternates
			p.progress.Say("measuring throughput, pair %d of %d", pair+1, p.pairs)
			var open streams
			if with == 1 {
				if err := open.begin(ctx, sessions, p.viewers); err != nil {
					return err
				}
			}
			rates[with], used[with], err = p.publish(ctx, load, p.duration)
			open.end()
			if err != nil {
				return err
			}
			p.progress.Done()
			fmt.Fprintf(out, "%-8d %12.0f %16.0f %14d\n", with*p.viewers, rates[with], used[with], open.events.Load())
		}
		losses, cpus = append(losses, 100*(1-rates[1]/rates[0])), append(cpus, used[1]/used[0])
	}
	fmt.Fprintf(out, "\nwith %d viewers, median of %d pairs: throughput %.1f %% less (%.1f to %.1f), server CPU per event %.3f (%.3f to %.3f)\n\n", p.viewers, p.pairs,
		median(losses), slices.Min(losses), slices.Max(losses), median(cpus), slices.Min(cpus), slices.Max(cpus))
	return nil
}

// serverMemory is the memory of a server, in MiB. In use is what is left after a collection.
type serverMemory struct{ InUse, Resident float64 }

func memoryOf(ctx context.Context, c *child) (m serverMemory, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/bench/memory", nil)
	if err != nil {
		return m, err
	}
	resp, err := c.client().HTTP.Do(req)
	if err != nil {
		return m, err
	}
	defer resp.Body.Close()
	return m, json.NewDecoder(resp.Body).Decode(&m)
}

// memory measures what open streams take, when they have shown their page and been read
// again a few times.
func (p *viewersPlan) memory(ctx context.Context, out io.Writer, server *child) error {
	p.progress.Say("measuring the memory of %d streams", p.streams)
	sessions, err := viewing(ctx, server, (p.streams+streamsOf-1)/streamsOf)
	if err != nil {
		return err
	}
	before, err := memoryOf(ctx, server)
	if err != nil {
		return err
	}
	var open streams
	defer open.end()
	if err := open.begin(ctx, sessions, p.streams); err != nil {
		return err
	}
	select {
	case <-time.After(20 * time.Second):
	case <-ctx.Done():
		return ctx.Err()
	}
	with, err := memoryOf(ctx, server)
	if err != nil {
		return err
	}
	p.progress.Done()
	fmt.Fprintf(out, "%d open streams: %.1f MiB in use (%.1f before, %.1f with them), %.1f MiB resident before a collection (%.1f before, %.1f with them)\n", open.n,
		with.InUse-before.InUse, before.InUse, with.InUse, with.Resident-before.Resident, before.Resident, with.Resident)
	return nil
}

// viewing logs in as several people and returns their sessions, each with the pages that its
// viewer may look at.
func viewing(ctx context.Context, server *child, n int) (sessions []*viewer, err error) {
	pages := []string{"", "deliveries", "events", "endpoints"}
	list, err := server.client().Endpoints(ctx, client.EndpointQuery{ListOptions: client.ListOptions{Limit: 1}})
	if err != nil {
		return nil, err
	}
	for _, e := range list.Data {
		pages = append(pages, "endpoints/"+e.ID)
	}
	for range n {
		m := &reader{url: server.url, http: browser()}
		m.http.Timeout = 0 // a stream has no end
		if _, err := m.enter(ctx, "/ui/login", url.Values{"key": {benchKey}}); err != nil {
			return nil, err
		}
		sessions = append(sessions, &viewer{m, pages})
	}
	return sessions, nil
}

// viewer is somebody who is logged in.
type viewer struct {
	*reader
	pages []string
}

// streams are open streams of pages.
type streams struct {
	n      int
	events atomic.Int64 // that arrived
	cancel context.CancelFunc
	all    sync.WaitGroup
}

// begin opens n streams of the sessions in turn, and returns when each has sent something.
func (s *streams) begin(ctx context.Context, sessions []*viewer, n int) error {
	ctx, s.cancel = context.WithCancel(ctx)
	arrived, few := make(chan error, n), make(chan struct{}, streamsOf)
	for i := range n {
		few <- struct{}{} // not all of them open their page in the same moment
		v := sessions[i%len(sessions)]
		of := "/ui/live/" + v.pages[(i+i/len(sessions))%len(v.pages)]
		s.all.Go(func() { s.follow(ctx, v, of, few, arrived) })
		s.n++
	}
	for range n {
		if err := <-arrived; err != nil {
			s.end()
			return err
		}
	}
	return nil
}

func (s *streams) end() {
	if s.cancel != nil {
		s.cancel()
		s.all.Wait()
	}
}

// follow loads a page and reads its stream until the context ends. It tells when something
// arrived, or why nothing did.
func (s *streams) follow(ctx context.Context, v *viewer, of string, few <-chan struct{}, arrived chan<- error) {
	status, _, err := v.request(ctx, &oneRead{method: http.MethodGet, path: of})
	<-few
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s was answered with status %d", of, status)
	}
	if err != nil {
		arrived <- err
		return
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.url+"/ui/live/stream?of="+url.QueryEscape(of), nil)
	if err != nil {
		arrived <- err
		return
	}
	resp, err := v.http.Do(req)
	if err != nil {
		arrived <- err
		return
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	first := true
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "event: ") {
			s.events.Add(1)
		}
		if first {
			first = false
			arrived <- nil
		}
	}
	if first {
		arrived <- fmt.Errorf("the stream of %s ended with status %d and nothing in it", of, resp.StatusCode)
	}
}
