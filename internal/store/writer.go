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
	// once and events are what it looks up, so that it can be read for a whole batch.
	once   *hook.Once
	events []hook.NewEvent
	ended  bool // its caller has the answer
}

// end gives the caller the answer. Only the writer calls it.
func (o *op) end() {
	if !o.ended {
		o.ended = true
		close(o.done)
	}
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
	var tooLong <-chan time.Time
	if s.cluster != nil {
		timer := time.NewTimer(callerWaits)
		defer timer.Stop()
		tooLong = timer.C
	}
	select {
	case <-o.done:
		return o.err
	case <-ctx.Done():
		return ctx.Err()
	case <-tooLong: // the write goes on; repeated with its key or id it finds what became of it
		return errStorageDown(errors.New("the database did not answer in time"))
	}
}

// callerWaits bounds how long a caller waits for a write on PostgreSQL.
const callerWaits = 3500 * time.Millisecond

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
	if s.cluster != nil && s.cluster.outage.Load() && o.ctx != nil {
		return errStorageDown(nil)
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
		if s.cluster != nil {
			s.freeLane() // a batch that has to wait may as well grow
		}
		batch := w.next()
		if batch == nil {
			s.landAll()
			return
		}
		if !s.launch(batch) {
			s.run(batch)
			for _, o := range batch {
				o.end()
			}
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
	if batch := w.kept(); batch != nil {
		return batch
	}
	first, ok := w.first()
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

// first waits for the first write of a batch, and lands meanwhile what is on its way.
func (w *batcher) first() (*op, bool) {
	var wake chan struct{}
	if c := w.store.cluster; c != nil {
		wake = c.wake
	}
	for {
		select {
		case <-wake:
			return &op{apply: func(*tx) error { return nil }, done: make(chan struct{})}, true
		case o, ok := <-w.store.ops:
			return o, ok
		case f := <-w.store.flights:
			w.store.land(f)
		}
	}
}

// kept returns outcomes that came while the database was away.
func (w *batcher) kept() []*op {
	c := w.store.cluster
	if c == nil || len(c.stash) == 0 {
		return nil
	}
	n := min(len(c.stash), 16)
	w.batch = append(w.batch[:0], c.stash[:n]...)
	c.stash = append(c.stash[:0], c.stash[n:]...)
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
	s.conclude(batch, s.transact(batch))
}

// conclude answers a batch that could not be written, or finds another way.
func (s *Store) conclude(batch []*op, err error) {
	if s.cluster != nil {
		err = s.insist(batch, err)
	}
	if s.engine.trouble(err) == diskFull && s.reserve.spent() && s.lite.makeRoom() {
		err = s.transact(batch)
	}
	if kind := s.engine.trouble(err); len(batch) > 1 && (errors.Is(err, errAlone) || kind == again || kind == ownFault && s.cluster != nil) {
		for _, o := range batch {
			s.run([]*op{o})
		}
		return
	}
	switch s.engine.trouble(err) {
	case noTrouble:
	case diskFull:
		s.runFull(batch, err)
	case fatal:
		s.fail(err)
		answer(batch, s.down.Load())
	case unavailable, again, broken:
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
		if !o.ended {
			o.err = errStorageFull(err)
		}
		if o.settles && released && !o.ended {
			outcomes = append(outcomes, o)
		}
	}
	if len(outcomes) > 0 {
		s.run(outcomes)
	}
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
		if !o.ended {
			o.err = err
		}
	}
}

// insistences is how often a batch that other nodes were in the way of is run again.
const insistences = 10

// insist runs a batch again that failed for a reason that can be mended.
func (s *Store) insist(batch []*op, err error) error {
	for range insistences {
		if kind := s.engine.trouble(err); kind != again && kind != broken {
			return err
		}
		if !s.cluster.mend(err, batch) {
			return err
		}
		err = s.transact(batch)
	}
	return err
}

// errNotCommitted says that a write whose answer was lost was not committed.
var errNotCommitted = errors.New("the write was not committed")

// findOut turns the loss of the answer to a commit into certainty.
func (s *Store) findOut(t *tx, batch []*op, err error) error {
	lane, ok := t.e.(*pg)
	if !ok {
		return err
	}
	done, failed := s.cluster.committed(lane, batch, err)
	switch {
	case failed != nil:
		return failed
	case !done:
		return errNotCommitted
	}
	return nil
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
	t, rest, err := s.prepare(batch)
	if err != nil {
		return err
	}
	if t.writes == 0 {
		t.e.rollback()
		t.committed()
		s.run(rest)
		return nil
	}
	if err := s.ended(t, batch, t.e.commit(t)); err != nil {
		return err
	}
	s.run(rest)
	return nil
}

// ended does what follows from the answer to a commit.
func (s *Store) ended(t *tx, batch []*op, err error) error {
	if err != nil && s.engine.trouble(err) == broken {
		err = s.findOut(t, batch, err)
	}
	if err != nil {
		t.e.rollback()
		if lane, ok := t.e.(*pg); ok && pgState(err) == stateNotDurable {
			s.cluster.notDurable(lane, err)
		}
		return fmt.Errorf("commit: %w", err)
	}
	s.stats.commits.Add(1)
	t.committed()
	if s.lite != nil {
		s.lite.wrote(t.bytes)
	}
	return nil
}

// prepare runs the ops in a transaction that is still to be committed. What is in rest
// has to wait for that.
func (s *Store) prepare(batch []*op) (t *tx, rest []*op, err error) {
	e := s.engine
	if s.cluster != nil {
		if err := s.cluster.before(); err != nil {
			return nil, nil, err
		}
		e = s.freeLane()
	}
	if err := e.begin(); err != nil {
		return nil, nil, fmt.Errorf("begin: %w", err)
	}
	t = newTx(s, e)
	if lane, ok := e.(*pg); ok {
		if err := e.lost(t.prefetch(lane, batch)); err != nil {
			return nil, nil, err
		}
	}
	for i, o := range batch {
		if len(t.holds) > 0 && s.cluster != nil {
			// The bound of a hold is known with its commit; only then are ids given
			// to what is published after it.
			rest = batch[i:]
			break
		}
		if o.ended {
			continue
		}
		if o.ctx != nil && o.ctx.Err() != nil {
			o.err = o.ctx.Err() // its caller went away before it began
			continue
		}
		before := t.writes
		o.err = e.lost(guarded(o, t))
		if o.err == nil {
			continue
		}
		kind := e.trouble(o.err)
		if kind == ownFault && t.writes == before {
			o.err = plain(o.err)
			continue
		}
		e.rollback()
		if kind != ownFault {
			return nil, nil, o.err
		}
		o.err = plain(o.err)
		return nil, nil, errAlone
	}
	if err := t.flush(); err != nil {
		e.rollback()
		return nil, nil, err
	}
	return t, rest, nil
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
