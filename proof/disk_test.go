package proof_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// smallDisk mounts a tmpfs of the given size.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mount tmpfs: %v (the full disk needs root)", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// fill writes a file until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for chunk := make([]byte, 1<<20); ; {
		_, err := f.Write(chunk)
		if errors.Is(err, syscall.ENOSPC) {
			if len(chunk) == 4096 {
				return
			}
			chunk = chunk[:4096]
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestFullDisk fills the disk under the server. Publishes are refused with a clear
// error, outcomes of attempts in progress are kept, and when space is available again
// everything continues without a restart.
func TestFullDisk(t *testing.T) {
	dir := smallDisk(t, "96m")
	n := newNode(t, filepath.Join(dir, "data"), "--dev")
	n.start()
	n.tenant("disk")
	release := make(chan struct{})
	var slowRequests atomic.Int64
	slow := newReceiver(t, func(receipt) int {
		slowRequests.Add(1)
		<-release
		return 200
	})
	n.endpoint("disk", slow.url, object{"event_types": []string{"slow.one"}})
	underWay := n.publish("disk", "slow.one", `{}`)
	eventually(t, 10*time.Second, "the slow attempt is under way", func() bool { return slowRequests.Load() == 1 })

	acked := map[string]bool{underWay.ID: true}
	pad := strings.Repeat("x", 60<<10)
	publish := func() (answer, time.Duration) {
		start := time.Now()
		a, err := n.try(context.Background(), "POST", "/v1/events", liveKey, []byte(eventBody("disk", "disk.full", `{"pad":"`+pad+`"}`)))
		if err != nil {
			t.Fatalf("publish on a full disk got no answer: %v", err)
		}
		if a.status == http.StatusAccepted {
			var p published
			a.json(t, &p)
			acked[p.ID] = true
		}
		return a, time.Since(start)
	}
	if a, _ := publish(); a.status != http.StatusAccepted {
		t.Fatalf("publish before the disk is full: %d %s", a.status, a.body)
	}

	ballast := filepath.Join(dir, "ballast")
	fill(t, ballast)
	refusals := 0
	slowest := time.Duration(0)
	for try := 0; refusals < 20 && try < 2000; try++ {
		a, took := publish()
		if a.status == http.StatusAccepted {
			fill(t, ballast) // the server may have freed space
			continue
		}
		refusals++
		slowest = max(slowest, took)
		code, _ := a.problem()
		if a.status != http.StatusServiceUnavailable || code != "storage_full" {
			t.Fatalf("publish on a full disk: %d %s", a.status, a.body)
		}
		if s, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || s < 1 {
			t.Errorf("503 with Retry-After %q", a.header.Get("Retry-After"))
		}
	}
	if refusals < 20 {
		t.Fatalf("only %d refusals: the disk never was full", refusals)
	}
	if slowest > time.Second {
		t.Errorf("the slowest refusal took %v, at most 1 s is allowed", slowest)
	}
	close(release)
	state := func() string {
		var page struct{ Data []delivery }
		n.must(200, "GET", "/v1/deliveries?tenant=disk&event="+underWay.ID, nil).json(t, &page)
		if len(page.Data) != 1 {
			return fmt.Sprintf("%d deliveries", len(page.Data))
		}
		return page.Data[0].State
	}
	<-time.After(2 * time.Second)
	whileFull := state()

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	freed := time.Now()
	eventually(t, 10*time.Second, "a publish is accepted again", func() bool {
		a, _ := publish()
		return a.status == http.StatusAccepted
	})
	back := time.Since(freed)
	eventually(t, 30*time.Second, "the attempt made while the disk was full is recorded", func() bool { return state() == "succeeded" })
	if got := slowRequests.Load(); got != 1 {
		t.Errorf("the receiver was asked %d times: the outcome of the first attempt was lost", got)
	}
	lost := 0
	compare := func(when string) {
		stored := eventIDs(n, "disk")
		for id := range acked {
			if !stored[id] {
				lost++
				t.Errorf("%s: acknowledged event %s is lost", when, id)
			}
		}
	}
	compare("after the disk was full")
	n.stop()
	n.start()
	compare("after a restart")
	t.Logf("FIGURE full disk: %d acknowledged events, %d lost; %d refusals with 503 storage_full within %v; delivery recorded while full: %v; first publish accepted %v after space was back",
		len(acked), lost, refusals, slowest.Round(time.Millisecond), whileFull == "succeeded", back.Round(time.Millisecond))
}
