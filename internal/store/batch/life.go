package batch

import (
	"errors"
	"fmt"
	"time"
)

// push puts batches on the stack of those to run next; the first one is run first.
func (w *Writer[T]) push(batches ...*batch[T]) {
	for i := len(batches) - 1; i >= 0; i-- {
		if len(batches[i].ops) > 0 {
			w.next = append(w.next, batches[i])
		}
	}
}

// apply takes a batch from gathered to applied, and on as far as it goes without an
// answer of the database.
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
		w.engine.Committed(t) // what it read is known now
		finish(b.ops, results)
		return
	}
	if err := t.Flush(); err != nil {
		w.engine.Rollback(t)
		w.fail(b, fmt.Errorf("flush: %w", err))
		return
	}
	w.sent[b] = true
	end := func(err error) { w.end(b, t, results, err) }
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

// runOps runs the operations of a batch in its transaction. Those that do not fit into
// the budget wait for their next turn. An error says that the transaction is of no use
// any more.
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
			results[i] = o.ctx.Err() // its caller went away before it began
			continue
		}
		if results[i], err = w.runOp(b, o, t); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// over reports whether the transaction takes no more operations.
func (w *Writer[T]) over(t T, began time.Time) bool {
	rows, bytes, closed := t.Written()
	return closed || rows >= MaxRows || bytes >= MaxBytes || time.Since(began) >= Hold
}

// runOp runs one operation. If that is refused, its writes are taken back and the
// refusal is its result; fatal is an error of the whole transaction.
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
		// Everybody once more, each with a place to go back to.
		return nil, errors.Join(errUnguarded, err)
	}
	return err, nil
}

// errUnguarded says that an operation failed which cannot be taken back alone.
var errUnguarded = errors.New("an operation cannot be taken back alone")

// end takes a batch from applied or sent to committed or failed.
func (w *Writer[T]) end(b *batch[T], t T, results []error, err error) {
	if err != nil && w.engine.Class(err) == Lost {
		committed, failed := w.engine.Find(t, err, w.pauseFor(b))
		switch {
		case failed != nil: // it may be stored: to run it again may store it twice
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

// fail decides how a batch goes on that was not stored: again as it is, with each
// operation guarded, in two halves, with its outcomes only, or not at all.
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

// again tries a batch once more. A database that is too slow for the same batch twice
// may be so because of that batch.
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

// giveUp answers a batch for which the database was waited for in vain. While the writer
// is being closed it answers everybody: to wait once more for each batch could take hours.
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

// halve splits a batch, so that an operation that cannot be stored ends up alone. There
// it is answered.
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

// full answers a batch that did not fit on the disk. The reserve is given up so that
// outcomes, which nobody can produce again, are recorded all the same. The engine makes
// room first, so that work of its own that is under way cannot take the reserve.
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

// admit decides what may run while the reserve is given up: everything once it could be
// made again, else outcomes only. It reports whether anything may.
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

// Stop ends all writing for good: what the disk holds is not known after a failed sync,
// and asking it again would get a lie for an answer. Any goroutine may call it: an
// engine may find out beside the writer. A commit that is under way then is answered as
// the database says.
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

// pauseFor is the Pause of a batch that waits for the database. Its callers, and all
// others, are refused once that has taken some time; operations that stay are kept.
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

// refuseCallers answers those who wait, whatever then becomes of their writes: in the
// batch, in batches on their way or to be run next, and in the queue.
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
