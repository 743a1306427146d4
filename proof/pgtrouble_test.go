package proof_test

import (
	"context"
	"crypto/rand"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// witness observes one node while its PostgreSQL has a fault. It publishes, records what was
// acknowledged, and keeps one attempt in progress the whole time.
type witness struct {
	n        *node
	pid      int
	acked    map[string]bool
	underWay published
	asked    atomic.Int64 // requests of the attempt that is in progress
	release  chan struct{}
	refusals int
	slowest  time.Duration // among the refusals
}

// newWitness starts a node on the store. On return its attempt is in progress.
func newWitness(t *testing.T, store string) *witness {
	t.Helper()
	w := &witness{acked: map[string]bool{}, release: make(chan struct{})}
	w.n = newNode(t, filepath.Join(t.TempDir(), "data"), "--dev", "--store", store, "--master-key-file", masterKey(t))
	w.n.start()
	w.pid = w.n.cmd.Process.Pid
	w.n.tenant("witness")
	slow := newReceiver(t, func(receipt) int {
		w.asked.Add(1)
		<-w.release
		return 200
	})
	w.n.endpoint("witness", slow.url, object{"event_types": []string{"slow.one"}})
	w.underWay = w.n.publish("witness", "slow.one", `{}`)
	w.acked[w.underWay.ID] = true
	eventually(t, 10*time.Second, "the slow attempt is under way", func() bool { return w.asked.Load() == 1 })
	return w
}

// publish sends one event of 60 kB that does not compress. A refusal must be one that a
// caller can act on: 503, the code, Retry-After, soon.
func (w *witness) publish(t *testing.T, codes ...string) (accepted bool) {
	t.Helper()
	start := time.Now()
	var pad strings.Builder
	for pad.Len() < 60<<10 {
		pad.WriteString(rand.Text())
	}
	a, err := w.n.try(context.Background(), "POST", "/v1/events", liveKey, []byte(eventBody("witness", "pad.made", `{"pad":"`+pad.String()+`"}`)))
	if err != nil {
		t.Fatalf("a publish got no answer: %v", err)
	}
	if a.status == http.StatusAccepted {
		var p published
		a.json(t, &p)
		w.acked[p.ID] = true
		return true
	}
	if got, _ := a.problem(); a.status != http.StatusServiceUnavailable || !slices.Contains(codes, got) {
		t.Fatalf("a publish while the database is in trouble: %d %s, want 503 %v", a.status, a.body, codes)
	}
	if s, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || s < 1 {
		t.Errorf("503 with Retry-After %q", a.header.Get("Retry-After"))
	}
	w.refusals++
	if w.slowest = max(w.slowest, time.Since(start)); w.slowest > 5*time.Second {
		t.Fatalf("a refusal took %v", w.slowest)
	}
	return false
}

// refused publishes until a publish is refused, and then a few more that must be refused,
// too.
func (w *witness) refused(t *testing.T, code string) {
	t.Helper()
	eventually(t, 20*time.Second, "a publish is refused", func() bool { return !w.publish(t, code) })
	for range 5 {
		if w.publish(t, code) {
			t.Error("a publish was accepted after one was refused, and nothing is mended")
		}
	}
}

// recovered waits until a publish is accepted, and returns how long that took.
func (w *witness) recovered(t *testing.T, code string) time.Duration {
	t.Helper()
	start := time.Now()
	eventually(t, 20*time.Second, "a publish is accepted again", func() bool { return w.publish(t, code) })
	return time.Since(start)
}

// settled waits until the attempt in progress is recorded. It compares what was acknowledged
// with what is stored, in the process that was running from the start and in the next one.
func (w *witness) settled(t *testing.T) (lost int) {
	t.Helper()
	eventually(t, 30*time.Second, "the outcome of the attempt that was under way is recorded", func() bool {
		a := w.n.call("GET", "/v1/deliveries?tenant=witness&event="+w.underWay.ID, nil)
		if a.status == http.StatusServiceUnavailable {
			return false // reading may first need a new connection
		}
		var page struct{ Data []delivery }
		a.json(t, &page)
		return len(page.Data) == 1 && page.Data[0].State == "succeeded" && page.Data[0].Attempts == 1
	})
	if got := w.asked.Load(); got != 1 {
		t.Errorf("the receiver was asked %d times", got)
	}
	sameProcess(t, []*node{w.n}, []int{w.pid})
	w.n.stop()
	w.n.start()
	stored := eventIDs(w.n, "witness")
	for id := range w.acked {
		if !stored[id] {
			lost++
			t.Errorf("acknowledged event %s is lost", id)
		}
	}
	if len(stored) != len(w.acked) {
		t.Errorf("%d events are stored, %d were acknowledged", len(stored), len(w.acked))
	}
	return lost
}

// openDisk is smallDisk with access for other users, and a directory for a server's files.
func openDisk(t *testing.T, size string) (mount string) {
	t.Helper()
	mount, err := os.MkdirTemp("", "posthorn-small-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(mount, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mount tmpfs: %v (the full disk needs root)", err)
	}
	t.Cleanup(func() {
		_ = syscall.Unmount(mount, syscall.MNT_DETACH)
		_ = os.Remove(mount)
	})
	return mount
}

// TestPostgresFullDisk fills the disk under the tables. Publishes are refused with a
// clear error, the outcome of an attempt in progress is kept, and when space is available
// again everything continues without any restart.
func TestPostgresFullDisk(t *testing.T) {
	mount := openDisk(t, "64m")
	p := newPostgres(t, "")
	space := filepath.Join(mount, "space")
	if err := os.Mkdir(space, 0o700); err != nil {
		t.Fatal(err)
	}
	if p.as != nil {
		if err := os.Chown(space, int(p.as.Uid), int(p.as.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	p.sql("CREATE TABLESPACE small LOCATION '" + space + "'")
	p.sql("CREATE DATABASE small OWNER posthorn TABLESPACE small")
	w := newWitness(t, strings.Replace(p.url(), "/posthorn?", "/small?", 1))
	if !w.publish(t) {
		t.Fatal("refused before the disk is full")
	}
	ballast := filepath.Join(mount, "ballast")
	fill(t, ballast)
	const code = "storage_full"
	for try := 0; w.refusals < 20; try++ {
		if try == 2000 {
			t.Fatalf("only %d refusals: the disk never was full", w.refusals)
		}
		if w.publish(t, code) {
			fill(t, ballast) // the server may have found space in its files, or freed some
		}
	}
	close(w.release)
	<-time.After(2 * time.Second)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	back := w.recovered(t, code)
	lost := w.settled(t)
	t.Logf("FIGURE full disk under PostgreSQL's tables: %d acknowledged events, %d lost; %d refusals with 503 %s within %v; first publish accepted %v after space was back",
		len(w.acked), lost, w.refusals, code, w.slowest.Round(time.Millisecond), back.Round(time.Millisecond))
}

// TestPostgresFullLog fills the disk under PostgreSQL's write-ahead log. The server then
// ends all connections and may not start again. With space and the server back, the node
// continues without a restart.
func TestPostgresFullLog(t *testing.T) {
	mount := openDisk(t, "64m")
	p := newPostgres(t, "", "max_wal_size = 32MB")
	p.moveLog(t, mount)
	w := newWitness(t, p.url())
	if !w.publish(t) {
		t.Fatal("refused before the disk is full")
	}
	ballast := filepath.Join(mount, "ballast")
	fill(t, ballast)
	codes := []string{"storage_full", "storage_unavailable"}
	eventually(t, 60*time.Second, "the server panics", func() bool {
		if w.publish(t, codes...) {
			fill(t, ballast) // the server may remove old files of its log
		}
		text, err := os.ReadFile(p.log)
		return err == nil && strings.Contains(string(text), "PANIC")
	})
	for range 10 {
		w.publish(t, codes...)
	}
	close(w.release)
	if w.refusals == 0 {
		t.Error("no publish was refused")
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	gone := false
	start := time.Now()
	eventually(t, 60*time.Second, "a publish is accepted again", func() bool {
		select {
		case <-p.exited: // it could not recover while the disk was full
			gone = true
			p.start()
		default:
		}
		return w.publish(t, codes...)
	})
	back := time.Since(start)
	lost := w.settled(t)
	t.Logf("FIGURE full disk under PostgreSQL's log: %d acknowledged events, %d lost; %d refusals with 503 within %v; the server gave up: %v; first publish accepted %v after space was back",
		len(w.acked), lost, w.refusals, w.slowest.Round(time.Millisecond), gone, back.Round(time.Millisecond))
}

// moveLog stops the server, moves its write-ahead log to the directory and starts it again.
func (p *postgres) moveLog(t *testing.T, to string) {
	t.Helper()
	if p.as != nil {
		if err := os.Chown(to, int(p.as.Uid), int(p.as.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	p.tool("pg_ctl", "-D", p.dir, "-m", "fast", "-w", "stop")
	<-p.exited
	from, target := filepath.Join(p.dir, "pg_wal"), filepath.Join(to, "pg_wal")
	if out, err := p.command("mv", from, target).CombinedOutput(); err != nil {
		t.Fatalf("mv: %v\n%s", err, out)
	}
	if err := os.Symlink(target, from); err != nil {
		t.Fatal(err)
	}
	p.start()
}

// TestPostgresUsedUp takes all remaining connections of the server. The node continues with
// its own. When it loses those and gets no new ones, publishes are refused until it does.
func TestPostgresUsedUp(t *testing.T) {
	p := newPostgres(t, "", "max_connections = 40")
	w := newWitness(t, p.url())
	own := p.connections()
	held, release := p.hold(t)
	for range 20 {
		if !w.publish(t) {
			t.Fatal("refused although the node has its connections")
		}
	}
	if got := count(w.n, "/v1/events?tenant=witness"); got != 21 {
		t.Errorf("%d events listed, want 21", got)
	}
	p.sql("ALTER ROLE posthorn CONNECTION LIMIT 0") // a closed connection cannot be replaced
	p.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'posthorn' AND application_name <> 'holder'")
	const code = "storage_unavailable"
	w.refused(t, code)
	close(w.release)
	if !strings.Contains(w.n.logTail(), "too many connections") {
		t.Errorf("the log does not say why:\n%s", w.n.logTail())
	}
	release()
	p.sql("ALTER ROLE posthorn CONNECTION LIMIT -1")
	back := w.recovered(t, code)
	lost := w.settled(t)
	t.Logf("FIGURE connections used up: the node holds %d, %d held by others; %d acknowledged events, %d lost; %d refusals with 503 within %v; first publish accepted %v after",
		own, held, len(w.acked), lost, w.refusals, w.slowest.Round(time.Millisecond), back.Round(time.Millisecond))
}

// TestPostgresNotDurable turns synchronous_commit off under a running node, for the server
// and for the role. Nothing is acknowledged that a crash of the server could undo, the log
// states the reason, and when it is on again everything continues.
func TestPostgresNotDurable(t *testing.T) {
	const code = "storage_unavailable"
	p := newPostgres(t, "")
	w := newWitness(t, p.url())
	var back []time.Duration
	for _, way := range []struct{ off, on func() }{
		{func() { p.set("synchronous_commit", "off") }, func() { p.set("synchronous_commit", "on") }},
		{
			func() { p.sql("ALTER ROLE posthorn SET synchronous_commit = off"); reconnect(p) },
			func() { p.sql("ALTER ROLE posthorn RESET synchronous_commit"); reconnect(p) },
		},
	} {
		if !w.publish(t, code) {
			t.Fatal("refused although commits are durable")
		}
		way.off()
		w.refused(t, code)
		way.on()
		back = append(back, w.recovered(t, code))
	}
	close(w.release)
	text, err := os.ReadFile(w.n.log.Name())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "synchronous_commit is off") {
		t.Errorf("the log does not say why:\n%s", w.n.logTail())
	}
	lost := w.settled(t)
	t.Logf("FIGURE commits made not durable under a running node: %d acknowledged events, %d lost; %d refusals with 503 within %v; first publish accepted at most %v after",
		len(w.acked), lost, w.refusals, w.slowest.Round(time.Millisecond), longest(back).Round(time.Millisecond))
}

// reconnect breaks the connections of Posthorn's role, so that new connections use its new
// settings.
func reconnect(p *postgres) {
	p.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'posthorn'")
}

// TestPostgresAway stops the server for longer than the lease during an attempt, whose
// receiver responds meanwhile. The outcome waits in memory and is recorded when the server
// is back. TestDatabaseRestart does the same under load.
func TestPostgresAway(t *testing.T) {
	const code = "storage_unavailable"
	p := newPostgres(t, "")
	w := newWitness(t, p.url())
	ready := func() int {
		a, err := w.n.try(context.Background(), "GET", "/readyz", liveKey, nil)
		if err != nil {
			t.Fatal(err)
		}
		return a.status
	}
	p.stopImmediately()
	w.refused(t, code)
	eventually(t, 10*time.Second, "it says that it is not ready", func() bool { return ready() == http.StatusServiceUnavailable })
	close(w.release)
	<-time.After(12 * time.Second) // the lease is 10 s
	w.refused(t, code)
	p.start()
	back := w.recovered(t, code)
	eventually(t, 10*time.Second, "it is ready", func() bool { return ready() == http.StatusOK })
	lost := w.settled(t)
	t.Logf("FIGURE server away for longer than the lease: %d acknowledged events, %d lost; %d refusals with 503 within %v; first publish accepted %v after it was back",
		len(w.acked), lost, w.refusals, w.slowest.Round(time.Millisecond), back.Round(time.Millisecond))
}
