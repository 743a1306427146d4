package dispatch

import (
	"context"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

const (
	settleBatch    = 512
	firstSettleTry = 50 * time.Millisecond
	lastSettleTry  = 5 * time.Second
)

// give queues an outcome to be recorded. The caller holds mu.
func (d *Dispatcher) give(s hook.Settlement) {
	s.Job.Event = nil // the body is not needed any more
	d.done = append(d.done, s)
	d.held++
	poke(d.settle)
}

// settler records outcomes, a batch at a time: while one batch is on its way to
// the disk the next one gathers. A batch that cannot be recorded is kept and
// tried again, so a full disk loses no outcome; after a crash the attempt is
// repeated, which at-least-once allows.
func (d *Dispatcher) settler(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.settle:
		}
		for {
			batch := d.gathered()
			if len(batch) == 0 {
				break
			}
			due, ok := d.record(ctx, batch)
			if !ok {
				return
			}
			d.recorded(len(batch), due)
		}
	}
}

func (d *Dispatcher) gathered() []hook.Settlement {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := min(len(d.done), settleBatch)
	batch := append([]hook.Settlement(nil), d.done[:n]...)
	rest := copy(d.done, d.done[n:])
	clear(d.done[rest:])
	d.done = d.done[:rest]
	return batch
}

// record tries until the batch is recorded; false means that ctx ended first.
func (d *Dispatcher) record(ctx context.Context, batch []hook.Settlement) ([]hook.Due, bool) {
	for pause := firstSettleTry; ; pause = min(2*pause, lastSettleTry) {
		due, err := d.queue.Settle(ctx, batch)
		if err == nil {
			return due, true
		}
		if ctx.Err() != nil {
			return nil, false
		}
		d.opts.Log.Error("record attempts", "error", err, "attempts", len(batch), "retry_in", pause)
		select {
		case <-ctx.Done():
			return nil, false
		case <-time.After(pause):
		}
	}
}

func (d *Dispatcher) recorded(n int, due []hook.Due) {
	now := d.opts.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held -= n
	d.learnDue(due, now)
	d.start(now)
	d.checkDrained()
}
