package proof_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// bouncer is a PgBouncer in transaction mode in front of a server.
type bouncer struct {
	p      *postgres
	addr   string
	conf   string
	cmd    *exec.Cmd
	exited chan struct{}
}

func newBouncer(t testing.TB, p *postgres) *bouncer {
	t.Helper()
	dir, err := os.MkdirTemp("", "posthorn-bouncer-")
	if err != nil {
		t.Fatal(err)
	}
	b := &bouncer{p: p, addr: freePorts(t, 1)[0], conf: filepath.Join(dir, "pgbouncer.ini")}
	t.Cleanup(func() {
		b.kill()
		if log, err := os.ReadFile(filepath.Join(dir, "log")); err == nil && t.Failed() {
			t.Logf("end of PgBouncer's log:\n%s", log[max(0, len(log)-3000):])
		}
		os.RemoveAll(dir)
	})
	host, port := p.hostPort()
	_, own, _ := net.SplitHostPort(b.addr)
	users := filepath.Join(dir, "users")
	for path, text := range map[string]string{
		users: `"posthorn" ""` + "\n",
		b.conf: strings.Join([]string{
			"[databases]", "posthorn = host=" + host + " port=" + port + " dbname=posthorn",
			"[pgbouncer]", "listen_addr = 127.0.0.1", "listen_port = " + own, "unix_socket_dir =",
			"auth_type = trust", "auth_file = " + users, "pool_mode = transaction",
			"default_pool_size = 8", "max_client_conn = 200", "logfile = " + filepath.Join(dir, "log"), "",
		}, "\n"),
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if p.as != nil {
		if err := os.Chown(dir, int(p.as.Uid), int(p.as.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	b.start(t)
	return b
}

func (b *bouncer) start(t testing.TB) {
	t.Helper()
	path, err := exec.LookPath("pgbouncer")
	if err != nil {
		path = "/usr/sbin/pgbouncer"
	}
	b.cmd = b.p.command(path, "-q", b.conf)
	exited := make(chan struct{})
	if err := b.cmd.Start(); err != nil {
		t.Fatalf("pgbouncer: %v (Debian: pgbouncer)", err)
	}
	b.exited = exited
	cmd := b.cmd
	go func() {
		_ = cmd.Wait() // it was killed
		close(exited)
	}()
	eventually(t, 10*time.Second, "PgBouncer listens", func() bool {
		conn, err := net.Dial("tcp", b.addr)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
}

func (b *bouncer) kill() {
	if b.cmd == nil || b.cmd.Process == nil {
		return
	}
	_ = b.cmd.Process.Signal(syscall.SIGKILL) // it may have exited already
	<-b.exited
}

// TestPgBouncer runs PgBouncer in transaction mode between two nodes and PostgreSQL. Events
// are delivered, a node and then PgBouncer itself are killed under load, and nothing
// acknowledged is lost. The control checks on the server that every session of the nodes
// came through the pooler, which shares few sessions among many clients.
func TestPgBouncer(t *testing.T) {
	const lease = 3 * time.Second
	p := newPostgres(t, "")
	b := newBouncer(t, p)
	nodes := startCluster(t, storeURL(b.addr, "default_query_exec_mode=exec"), 2, "--node-lease", lease.String())
	r := newReceiver(t, nil)
	nodes[0].tenant("pool")
	nodes[0].endpoint("pool", r.url, oftenRetried())
	book := newLedger()
	w := startLoadOn(nodes, "pool", 6, 20*time.Millisecond, book, "b")
	<-time.After(2 * time.Second)
	calm := len(book.copy())
	bound := strike(t, nodes[1], []*receiver{r}, nodes[1].kill)
	<-time.After(time.Second)
	nodes[1].start()
	b.kill()
	<-time.After(500 * time.Millisecond)
	b.start(t)
	back := time.Now()
	acked := len(book.copy())
	eventually(t, 15*time.Second, "publishes are acknowledged again", func() bool { return len(book.copy()) > acked+10 })
	again := time.Since(back)
	<-time.After(time.Second)
	sessions, own := p.connections(), childrenOf(p.cmd.Process.Pid)
	w.finish(t, 20*time.Second)
	acked, lost, duplicates := verdict(t, nodes[0], "pool", book, r)
	if duplicates > bound {
		t.Errorf("%d duplicates, at most %d attempts were in flight at the kill", duplicates, bound)
	}
	if calm < 50 {
		t.Errorf("%d events acknowledged before the kill: too little load", calm)
	}
	if sessions == 0 || sessions > 8 {
		t.Errorf("control: %d sessions at the server (%d processes), PgBouncer's pool has 8: the nodes do not go through it", sessions, len(own))
	}
	t.Logf("FIGURE PgBouncer: transaction mode, 2 nodes over %d sessions, %d acknowledged events, a node and PgBouncer killed: %d lost, %d duplicates (in flight at the kill: %d); acknowledged again %v after PgBouncer was back",
		sessions, acked, lost, duplicates, bound, again.Round(time.Millisecond))
}
