package pgtest

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// oldest is the oldest supported major version of PostgreSQL.
const oldest = 15

// A Server is a PostgreSQL server with a directory of its own. It may be stopped and
// started any number of times. Its methods must not be called concurrently, except for
// Database and Exec while the server runs.
type Server struct {
	dir  string
	bin  string
	as   *syscall.Credential // nil: the user of the tests
	wake *exec.Cmd           // the shell that cleans up afterwards
	pipe io.Closer           // its input, which closes however this process ends
}

// settings are the initial settings of every server. fsync stays on, because Posthorn
// refuses a server without it.
var settings = map[string]string{
	"listen_addresses":     "''",
	"max_connections":      "200",
	"shared_buffers":       "64MB",
	"min_wal_size":         "32MB",
	"max_wal_size":         "256MB",
	"fsync":                "on",
	"log_line_prefix":      "'%m [%p] %d '",
	"log_checkpoints":      "off",
	"timezone":             "UTC",
	"log_timezone":         "UTC",
	"autovacuum_naptime":   "5s",
	"cluster_name":         "pgtest",
	"logging_collector":    "off",
	"log_destination":      "stderr",
	"ssl":                  "off",
	"jit":                  "off",
	"max_worker_processes": "4",
}

// debianPlace is the pattern of directories in which Debian's packages install the programs
// of each release.
const debianPlace = "/usr/lib/postgresql/*/bin"

// afterUs runs as the server's user. It waits until its input ends, which happens when the
// test binary exits. It then stops the server and removes its directory. It repeats the
// removal, because a server that was just starting may still write.
const afterUs = `
read -r _
"$1/pg_ctl" -D "$0/data" -m immediate -w -t 20 stop
for _ in 1 2 3 4 5; do rm -rf "$0" && exit; sleep 1; done
`

// create creates a server and does not start it.
func create(t testing.TB, more map[string]string) *Server {
	t.Helper()
	bin, err := binaries(debianPlace)
	if err != nil {
		t.Fatal(err)
	}
	as, err := credential()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(place(as), "pgtest")
	if err != nil {
		t.Fatal(err)
	}
	if as != nil {
		if err := os.Chown(dir, int(as.Uid), int(as.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	s := &Server{dir: dir, bin: bin, as: as}
	s.wake = s.command("sh", "-c", afterUs, dir, bin)
	// It gets its own session, because the interrupt key must end the tests, not the shell.
	s.wake.SysProcAttr.Setsid = true
	if s.pipe, err = s.wake.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := s.wake.Start(); err != nil {
		t.Fatal(err)
	}
	if err := s.init(more); err != nil {
		s.remove(t)
		t.Fatal(err)
	}
	return s
}

// init creates the data directory, the settings and the role.
func (s *Server) init(more map[string]string) error {
	data := filepath.Join(s.dir, "data")
	err := s.run(s.command(filepath.Join(s.bin, "initdb"), "-D", data, "-U", admin, "-A", "trust", "--locale=C", "-E", "UTF8", "--no-sync"))
	if err != nil {
		return err
	}
	all := maps.Clone(settings)
	all["unix_socket_directories"] = "'" + s.dir + "'"
	maps.Copy(all, more)
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&text, "%s = %s\n", name, all[name])
	}
	conf, err := os.OpenFile(filepath.Join(data, "postgresql.conf"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = conf.WriteString(text.String())
	if closeErr := conf.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	role := s.command(filepath.Join(s.bin, "postgres"), "--single", "-D", data, "-c", "log_min_messages=error", "postgres")
	role.Stdin = strings.NewReader("CREATE ROLE " + User + " LOGIN\n")
	return s.run(role)
}

// Start starts a stopped server and returns when it accepts connections.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	err := s.run(s.command(filepath.Join(s.bin, "pg_ctl"), "-D", filepath.Join(s.dir, "data"), "-l", filepath.Join(s.dir, "log"), "-w", "start"))
	if err != nil {
		t.Fatalf("%v\n%s", err, s.logFrom(0))
	}
}

// Stop stops the server and returns when it has ended. The mode "fast" disconnects all
// clients and writes everything to disk. "immediate" is like a crash for the data
// directory.
func (s *Server) Stop(t testing.TB, mode string) {
	t.Helper()
	err := s.run(s.command(filepath.Join(s.bin, "pg_ctl"), "-D", filepath.Join(s.dir, "data"), "-m", mode, "-w", "stop"))
	if err != nil {
		t.Fatalf("%v\n%s", err, s.logFrom(0))
	}
}

// PID returns the process id of the server, for a test that pauses or kills it.
func (s *Server) PID(t testing.TB) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func (s *Server) running() bool {
	_, err := os.Stat(filepath.Join(s.dir, "data", "postmaster.pid"))
	return err == nil
}

// remove makes the shell clean up and waits for it.
func (s *Server) remove(t testing.TB) {
	_ = s.pipe.Close() // it can only fail because the shell has ended
	if err := s.wake.Wait(); err != nil {
		t.Errorf("pgtest: clean up %s: %v", s.dir, err)
	}
}

// command returns a command that runs as the server's user, in a directory that this user
// can enter.
func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "HOME="+s.dir)
	// These variables would point the tools at another server, or change a new one.
	cmd.Env = slices.DeleteFunc(cmd.Env, func(v string) bool { return strings.HasPrefix(v, "PG") })
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as}
	return cmd
}

func (s *Server) run(cmd *exec.Cmd) error {
	said, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("pgtest: %s: %w\n%s", filepath.Base(cmd.Path), err, said)
	}
	return nil
}

// place returns the directory for servers. It is the directory for temporary files, unless
// its name is so long that the path of a socket would exceed 107 bytes, or the server runs
// as another user, who may not have access to it.
func place(as *syscall.Credential) string {
	if dir := os.TempDir(); as == nil && len(dir) < 60 {
		return dir
	}
	return "/tmp"
}

// credential returns the user of the server, because PostgreSQL refuses to run as root. It
// returns nil if that is the user of the tests.
func credential() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if uidErr == nil && gidErr == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, fmt.Errorf("pgtest: PostgreSQL does not run as root, and there is neither a user postgres nor nobody")
}

// binaries returns the directory of the server's programs: that of the postgres in PATH if
// it is new enough, otherwise the newest in Debian's directories.
func binaries(place string) (string, error) {
	var dirs []string
	if path, err := exec.LookPath("postgres"); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	debian, err := filepath.Glob(place)
	if err != nil {
		return "", err
	}
	slices.SortFunc(debian, func(a, b string) int { return release(b) - release(a) })
	for _, dir := range append(dirs, debian...) {
		if version(dir) >= oldest {
			return dir, nil
		}
	}
	return "", fmt.Errorf("pgtest: these tests need the programs of a PostgreSQL server, %d or newer, in PATH or in /usr/lib/postgresql: "+
		"install the Debian package postgresql-15", oldest)
}

// release returns the version in the name of Debian's directory, 0 if there is none.
func release(dir string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
	return n
}

// version returns the major version that the program reports. It returns 0 if the program
// cannot run or initdb is missing.
func version(dir string) int {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return 0
	}
	said, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return 0
	}
	var n int
	_, _ = fmt.Sscanf(string(said), "postgres (PostgreSQL) %d", &n) // 0 if the output is anything else
	return n
}
