// Package dispatch decides which delivery is attempted next and how many attempts run
// at once. It owns the in-memory queues, one per endpoint, the budgets that they share,
// and the process's one timer for retries.
//
// It guarantees that a slow or dead endpoint does not slow down other endpoints. Every
// endpoint has a cap that adapts to how the endpoint answers. An attempt that stays
// open for a second moves out of the fast budget. Tenants and endpoints are served
// round-robin. Memory is bounded, because jobs that do not fit wait in the table.
//
// It never reads the database for work that was just committed, and it never polls the
// table. It never loses a job: a job that leaves memory without an attempt is given back
// through [Queue.Settle], unless the commit that removed it also ordered a sweep of its
// row.
package dispatch

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// Queue is the table of open work. Its methods may block on the disk. Each is called
// from one goroutine only.
type Queue interface {
	// Recover takes over the work of earlier processes. It returns the earliest due
	// time of each endpoint that has work, and the jobs that no claim would find.
	Recover(ctx context.Context) ([]hook.Due, []hook.Job, error)
	// Claim takes due work out of the table, a share for each endpoint.
	Claim(ctx context.Context, c hook.Claim) (hook.Claimed, error)
	// Settle records all of the attempts or none. It returns the due times of the
	// work that went back to the table.
	Settle(ctx context.Context, done []hook.Settlement) ([]hook.Due, error)
}

// Sender makes attempts. Send is called concurrently. It returns when the attempt has
// ended or ctx is cancelled.
type Sender interface {
	Send(ctx context.Context, j hook.Job) hook.Outcome
}

// Options are the bounds of a Dispatcher. A zero value means the default, which is
// given in each comment.
type Options struct {
	Now func() time.Time // the wall clock that due times in the table refer to: time.Now
	Log *slog.Logger     // slog.Default

	Fast          int           // attempts in the fast budget at once: 1,024
	FastPerTenant int           // of these, those of one tenant: 256
	Slow          int           // attempts in the slow budget at once: 2,048
	SlowPerTenant int           // of these, those of one tenant: 512
	SlowAfter     time.Duration // an attempt open this long leaves the fast budget: 1 s

	// Nodes returns how many nodes share the work. Each node takes its part of an
	// endpoint's rate limit and concurrency limit. Default: one. Nodes is called with
	// a lock held and must not block.
	Nodes func() int

	// HostInFlight bounds the concurrent attempts at one host over all tenants: 512,
	// half of them for attempts that have been open longer than SlowAfter. An address,
	// which may serve many hosts, has four times this bound. A host starts below the
	// bound and reaches it by answering well. Negative: no bound. With several nodes
	// each takes its part.
	HostInFlight int
	// HostRate bounds the attempts that begin at one host per second over all tenants:
	// 2,000. An address has four times this bound. Negative: no bound. With several
	// nodes each takes its part.
	HostRate float64

	InFlight      int // concurrent attempts at one endpoint that does not set its own limit: 64
	MaxInFlight   int // concurrent attempts at one endpoint, whatever limit it sets; 0: no bound
	FirstInFlight int // the cap that an endpoint starts with: 2

	Waiting         int // jobs waiting in memory: 100,000
	EndpointWaiting int // of these, those of one endpoint: 10,000
	PayloadBytes    int // bodies of waiting jobs: 64 MiB; other bodies are read again for the attempt
	Unsettled       int // outcomes not yet recorded, which a crash repeats: 1,024, what two commits take; at the bound no attempt starts
	AnswerBytes     int // responses not yet recorded: 64 MiB; beyond the bound they are not kept
}

func (o *Options) defaults() {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.HostInFlight == 0 {
		o.HostInFlight = 512
	}
	if o.HostRate == 0 {
		o.HostRate = 2000
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
	set(&o.Unsettled, 1024)
	set(&o.AnswerBytes, 64<<20)
}

// Dispatcher schedules the attempts of all endpoints. Its methods are safe for
// concurrent use.
type Dispatcher struct {
	opts   Options
	queue  Queue
	sender Sender

	running context.Context // the context of all attempts; cancelled when Stop's ctx ends
	abort   context.CancelFunc
	loops   sync.WaitGroup

	mu      sync.Mutex
	queues  map[hook.ID]*queue
	tenants map[hook.Scope]*tenant
	sites   map[string]*site
	pruneAt int // the number of queues at which prune runs next

	pruneSitesAt int       // the same for sites and pruneSites
	heldBack     [2]int64  // attempts that waited for a site: for its cap, and for its rate
	heldLogged   time.Time // when this was last logged

	budgets    [2]budget
	open       attempts          // attempts in the fast budget, in the order in which they started
	timetable  timetable         // alarms by time
	wakeAt     time.Time         // when the timer fires next
	base       time.Time         // a moment by the monotonic clock
	wallBase   time.Time         // the same moment by the wall clock
	clockSteps int64             // how often the wall clock was set
	began      bool              // an attempt has begun since the timer last fired
	waiting    int               // jobs in the queues
	reserved   int               // for jobs that claims in progress may return
	bytes      int               // bytes of their bodies
	active     int               // attempts in progress
	done       []hook.Settlement // attempts that wait to be recorded
	unsettled  int               // attempts in done or in the batch that is being recorded
	refused    []hook.Settlement // settlements that the store refused, until they are retried
	answers    int               // bytes of responses in done, in the current batch, and in refused
	abandoned  int               // attempts that were not recorded; the next start repeats them
	returns    []jobList         // jobs to give back to the table
	returned   int               // their number, including those in the current batch
	started    bool
	stopping   bool
	aborted    bool
	drained    chan struct{} // closed when the dispatcher stops and nothing is active or unsettled

	wakeTimer chan struct{} // receives when the timer must fire earlier than it was set to
	claims    chan struct{} // receives when claimNext is not empty
	settle    chan struct{} // receives when done or returns is not empty
	claimNext []*queue      // queues that need work from the table
}

// New returns a dispatcher. It accepts jobs immediately but makes no attempts before
// Start.
func New(o Options) *Dispatcher {
	o.defaults()
	d := &Dispatcher{
		opts:      o,
		queues:    map[hook.ID]*queue{},
		tenants:   map[hook.Scope]*tenant{},
		sites:     map[string]*site{},
		wakeTimer: make(chan struct{}, 1),
		claims:    make(chan struct{}, 1),
		settle:    make(chan struct{}, 1),
		drained:   make(chan struct{}),
	}
	d.base, d.wallBase = time.Now(), d.wall()
	d.budgets[fast] = budget{limit: o.Fast, perTenant: o.FastPerTenant, perFree: 1}
	d.budgets[slow] = budget{limit: o.Slow, perTenant: o.SlowPerTenant, perFree: 1}
	return d
}

// Start recovers the open work from the queue and begins to make attempts. ctx bounds
// the recovery only. Stop ends the dispatcher.
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

// Stop starts no more attempts, waits for those in progress, and records them. If ctx
// ends first, Stop aborts the attempts, and the next start repeats them. The next start
// also repeats attempts that the store refused to record. Stop returns the number of
// attempts that will be repeated.
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
	brokenOff = d.active + d.unsettled + d.abandoned
	d.aborted = true
	d.checkDrained()
	d.mu.Unlock()
	d.abort()
	d.loops.Wait()
	return brokenOff
}

// checkDrained closes drained if Stop has nothing left to wait for.
func (d *Dispatcher) checkDrained() {
	if !d.stopping || !d.aborted && d.active+d.unsettled > 0 {
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
	InFlight  int // attempts in progress or not yet recorded
	Fast      int // attempts in progress in the fast budget
	Slow      int // attempts in progress in the slow budget
	Waiting   int // jobs waiting in memory
	Endpoints int // endpoints with a queue in memory
	Sites     int // hosts and addresses with a record in memory

	// HeldInFlight counts the attempts that waited because their host or address was at
	// its limit of concurrent attempts, HeldRate those that waited for its limit of new
	// attempts per second. Both only increase.
	HeldInFlight, HeldRate int64
	// ClockSteps counts how often the wall clock was set. It only increases.
	ClockSteps int64
}

// Stats returns the current numbers.
func (d *Dispatcher) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Stats{
		InFlight: d.active + d.unsettled + len(d.refused), Fast: d.budgets[fast].used, Slow: d.budgets[slow].used,
		Waiting: d.waiting, Endpoints: len(d.queues), Sites: len(d.sites),
		HeldInFlight: d.heldBack[0], HeldRate: d.heldBack[1], ClockSteps: d.clockSteps,
	}
}

// wake makes the goroutine that receives from c run once more. It never blocks.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
