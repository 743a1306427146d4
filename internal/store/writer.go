package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

const (
	queueLength = 4096
	batchRows   = 512
	batchBytes  = 4 << 20
	// linger is how long the writer waits for more when the last commit carried
	// at least lingerFrom writes: under load it triples the writes a commit
	// carries, alone it would only cost time.
	linger     = 500 * time.Microsecond
	lingerFrom = 4

	checkpointPages = 4000
	// How often the length of the log is looked at.
	checkpointCommits = 64
	checkpointBytes   = 8 << 20
)

// op is one write. apply runs inside a transaction, on the writer. It may run
// more than once, so it must set, not add to, what it hands back.
type op struct {
	rows, bytes int
	settles     bool // an outcome that cannot be had again: it may use the reserve
	apply       func(*tx) error
	ctx         context.Context // of a caller that may go away; nil: of one that stays
	err         error
	done        chan struct{}
}

// errAlone says that an op failed after it wrote, so that the batch has to be run
// again with each op in a transaction of its own.
var errAlone = errors.New("run alone")

// submit hands a write over and waits for its end, or for the end of ctx, which
// leaves the write to its fate: the caller must not look at what apply sets then.
func (s *Store) submit(ctx context.Context, o *op) error {
	o.ctx = ctx
	if err := s.enqueue(ctx, o); err != nil {
		return err
	}
	select {
	case <-o.done:
		return o.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// carryOut is submit for writes whose result nobody else would ever look after:
// once handed over it waits for the end whatever happens to the caller.
func (s *Store) carryOut(ctx context.Context, o *op) error {
	if err := s.enqueue(ctx, o); err != nil {
		return err
	}
	<-o.done
	return o.err
}

func (s *Store) enqueue(ctx context.Context, o *op) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if down := s.down.Load(); down != nil {
		return down
	}
	o.done = make(chan struct{})
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.closed {
		return errShuttingDown()
	}
	select {
	case s.ops <- o:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// do submits a write of about n rows.
func (s *Store) do(ctx context.Context, n int, apply func(*tx) error) error {
	return s.submit(ctx, &op{rows: n, apply: apply})
}

// write is the writer: the only goroutine that changes the database.
func (s *Store) write() {
	w := &batcher{store: s, timer: time.NewTimer(time.Hour)}
	w.timer.Stop()
	for {
		batch := w.next()
		if batch == nil {
			return
		}
		s.run(batch)
		for _, o := range batch {
			close(o.done)
		}
		w.last = len(batch)
		clear(w.batch) // what was written must not live on here
	}
}

// batcher gathers what waits into one transaction's worth.
type batcher struct {
	store *Store
	timer *time.Timer
	batch []*op
	last  int
}

func (w *batcher) next() []*op {
	first, ok := <-w.store.ops
	if !ok {
		return nil
	}
	w.batch = append(w.batch[:0], first)
	rows, bytes := first.rows, first.bytes
	var waited <-chan time.Time
	for rows < batchRows && bytes < batchBytes {
		select {
		case o, ok := <-w.store.ops:
			if !ok {
				return w.batch
			}
			w.batch = append(w.batch, o)
			rows += o.rows
			bytes += o.bytes
			continue
		default:
		}
		if w.last < lingerFrom {
			return w.batch
		}
		if waited == nil {
			w.timer.Reset(linger)
			waited = w.timer.C
		}
		select {
		case o, ok := <-w.store.ops:
			if !ok {
				return w.batch
			}
			w.batch = append(w.batch, o)
			rows += o.rows
			bytes += o.bytes
		case <-waited:
			return w.batch
		}
	}
	w.timer.Stop()
	return w.batch
}

// run carries out a batch: in one transaction if all goes well, else each op in
// its own, so that a bad one harms no neighbour.
func (s *Store) run(batch []*op) {
	if down := s.down.Load(); down != nil {
		answer(batch, down)
		return
	}
	if s.reserve.spent() {
		batch = s.runSpent(batch)
	}
	if len(batch) == 0 {
		return
	}
	err := s.transact(batch)
	if troubleOf(err) == diskFull && s.reserve.spent() && s.makeRoom() {
		err = s.transact(batch)
	}
	if errors.Is(err, errAlone) && len(batch) > 1 {
		for _, o := range batch {
			s.run([]*op{o})
		}
		return
	}
	switch troubleOf(err) {
	case noTrouble:
	case diskFull:
		s.runFull(batch, err)
	case fatal:
		s.fail(err)
		answer(batch, s.down.Load())
	case unavailable:
		answer(batch, errStorageDown(err))
	default:
		if !errors.Is(err, errAlone) { // an op on its own keeps its own error
			answer(batch, errInternal(err))
		}
	}
}

// runFull answers a batch that did not fit on the disk. The reserve is given up
// so that outcomes, which nobody can produce again, are recorded all the same.
func (s *Store) runFull(batch []*op, err error) {
	released := s.reserve.release()
	if released {
		s.log.Error("the disk is full: publishing is refused until there is space again", "error", err)
	}
	var outcomes []*op
	for _, o := range batch {
		o.err = errStorageFull(err)
		if o.settles && released {
			outcomes = append(outcomes, o)
		}
	}
	if len(outcomes) > 0 {
		s.run(outcomes)
	}
}

// makeRoom empties the log into the database as far as that fits, so that the log
// can be written from its start again, and reports whether all of it fitted.
func (s *Store) makeRoom() bool {
	var busy, pages, moved int64
	err := s.conn.sql.QueryRowContext(background, "PRAGMA wal_checkpoint(PASSIVE)").Scan(&busy, &pages, &moved)
	if troubleOf(err) == fatal {
		s.fail(fmt.Errorf("checkpoint: %w", err))
	}
	return err == nil && pages == moved
}

// runSpent decides what may run while the reserve is given up: everything once it
// could be made again, else outcomes only. It returns what may.
func (s *Store) runSpent(batch []*op) []*op {
	if s.reserve.restore(time.Now()) {
		s.log.Info("there is space on the disk again")
		return batch
	}
	var outcomes []*op
	for _, o := range batch {
		if o.settles {
			outcomes = append(outcomes, o)
		} else {
			o.err = errStorageFull(nil)
		}
	}
	return outcomes
}

func answer(batch []*op, err error) {
	for _, o := range batch {
		o.err = err
	}
}

// fail stops the store for good. What the disk holds is not known after a
// failed sync, and asking it again would get a lie for an answer.
func (s *Store) fail(err error) {
	if !s.down.CompareAndSwap(nil, errStorageDown(err)) {
		return
	}
	s.log.Error("the store stopped: the disk can no longer be trusted", "error", err)
	if s.opts.Fatal != nil {
		s.opts.Fatal(err)
	}
}

// transact runs the ops in one transaction and tells what it meant. An error says
// that nothing was stored (or, when it is fatal, that nobody knows).
func (s *Store) transact(batch []*op) error {
	if _, err := s.conn.exec("BEGIN IMMEDIATE"); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	t := newTx(s)
	for _, o := range batch {
		if o.ctx != nil && o.ctx.Err() != nil {
			o.err = o.ctx.Err() // its caller went away before it began
			continue
		}
		before := t.writes
		o.err = guarded(o, t)
		if o.err == nil {
			continue
		}
		kind := troubleOf(o.err)
		if kind == ownFault && t.writes == before {
			o.err = plain(o.err)
			continue
		}
		s.rollback()
		if kind != ownFault {
			return o.err
		}
		o.err = plain(o.err)
		return errAlone
	}
	if err := t.flush(); err != nil {
		s.rollback()
		return err
	}
	if t.writes == 0 {
		s.rollback()
		t.committed()
		return nil
	}
	if _, err := s.conn.exec("COMMIT"); err != nil {
		s.rollback()
		return fmt.Errorf("commit: %w", err)
	}
	s.stats.commits.Add(1)
	t.committed()
	s.unchecked.commits++
	s.unchecked.bytes += t.bytes
	if s.unchecked.commits >= checkpointCommits || s.unchecked.bytes >= checkpointBytes {
		s.unchecked.commits, s.unchecked.bytes = 0, 0
		s.checkpoint()
	}
	return nil
}

// rollback ends the transaction if SQLite has not done so by itself; what it says
// about that is of no use to anybody.
func (s *Store) rollback() { _, _ = s.conn.exec("ROLLBACK") }

// checkpoint moves the log into the database once it is long. SQLite's own
// checkpoints would hide a failed sync, so they are off.
func (s *Store) checkpoint() {
	var busy, pages, moved int64
	err := s.conn.sql.QueryRowContext(background, "PRAGMA wal_checkpoint(NOOP)").Scan(&busy, &pages, &moved)
	if err != nil {
		s.log.Error("the length of the database's log is not known", "error", err)
	}
	if err != nil || pages-moved >= checkpointPages {
		s.makeRoom()
	}
}

// guarded runs an op and turns a panic of a callback in it into its error: one
// bad request must not take the writer down with it.
func guarded(o *op, t *tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			t.writes++ // unknown how far it got
			err = fmt.Errorf("write panicked: %v", p)
		}
	}()
	return o.apply(t)
}

// plain makes sure that a caller gets an error with a code.
func plain(err error) error {
	if _, ok := errors.AsType[*hook.Error](err); ok {
		return err
	}
	return errInternal(err)
}
