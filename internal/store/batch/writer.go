package batch

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	queueLength = 4096
	// MaxQueued bounds the bytes of callers' operations that are not answered. Callers
	// that went away leave theirs behind, so that bounding their requests does not bound
	// these. Operations that stay are not counted: whoever hands them over bounds them.
	MaxQueued = 64 << 20
	// linger is how long the writer waits for more when the last batch had at least
	// lingerFrom operations: under load it triples what a commit carries, alone it would
	// only cost time.
	linger     = 500 * time.Microsecond
	lingerFrom = 4
	// awayAfter is how long callers wait for a database that is away before they are
	// refused.
	awayAfter = time.Second
	// keptAtOnce is how many kept operations are tried in one batch.
	keptAtOnce = 16
	// mostWaiting bounds the operations that take turns; more wait in the queue.
	mostWaiting = 16 * queueLength
)

// Options of a Writer. Engine and Log are required.
type Options[T Tx] struct {
	Engine Engine[T]
	Log    *slog.Logger
	// Reserve is the disk space kept for outcomes; nil: none.
	Reserve *Reserve
	// Fatal is called once, by whoever calls Stop, when the disk can no longer be trusted.
	// It must not block.
	Fatal func(error)
	// CallerWaits bounds how long Do waits for an operation whose caller may go; 0: as
	// long as its context. The operation goes on.
	CallerWaits time.Duration
}

// Writer carries out operations in batches. Do, Probe, Wake and the numbers may be used
// from any goroutine.
type Writer[T Tx] struct {
	opts    Options[T]
	engine  Engine[T]
	log     *slog.Logger
	reserve *Reserve

	gate    sync.RWMutex // held shared while sending to queue, so that Close can wait for senders
	closed  bool
	closing chan struct{}
	ended   chan struct{}
	queue   chan *Op[T]
	wake    chan struct{}
	answers chan func() // of commits that were on their way

	queued  atomic.Int64 // bytes, see MaxQueued
	lined   atomic.Int64 // operations that take turns
	stopped atomic.Pointer[error]
	away    atomic.Bool
	commits atomic.Int64
	long    longOps

	// The writer goroutine's own.
	waiting  turns[T]    // taken from the queue
	next     []*batch[T] // to run before anything else, the last one first
	kept     []*Op[T]    // operations that stay, from while the database was away
	sent     map[*batch[T]]bool
	lastSize int
	timer    *time.Timer
}

// New starts a writer.
func New[T Tx](o Options[T]) *Writer[T] {
	w := &Writer[T]{
		opts: o, engine: o.Engine, log: o.Log, reserve: o.Reserve,
		closing: make(chan struct{}), ended: make(chan struct{}),
		queue: make(chan *Op[T], queueLength), wake: make(chan struct{}, 1), answers: make(chan func(), 8),
		sent: map[*batch[T]]bool{}, timer: time.NewTimer(time.Hour),
	}
	w.timer.Stop()
	go w.run()
	return w
}

// Close carries out what was accepted and ends the writer. While the database is away
// it gives up instead.
func (w *Writer[T]) Close() {
	w.gate.Lock()
	first := !w.closed
	w.closed = true
	w.gate.Unlock()
	if first {
		close(w.closing)
		close(w.queue)
	}
	<-w.ended
}

// Closed reports whether the writer takes no more operations.
func (w *Writer[T]) Closed() bool {
	w.gate.RLock()
	defer w.gate.RUnlock()
	return w.closed
}

// Stopped returns why the writer stopped for good, or nil.
func (w *Writer[T]) Stopped() error {
	if err := w.stopped.Load(); err != nil {
		return *err
	}
	return nil
}

// Ready returns why an operation would be refused now, or nil.
func (w *Writer[T]) Ready() error {
	switch {
	case w.Stopped() != nil:
		return w.Stopped()
	case w.Closed():
		return ErrClosed
	case w.reserve.Spent():
		return ErrFull
	case w.away.Load():
		return ErrUnavailable
	}
	return nil
}

// Away reports whether callers are refused because the database is away.
func (w *Writer[T]) Away() bool { return w.away.Load() }

// SetAway refuses callers from now on, or no longer, and reports whether that changed
// anything. A commit that is acknowledged ends it.
func (w *Writer[T]) SetAway(away bool) (changed bool) { return w.away.Swap(away) != away }

// Commits returns how many transactions were committed.
func (w *Writer[T]) Commits() int64 { return w.commits.Load() }

// Queued returns about how many operations wait now.
func (w *Writer[T]) Queued() int { return len(w.queue) + int(w.lined.Load()) }

// Do hands an operation over and waits for its end. Unless the operation stays, the end
// of ctx and Options.CallerWaits end the waiting too and leave the operation to its
// fate; the caller must then not look at what Apply sets.
func (w *Writer[T]) Do(ctx context.Context, o *Op[T]) error {
	if err := w.enqueue(ctx, o); err != nil {
		return err
	}
	if o.Stays {
		<-o.done
		return o.err
	}
	var late <-chan time.Time
	if w.opts.CallerWaits > 0 {
		timer := time.NewTimer(w.opts.CallerWaits)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-o.done:
		return o.err
	case <-ctx.Done():
		return ctx.Err()
	case <-late: // repeated with its key or id, it finds what became of it
		return fmt.Errorf("%w: it did not answer in time", ErrUnavailable)
	}
}

func (w *Writer[T]) enqueue(ctx context.Context, o *Op[T]) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := w.Stopped(); err != nil {
		return err
	}
	if w.away.Load() && !o.Stays {
		return ErrUnavailable
	}
	o.done = make(chan struct{})
	if !o.Stays {
		o.ctx = ctx
	}
	w.gate.RLock()
	defer w.gate.RUnlock()
	if w.closed {
		return ErrClosed
	}
	if !o.Stays {
		if n := w.queued.Add(int64(o.Bytes)); n > MaxQueued && n > int64(o.Bytes) {
			w.queued.Add(-int64(o.Bytes))
			return ErrBusy
		}
		o.queued = &w.queued
	}
	select {
	case w.queue <- o:
		return nil
	case <-ctx.Done():
		o.answer(ctx.Err())
		return ctx.Err()
	}
}

// Wake makes the writer open a transaction soon, even if nobody writes.
func (w *Writer[T]) Wake() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Probe makes the writer commit something, unless others wait to be written: only a
// commit proves that the database is back.
func (w *Writer[T]) Probe() {
	w.gate.RLock()
	defer w.gate.RUnlock()
	if w.closed {
		return
	}
	select {
	case w.queue <- nothing[T](true):
	default:
	}
}

// nothing is an operation that writes nothing.
func nothing[T Tx](force bool) *Op[T] {
	return &Op[T]{Name: "nothing", Hot: true, Stays: true, force: force, Apply: func(T) error { return nil }, done: make(chan struct{})}
}

// run is the writer's goroutine.
func (w *Writer[T]) run() {
	defer close(w.ended)
	for {
		for len(w.sent) >= w.engine.Connections() {
			(<-w.answers)() // a batch that has to wait may as well grow
		}
		b := w.take()
		if b == nil {
			if len(w.sent) == 0 {
				return
			}
			(<-w.answers)()
			continue
		}
		w.lastSize = len(b.ops)
		w.apply(b)
	}
}

// take returns the batch to run next: one that was pushed back, what was kept while the
// database was away, or what waits. nil: the writer is closed and nothing waits.
func (w *Writer[T]) take() *batch[T] {
	for {
		if n := len(w.next); n > 0 {
			b := w.next[n-1]
			w.next = w.next[:n-1]
			return b
		}
		if len(w.kept) > 0 {
			n := min(len(w.kept), keptAtOnce)
			b := &batch[T]{ops: w.kept[:n:n]}
			w.kept = w.kept[n:]
			return b
		}
		if w.waiting.size > 0 {
			return w.gather()
		}
		select {
		case <-w.wake:
			return &batch[T]{ops: []*Op[T]{nothing[T](false)}}
		case answer := <-w.answers:
			answer()
		case o, ok := <-w.queue:
			if !ok {
				return nil
			}
			w.waiting.add(o)
		}
	}
}

// line takes what is in the queue, so that all of it takes turns.
func (w *Writer[T]) line() {
	defer func() { w.lined.Store(int64(w.waiting.size)) }()
	for w.waiting.size < mostWaiting {
		select {
		case o, ok := <-w.queue:
			if !ok {
				return
			}
			w.waiting.add(o)
		default:
			return
		}
	}
}

// drain takes all that waits.
func (w *Writer[T]) drain() []*Op[T] {
	w.line()
	defer w.lined.Store(0)
	return w.waiting.drain()
}

// gather takes what waits, key by key, up to the budget, and lingers a little under load.
func (w *Writer[T]) gather() *batch[T] {
	b := &batch[T]{ops: make([]*Op[T], 0, max(4, w.lastSize))}
	rows, bytes := 0, 0
	var waited <-chan time.Time
	defer func() {
		w.timer.Stop()
		w.lined.Store(int64(w.waiting.size))
	}()
	for rows < MaxRows && bytes < MaxBytes {
		if w.waiting.size == 0 || len(b.ops) == 0 {
			w.line()
		}
		o := w.waiting.next()
		if o == nil {
			if w.lastSize < lingerFrom {
				return b
			}
			if waited == nil {
				w.timer.Reset(linger)
				waited = w.timer.C
			}
			ok := false
			select {
			case o, ok = <-w.queue:
			case <-waited:
				return b
			}
			if !ok {
				return b
			}
		}
		b.ops = append(b.ops, o)
		rows += o.Rows
		bytes += o.Bytes
	}
	return b
}
