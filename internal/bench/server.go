package bench

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/big"
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
	"github.com/posthorn/posthorn/internal/duration"
	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/server"
)

// newBenchServer returns a variant of serve that the benchmark starts. It prints its
// address, reports the number of commits, and with --bare stores nothing.
func newBenchServer() *cobra.Command {
	cmd := &cobra.Command{Use: "server", Hidden: true, Args: cli.NoArgs}
	load := server.ConfigFlags(cmd)
	bare := cmd.Flags().Bool("bare", false, "accept and deliver without storing")
	profileTo := cmd.Flags().String("cpu-profile", "", "write a CPU profile to this file, from a request for /bench/profile until the end")
	var delay time.Duration
	duration.Var(cmd.Flags(), &delay, "sync-delay", 0, "by how much each sync of the disk is delayed")
	allocsTo := cmd.Flags().String("alloc-profile", "", "write a profile of allocations to this file")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := load()
		if err != nil {
			return err
		}
		if delay > 0 {
			if err := delaySyncs(delay); err != nil {
				return err
			}
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
			defer pprof.StopCPUProfile()
			n.Handle("GET /bench/profile", func(w http.ResponseWriter, _ *http.Request) {
				if err := pprof.StartCPUProfile(f); err != nil {
					http.Error(w, err.Error(), http.StatusConflict)
				}
			})
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

// newBenchReceiver answers 200 and records the latency of each event. Its first address is for
// the benchmark, the second one receives.
func newBenchReceiver() *cobra.Command {
	cmd := &cobra.Command{Use: "receiver", Hidden: true, Args: cli.NoArgs}
	b := new(benchReceiver)
	duration.Var(cmd.Flags(), &b.answer, "answer-after", 0, "how long an answer takes")
	cmd.Flags().BoolVar(&b.hold, "hold", false, "do not answer")
	certificate := cmd.Flags().String("tls", "", "receive with TLS, and write the certificate to this file")
	addresses := cmd.Flags().Int("addresses", 0, "receive on so many addresses of the loopback network")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return exit.With(exit.Listen, err)
		}
		server := &http.Server{Handler: b.routes(), ReadHeaderTimeout: time.Minute}
		url, hooks := "http://"+l.Addr().String(), "http://"+l.Addr().String()+"/hook"
		if *certificate != "" {
			secure, err := listenTLS(*certificate)
			if err != nil {
				return err
			}
			go func() { _ = server.Serve(secure) }() // ends with the process
			hooks = "https://" + secure.Addr().String() + "/hook"
		}
		_, port, _ := net.SplitHostPort(l.Addr().String()) // it has one
		for i := range *addresses {
			more, err := net.Listen("tcp", net.JoinHostPort(floodAddress(i), port))
			if err != nil {
				return exit.With(exit.Listen, err)
			}
			go func() { _ = server.Serve(more) }()
		}
		fmt.Fprintln(cmd.OutOrStdout(), url, hooks)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}
	return cmd
}

// listenTLS listens with a new certificate, which it writes to a file.
func listenTLS(file string) (net.Listener, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	of := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, of, of, key.Public(), key)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		return nil, err
	}
	return tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
}

type benchReceiver struct {
	answer time.Duration
	mu     sync.Mutex
	got    []receipt
	hold   bool
}

// receipt is when an event was published, in nanoseconds, and how long it took to be received.
type receipt struct{ sent, took int64 }

func (b *benchReceiver) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /", b.receive)
	mux.HandleFunc("GET /count", func(w http.ResponseWriter, _ *http.Request) {
		b.mu.Lock()
		n := len(b.got)
		b.mu.Unlock()
		_, _ = io.WriteString(w, strconv.Itoa(n)) // the client detects a failed write
	})
	mux.HandleFunc("GET /times", func(w http.ResponseWriter, _ *http.Request) {
		b.mu.Lock()
		got := slices.Clone(b.got)
		b.mu.Unlock()
		_ = json.NewEncoder(w).Encode(statsOf(got))
	})
	mux.HandleFunc("GET /reset", func(http.ResponseWriter, *http.Request) {
		b.mu.Lock()
		b.got = nil
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
		b.got = append(b.got, receipt{sent, now - sent})
	}
	b.mu.Unlock()
	if b.answer > 0 {
		<-time.After(b.answer)
	}
	if hold {
		<-r.Context().Done()
	}
}

func statsOf(got []receipt) benchStats {
	n := len(got)
	if n == 0 {
		return benchStats{}
	}
	ms := func(ns int64) float64 { return float64(ns/1000) / 1000 }
	slowest := map[int64]int64{} // of each event
	for _, g := range got {
		slowest[g.sent] = max(slowest[g.sent], g.took)
	}
	last := slices.Sorted(maps.Values(slowest))
	slices.SortFunc(got, func(a, b receipt) int { return cmp.Compare(a.took, b.took) })
	return benchStats{Count: n, Distinct: len(last), P50: ms(got[n/2].took), P99: ms(got[n*99/100].took), Last: ms(last[len(last)/2])}
}
