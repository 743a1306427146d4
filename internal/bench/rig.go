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

// rig is a receiver and the servers of a setting, each in a process of its own.
type rig struct {
	setting  setting
	profiled bool // from where it is measured
	dir      string
	servers  []*child
	receiver *child
	silent   *child       // receiver that does not answer the flood
	drop     func() error // drops the schema in PostgreSQL
	http     *http.Client
	keys     bool // with idempotency keys
	measured load
	flood    load
	due      int // requests that the receiver is to receive
}

// child is a process that prints its addresses as its first line.
type child struct {
	cmd     *exec.Cmd
	url     string        // the first address
	hook    string        // the second one, of a receiver: where it receives
	took    time.Duration // until it listened
	atStart float64       // MiB of memory then
}

// newRig starts a receiver, fills the store, and starts as many servers as there are nodes.
func newRig(ctx context.Context, p *benchPlan, s setting) (_ *rig, err error) {
	dir, err := os.MkdirTemp(".", "posthorn-bench-") // not in /tmp, which may be in memory
	if err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	s = s.withDefaults(p)
	r := &rig{dir: dir, setting: s, keys: p.keys, profiled: p.cpuProfile != "", http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1024}, Timeout: time.Minute}}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if err := r.startReceivers(ctx); err != nil {
		return nil, err
	}
	database := p.store
	if database != "" {
		if database, r.drop, err = postgres.Scratch(ctx, database); err != nil {
			return nil, err
		}
	}
	data := filepath.Join(dir, "data-0")
	if s.filled {
		data = p.data
	}
	if err := r.fill(ctx, data, database); err != nil {
		return nil, err
	}
	return r, r.startServers(ctx, data, database, p.serverArgs(s))
}

// startReceivers starts the receiver of what is measured, and that of the flood.
func (r *rig) startReceivers(ctx context.Context) (err error) {
	args := []string{"bench", "receiver", "--answer-after", r.setting.answer.String()}
	if r.setting.tls {
		args = append(args, "--tls", filepath.Join(r.dir, "receiver.pem"))
	}
	if r.receiver, err = spawn(ctx, args...); err != nil {
		return err
	}
	if r.setting.hold {
		if _, err := r.ask(ctx, "/hold"); err != nil {
			return err
		}
	}
	if f := r.setting.flood; f.endpoints > 0 {
		r.silent, err = spawn(ctx, "bench", "receiver", "--addresses", fmt.Sprint(f.endpoints), fmt.Sprint("--hold=", f.dead))
	}
	return err
}

func (p *benchPlan) serverArgs(s setting) (args []string) {
	if s.bare {
		args = append(args, "--bare")
	}
	if s.sync > 0 {
		args = append(args, "--sync-delay", s.sync.String())
	}
	if p.cpuProfile != "" {
		args = append(args, "--cpu-profile", p.cpuProfile)
	}
	if p.allocs != "" {
		args = append(args, "--alloc-profile", p.allocs)
	}
	return args
}

func (r *rig) startServers(ctx context.Context, first, database string, more []string) error {
	args := []string{"bench", "server", "--dev", "--log-level", "error", "--listen", "127.0.0.1:0", "--mount", "svix",
		"--host-in-flight", "100000", "--host-rate", "0"} // all endpoints are on one host
	if database != "" {
		args = append(args, "--store", database)
	}
	if r.setting.tls {
		args = append(args, "--ca-file", filepath.Join(r.dir, "receiver.pem"))
	}
	for i := range r.setting.nodes {
		data := first
		if i > 0 { // all nodes share one key
			data = filepath.Join(r.dir, fmt.Sprint("data-", i))
			key, err := os.ReadFile(filepath.Join(first, "master.key"))
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
	began := time.Now()
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
	case line := <-first:
		c.url, c.hook, _ = strings.Cut(line, " ")
	case <-time.After(startLimit):
	}
	c.took, c.atStart = time.Since(began), c.memory("VmRSS")
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
	r.silent.end()
	if r.drop != nil {
		_ = r.drop() // any remains are in a schema named posthorn_*
	}
	_ = os.RemoveAll(r.dir) // any remains are named posthorn-bench-*
}

// benchStats are the statistics that the receiver reports. All but Count are reported only if
// they are asked for.
type benchStats struct {
	Count          int
	Distinct       int     // events
	P50, P99, Last float64 // milliseconds from publish to receive; Last is to the last request of an event, median of the events
}

func (r *rig) receiverCount(ctx context.Context) (int, error) {
	body, err := r.ask(ctx, "/count")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(body))
}

func (r *rig) receiverTimes(ctx context.Context) (s benchStats, err error) {
	body, err := r.ask(ctx, "/times")
	if err == nil {
		err = json.Unmarshal(body, &s)
	}
	return s, err
}

// resetReceiver makes the receiver forget what it received, once that is everything.
func (r *rig) resetReceiver(ctx context.Context) error {
	if err := r.drained(ctx); err != nil {
		return err
	}
	r.due = 0
	_, err := r.ask(ctx, "/reset")
	return err
}

// ask asks the receiver.
func (r *rig) ask(ctx context.Context, path string) ([]byte, error) {
	return r.get(ctx, r.receiver.url+path)
}

func (r *rig) get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s: %s: %s", url, resp.Status, body)
	}
	return body, err
}

// drained waits until the receiver has received all that was published.
func (r *rig) drained(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainLimit)
	defer cancel()
	tick := time.NewTicker(drainChecks)
	defer tick.Stop()
	for {
		n, err := r.receiverCount(ctx)
		if err != nil {
			return err
		}
		if n >= r.due {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d deliveries were received", n, r.due)
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

// memory returns a figure of the process's memory in MiB: VmRSS is resident now, VmHWM was at
// most.
func (c *child) memory(figure string) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == figure+":" {
			kilobytes, _ := strconv.ParseFloat(fields[1], 64)
			return kilobytes / 1024
		}
	}
	return 0
}
