package proof_test

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

// release unmounts a disk whose power was cut. What the kernel still holds for a killed
// process may keep it busy for a moment.
func (d *disk) release() {
	d.t.Helper()
	eventually(d.t, 20*time.Second, "the disk is released", func() bool { return syscall.Unmount(d.mount, 0) == nil })
}

// powerLoss runs one round: load, cutting the power of the database's disk, killing the
// database, remount, start, compare. The nodes keep running. It returns the total number of
// acknowledged events, and how many of them are lost.
func powerLoss(t *testing.T, d *disk, p *postgres, nodes []*node, book *ledger, tag string) (acked, lost int) {
	t.Helper()
	w := startLoadOn(nodes, "power", 8, 2*time.Millisecond, book, tag)
	<-time.After(time.Duration(700+rand.IntN(600)) * time.Millisecond)
	d.cut()
	p.kill()
	w.abandon()
	d.release()
	d.attach()
	known := book.copy()
	p.start()
	stored := map[string]bool{}
	for _, id := range lines(p.sql("SELECT id FROM events WHERE tenant = 'power'")) {
		stored[plainID(id)] = true
	}
	for _, id := range known {
		if !stored[plainID(id)] {
			lost++
		}
	}
	return len(known), lost
}

// TestPostgresPowerCut cuts the power of PostgreSQL's disk under load (R-01c). The nodes
// keep running, and everything arrives in the end. Its control is the same cut with
// --synchronous off: if nothing were lost there, the cut would not be effective.
func TestPostgresPowerCut(t *testing.T) {
	powered := func(t *testing.T, args ...string) (*disk, *postgres, []*node, *receiver) {
		d := newDisk(t)
		p := newPostgres(t, d.mount)
		nodes := startCluster(t, p.url(), 2, append([]string{"--node-lease", "5s"}, args...)...)
		r := newReceiver(t, nil)
		nodes[0].tenant("power")
		nodes[0].endpoint("power", r.url, oftenRetried())
		return d, p, nodes, r
	}
	t.Run("full", func(t *testing.T) {
		cuts := amount(3, 25)
		d, p, nodes, r := powered(t)
		pids := pidsOf(nodes)
		book := newLedger()
		acked, lost := 0, 0
		for c := range cuts {
			acked, lost = powerLoss(t, d, p, nodes, book, "c"+string(rune('a'+c)))
			if lost > 0 {
				t.Fatalf("R-01: cut %d: %d of %d acknowledged events lost", c+1, lost, acked)
			}
			if !nodes[0].waitReady(20*time.Second) || !nodes[1].waitReady(20*time.Second) {
				t.Fatalf("cut %d: a node is not ready 20 s after PostgreSQL was back", c+1)
			}
		}
		if acked < 50*cuts {
			t.Errorf("only %d events acknowledged over %d cuts: too little load to prove anything", acked, cuts)
		}
		arrived := map[string]bool{}
		eventually(t, 60*time.Second, "everything acknowledged arrives", func() bool {
			for _, s := range sightings(t, r.receipts()) {
				arrived[s.id] = true
			}
			for _, id := range book.copy() {
				if !arrived[id] {
					return false
				}
			}
			return true
		})
		sameProcess(t, nodes, pids)
		t.Logf("FIGURE PostgreSQL power cut: 2 nodes, %d acknowledged events, %d cuts: %d lost, all arrived", acked, cuts, lost)
		for _, n := range nodes {
			n.kill()
		}
		p.kill()
	})
	t.Run("control", func(t *testing.T) {
		acked, lost, cuts := 0, 0, amount(2, 5)
		for range cuts {
			d, p, nodes, _ := powered(t, "--synchronous", "off")
			a, l := powerLoss(t, d, p, nodes, newLedger(), "x")
			acked, lost = acked+a, lost+l
			for _, n := range nodes {
				n.kill()
			}
			p.kill()
		}
		if lost == 0 {
			t.Errorf("control: %d events acknowledged with --synchronous off and none lost over %d cuts: the harness does not cut", acked, cuts)
		}
		t.Logf("FIGURE PostgreSQL power cut, control with --synchronous off: %d acknowledged events, %d cuts: %d lost", acked, cuts, lost)
	})
}
