package batch

import (
	"errors"
	"fmt"
	"time"
)

// push puts batches on the stack of those to run next. The first one runs first.
func (w *Writer[T]) push(batches ...*batch[T]) {
	for i := len(batches) - 1; i >= 0; i-- {
		if len(batches[i].ops) > 0 {
			w.next = append(w.next, batches[i])
		}
	}
}

// apply takes a batch from gathered to applied, and further as far as it can without
// waiting for an answer of the database.
func (w *Writer[T]) apply(b *batch[T]) {
	if err := w.Stopped(); err != nil {
		refuse(b.ops, err)
		return
	}
	if w.reserve.Spent() && !w.admit(b) {
		return
	}
	began := time.Now()
	t, err := w.engine.Begin(b.ops)
	if errors.Is(err, ErrDrain) && len(w.sent) > 0 {
		w.push(b)
		(<-w.answers)()
		return
	}
	if err != nil {
		w.fail(b, fmt.Errorf("begin: %w", err))
		return
	}
	results, err := w.runOps(b, t)
	if err != nil {
		w.engine.Rollback(t)
		w.fail(b, err)
		return
	}
	if rows, _, _ := t.Written(); rows == 0 && !b.forced() {
		w.engine.Rollback(t)
		w.engine.Committed(t) // publishes what it read
		finish(b.ops, results)
		return
	}
	if err := t.Flush(); err != nil {
		w.engine.Rollback(t)
		w.fail(b, fmt.Errorf("flush: %w", err))
		return
	}
	w.sent[b] = true
	committing := time.Now()
	end := func(err error) {
		if err == nil && w.opts.Took != nil {
			w.opts.Took(time.Since(committing))
		}
		w.end(b, t, results, err)
	}
	sent, err := w.engine.Commit(t, func(answer func() error) {
		w.answers <- func() { end(answer()) }
	})
	if !sent {
		end(err)
		w.long.note(w.log, "batch", time.Since(began), 0)
	}
}

func (b *batch[T]) forced() bool {
	for _, o := range b.ops {
		if o.force {
			return true
		}
	}
	return false
}

// runOps runs the operations of a batch in its transaction. Those that do not fit into the
// budget wait for their next turn. An error means that the transaction is unusable.
func (w *Writer[T]) runOps(b *batch[T], t T) (results []error, err error) {
	results = make([]error, len(b.ops))
	began := time.Now()
	for i, o := range b.ops {
		if i > 0 && w.over(t, began) {
			w.waiting.putBack(b.ops[i:])
			b.ops, results = b.ops[:i], results[:i]
			break
		}
		if o.answered {
			continue
		}
		if o.ctx != nil && o.ctx.Err() != nil {
			results[i] = o.ctx.Err() // its caller gave up before it began
			continue
		}
		if results[i], err = w.runOp(b, o, t); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// over reports whether the transaction accepts no more operations.
func (w *Writer[T]) over(t T, began time.Time) bool {
	rows, bytes, closed := t.Written()
	return closed || rows >= MaxRows || bytes >= MaxBytes || time.Since(began) >= Hold
}

// runOp runs one operation. If it is refused, its writes are rolled back and result is the
// refusal. fatal is an error of the whole transaction.
func (w *Writer[T]) runOp(b *batch[T], o *Op[T], t T) (result, fatal error) {
	if o.Hot && !b.guarded {
		t.Unguard()
	} else if err := t.Guard(b.guarded); err != nil {
		return nil, err
	}
	before, _, _ := t.Written()
	began := time.Now()
	panicked, err := call(o, t)
	if err == nil && b.guarded {
		err = t.Check()
	}
	after, _, _ := t.Written()
	w.long.note(w.log, o.Name, time.Since(began), after-before)
	if err == nil {
		return nil, nil
	}
	if w.engine.Class(err) != OwnFault {
		return nil, err
	}
	unguarded := o.Hot && !b.guarded && (panicked || after != before)
	if undo := t.Undo(); unguarded || undo != nil {
		// Run the whole batch again, with a guard for each operation.
		return nil, errors.Join(errUnguarded, err)
	}
	return err, nil
}

// errUnguarded means that an operation failed that cannot be undone alone.
var errUnguarded = errors.New("an operation cannot be taken back alone")

// end takes a batch from applied or sent to committed or failed.
func (w *Writer[T]) end(b *batch[T], t T, results []error, err error) {
	if err != nil && w.engine.Class(err) == Lost {
		committed, failed := w.engine.Find(t, err, w.pauseFor(b))
		switch {
		case failed != nil: // it may be stored, and running it again could store it twice
			delete(w.sent, b)
			w.engine.Rollback(t)
			w.giveUp(b, failed)
			return
		case committed:
			err = nil
		default:
			err = fmt.Errorf("%w: %w", errNotCommitted, err)
		}
	}
	delete(w.sent, b)
	if err != nil {
		w.engine.Rollback(t)
		w.fail(b, fmt.Errorf("commit: %w", err))
		return
	}
	w.commits.Add(1)
	w.engine.Committed(t)
	finish(b.ops, results)
}

// finish answers the callers of a batch.
func finish[T Tx](ops []*Op[T], results []error) {
	for i, o := range ops {
		o.answer(results[i])
	}
}

func refuse[T Tx](ops []*Op[T], err error) {
	for _, o := range ops {
		o.answer(err)
	}
}

// fail decides how to continue with a batch that was not stored: retry it as it is, guard
// each operation, halve it, keep only its outcomes, or give up.
func (w *Writer[T]) fail(b *batch[T], err error) {
	class := w.engine.Class(err)
	if errors.Is(err, errUnguarded) {
		class = OwnFault
	}
	switch class {
	case Again, Lost:
		w.again(b, err)
	case OwnFault:
		if b.guarded {
			w.halve(b, err)
			return
		}
		b.guarded = true
		w.push(b)
	case Full:
		w.full(b, err)
	case Fatal:
		w.Stop(err)
		refuse(b.ops, w.Stopped())
	default:
		refuse(b.ops, fmt.Errorf("%w: %w", ErrUnavailable, err))
	}
}

// again retries a batch. If the database times out twice on the same batch, the batch
// itself may be the cause, so it is halved.
func (w *Writer[T]) again(b *batch[T], err error) {
	b.tries++
	if _, slow := errors.AsType[timedOut](err); slow {
		b.timeouts++
	}
	if !w.engine.Mend(err, w.pauseFor(b)) {
		w.giveUp(b, err)
		return
	}
	if b.timeouts >= 2 || b.tries >= maxTries {
		w.halve(b, err)
		return
	}
	w.push(b)
}

// giveUp answers a batch for which the database did not come back. While the writer is
// closing it answers all callers, because waiting again for each batch could take hours.
func (w *Writer[T]) giveUp(b *batch[T], cause error) {
	away := fmt.Errorf("%w: %w", ErrUnavailable, cause)
	refuse(b.ops, away)
	select {
	case <-w.closing:
	default:
		return
	}
	for _, other := range w.next {
		refuse(other.ops, away)
	}
	refuse(w.kept, away)
	w.next, w.kept = nil, nil
	refuse(w.drain(), away)
}

// halve splits a batch so that an operation that cannot be stored ends up alone. That
// operation is answered with the error.
func (w *Writer[T]) halve(b *batch[T], err error) {
	live := b.ops[:0:0]
	for _, o := range b.ops {
		if !o.answered {
			live = append(live, o)
		}
	}
	if len(live) > 1 {
		half := len(live) / 2
		w.push(
			&batch[T]{ops: live[:half], guarded: b.guarded, tries: maxTries / 2, timeouts: min(b.timeouts, 1)},
			&batch[T]{ops: live[half:], guarded: b.guarded, tries: maxTries / 2, timeouts: min(b.timeouts, 1)})
		return
	}
	if w.engine.Class(err) != OwnFault {
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	for _, o := range live {
		w.log.Error("an operation could not be stored", "operation", o.Name, "rows", o.Rows, "bytes", o.Bytes, "error", err)
	}
	refuse(live, err)
}

// full answers a batch that did not fit on the disk. It releases the reserve so that
// outcomes, which cannot be reproduced, are still recorded. The engine frees space first,
// so that its own work in progress cannot take the reserve.
func (w *Writer[T]) full(b *batch[T], err error) {
	if !b.roomMade && w.engine.MakeRoom() {
		b.roomMade = true
		w.push(b)
		return
	}
	released := w.reserve.Release()
	if released {
		w.log.Error("the disk is full: publishing is refused until there is space again", "error", err)
	}
	var outcomes []*Op[T]
	for _, o := range b.ops {
		if o.Outcome && released {
			outcomes = append(outcomes, o)
		} else {
			o.answer(fmt.Errorf("%w: %w", ErrFull, err))
		}
	}
	w.push(&batch[T]{ops: outcomes, guarded: b.guarded})
}

// admit decides what may run while the reserve is spent: everything if the reserve can be
// restored, else outcomes only. It reports whether anything may run.
func (w *Writer[T]) admit(b *batch[T]) bool {
	if w.reserve.Restore(time.Now()) {
		w.log.Info("there is space on the disk again")
		return true
	}
	outcomes := b.ops[:0:0]
	for _, o := range b.ops {
		if o.Outcome {
			outcomes = append(outcomes, o)
		} else {
			o.answer(ErrFull)
		}
	}
	b.ops = outcomes
	return len(outcomes) > 0
}

// Stop ends all writing for good. After a failed sync the content of the disk is unknown,
// and a second sync may falsely report success. Stop may be called from any
// goroutine, because an engine may detect the failure outside the writer. A commit in
// progress at that moment is answered with the result that the database returns.
func (w *Writer[T]) Stop(err error) {
	stopped := fmt.Errorf("%w: %w", ErrStopped, err)
	if !w.stopped.CompareAndSwap(nil, &stopped) {
		return
	}
	w.log.Error("the store stopped: the disk can no longer be trusted", "error", err)
	if w.opts.Fatal != nil {
		w.opts.Fatal(err)
	}
}

// pauseFor returns the Pause of a batch that waits for the database. After awayAfter its
// callers and all others are refused; operations that stay are kept.
func (w *Writer[T]) pauseFor(b *batch[T]) Pause {
	began := time.Now()
	return func(d time.Duration, cause error) bool {
		if time.Since(began) >= awayAfter {
			if w.SetAway(true) {
				w.log.Error("the database is away: publishing is refused until it is back", "error", cause)
			}
			w.refuseCallers(b, cause)
		}
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-w.closing:
			return false
		case <-timer.C:
			return true
		}
	}
}

// refuseCallers answers the callers that wait, whatever later becomes of their writes: in
// the batch, in batches that are sent or to be run next, and in the queue.
func (w *Writer[T]) refuseCallers(b *batch[T], cause error) {
	away := fmt.Errorf("%w: %w", ErrUnavailable, cause)
	callers := func(ops []*Op[T]) {
		for _, o := range ops {
			if !o.Stays {
				o.answer(away)
			}
		}
	}
	callers(b.ops)
	for other := range w.sent {
		callers(other.ops)
	}
	for _, other := range w.next {
		callers(other.ops)
	}
	for _, o := range w.drain() {
		if o.Stays {
			w.kept = append(w.kept, o)
		} else {
			o.answer(away)
		}
	}
}
