package proof_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// postgres is a PostgreSQL server of a test: on loopback, without passwords, with a role and
// a database named posthorn. It can be killed, disconnected, restarted and copied any number
// of times, and it exits with the test.
type postgres struct {
	t      testing.TB
	dir    string // the data directory
	addr   string
	log    string
	as     *syscall.Credential // nil means the user of the test
	cmd    *exec.Cmd
	exited chan struct{}
}

// pgTool returns the path of a program of PostgreSQL. A missing program is a failure.
func pgTool(t testing.TB, name string) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name) // the pattern is valid
	if len(found) > 0 {
		slices.SortFunc(found, func(a, b string) int { return pgMajor(a) - pgMajor(b) })
		return found[len(found)-1]
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not here: %v (Debian: postgresql)", name, err)
	}
	return path
}

func pgMajor(path string) int {
	major, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path)))) // 0 sorts first
	return major
}

// newPostgres creates a server and starts it. It creates a directory if dir is empty, and
// appends lines to the server's configuration.
func newPostgres(t testing.TB, dir string, lines ...string) *postgres {
	t.Helper()
	p := preparePostgres(t, dir)
	how := []string{"-D", p.dir, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-locale"}
	if dir == "" {
		how = append(how, "--no-sync") // a given directory may be on a disk whose power is cut
	}
	p.tool("initdb", how...)
	lines = append([]string{
		"unix_socket_directories = ''", "listen_addresses = '127.0.0.1'", "max_connections = 100",
		"shared_buffers = 64MB", "max_wal_size = 128MB", "min_wal_size = 32MB", "timezone = UTC",
		"log_line_prefix = '%m [%p] %a '", "wal_sender_timeout = 5s",
	}, lines...)
	conf, err := os.OpenFile(filepath.Join(p.dir, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conf.WriteString(strings.Join(lines, "\n") + "\n"); err != nil {
		t.Fatal(err)
	}
	conf.Close()
	p.start()
	p.sql("CREATE ROLE posthorn LOGIN")
	p.sql("CREATE DATABASE posthorn OWNER posthorn")
	return p
}

// preparePostgres determines the directory, address and user of a server to create.
// PostgreSQL refuses to run as root, so it then runs as the user postgres.
func preparePostgres(t testing.TB, dir string) *postgres {
	t.Helper()
	p := &postgres{t: t, addr: freePorts(t, 1)[0]}
	base, err := os.MkdirTemp("", "posthorn-pg-") // t.TempDir is not accessible to other users
	if err != nil {
		t.Fatal(err)
	}
	p.log, p.dir = filepath.Join(base, "log"), filepath.Join(base, "data")
	if dir != "" {
		p.dir = filepath.Join(dir, "data")
	}
	if os.Getuid() == 0 {
		p.as = unprivileged(t)
		for up := filepath.Dir(dir); dir != "" && len(up) > len(os.TempDir()); up = filepath.Dir(up) {
			if err := os.Chmod(up, 0o711); err != nil { // t.TempDir denies access to other users
				t.Fatal(err)
			}
		}
		for _, each := range []string{base, dir} {
			if each == "" {
				continue
			}
			if err := os.Chown(each, int(p.as.Uid), int(p.as.Gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("end of PostgreSQL's log:\n%s", p.logTail())
		}
		os.RemoveAll(base)
	})
	return p
}

// unprivileged returns the user that servers run as if the test runs as root.
func unprivileged(t testing.TB) *syscall.Credential {
	t.Helper()
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		}
	}
	t.Fatal("neither a user postgres nor a user nobody to run PostgreSQL as")
	return nil
}

// command prepares a program that runs as the server's user and exits with the test.
func (p *postgres) command(path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PGCONNECT_TIMEOUT=5")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.as, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// tool runs a program of PostgreSQL to completion.
func (p *postgres) tool(name string, args ...string) {
	p.t.Helper()
	if out, err := p.command(pgTool(p.t, name), args...).CombinedOutput(); err != nil {
		p.t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

func (p *postgres) logTail() string {
	text, _ := os.ReadFile(p.log)
	return string(text[max(0, len(text)-4000):])
}

func (p *postgres) hostPort() (host, port string) {
	host, port, err := net.SplitHostPort(p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	return host, port
}

// url returns the value of a node's --store. Parameters are added to the query.
func (p *postgres) url(params ...string) string { return storeURL(p.addr, params...) }

// storeURL is like url for an address, or for several addresses separated by commas.
func storeURL(addr string, params ...string) string {
	return "postgres://posthorn@" + addr + "/posthorn?" + strings.Join(append([]string{"sslmode=disable"}, params...), "&")
}

// start runs the server until it accepts connections. The remains of a killed server may
// hold its memory for a moment, so start retries for some seconds.
func (p *postgres) start() {
	p.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; {
		if p.launch(); p.waitReady(20 * time.Second) {
			return
		}
		p.kill()
		if time.Now().After(end) {
			p.t.Fatalf("PostgreSQL does not start:\n%s", p.logTail())
		}
		<-time.After(100 * time.Millisecond)
	}
}

// launch starts the process without waiting until it accepts connections.
func (p *postgres) launch() {
	p.t.Helper()
	_, port := p.hostPort()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close()
	cmd := p.command(pgTool(p.t, "postgres"), "-D", p.dir, "-p", port)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	exited := make(chan struct{})
	p.cmd, p.exited = cmd, exited
	go func() {
		_ = cmd.Wait() // the state is in cmd.ProcessState
		close(exited)
	}()
}

// waitReady polls until a query succeeds, the process exits or the time is up.
func (p *postgres) waitReady(limit time.Duration) bool {
	for end := time.Now().Add(limit); time.Now().Before(end); {
		select {
		case <-p.exited:
			return false
		case <-time.After(20 * time.Millisecond):
		}
		if _, err := p.trySQL("SELECT 1"); err == nil {
			return true
		}
	}
	return false
}

// stopImmediately is pg_ctl stop -m immediate: no checkpoint, connections broken.
func (p *postgres) stopImmediately() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.exited:
	case <-time.After(20 * time.Second):
		p.t.Fatal("PostgreSQL did not end within 20 s of SIGQUIT")
	}
}

// kill runs kill -9 on the server and on each of its processes. It returns when they have
// exited.
func (p *postgres) kill() {
	if p.cmd == nil {
		return
	}
	children := childrenOf(p.cmd.Process.Pid)
	_ = p.cmd.Process.Kill() // it may have exited already
	<-p.exited
	for _, pid := range children {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have exited with its parent
	}
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end) && slices.ContainsFunc(children, alive); {
		<-time.After(5 * time.Millisecond)
	}
}

// processStat returns the state and the parent of a process.
func processStat(pid int) (state string, parent int, ok bool) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", 0, false
	}
	_, rest, _ := strings.Cut(string(text), ") ") // the name before it may contain anything
	fields := strings.Fields(rest)
	if len(fields) < 2 {
		return "", 0, false
	}
	parent, err = strconv.Atoi(fields[1])
	return fields[0], parent, err == nil
}

func alive(pid int) bool {
	state, _, ok := processStat(pid)
	return ok && state != "Z"
}

func childrenOf(parent int) (pids []int) {
	entries, _ := os.ReadDir("/proc") // callers detect an empty list
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if _, of, ok := processStat(pid); ok && of == parent {
			pids = append(pids, pid)
		}
	}
	return pids
}

// childCalled returns the only process of the server whose title contains the text.
func (p *postgres) childCalled(title string) int {
	p.t.Helper()
	for _, pid := range childrenOf(p.cmd.Process.Pid) {
		line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
		if err == nil && strings.Contains(string(line), title) {
			return pid
		}
	}
	p.t.Fatalf("the server has no process called %q", title)
	return 0
}

// trySQL runs a statement as the superuser in the database posthorn, or in the maintenance
// database while posthorn does not exist. Rows are lines, and columns are separated by |.
func (p *postgres) trySQL(query string) (string, error) {
	database := "posthorn"
	if query == "SELECT 1" || strings.HasPrefix(query, "CREATE ROLE") || strings.HasPrefix(query, "CREATE DATABASE") {
		database = "postgres"
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	host, port := p.hostPort()
	cmd := exec.CommandContext(ctx, pgTool(p.t, "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1",
		"-h", host, "-p", port, "-U", "postgres", "-d", database, "-c", query)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PGCONNECT_TIMEOUT=5", "PGAPPNAME=proof")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return strings.TrimRight(string(out), "\n"), nil
}

func (p *postgres) sql(query string) string {
	p.t.Helper()
	out, err := p.trySQL(query)
	if err != nil {
		p.t.Fatalf("%s: %v", query, err)
	}
	return out
}

// number is sql for a query that returns one number.
func (p *postgres) number(query string) int {
	p.t.Helper()
	n, err := strconv.Atoi(p.sql(query))
	if err != nil {
		p.t.Fatalf("%s: %v", query, err)
	}
	return n
}

// standby creates and starts a copy that follows the server. It returns once the copy is
// streaming.
func (p *postgres) standby() *postgres {
	p.t.Helper()
	s := preparePostgres(p.t, "")
	host, port := p.hostPort()
	s.tool("pg_basebackup", "-h", host, "-p", port, "-U", "postgres", "-D", s.dir, "-R", "-X", "stream", "-c", "fast", "--no-sync")
	s.start()
	eventually(p.t, 20*time.Second, "the standby streams", func() bool {
		return p.sql("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") == "1"
	})
	return s
}

// set changes a setting of the running server.
func (p *postgres) set(name, value string) {
	p.t.Helper()
	p.sql("ALTER SYSTEM SET " + name + " = '" + value + "'")
	p.sql("SELECT pg_reload_conf()")
}

// promote makes a standby the primary, and returns when it accepts writes. A server that has
// just started may miss the request, so it is repeated.
func (p *postgres) promote() {
	p.t.Helper()
	asked := time.Time{}
	eventually(p.t, 20*time.Second, "the standby is promoted", func() bool {
		if p.sql("SELECT pg_is_in_recovery()") == "f" {
			return true
		}
		if time.Since(asked) > time.Second {
			asked = time.Now()
			_, _ = p.trySQL("SELECT pg_promote(false)") // it may have become the primary just now
		}
		return false
	})
}

// connections counts the sessions of Posthorn's role.
func (p *postgres) connections() int {
	p.t.Helper()
	return p.number("SELECT count(*) FROM pg_stat_activity WHERE usename = 'posthorn'")
}

// TestPostgresControl is the control of the proofs that stop servers. What committed exists
// after each way to stop a server and after a promotion, what did not commit does not, and a
// query to a dead server fails.
func TestPostgresControl(t *testing.T) {
	p := newPostgres(t, "")
	p.sql("CREATE TABLE kept (n int)")
	p.sql("INSERT INTO kept VALUES (1)")
	p.stopImmediately()
	if _, err := p.trySQL("SELECT 1"); err == nil {
		t.Fatal("a stopped server answers")
	}
	p.start()
	p.sql("INSERT INTO kept VALUES (2)")
	p.sql("BEGIN; INSERT INTO kept VALUES (99); ROLLBACK")
	p.kill()
	p.start()
	s := p.standby()
	p.set("synchronous_standby_names", "*")
	eventually(t, 10*time.Second, "the standby is synchronous", func() bool {
		return p.sql("SELECT sync_state FROM pg_stat_replication") == "sync"
	})
	p.sql("INSERT INTO kept VALUES (3)")
	p.kill()
	s.promote()
	if got := s.sql("SELECT string_agg(n::text, ',' ORDER BY n) FROM kept"); got != "1,2,3" {
		t.Errorf("after all stops the table holds %s, want 1,2,3", got)
	}
}
