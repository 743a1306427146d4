package proof_test

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// inFlight is the gauge of started attempts whose outcome is not on disk yet.
const inFlight = "posthorn_in_flight"

// TestKill ends the server with kill -9 at random moments under load (R-01a, R-02, R-03 and
// Nothing acknowledged is lost, duplicates do not exceed what was in flight,
// everything settles, and a publish that failed and was repeated with its Idempotency-Key is
// one event.
func TestKill(t *testing.T) {
	const kills = 30
	var served atomic.Int64
	steady := newReceiver(t, nil)
	shaky := newReceiver(t, func(receipt) int {
		if served.Add(1)%11 == 0 {
			return 500
		}
		return 200
	})
	n := startNode(t)
	n.tenant("kill")
	often := object{"retry": object{"steps": []string{"1s"}, "then": "repeat"}}
	n.endpoint("kill", steady.url+"/steady", often)
	n.endpoint("kill", shaky.url+"/shaky", often)

	book := newLedger()
	w := startLoad(n, "kill", 4, 10*time.Millisecond, book, "k")
	bound := 0.0
	for range kills {
		<-time.After(time.Duration(150+rand.IntN(900)) * time.Millisecond)
		// Attempts that start between the reading and the kill were in flight at the kill, too. The
		// receivers count them.
		before := steady.asked.Load() + shaky.asked.Load()
		open, err := n.gauge(inFlight)
		n.kill()
		if err != nil {
			t.Errorf("read %s: %v", inFlight, err)
		}
		bound += open + float64(steady.asked.Load()+shaky.asked.Load()-before)
		n.start()
	}
	w.finish(t, 10*time.Second)
	acked := book.copy()

	pending := func() int { return count(n, "/v1/deliveries?tenant=kill&state=pending") }
	eventually(t, 30*time.Second, "everything settles", func() bool { return pending() == 0 })
	for _, state := range []string{"pending", "held", "failed", "cancelled"} {
		if left := count(n, "/v1/deliveries?tenant=kill&state="+state); left != 0 {
			t.Errorf("R-03: %d deliveries are %s", left, state)
		}
	}
	duplicates, lost := 0, 0
	for name, r := range map[string]*receiver{"steady": steady, "shaky": shaky} {
		a := settle(acked, sightings(t, r.receipts()))
		if len(a.lost) > 0 {
			t.Errorf("R-01: %s: %d of %d acknowledged events lost, first %s", name, len(a.lost), len(acked), a.lost[0])
		}
		if len(a.doubled) > 0 {
			t.Errorf("R-04: %s: %d keys became several events, first %s", name, len(a.doubled), a.doubled[0])
		}
		duplicates += a.duplicates
		lost += len(a.lost)
	}
	if float64(duplicates) > bound {
		t.Errorf("R-02: %d duplicates, at most %.0f were in flight at the kills", duplicates, bound)
	}
	if stored := len(eventIDs(n, "kill")); stored != len(acked) {
		t.Errorf("R-04: %d events are stored for %d keys", stored, len(acked))
	}
	if len(acked) < 20*kills || w.repeats.Load() == 0 {
		t.Errorf("%d acknowledged and %d repeated publishes: too little load to prove anything", len(acked), w.repeats.Load())
	}
	for what, times := range book.other {
		t.Errorf("%d publishes were answered %s", times, what)
	}
	t.Logf("FIGURE kill -9: %d acknowledged events to 2 endpoints, %d kills: %d lost; %d duplicates (in flight at the kills: %.0f); %d publishes repeated, one event each", len(acked), kills, lost, duplicates, bound, w.repeats.Load())
}

// disk is an ext4 file system in a file, whose power can be cut.
type disk struct {
	t     testing.TB
	image string
	mount string
}

func newDisk(t testing.TB) *disk {
	t.Helper()
	d := &disk{t: t, image: filepath.Join(t.TempDir(), "disk.img"), mount: filepath.Join(t.TempDir(), "disk")}
	if err := os.Mkdir(d.mount, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(d.image)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(384 << 20); err != nil {
		t.Fatal(err)
	}
	f.Close()
	d.run("mkfs.ext4", "-q", "-F", d.image)
	d.attach()
	t.Cleanup(func() { _ = syscall.Unmount(d.mount, syscall.MNT_DETACH) })
	return d
}

func (d *disk) run(name string, args ...string) {
	d.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		d.t.Fatalf("%s %v: %v: %s (the power cut needs root and loop devices)", name, args, err, out)
	}
}

func (d *disk) attach() { d.t.Helper(); d.run("mount", "-o", "loop", d.image, d.mount) }
func (d *disk) detach() { d.t.Helper(); d.run("umount", d.mount) }

// cut stops the file system as a power failure would. From now on nothing reaches the image,
// and what was not synchronised is lost, including the journal's open transaction
// (EXT4_IOC_SHUTDOWN with NOLOGFLUSH, see linux fs/ext4/ioctl.c).
func (d *disk) cut() {
	d.t.Helper()
	const shutdown, noLogFlush = 0x8004587d, 2
	f, err := os.Open(d.mount)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	how := uint32(noLogFlush)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), shutdown, uintptr(unsafe.Pointer(&how))); errno != 0 {
		d.t.Fatalf("cut the power: %v", errno)
	}
}

// powerCut runs one round: load, cut, kill, remount, restart, compare. It returns the total
// number of acknowledged events, and how many of them are lost.
func powerCut(t *testing.T, d *disk, n *node, book *ledger, tag string) (acked, lost int) {
	t.Helper()
	w := startLoad(n, "power", 8, time.Millisecond, book, tag)
	<-time.After(time.Duration(700+rand.IntN(600)) * time.Millisecond)
	d.cut()
	n.kill()
	w.abandon()
	d.detach()
	d.attach()
	known := book.copy()
	n.launch()
	if !n.waitReady(20 * time.Second) {
		t.Logf("after the cut the node did not start:\n%.300s", n.logTail())
		return len(known), len(known)
	}
	if n.call("GET", "/v1/tenants/power", nil).status != 200 {
		return len(known), len(known) // even the tenant is lost
	}
	stored := eventIDs(n, "power")
	for _, id := range known {
		if !stored[id] {
			lost++
		}
	}
	return len(known), lost
}

func powerNode(t *testing.T, d *disk, args ...string) *node {
	t.Helper()
	n := newNode(t, filepath.Join(d.mount, "data"), append([]string{"--dev"}, args...)...)
	n.start()
	n.tenant("power")
	r := newReceiver(t, nil)
	n.endpoint("power", r.url, nil)
	return n
}

// TestPowerCut cuts the power under load (R-01b). Its control is the same run with
// --synchronous off: if nothing were lost there, the cut would not be effective and the
// first figure would be worthless.
func TestPowerCut(t *testing.T) {
	t.Run("full", func(t *testing.T) {
		const cuts = 12
		d := newDisk(t)
		n := powerNode(t, d)
		book := newLedger()
		acked, lost := 0, 0
		for c := range cuts {
			acked, lost = powerCut(t, d, n, book, "c"+string(rune('a'+c)))
			if lost > 0 {
				t.Fatalf("R-01: cut %d: %d of %d acknowledged events lost", c+1, lost, acked)
			}
		}
		if acked < 20*cuts {
			t.Errorf("only %d events acknowledged over %d cuts: too little load to prove anything", acked, cuts)
		}
		t.Logf("FIGURE power cut: %d acknowledged events, %d cuts: %d lost", acked, cuts, lost)
		n.kill()
	})
	t.Run("control", func(t *testing.T) {
		const cuts = 3
		acked, lost := 0, 0
		for range cuts {
			d := newDisk(t)
			n := powerNode(t, d, "--synchronous", "off")
			a, l := powerCut(t, d, n, newLedger(), "x")
			acked, lost = acked+a, lost+l
			n.kill()
		}
		if lost == 0 {
			t.Errorf("%d events acknowledged with --synchronous off and none lost over %d cuts: the harness does not cut", acked, cuts)
		}
		t.Logf("FIGURE power cut, control with --synchronous off: %d acknowledged events, %d cuts: %d lost", acked, cuts, lost)
	})
}
