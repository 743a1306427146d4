package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/store/postgres"
)

const (
	benchKey    = "bench-operator-key-0123456789abcdefghij"
	clockTick   = 10 * time.Millisecond // of /proc/PID/stat on Linux
	drainLimit  = 2 * time.Minute
	startLimit  = 20 * time.Second
	endLimit    = 5 * time.Second
	drainChecks = 5 * time.Millisecond
)

// rig is a server and a receiver, each in a process of its own.
type rig struct {
	dir      string
	servers  []*child
	receiver *child
	drop     func() error // drops the schema in PostgreSQL
	api      *client.Client
	http     *http.Client
	tenants  []string
	sent     int
	send     func(url string, n int) (accepted int, err error) // one request of a publisher
	svix     bool                                              // publish through the Svix API
	keys     bool                                              // with idempotency keys
}

// child is a process that prints its listening address as its first line.
type child struct {
	cmd *exec.Cmd
	url string
}

// newRig starts a receiver and as many servers as there are nodes.
func newRig(ctx context.Context, p benchPlan, nodes, endpoints int, serverArgs ...string) (_ *rig, err error) {
	dir, err := os.MkdirTemp(".", "posthorn-bench-") // not in /tmp, which may be in memory
	if err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	r := &rig{dir: dir, keys: p.keys, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1024}, Timeout: time.Minute}}
	r.send = r.publishOne
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if r.receiver, err = spawn(ctx, "bench", "receiver"); err != nil {
		return nil, err
	}
	if err := r.startServers(ctx, p.store, nodes, serverArgs); err != nil {
		return nil, err
	}
	r.api = &client.Client{URL: r.servers[0].url, Key: benchKey, HTTP: r.http, Attempts: 1}
	for i := range endpoints {
		tenant := fmt.Sprint("bench-", i)
		if _, err := r.api.CreateTenant(ctx, client.NewTenant{ID: tenant}); err != nil {
			return nil, fmt.Errorf("create tenant: %w", err)
		}
		_, err := r.api.CreateEndpoint(ctx, client.NewEndpoint{Tenant: tenant, URL: r.receiver.url + "/hook", EventTypes: []string{"*"}})
		if err != nil {
			return nil, fmt.Errorf("create endpoint: %w", err)
		}
		r.tenants = append(r.tenants, tenant)
	}
	return r, nil
}

func (r *rig) startServers(ctx context.Context, database string, nodes int, more []string) error {
	args := []string{"bench", "server", "--dev", "--log-level", "error", "--listen", "127.0.0.1:0", "--mount", "svix",
		"--host-in-flight", "100000", "--host-rate", "0"} // all endpoints are on one host
	if database != "" {
		there, drop, err := postgres.Scratch(ctx, database)
		if err != nil {
			return err
		}
		r.drop = drop
		args = append(args, "--store", there)
	}
	for i := range nodes {
		data := filepath.Join(r.dir, fmt.Sprint("data-", i))
		if i > 0 { // all nodes share one key
			key, err := os.ReadFile(filepath.Join(r.dir, "data-0", "master.key"))
			if err == nil {
				err = os.Mkdir(data, 0o700)
			}
			if err == nil {
				err = os.WriteFile(filepath.Join(data, "master.key"), key, 0o600)
			}
			if err != nil {
				return fmt.Errorf("share the master key: %w", err)
			}
		}
		server, err := spawn(ctx, append(append(slices.Clone(args), "--data", data), more...)...)
		if err != nil {
			return err
		}
		r.servers = append(r.servers, server)
	}
	return nil
}

func spawn(ctx context.Context, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own binary: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Stderr = os.Stderr
	// The environment variables of a real server must not take effect here.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "POSTHORN_") })
	cmd.Env = append(cmd.Env, "POSTHORN_OPERATOR_KEY="+benchKey)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", args[1], err)
	}
	first := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(stdout).ReadString('\n') // an early exit results in an empty line
		first <- strings.TrimSpace(line)
		_, _ = io.Copy(io.Discard, stdout) // the rest of the output is not needed
	}()
	c := &child{cmd: cmd}
	select {
	case c.url = <-first:
	case <-time.After(startLimit):
	}
	if !strings.HasPrefix(c.url, "http://") {
		c.end()
		return nil, fmt.Errorf("the bench's %s did not start", args[1])
	}
	return c, nil
}

// client returns a client of the API.
func (c *child) client() *client.Client {
	return &client.Client{URL: c.url, Key: benchKey, HTTP: &http.Client{Timeout: time.Minute}, Attempts: 1}
}

// browser returns a client that keeps cookies and follows no redirects.
func browser() *http.Client {
	jar, _ := cookiejar.New(nil) // has no error
	return &http.Client{Jar: jar, Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (c *child) end() {
	if c == nil {
		return
	}
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have exited already
	hard := time.AfterFunc(endLimit, func() { _ = c.cmd.Process.Kill() })
	defer hard.Stop()
	_ = c.cmd.Wait() // killed, as its status shows
}

func (r *rig) close() {
	for _, server := range r.servers {
		server.end()
	}
	r.receiver.end()
	if r.drop != nil {
		_ = r.drop() // any remains are in a schema named posthorn_*
	}
	_ = os.RemoveAll(r.dir) // any remains are named posthorn-bench-*
}

// benchStats are the statistics that the receiver reports.
type benchStats struct {
	Count    int
	P50, P99 float64 // milliseconds from publish to receive
}

func (r *rig) receiverStats(ctx context.Context) (benchStats, error) {
	var s benchStats
	body, err := r.ask(ctx, "/stats")
	if err == nil {
		err = json.Unmarshal(body, &s)
	}
	return s, err
}

func (r *rig) resetReceiver(ctx context.Context) error {
	if err := r.drained(ctx); err != nil {
		return err
	}
	r.sent = 0
	_, err := r.ask(ctx, "/reset")
	return err
}

func (r *rig) holdReceiver(ctx context.Context) error {
	_, err := r.ask(ctx, "/hold")
	return err
}

func (r *rig) ask(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.receiver.url+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask receiver: %w", err)
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// drained waits until the receiver has received as many requests as events were published.
func (r *rig) drained(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainLimit)
	defer cancel()
	tick := time.NewTicker(drainChecks)
	defer tick.Stop()
	for {
		s, err := r.receiverStats(ctx)
		if err != nil {
			return err
		}
		if s.Count >= r.sent {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d events were delivered", s.Count, r.sent)
		case <-tick.C:
		}
	}
}

// benchUsage is the processor time used and the number of commits made so far.
type benchUsage struct {
	server, receiver, load time.Duration
	commits                int
}

func (r *rig) usage() benchUsage {
	var self syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &self) // cannot fail for the current process
	u := benchUsage{receiver: r.receiver.cpu(), load: time.Duration(self.Utime.Nano() + self.Stime.Nano())}
	for _, server := range r.servers {
		u.server += server.cpu()
		if resp, err := r.http.Get(server.url + "/bench/commits"); err == nil {
			text, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			commits, _ := strconv.Atoi(string(text))
			u.commits += commits
		}
	}
	return u
}

func (u benchUsage) since(before benchUsage) benchUsage {
	return benchUsage{
		server: u.server - before.server, receiver: u.receiver - before.receiver,
		load: u.load - before.load, commits: u.commits - before.commits,
	}
}

func (u benchUsage) perCommit(events int) string {
	if u.commits <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", float64(events)/float64(u.commits))
}

// cpu returns the processor time of the process, user and system.
func (c *child) cpu() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if errors.Join(err1, err2) != nil {
		return 0
	}
	return time.Duration(user+system) * clockTick
}

// serverPeak returns the server's peak resident memory, in MiB.
func (r *rig) serverPeak() float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.servers[0].cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmHWM:" {
			kilobytes, _ := strconv.ParseFloat(fields[1], 64)
			return kilobytes / 1024
		}
	}
	return 0
}
