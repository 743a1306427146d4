// Package dispatch decides which delivery is attempted next and how many attempts are
// made at once. It owns the queues in memory, one per endpoint, the budgets that they
// share, and the one timer of the process that waits for retries.
//
// It promises that a slow or dead endpoint takes nothing from its neighbours. Every
// endpoint has a cap that adapts to how the endpoint answers. An attempt that stays
// open for a second moves out of the fast budget. Tenants and endpoints take turns.
// Memory is bounded, because jobs that do not fit wait in the table.
//
// It never reads the database for work that was just committed, and it never polls the
// table. It never forgets a job: a job that leaves memory without an attempt is given
// back through [Queue.Settle], unless the commit that took it away has also ordered a
// sweep of its row.
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
	// time of each endpoint with work, and jobs that no claim would find.
	Recover(ctx context.Context) ([]hook.Due, []hook.Job, error)
	// Claim takes due work out of the table, a share for each endpoint.
	Claim(ctx context.Context, c hook.Claim) (hook.Claimed, error)
	// Settle records all of the attempts or none. It returns when the work that
	// went back to the table is due.
	Settle(ctx context.Context, done []hook.Settlement) ([]hook.Due, error)
}

// Sender makes attempts. Send is called concurrently and returns when its attempt is
// over or ctx is cancelled.
type Sender interface {
	Send(ctx context.Context, j hook.Job) hook.Outcome
}

// Options are the bounds of a Dispatcher. A zero value means the default, which each
// comment names.
type Options struct {
	Now func() time.Time // the wall clock that due times in the table refer to: time.Now
	Log *slog.Logger     // slog.Default

	Fast          int           // attempts in the fast budget at once: 1,024
	FastPerTenant int           // of these, those of one tenant: 256
	Slow          int           // attempts in the slow budget at once: 2,048
	SlowPerTenant int           // of these, those of one tenant: 512
	SlowAfter     time.Duration // an attempt open this long leaves the fast budget: 1 s

	// Nodes returns how many nodes share the work. Each node takes its part of an
	// endpoint's rate and of its attempts at once. Default: one. Nodes is called with
	// a lock held and must not block.
	Nodes func() int

	// HostInFlight bounds the attempts at one host over all tenants: 512, half of them
	// for attempts that have been open longer than SlowAfter. An address, which may
	// serve many hosts, takes four times as many. Fewer are made until the host has
	// shown that it answers them well. Negative: any number.
	HostInFlight int
	// HostRate bounds the attempts that begin at one host in a second, over all tenants:
	// 2,000; at an address four times as many. Negative: any number. With several nodes
	// each takes its part of both.
	HostRate float64

	InFlight      int // attempts at one endpoint at once, unless the endpoint sets its own: 64
	MaxInFlight   int // attempts at one endpoint at once, whatever the endpoint sets; 0: no bound
	FirstInFlight int // the cap that an endpoint starts with: 2

	Waiting         int // jobs waiting in memory: 100,000
	EndpointWaiting int // of these, those of one endpoint: 10,000
	PayloadBytes    int // bodies of waiting jobs: 64 MiB; other bodies are read again for the attempt
	Unsettled       int // attempts under way or not yet recorded: 8,192; beyond it none start
	AnswerBytes     int // answers of receivers not yet recorded: 64 MiB; beyond it answers are not kept
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
	set(&o.Unsettled, 8192)
	set(&o.AnswerBytes, 64<<20)
}

// Dispatcher schedules the attempts of all endpoints. Its methods are safe for
// concurrent use.
type Dispatcher struct {
	opts   Options
	queue  Queue
	sender Sender

	running context.Context // of the attempts; cancelled when draining takes too long
	abort   context.CancelFunc
	loops   sync.WaitGroup

	mu      sync.Mutex
	queues  map[hook.ID]*queue
	tenants map[hook.Scope]*tenant
	sites   map[string]*site
	pruneAt int // the number of queues at which prune runs next

	pruneSitesAt int       // the same of sites
	heldBack     [2]int64  // attempts that waited for a site: for those under way, and for the rate
	heldLogged   time.Time // when the log said so last

	budgets   [2]budget
	open      attempts          // attempts in the fast budget, in the order in which they started
	timetable timetable         // alarms by time
	wakeAt    time.Time         // when the timer fires next
	base      time.Time         // a moment by the monotonic clock
	wallBase  time.Time         // the same moment by the wall clock
	began     bool              // an attempt began since the timer fired last
	waiting   int               // jobs in the queues
	bytes     int               // of their bodies
	active    int               // attempts under way
	done      []hook.Settlement // attempts that wait to be recorded
	unsettled int               // attempts in done or on their way to the disk
	refused   []hook.Settlement // settlements that the store refused, until the next try
	answers   int               // bytes of receivers' answers in done, on their way, and in refused
	abandoned int               // attempts that were not recorded; the next start repeats them
	returns   []jobList         // jobs to give back to the table
	returned  int               // their number, including those on their way to the disk
	started   bool
	stopping  bool
	aborted   bool
	drained   chan struct{} // closed when the dispatcher stops and nothing is active or unsettled

	wakeTimer chan struct{} // the timer has to fire earlier than it was set to
	claims    chan struct{} // claimNext is not empty
	settle    chan struct{} // done or returns is not empty
	claimNext []*queue      // queues that need work from the table
}

// New returns a dispatcher. It takes jobs at once but attempts none before Start.
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

// Start recovers the open work in the queue and begins to make attempts. ctx bounds
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

// Stop starts no more attempts, waits for those under way, and records them. If ctx
// ends first, Stop breaks the attempts off, and the next start repeats them. The next
// start also repeats attempts that the store refused to record. Stop returns the number
// of both.
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
	InFlight  int // attempts under way or not yet recorded
	Fast      int // attempts under way in the fast budget
	Slow      int // attempts under way in the slow budget
	Waiting   int // jobs waiting in memory
	Endpoints int // endpoints with a queue in memory
	Sites     int // hosts and addresses that are known

	// Attempts that waited because their host or address had as many under way as it
	// was given, and because as many had begun in a second. Both only rise.
	HeldInFlight, HeldRate int64
}

// Stats returns the current numbers.
func (d *Dispatcher) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Stats{
		InFlight: d.active + d.unsettled + len(d.refused), Fast: d.budgets[fast].used, Slow: d.budgets[slow].used,
		Waiting: d.waiting, Endpoints: len(d.queues), Sites: len(d.sites),
		HeldInFlight: d.heldBack[0], HeldRate: d.heldBack[1],
	}
}

// wake makes the goroutine that reads c run once more. It never blocks.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
