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
	// MaxQueued bounds the bytes of callers' operations that are not yet answered. A caller
	// that gives up leaves its operation behind, so a bound on requests is no bound on
	// operations. Operations that stay are not counted; whoever submits them bounds them.
	MaxQueued = 64 << 20
	// linger is how long the writer waits for more operations if the last batch had at least
	// lingerFrom. Under load this triples the size of a commit; otherwise it would only add
	// latency.
	linger     = 500 * time.Microsecond
	lingerFrom = 12
	// awayAfter is how long callers wait for a database that does not answer before they are
	// refused.
	awayAfter = time.Second
	// keptAtOnce is how many kept operations are tried in one batch.
	keptAtOnce = 16
	// mostWaiting bounds the operations that wait in turns; more wait in the queue.
	mostWaiting = 16 * queueLength
)

// Options configure a Writer. Engine and Log are required.
type Options[T Tx] struct {
	Engine Engine[T]
	Log    *slog.Logger
	// Reserve is the disk space reserved for outcomes; nil means none.
	Reserve *Reserve
	// Fatal is called once, by the caller of Stop, when the disk can no longer be trusted. It
	// must not block.
	Fatal func(error)
	// CallerWaits bounds how long Do waits for an operation that does not stay. 0 means as
	// long as the caller's context. The operation itself continues.
	CallerWaits time.Duration
	// Took is called after each successful commit with how long it took, from the time it
	// was sent. It must not block. It may be nil.
	Took func(time.Duration)
}

// A Writer runs operations in batches. Its methods are safe for concurrent use.
type Writer[T Tx] struct {
	opts    Options[T]
	engine  Engine[T]
	log     *slog.Logger
	reserve *Reserve

	gate    sync.RWMutex // held shared while sending to queue, so that Close waits for senders
	closed  bool
	closing chan struct{}
	ended   chan struct{}
	queue   chan *Op[T]
	wake    chan struct{}
	answers chan func() // of commits that were in progress

	queued  atomic.Int64 // bytes, see MaxQueued
	lined   atomic.Int64 // operations that wait in turns
	stopped atomic.Pointer[error]
	away    atomic.Bool
	commits atomic.Int64
	long    longOps

	// Used by the writer's goroutine only.
	waiting  turns[T]    // taken from the queue
	next     []*batch[T] // to run before anything else, last one first
	kept     []*Op[T]    // operations that stay, kept while the database was away
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

// Close runs what was accepted and ends the writer. If the database is away, it gives up
// instead.
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

// Closed reports whether the writer accepts no more operations.
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

// Away reports whether callers are refused because the database does not answer.
func (w *Writer[T]) Away() bool { return w.away.Load() }

// SetAway starts or stops refusing callers, and reports whether that changed anything. The
// engine stops it after a successful commit.
func (w *Writer[T]) SetAway(away bool) (changed bool) { return w.away.Swap(away) != away }

// Commits returns how many transactions were committed.
func (w *Writer[T]) Commits() int64 { return w.commits.Load() }

// Queued returns roughly how many operations wait now.
func (w *Writer[T]) Queued() int { return len(w.queue) + int(w.lined.Load()) }

// Do submits an operation and waits for its end. Unless the operation stays, Do also
// returns when ctx ends or after Options.CallerWaits. The operation may then still run,
// and the caller must not read what Apply sets.
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
	case <-late: // a retry with the same key or id finds the result
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

// Wake makes the writer open a transaction soon, even if no operation waits.
func (w *Writer[T]) Wake() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Probe makes the writer commit something, unless the queue is full: only a commit proves
// that the database is back.
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

// nothing returns an operation that writes nothing.
func nothing[T Tx](force bool) *Op[T] {
	return &Op[T]{Name: "nothing", Hot: true, Stays: true, force: force, Apply: func(T) error { return nil }, done: make(chan struct{})}
}

// run is the writer's goroutine.
func (w *Writer[T]) run() {
	defer close(w.ended)
	for {
		for len(w.sent) >= w.engine.Connections() {
			(<-w.answers)() // meanwhile the next batch may grow
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

// take returns the batch to run next: one that was pushed back, operations kept while the
// database was away, or queued operations. It returns nil if the writer is closed and
// nothing waits.
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

// line moves the queued operations into turns, so that all of them are served round-robin.
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

// drain removes and returns all waiting operations.
func (w *Writer[T]) drain() []*Op[T] {
	w.line()
	defer w.lined.Store(0)
	return w.waiting.drain()
}

// gather takes waiting operations, key by key, up to the budget. Under load it lingers for
// more.
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
