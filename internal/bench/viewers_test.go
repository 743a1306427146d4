package bench

import (
	"context"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/server/servertest"
)

// Traffic is published and received, and streams of pages send something, until they end. A page
// that does not exist fails, as a stream that sent nothing would.
func TestTrafficAndViewers(t *testing.T) {
	l := servertest.Start(t, "--dev", "--operator-key", benchKey)
	server := &child{url: l.Node.URL()}
	load, err := newTraffic(t.Context(), server, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer load.close()
	for _, rate := range []int{0, 500} {
		ctx, cancel := context.WithCancel(t.Context())
		before, failed := load.sent.Load(), make(chan error, 1)
		go func() { failed <- load.publish(ctx, 2, rate) }()
		l.Until("events are published", func() bool { return load.sent.Load() >= before+5 })
		cancel()
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
		if err := load.drained(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	sessions, err := viewing(t.Context(), server, 2)
	if err != nil {
		t.Fatal(err)
	}
	var open, none streams
	if err := open.begin(t.Context(), sessions, 6); err != nil {
		t.Fatal(err)
	}
	open.end()
	if open.events.Load() < 6 {
		t.Errorf("%d events arrived on 6 streams", open.events.Load())
	}
	sessions[0].pages = []string{"nowhere"}
	if err := none.begin(t.Context(), sessions[:1], 1); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("control: a page that does not exist: %v", err)
	}
}
