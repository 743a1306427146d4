package dispatch

import (
	"context"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

const (
	settleBatch    = 512
	returnBatch    = 64   // jobs given back in one batch
	maxRefused     = 1024 // refused settlements that are kept
	firstSettleTry = 50 * time.Millisecond
	lastSettleTry  = 5 * time.Second
	refusedRetry   = time.Minute // until refused settlements are retried
)

// queueOutcome queues the outcome of an attempt for recording. If the queued responses
// take too much memory, it drops the headers and body of this one: they only inform a
// reader, and stopping all attempts for lack of memory would be worse. The caller holds
// mu.
func (d *Dispatcher) queueOutcome(s hook.Settlement) {
	s.Job.Event = nil // the body is no longer needed
	if size := answerSize(&s); size > 0 && d.answers+size > d.opts.AnswerBytes {
		s.Outcome.ResponseHeaders, s.Outcome.ResponseBody, s.Outcome.Truncated = nil, nil, true
	}
	d.answers += answerSize(&s)
	d.done = append(d.done, s)
	d.unsettled++
	wake(d.settle)
}

func answerSize(s *hook.Settlement) int {
	return len(s.Outcome.ResponseHeaders) + len(s.Outcome.ResponseBody)
}

// giveBack queues a job that was not attempted for return to the table. The job does not
// count against Options.Unsettled, so it does not prevent attempts from starting. The
// caller holds mu.
func (d *Dispatcher) giveBack(j hook.Job) {
	j.Event = nil
	if len(d.returns) == 0 {
		d.returns = append(d.returns, jobList{})
	}
	d.returns[len(d.returns)-1].push(entry{Job: j})
	d.returned++
	wake(d.settle)
}

// giveBackList is giveBack for a whole list.
func (d *Dispatcher) giveBackList(list jobList) {
	if list.len() == 0 {
		return
	}
	d.returns = append(d.returns, list)
	d.returned += list.len()
	wake(d.settle)
}

// settler records outcomes, one batch at a time. While one batch is being recorded, the
// next one accumulates. A batch that cannot be recorded is kept and retried, so a full
// disk loses no outcome. After a crash the attempts are repeated, which at-least-once
// delivery permits.
func (d *Dispatcher) settler(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.settle:
		}
		for {
			batch := d.nextBatch()
			if len(batch) == 0 {
				break
			}
			due, bad, ok := d.record(ctx, batch)
			if !ok {
				return
			}
			d.finishBatch(batch, bad, due)
		}
	}
}

// nextBatch returns the outcomes of the next batch and a few jobs to give back. It takes
// at most returnBatch of the latter, because they are not urgent and make the batch slow.
func (d *Dispatcher) nextBatch() []hook.Settlement {
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

// record retries until the batch is recorded. It returns false if ctx ended first. If a
// settlement itself causes the failure, record finds it by halving the batch and returns
// it as bad, so that it delays no others.
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
					"endpoint", batch[0].Job.Delivery.Endpoint, "retry_in", refusedRetry)
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

// finishBatch updates the counts after a batch was recorded, except for its bad
// settlements, which it keeps.
func (d *Dispatcher) finishBatch(batch, bad []hook.Settlement, due []hook.Due) {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range batch {
		if s := &batch[i]; s.Outcome.Skipped {
			d.returned--
		} else {
			d.unsettled--
			d.answers -= answerSize(s)
		}
	}
	for i := range bad {
		d.keepRefused(&bad[i])
	}
	d.noteDue(due, now)
	d.start(now)
	d.checkDrained()
}

// keepRefused keeps a settlement that the store refused until it is retried. A refused
// settlement does not count as unsettled, so that a damaged row does not stop other
// attempts. If the dispatcher is stopping or too many are kept, the settlement is
// abandoned: this process still owns the row, and the next start repeats the attempt.
func (d *Dispatcher) keepRefused(s *hook.Settlement) {
	if d.stopping || len(d.refused) >= maxRefused {
		if !s.Outcome.Skipped {
			d.abandoned++
		}
		return
	}
	if len(d.refused) == 0 {
		time.AfterFunc(refusedRetry, func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.retryRefused()
		})
	}
	d.refused = append(d.refused, *s)
	d.answers += answerSize(s)
}

// retryRefused queues the refused settlements again. The caller holds mu.
func (d *Dispatcher) retryRefused() {
	for i := range d.refused {
		s := &d.refused[i]
		d.answers -= answerSize(s)
		if s.Outcome.Skipped {
			d.giveBack(s.Job)
		} else {
			d.queueOutcome(*s)
		}
	}
	d.refused = nil
}
