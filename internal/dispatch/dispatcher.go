// Package dispatch decides when: which delivery is attempted next, and how many
// at once. It owns the queues in memory, one per endpoint, the budgets they share
// and the one timer of the process that waits for retries.
//
// It promises that a slow or dead endpoint takes nothing from its neighbours:
// every endpoint has a cap that adapts to how it answers, attempts that stay open
// move out of the fast budget after a second, tenants and endpoints take turns,
// and memory is bounded, because what does not fit waits in the table.
//
// It never reads the database for work that was just committed, never polls the
// table, and never forgets a job: one that leaves memory without an attempt is
// given back through [Queue.Settle], unless the commit that took it away has ordered
// what becomes of its row.
package dispatch

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// Queue is the table of open work. Its methods may block on the disk and are
// called from one goroutine each.
type Queue interface {
	// Recover takes back what an earlier process held: the earliest due time of
	// each endpoint with work, and single shots that were promised.
	Recover(ctx context.Context) ([]hook.Due, []hook.Job, error)
	// Claim hands over due work, a share per endpoint.
	Claim(ctx context.Context, c hook.Claim) (hook.Claimed, error)
	// Settle records attempts, all of them or none. It returns when work that
	// went back to the table is due.
	Settle(ctx context.Context, done []hook.Settlement) ([]hook.Due, error)
}

// Sender makes one attempt. It is called concurrently and returns when the
// attempt is over or ctx is cancelled.
type Sender interface {
	Send(ctx context.Context, j hook.Job) hook.Outcome
}

// Options are the bounds of a Dispatcher. Zero means the default named.
type Options struct {
	Now func() time.Time // the clock that due times in the table are of: time.Now
	Log *slog.Logger     // slog.Default

	Fast          int           // attempts in the fast budget at once: 1,024
	FastPerTenant int           // of which one tenant: 256
	Slow          int           // attempts in the slow budget at once: 2,048
	SlowPerTenant int           // of which one tenant: 512
	SlowAfter     time.Duration // an attempt open this long leaves the fast budget: 1 s

	// Nodes says how many nodes share the work: each takes its part of the rate and of
	// the attempts at once that an endpoint allows. Default: one. It is called with a
	// lock held and must not block.
	Nodes func() int

	InFlight      int // attempts of one endpoint at once, unless it says otherwise: 64
	FirstInFlight int // where an endpoint starts: 2

	Waiting         int // jobs waiting in memory: 100,000
	EndpointWaiting int // of which one endpoint at most: 10,000
	PayloadBytes    int // bodies of waiting jobs in memory: 64 MiB; beyond it they are read again
	Unsettled       int // attempts being made or not yet recorded: 8,192; beyond it no more are started
	AnswerBytes     int // what receivers answered in attempts not yet recorded: 64 MiB; beyond it answers are not kept
}

func (o *Options) defaults() {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	set := func(n *int, value int) {
		if *n <= 0 {
			*n = value
		}
	}
	set(&o.Fast, 1024)
	set(&o.FastPerTenant, 256)
	set(&o.Slow, 2048)
	set(&o.SlowPerTenant, 512)
	if o.Nodes == nil {
		o.Nodes = func() int { return 1 }
	}
	if o.SlowAfter <= 0 {
		o.SlowAfter = time.Second
	}
	set(&o.InFlight, 64)
	set(&o.FirstInFlight, 2)
	set(&o.Waiting, 100_000)
	set(&o.EndpointWaiting, 10_000)
	set(&o.PayloadBytes, 64<<20)
	set(&o.Unsettled, 8192)
	set(&o.AnswerBytes, 64<<20)
}

// Dispatcher gives every endpoint its turn. Its methods are safe for concurrent use.
type Dispatcher struct {
	opts   Options
	queue  Queue
	sender Sender

	running context.Context // of the attempts: cancelled when draining takes too long
	abort   context.CancelFunc
	loops   sync.WaitGroup

	mu        sync.Mutex
	queues    map[hook.ID]*queue
	tenants   map[hook.Scope]*tenant
	pruneAt   int // queues at which those without work are forgotten next
	budgets   [2]budget
	open      attempts  // fast attempts in the order of their start
	timetable timetable // queues by the time they need a look
	wakeAt    time.Time
	base      time.Time // a moment by the monotonic clock
	wallBase  time.Time // and what the wall clock said then
	began     bool      // an attempt began since the timer looked last
	waiting   int
	bytes     int
	active    int               // attempts being made
	done      []hook.Settlement // attempts made that wait to be recorded
	held      int               // attempts in done or on their way to the disk
	refused   []hook.Settlement // what the store refused, until the next try
	answers   int               // bytes of what receivers answered in all of these
	lost      int               // attempts given up unrecorded: the next start repeats them
	returns   []jobList         // jobs that go back to the table unattempted
	returned  int               // their number, those on their way to the disk too
	started   bool
	stopping  bool
	aborted   bool
	drained   chan struct{} // closed when stopping and nothing is active or unsettled

	earlier chan struct{} // the timer has to wake earlier than it was set to
	claims  chan struct{} // a queue wants work from the table
	settle  chan struct{} // done is not empty
	wanted  []*queue      // queues that want work from the table
}

// New returns a dispatcher that takes jobs but attempts none before Start.
func New(o Options) *Dispatcher {
	o.defaults()
	d := &Dispatcher{
		opts:    o,
		queues:  map[hook.ID]*queue{},
		tenants: map[hook.Scope]*tenant{},
		earlier: make(chan struct{}, 1),
		claims:  make(chan struct{}, 1),
		settle:  make(chan struct{}, 1),
		drained: make(chan struct{}),
	}
	d.base, d.wallBase = time.Now(), d.wall()
	d.budgets[fast] = budget{limit: o.Fast, perTenant: o.FastPerTenant}
	d.budgets[slow] = budget{limit: o.Slow, perTenant: o.SlowPerTenant}
	return d
}

// Start recovers what is open in the queue and begins to attempt. ctx bounds the
// recovery only; Stop ends the dispatcher.
func (d *Dispatcher) Start(ctx context.Context, q Queue, s Sender) error {
	d.queue, d.sender = q, s
	due, jobs, err := q.Recover(ctx)
	if err != nil {
		return err
	}
	d.running, d.abort = context.WithCancel(context.Background())
	loop, stop := context.WithCancel(context.Background())
	d.loops.Go(func() { <-d.drained; stop() })
	d.loops.Go(func() { d.timer(loop) })
	d.loops.Go(func() { d.claimer(loop) })
	d.loops.Go(func() { d.settler(loop) })
	d.mu.Lock()
	d.started = true
	d.mu.Unlock()
	d.Committed(hook.Commit{Jobs: jobs, Due: due})
	return nil
}

// Stop lets the attempts under way finish and records them; nothing new is
// started. When ctx ends first, the attempts are broken off and left to the next
// start, which repeats them. The same is true of attempts that the store refuses to
// record. The number of both is returned.
func (d *Dispatcher) Stop(ctx context.Context) (brokenOff int) {
	d.mu.Lock()
	if !d.started || d.stopping {
		d.mu.Unlock()
		return 0
	}
	d.stopping = true
	d.retryRefused()
	d.checkDrained()
	d.mu.Unlock()
	select {
	case <-d.drained:
	case <-ctx.Done():
	}
	d.mu.Lock()
	brokenOff = d.active + d.held + d.lost
	d.aborted = true
	d.checkDrained()
	d.mu.Unlock()
	d.abort()
	d.loops.Wait()
	return brokenOff
}

// checkDrained closes drained when there is nothing left to wait for.
func (d *Dispatcher) checkDrained() {
	if !d.stopping || !d.aborted && d.active+d.held > 0 {
		return
	}
	select {
	case <-d.drained:
	default:
		close(d.drained)
	}
}

// Stats are the dispatcher's numbers at one moment.
type Stats struct {
	InFlight  int // attempts being made, or made and not yet recorded
	Fast      int // of the attempts being made, those in the fast budget
	Slow      int // and those in the slow one
	Waiting   int // jobs waiting in memory
	Endpoints int // endpoints with a queue in memory
}

// Stats returns the numbers of this moment.
func (d *Dispatcher) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Stats{
		InFlight: d.active + d.held + len(d.refused), Fast: d.budgets[fast].used, Slow: d.budgets[slow].used,
		Waiting: d.waiting, Endpoints: len(d.queues),
	}
}

// wake makes the reader of c run once more. It never blocks.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
