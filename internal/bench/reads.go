package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/build"
	"github.com/posthorn/posthorn/internal/cli"
	"github.com/posthorn/posthorn/internal/duration"
	"github.com/posthorn/posthorn/internal/exit"
)

// readsPlan holds the parameters of "posthorn bench reads".
type readsPlan struct {
	data       string
	store      string // URL of PostgreSQL; empty means SQLite
	deliveries int
	rounds     int
	publish    int // events a second beside the requests
	budget     time.Duration
	progress   *cli.Progress
}

func newBenchReads() *cobra.Command {
	cmd := &cobra.Command{
		Use: "reads", Short: "Measure pages, lists, searches and statistics on a store with much data", Args: cli.NoArgs,
		Long: `Fill a store with deliveries of 200 tenants, start a server on it, request every page of the
dashboard and of the portal and every list, search and statistics call of the API, and
print how long each takes and how many bytes it transfers.

The store stays in the directory --data, and a further run measures it again. Delete the
directory afterwards. With --store, the data is in that database, which must be empty at
first, and the directory holds only the master key. An interrupted filling cannot be used:
delete the directory, and the tables of the database, and start again.

Requests are sent one after the other, one round a second or less, so that pages that are
kept for a second are read anew in each round.`,
	}
	p := readsPlan{}
	f := cmd.Flags()
	f.StringVar(&p.data, "data", "posthorn-bench-reads", "directory of the store; if it does not exist, it is created and filled")
	f.StringVar(&p.store, "store", "", "PostgreSQL database (postgres://...), empty before the first run")
	f.IntVar(&p.deliveries, "deliveries", 1_000_000, "number of deliveries to fill the store with")
	f.IntVar(&p.rounds, "rounds", 30, "how often each request is sent; 0 only fills the store")
	f.IntVar(&p.publish, "publish", 0, "events a second that are published meanwhile, of new tenants with receivers on this machine")
	duration.Var(f, &p.budget, "budget", 50*time.Millisecond, "requests whose 95th percentile is over this are marked")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if p.deliveries < 10_000 || p.rounds < 0 || p.publish < 0 || p.budget <= 0 {
			return exit.Usagef("bench reads: --deliveries must be at least 10000, --rounds and --publish at least 0, --budget more than 0")
		}
		p.progress = cli.NewProgress(cmd.ErrOrStderr(), 0)
		defer p.progress.Done()
		return p.run(cmd.Context(), cmd.OutOrStdout())
	}
	return cmd
}

// fillMark is a file that says that the store is filled and what with.
const fillMark = "filled"

func (p *readsPlan) run(ctx context.Context, out io.Writer) error {
	mark := filepath.Join(p.data, fillMark)
	text, err := os.ReadFile(mark)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = p.filled(ctx, mark)
	}
	if err != nil || p.rounds == 0 {
		return err
	}
	fmt.Fprintf(out, "posthorn %s, %s, %s\n", build.Version(), p.engine(), text)
	began := time.Now()
	server, err := p.serve(ctx)
	if err != nil {
		return err
	}
	defer server.end()
	fmt.Fprintf(out, "started and ready after %v\n\n", time.Since(began).Round(time.Millisecond))
	m := &reader{url: server.url, http: browser(), api: server.client()}
	if err := m.prepare(ctx); err != nil {
		return err
	}
	if err := p.measure(ctx, out, server, m); err != nil {
		return err
	}
	return m.print(ctx, out, p.budget)
}

// measure sends the requests, while events are published if that was asked for.
func (p *readsPlan) measure(ctx context.Context, out io.Writer, server *child, m *reader) (err error) {
	defer p.progress.Done()
	if p.publish > 0 {
		load, err := newTraffic(ctx, server, 4)
		if err != nil {
			return err
		}
		defer load.close()
		began, failed := time.Now(), make(chan error, 1)
		loaded, end := context.WithCancel(ctx)
		go func() { failed <- load.publish(loaded, 16, p.publish) }()
		defer func() {
			end()
			err = errors.Join(err, <-failed)
			took := time.Since(began).Seconds()
			p.progress.Done()
			fmt.Fprintf(out, "beside %.0f events a second, of which %.0f a second were delivered meanwhile\n\n", float64(load.sent.Load())/took, float64(load.received.Load())/took)
		}()
	}
	for round := range p.rounds + 1 { // the first one is not counted
		p.progress.Say("measuring %d requests, round %d of %d", len(m.reads), round, p.rounds)
		if err := m.round(ctx, round > 0); err != nil {
			return err
		}
	}
	return nil
}

func (p *readsPlan) engine() string {
	if p.store == "" {
		return "SQLite"
	}
	return "PostgreSQL"
}

// filled fills the store and writes the mark.
func (p *readsPlan) filled(ctx context.Context, mark string) ([]byte, error) {
	if _, err := os.Stat(p.data); err == nil {
		return nil, exit.Usagef("--data: %s exists and was not filled by this command; name a directory that does not exist", p.data)
	}
	began := time.Now()
	if err := fill(ctx, p.data, p.store, p.deliveries, p.progress.Say); err != nil {
		return nil, err
	}
	server, err := p.serve(ctx)
	if err != nil {
		return nil, err
	}
	defer server.end()
	p.progress.Say("filling: keys, sessions, replays, audit log")
	if err := addThings(ctx, server.client()); err != nil {
		return nil, err
	}
	text := fmt.Appendf(nil, "%d deliveries of %d tenants, filled in %v", p.deliveries, fillTenants, time.Since(began).Round(time.Second))
	return text, os.WriteFile(mark, text, 0o600)
}

func (p *readsPlan) serve(ctx context.Context) (*child, error) {
	args := []string{"bench", "server", "--dev", "--log-level", "error", "--listen", "127.0.0.1:0", "--data", p.data, "--read-rate", "0", "--write-rate", "0",
		"--host-in-flight", "100000", "--host-rate", "0"}
	if p.store != "" {
		args = append(args, "--store", p.store)
	}
	return spawn(ctx, args...)
}

// addThings makes what only the API makes: event types, keys, sessions of the portal,
// replays, and with all that entries of the audit log.
func addThings(ctx context.Context, api *client.Client) error {
	for i := range 40 {
		n := client.NewEventType{Name: fmt.Sprint("group", i%8, ".type", i), Group: fmt.Sprint("Group ", i%8), Description: "Something happened.",
			Schema: []byte(`{"type":"object","properties":{"id":{"type":"string"}}}`), Example: []byte(`{"id":"pay_1"}`)}
		if i < len(fillTypes) {
			n.Name = fillTypes[i].name
		}
		if _, err := api.CreateEventType(ctx, n); err != nil {
			return err
		}
	}
	big, err := api.Endpoints(ctx, client.EndpointQuery{Tenant: tenantName(0)})
	if err != nil {
		return err
	}
	hourAgo := client.Time{Time: time.Now().Add(-time.Hour)} // so that each counts little
	for range 60 {
		for _, e := range big.Data {
			if e.Enabled {
				continue // a replay to it would send
			}
			r, err := api.CreateReplay(ctx, client.NewReplay{Endpoint: e.ID, Source: "all", After: &hourAgo, Hold: true})
			if err == nil {
				_, err = api.CancelReplay(ctx, *r.ID)
			}
			if err != nil {
				return err
			}
		}
	}
	return each(16, 20*fillTenants, func(i int) error {
		tenant := tenantName(i % fillTenants)
		name := fmt.Sprint("Tenant ", i)
		if _, err := api.UpdateTenant(ctx, tenant, client.TenantPatch{Name: client.Set(name)}); err != nil {
			return err
		}
		if i%4 == 0 {
			if _, err := api.CreateKey(ctx, client.NewKey{Kind: "publisher", Tenant: tenant, Name: name}); err != nil {
				return err
			}
		}
		if i%4 == 1 {
			_, err := api.CreatePortalSession(ctx, client.NewPortalSession{Tenant: tenant})
			return err
		}
		return nil
	})
}

// each calls do for all numbers below n, some at a time, until one fails.
func each(at, n int, do func(int) error) error {
	next, failed := make(chan int), make(chan error, at)
	var all sync.WaitGroup
	for range at {
		all.Go(func() {
			for i := range next {
				if err := do(i); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	var err error
	for i := 0; i < n && err == nil; i++ {
		select {
		case next <- i:
		case err = <-failed:
		}
	}
	close(next)
	all.Wait()
	close(failed)
	return errors.Join(err, <-failed)
}

// reader requests pages and measures them.
type reader struct {
	url   string
	http  *http.Client // with the cookies of a browser
	api   *client.Client
	words *strings.Replacer // from ids to words, for the table
	reads []*oneRead
}

// oneRead is a request and what was measured of it.
type oneRead struct {
	name   string // the path as the table shows it
	method string
	path   string
	body   string
	key    bool // with the operator key, not with cookies
	took   []time.Duration
	bytes  int // transferred, compressed if the server does
	status int
}

func (m *reader) round(ctx context.Context, counted bool) error {
	began := time.Now()
	var refused []error
	for _, r := range m.reads {
		t := time.Now()
		status, n, err := m.request(ctx, r)
		if err != nil {
			return fmt.Errorf("%s %s: %w", r.method, r.path, err)
		}
		if status >= 400 && (status != http.StatusNotFound || !strings.Contains(r.path, "/search?")) { // a search that finds nothing
			refused = append(refused, fmt.Errorf("%s %s was answered with status %d", r.method, r.path, status))
		}
		if counted {
			r.took = append(r.took, time.Since(t))
		}
		r.status, r.bytes = status, n
	}
	select {
	case <-time.After(1100*time.Millisecond - time.Since(began)):
	case <-ctx.Done():
	}
	return errors.Join(append(refused, ctx.Err())...)
}

func (m *reader) request(ctx context.Context, r *oneRead) (status, size int, err error) {
	req, err := http.NewRequestWithContext(ctx, r.method, m.url+r.path, strings.NewReader(r.body))
	if err != nil {
		return 0, 0, err
	}
	req.Header.Set("Accept-Encoding", "gzip")
	do := m.http
	if r.key {
		req.Header.Set("Authorization", "Bearer "+benchKey)
		do = m.api.HTTP
	}
	if r.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := do.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, int(n), err
}

// enter sends a form like a browser and returns where it leads.
func (m *reader) enter(ctx context.Context, path string, form url.Values) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", m.url)
	resp, err := m.http.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusSeeOther {
		err = fmt.Errorf("%s: %s: %s", path, resp.Status, body[:min(len(body), 300)])
	}
	return resp.Header.Get("Location"), err
}

func (m *reader) print(ctx context.Context, out io.Writer, budget time.Duration) error {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	fmt.Fprintf(out, "%-76s %9s %9s %9s %9s\n", "request", "median ms", "p95 ms", "most ms", "bytes")
	over := 0
	var pages, calls []time.Duration
	for _, r := range m.reads {
		switch {
		case strings.Contains(r.path, "preview=") || r.method != http.MethodGet: // slow on purpose
		case r.key:
			calls = append(calls, r.took...)
		default:
			pages = append(pages, r.took...)
		}
		slices.Sort(r.took)
		mark := ""
		if r.at(95) > budget {
			mark, over = " OVER", over+1
		}
		fmt.Fprintf(out, "%-76s %9.1f %9.1f %9.1f %9d%s\n", r.name, ms(r.at(50)), ms(r.at(95)), ms(r.at(100)), r.bytes, mark)
	}
	fmt.Fprintln(out)
	for _, all := range []oneRead{{name: "all pages", took: pages}, {name: "all calls", took: calls}} {
		slices.Sort(all.took)
		fmt.Fprintf(out, "%s but previews: median %.1f ms, p95 %.1f ms, p99 %.1f ms, most %.1f ms of %d\n", all.name, ms(all.at(50)), ms(all.at(95)), ms(all.at(99)), ms(all.at(100)), len(all.took))
	}
	fmt.Fprintf(out, "%d of %d requests over %s at the 95th percentile of %d\n", over, len(m.reads), duration.Format(budget), len(m.reads[0].took))
	missing, err := m.missing(ctx)
	if err == nil && len(missing) > 0 {
		fmt.Fprintf(out, "not requested: %s\n", strings.Join(missing, ", "))
	}
	return err
}

// at returns a percentile of the times, which are sorted.
func (r *oneRead) at(percent int) time.Duration {
	return r.took[max(0, (len(r.took)*percent+99)/100-1)]
}

// missing returns the routes of the API that read and were not requested.
func (m *reader) missing(ctx context.Context) ([]string, error) {
	document, err := m.api.OpenAPI(ctx)
	if err != nil {
		return nil, err
	}
	paths, err := readingPaths(document)
	return slices.DeleteFunc(paths, func(path string) bool {
		return slices.ContainsFunc(m.reads, func(r *oneRead) bool { return r.method == http.MethodGet && matchesRoute(path, r.path) })
	}), err
}

// matchesRoute reports whether a path is one of a route with parameters.
func matchesRoute(route, path string) bool {
	path, _, _ = strings.Cut(path, "?")
	want, have := strings.Split(route, "/"), strings.Split(path, "/")
	return slices.EqualFunc(want, have, func(w, h string) bool { return strings.HasPrefix(w, "{") || w == h })
}
