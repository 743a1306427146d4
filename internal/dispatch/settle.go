package dispatch

import (
	"context"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

const (
	settleBatch    = 512
	returnBatch    = 64   // jobs given back with one batch
	refusedKept    = 1024 // attempts that the store refused and that are tried again
	firstSettleTry = 50 * time.Millisecond
	lastSettleTry  = 5 * time.Second
	badSettleTry   = time.Minute // of one that fails for a reason of its own
)

// keep queues an attempt that was made to be recorded. When the answers that wait take
// too much memory, its own is not kept: an answer is there to be looked at, and stopping
// everybody's attempts for it would be worse. The caller holds mu.
func (d *Dispatcher) keep(s hook.Settlement) {
	s.Job.Event = nil // the body is not needed any more
	if size := answerSize(&s); size > 0 && d.answers+size > d.opts.AnswerBytes {
		s.Outcome.ResponseHeaders, s.Outcome.ResponseBody, s.Outcome.Truncated = nil, nil, true
	}
	d.answers += answerSize(&s)
	d.done = append(d.done, s)
	d.held++
	wake(d.settle)
}

func answerSize(s *hook.Settlement) int {
	return len(s.Outcome.ResponseHeaders) + len(s.Outcome.ResponseBody)
}

// giveBack queues a job that was not attempted to go back to the table. It does not
// count as an attempt, so it keeps nobody's attempt from starting. The caller holds mu.
func (d *Dispatcher) giveBack(j hook.Job) {
	j.Event = nil
	if len(d.returns) == 0 {
		d.returns = append(d.returns, jobList{})
	}
	d.returns[len(d.returns)-1].push(entry{Job: j})
	d.returned++
	wake(d.settle)
}

// giveBackList is giveBack for a whole list at once.
func (d *Dispatcher) giveBackList(list jobList) {
	if list.len() == 0 {
		return
	}
	d.returns = append(d.returns, list)
	d.returned += list.len()
	wake(d.settle)
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
			d.recorded(batch, bad, due)
		}
	}
}

// gathered takes the attempts of the next batch, and some of the jobs that go back:
// these are in no hurry and must not make the batch long.
func (d *Dispatcher) gathered() []hook.Settlement {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := min(len(d.done), settleBatch)
	batch := append([]hook.Settlement(nil), d.done[:n]...)
	rest := copy(d.done, d.done[n:])
	clear(d.done[rest:])
	d.done = d.done[:rest]
	for range returnBatch {
		if len(d.returns) == 0 {
			break
		}
		e := d.returns[0].pop()
		if d.returns[0].len() == 0 {
			d.returns = d.returns[1:]
		}
		d.bytes -= payload(e.Job)
		e.Event = nil
		batch = append(batch, hook.Settlement{Job: e.Job, Outcome: hook.Outcome{Skipped: true}})
	}
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

// recorded notes that a batch is on the disk, but for the bad ones.
func (d *Dispatcher) recorded(batch, bad []hook.Settlement, due []hook.Due) {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range batch {
		if s := &batch[i]; s.Outcome.Skipped {
			d.returned--
		} else {
			d.held--
			d.answers -= answerSize(s)
		}
	}
	for i := range bad {
		d.refuse(&bad[i])
	}
	d.learnDue(due, now)
	d.start(now)
	d.checkDrained()
}

// refuse keeps what the store refused for a reason of its own until the next try. It
// counts as unsettled no longer, so that one damaged row stops nobody. When the
// dispatcher stops, or too many were refused, it is given up: the row stays owned by
// this process, so that the next start repeats the attempt.
func (d *Dispatcher) refuse(s *hook.Settlement) {
	if d.stopping || len(d.refused) >= refusedKept {
		if !s.Outcome.Skipped {
			d.lost++
		}
		return
	}
	if len(d.refused) == 0 {
		time.AfterFunc(badSettleTry, func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.retryRefused()
		})
	}
	d.refused = append(d.refused, *s)
	d.answers += answerSize(s)
}

// retryRefused queues what was refused to be recorded once more. The caller holds mu.
func (d *Dispatcher) retryRefused() {
	for i := range d.refused {
		s := &d.refused[i]
		d.answers -= answerSize(s)
		if s.Outcome.Skipped {
			d.giveBack(s.Job)
		} else {
			d.keep(*s)
		}
	}
	d.refused = nil
}
