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
	badSettleTry   = time.Minute // of one that fails for a reason of its own
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
			due, bad, ok := d.record(ctx, batch)
			if !ok {
				return
			}
			if len(bad) > 0 { // still held: not forgotten, and not in the way
				time.AfterFunc(badSettleTry, func() {
					d.mu.Lock()
					defer d.mu.Unlock()
					d.done = append(d.done, bad...)
					poke(d.settle)
				})
			}
			d.recorded(len(batch)-len(bad), due)
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

// record tries until the batch is recorded; false means that ctx ended first. A
// settlement that cannot be recorded for a reason of its own is found by halving
// and returned, so that it harms no other.
func (d *Dispatcher) record(ctx context.Context, batch []hook.Settlement) (due []hook.Due, bad []hook.Settlement, ok bool) {
	for pause := firstSettleTry; ; pause = min(2*pause, lastSettleTry) {
		due, err := d.queue.Settle(ctx, batch)
		if err == nil {
			return due, nil, true
		}
		if ctx.Err() != nil {
			return nil, nil, false
		}
		if hook.CodeOf(err) == hook.CodeInternal {
			if len(batch) == 1 {
				d.opts.Log.Error("record attempt", "error", err, "delivery", batch[0].Job.Delivery.ID,
					"endpoint", batch[0].Job.Delivery.Endpoint, "retry_in", badSettleTry)
				return nil, batch, true
			}
			due, bad, ok := d.record(ctx, batch[:len(batch)/2])
			if !ok {
				return nil, nil, false
			}
			due2, bad2, ok := d.record(ctx, batch[len(batch)/2:])
			return append(due, due2...), append(bad[:len(bad):len(bad)], bad2...), ok
		}
		d.opts.Log.Error("record attempts", "error", err, "attempts", len(batch), "retry_in", pause)
		select {
		case <-ctx.Done():
			return nil, nil, false
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
