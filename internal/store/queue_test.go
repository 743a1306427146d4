package store

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/batch"
)

// Callers that give up while the disk is slow leave their events in the queue until the
// writer takes them. The bytes of these are bounded too.
func TestQueueIsBoundedInBytes(t *testing.T) {
	p := openPeer(t, Options{Dir: t.TempDir(), Reserve: -1})
	p.endpoint()
	began, goOn := make(chan struct{}), make(chan struct{})
	done := make(chan error)
	go func() {
		done <- p.do(t.Context(), "test", batch.MaxRows, func(*tx) error { // alone in its batch
			close(began)
			<-goOn
			return nil
		})
	}()
	<-began
	const size = 4 << 20
	publish := func(ctx context.Context) error {
		_, _, err := p.Publish(ctx, []hook.NewEvent{{Scope: acme, Type: "a", Data: make([]byte, size)}},
			func(*hook.Endpoint) hook.ProfileHash { return hook.ProfileHash{} }, nil)
		return err
	}
	taken := 0
	for ; taken < 100; taken++ {
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan error)
		before := p.writer.Queued()
		go func() { left <- publish(ctx) }()
		var err error
		for waiting := true; waiting; {
			select {
			case err = <-left:
				waiting = false
			default:
				if p.writer.Queued() > before {
					leave()
					err, waiting = <-left, false
				}
			}
		}
		leave()
		if !errors.Is(err, context.Canceled) {
			if hook.CodeOf(err) != hook.CodeServerBusy {
				t.Fatal(err)
			}
			break
		}
	}
	if taken != batch.MaxQueued/size {
		t.Errorf("%d events of %d MiB wait for the writer, want %d", taken, size>>20, batch.MaxQueued/size)
	}
	close(goOn)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	within(t, 30*time.Second, "all that waited is written", func() bool { _, err := p.send(hook.ID{}); return err == nil })
	if err := publish(t.Context()); err != nil {
		t.Errorf("after the queue is empty: %v", err)
	}
}
