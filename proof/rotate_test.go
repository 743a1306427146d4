package proof_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type masterKeyShown struct {
	ID       string `json:"id"`
	State    string `json:"state"`
	Resealed int    `json:"resealed"`
}

func masterKeys(n *node) (all []masterKeyShown) {
	n.t.Helper()
	var page struct{ Data []masterKeyShown }
	n.must(http.StatusOK, "GET", "/v1/master-keys", nil).json(n.t, &page)
	return page.Data
}

// TestMasterKeyRotation rotates the master key under load and kills the node while values
// are sealed again, several times. No publish and no attempt fails, and every request carries
// the sealed header. Control: a node whose earlier key was taken away in the middle does not
// start.
func TestMasterKeyRotation(t *testing.T) {
	const rotations, others = 3, 250
	r := newReceiver(t, nil)
	n := startNode(t)
	n.tenant("keys")
	n.tenant("others")
	for range others {
		n.endpoint("others", r.url+"/never?token=1", object{"event_types": []string{"never"}, "headers": object{"X-Token": "sealed"}})
	}
	n.endpoint("keys", r.url+"/a?token=1", object{"headers": object{"X-Token": "sealed"}, "retry": object{"steps": []string{"1s"}, "then": "repeat"}})
	book := newLedger()
	w := startLoad(n, "keys", 4, 10*time.Millisecond, book, "k")
	file := filepath.Join(n.dir, "master.key")
	interrupted, resealed := 0, 0
	for range rotations {
		var made struct{ From, To string }
		n.must(http.StatusOK, "POST", "/v1/master-keys/rotate", nil).json(t, &made)
		n.kill()
		both, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.SplitAfter(strings.TrimSpace(string(both)), "\n")
		if len(lines) != 2 {
			t.Fatalf("%d keys in the file", len(lines))
		}
		if err := os.WriteFile(file, []byte(lines[1]), 0o600); err != nil {
			t.Fatal(err)
		}
		n.launch()
		<-n.exited
		if code := n.cmd.ProcessState.ExitCode(); code != exitMasterKey || !strings.Contains(n.logTail(), made.From) {
			t.Errorf("control: without the earlier key, in the middle: exit code %d", code)
		}
		if err := os.WriteFile(file, both, 0o600); err != nil {
			t.Fatal(err)
		}
		n.start()
		keys := masterKeys(n)
		if keys[0].State == "needed" && keys[0].ID == made.From {
			interrupted++
		}
		eventually(t, 30*time.Second, "nothing needs the earlier key", func() bool {
			keys = masterKeys(n)
			return keys[0].State == "unused" && keys[1].State == "seals"
		})
		resealed += keys[0].Resealed
		n.must(http.StatusNoContent, "DELETE", "/v1/master-keys/"+made.From, nil)
		n.kill()
		n.start() // with the new key alone
	}
	w.finish(t, 10*time.Second)
	eventually(t, 30*time.Second, "everything settles", func() bool { return count(n, "/v1/deliveries?tenant=keys&state=pending") == 0 })
	acked := book.copy()
	for _, state := range []string{"held", "failed", "cancelled"} {
		if left := count(n, "/v1/deliveries?tenant=keys&state="+state); left != 0 {
			t.Errorf("%d deliveries are %s", left, state)
		}
	}
	failed := 0 // an attempt that a kill interrupted is not recorded
	list(n, "/v1/deliveries?tenant=keys", func(d struct{ Attempts int }) { failed += d.Attempts - 1 })
	if failed != 0 {
		t.Errorf("%d recorded attempts failed", failed)
	}
	a := settle(acked, sightings(t, r.receipts()))
	for _, got := range r.receipts() {
		if got.header.Get("X-Token") != "sealed" {
			t.Fatalf("a request without the sealed header: %v", got.header)
		}
	}
	if len(a.lost) > 0 || len(a.doubled) > 0 || len(book.other) > 0 || len(acked) < 50 {
		t.Errorf("%d acknowledged, %d lost, %d doubled, refused: %v", len(acked), len(a.lost), len(a.doubled), book.other)
	}
	if interrupted == 0 || resealed < rotations*others {
		t.Errorf("%d of %d rotations were interrupted, %d values sealed again: too little to prove anything", interrupted, rotations, resealed)
	}
	t.Logf("FIGURE master key: %d rotations under load, %d interrupted by kill -9, %d values sealed again; %d events acknowledged, %d lost, %d attempts failed", rotations, interrupted, resealed, len(acked), len(a.lost), failed)
}
