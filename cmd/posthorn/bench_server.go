package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime/pprof"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/dispatch"
	"github.com/posthorn/posthorn/internal/hook"
)

// newBenchServer is serve, started by the bench: it prints its address, answers
// how many commits it made, and with --bare keeps nothing.
func newBenchServer() *cobra.Command {
	cmd := &cobra.Command{Use: "server", Hidden: true, Args: noArgs}
	load := configured(cmd)
	bare := cmd.Flags().Bool("bare", false, "accept and deliver without storing")
	profileTo := cmd.Flags().String("cpu-profile", "", "write a CPU profile to this file")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := load()
		if err != nil {
			return err
		}
		n := &node{cfg: cfg, log: newLog(cfg, os.Stderr)}
		if *bare {
			n.without = &bareStore{ids: hook.NewIDs(time.Now), endpoints: map[hook.Scope][]*hook.Endpoint{}}
		}
		if err := n.begin(cmd.Context()); err != nil {
			return err
		}
		n.handle("GET /bench/commits", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strconv.FormatInt(n.store.Stats().Commits, 10)) // the bench reads what it gets
		})
		if *profileTo != "" {
			f, err := os.Create(*profileTo)
			if err != nil {
				return usage("--cpu-profile: %w", err)
			}
			defer f.Close()
			if err := pprof.StartCPUProfile(f); err != nil {
				return err
			}
			defer pprof.StopCPUProfile()
		}
		fmt.Fprintln(cmd.OutOrStdout(), "http://"+n.api.Addr().String())
		<-cmd.Context().Done()
		return nil
	}
	return cmd
}

// bareStore stands between the rooms and the store, lets endpoints and the like
// through and keeps no event: what remains is the cost of the two HTTP hops, of
// checking, matching, rendering and signing.
type bareStore struct {
	app.Store
	dispatch.Queue
	committed func(hook.Commit)
	ids       *hook.IDs

	mu        sync.Mutex
	endpoints map[hook.Scope][]*hook.Endpoint
}

// Publish hands over without storing.
func (b *bareStore) Publish(ctx context.Context, events []hook.NewEvent, profileOf func(*hook.Endpoint) hook.ProfileHash, _ *hook.Once) ([]hook.Published, *hook.Replay, error) {
	out := make([]hook.Published, 0, len(events))
	var jobs []hook.Job
	for _, e := range events {
		targets, err := b.targets(ctx, e.Scope)
		if err != nil {
			return nil, nil, err
		}
		now := time.Now()
		id := b.ids.Next()
		event := &hook.Event{ID: id, PublicID: id, Scope: e.Scope, Type: e.Type, CreatedAt: now, AcceptedAt: now, Data: e.Data}
		n := 0
		for _, t := range targets {
			if !t.Types.Match(e.Type) {
				continue
			}
			n++
			jobs = append(jobs, hook.Job{Target: t, Event: event, Delivery: hook.Delivery{
				ID: hook.DeliveryID(id), Event: id, Endpoint: t.ID, Scope: e.Scope, EventType: e.Type,
				Profile: profileOf(t), Due: now, CreatedAt: now,
			}})
		}
		out = append(out, hook.Published{Event: id, PublicID: id, Type: e.Type, Tenant: e.Scope.Tenant, CreatedAt: now, Deliveries: n})
	}
	b.committed(hook.Commit{Jobs: jobs})
	return out, nil, nil
}

func (b *bareStore) targets(ctx context.Context, scope hook.Scope) ([]*hook.Endpoint, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if known, ok := b.endpoints[scope]; ok {
		return known, nil
	}
	found, _, err := b.Endpoints(ctx, hook.EndpointQuery{Scope: scope, Page: hook.Page{Limit: 250}})
	if err != nil {
		return nil, err
	}
	for i := range found {
		b.endpoints[scope] = append(b.endpoints[scope], &found[i])
	}
	return b.endpoints[scope], nil
}

// Settle forgets.
func (b *bareStore) Settle(context.Context, []hook.Settlement) ([]hook.Due, error) { return nil, nil }

// newBenchReceiver answers 200 and remembers how long each event was on its way.
func newBenchReceiver() *cobra.Command {
	return &cobra.Command{Use: "receiver", Hidden: true, Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return exitWith(exitListen, err)
		}
		fmt.Fprintln(cmd.OutOrStdout(), "http://"+l.Addr().String())
		server := &http.Server{Handler: new(benchReceiver).routes(), ReadHeaderTimeout: time.Minute}
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}}
}

type benchReceiver struct {
	mu    sync.Mutex
	times []time.Duration
	hold  bool
}

func (b *benchReceiver) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /hook", b.receive)
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(b.stats()) // the bench notices what it cannot read
	})
	mux.HandleFunc("GET /reset", func(http.ResponseWriter, *http.Request) {
		b.mu.Lock()
		b.times = nil
		b.mu.Unlock()
	})
	mux.HandleFunc("GET /hold", func(http.ResponseWriter, *http.Request) {
		b.mu.Lock()
		b.hold = true
		b.mu.Unlock()
	})
	return mux
}

func (b *benchReceiver) receive(_ http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	now := time.Now().UnixNano()
	var sent int64
	if _, rest, ok := bytes.Cut(body, []byte(`"t":`)); ok {
		digits, _, _ := bytes.Cut(rest, []byte(","))
		sent, _ = strconv.ParseInt(string(digits), 10, 64)
	}
	b.mu.Lock()
	hold := b.hold
	if !hold {
		b.times = append(b.times, time.Duration(now-sent))
	}
	b.mu.Unlock()
	if hold {
		<-r.Context().Done()
	}
}

func (b *benchReceiver) stats() benchStats {
	b.mu.Lock()
	n := len(b.times)
	if n == 0 || n > 20_000 { // busy: copying and sorting would disturb the run
		b.mu.Unlock()
		return benchStats{Count: n}
	}
	sorted := slices.Clone(b.times)
	b.mu.Unlock()
	slices.Sort(sorted)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return benchStats{Count: n, P50: ms(sorted[n/2]), P99: ms(sorted[n*99/100])}
}
