package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/internal/cli"
	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/server"
)

// newBenchServer returns a variant of serve that the benchmark starts. It prints its
// address, reports the number of commits, and with --bare stores nothing.
func newBenchServer() *cobra.Command {
	cmd := &cobra.Command{Use: "server", Hidden: true, Args: cli.NoArgs}
	load := server.ConfigFlags(cmd)
	bare := cmd.Flags().Bool("bare", false, "accept and deliver without storing")
	profileTo := cmd.Flags().String("cpu-profile", "", "write a CPU profile to this file")
	allocsTo := cmd.Flags().String("alloc-profile", "", "write a profile of allocations to this file")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := load()
		if err != nil {
			return err
		}
		defer server.TuneHeap(cfg, slog.Default())()
		start := server.Start
		if *bare {
			start = server.StartBare
		}
		n, err := start(cmd.Context(), cfg, server.NewLog(cfg, os.Stderr), nil)
		if err != nil {
			return err
		}
		n.Handle("GET /bench/commits", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strconv.FormatInt(n.Store().Stats().Commits, 10)) // the client detects a failed write
		})
		n.Handle("GET /bench/memory", http.HandlerFunc(tellMemory))
		if *profileTo != "" {
			f, err := os.Create(*profileTo)
			if err != nil {
				return exit.Usagef("--cpu-profile: %w", err)
			}
			defer f.Close()
			if err := pprof.StartCPUProfile(f); err != nil {
				return err
			}
			defer pprof.StopCPUProfile()
		}
		fmt.Fprintln(cmd.OutOrStdout(), n.URL())
		<-cmd.Context().Done()
		if *allocsTo != "" {
			return writeAllocs(*allocsTo)
		}
		return nil
	}
	return cmd
}

// tellMemory answers with the memory that is resident, and with what is in use after a
// collection.
func tellMemory(w http.ResponseWriter, _ *http.Request) {
	var m runtime.MemStats
	const mib = 1 << 20
	out := serverMemory{Resident: float64(resident()) / mib}
	runtime.GC()
	runtime.ReadMemStats(&m)
	out.InUse = float64(m.HeapAlloc+m.StackInuse) / mib
	_ = json.NewEncoder(w).Encode(out) // the client detects a failed write
}

// resident returns the resident memory of this process in bytes, 0 where /proc is missing.
func resident() int {
	text, err := os.ReadFile("/proc/self/statm")
	if fields := strings.Fields(string(text)); err == nil && len(fields) > 1 {
		pages, _ := strconv.Atoi(fields[1])
		return pages * os.Getpagesize()
	}
	return 0
}

// writeAllocs writes what the process has allocated since its start.
func writeAllocs(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return exit.Usagef("--alloc-profile: %w", err)
	}
	return errors.Join(pprof.Lookup("allocs").WriteTo(f, 0), f.Close())
}

// newBenchReceiver answers 200 and records the latency of each event.
func newBenchReceiver() *cobra.Command {
	return &cobra.Command{Use: "receiver", Hidden: true, Args: cli.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return exit.With(exit.Listen, err)
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
		_ = json.NewEncoder(w).Encode(b.stats()) // the client detects a failed write
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
	if n == 0 || n > 20_000 { // busy: copying and sorting would disturb the measurement
		b.mu.Unlock()
		return benchStats{Count: n}
	}
	sorted := slices.Clone(b.times)
	b.mu.Unlock()
	slices.Sort(sorted)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return benchStats{Count: n, P50: ms(sorted[n/2]), P99: ms(sorted[n*99/100])}
}
