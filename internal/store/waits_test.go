// Under the race detector durations mean nothing.

//go:build !race

package store_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/store/pgtest"
	"github.com/posthorn/posthorn/internal/store/storetest"
)

// TestLongestWaits measures how long a publish of one tenant waits while another tenant
// makes the most expensive permitted requests. Every write goes through one writer, so an
// operation that is not bounded in rows shows up as a long wait of the other tenant.
//
// POSTHORN_WAITS=full runs it five times at the documented limits, which takes hours. With
// -v it prints the table.
func TestLongestWaits(t *testing.T) {
	plan := quickPlan
	if os.Getenv("POSTHORN_WAITS") == "full" {
		plan = fullPlan
	}
	var table waitTable
	for _, postgres := range []bool{false, true} {
		b := &waitBench{plan: plan, postgres: postgres, scenes: map[*fixture]*scene{}}
		t.Run(b.database(), func(t *testing.T) {
			b.parent = t
			for _, c := range waitCases {
				if !c.postgresOnly || postgres {
					t.Run(c.name, func(t *testing.T) { table.add(t, b.measure(t, c)) })
				}
			}
		})
	}
	t.Log("\n" + table.String())
}

// waitPlan says how large the cases are and how they are judged.
type waitPlan struct {
	backlog   int           // deliveries of one endpoint that wait or are held
	failed    int           // deliveries that are retried by hand
	cancelled int           // deliveries that are cancelled one by one
	answers   int           // idempotency keys that expire
	endpoints int           // of the first tenant
	batch     int           // events of one request
	claims    int           // full claims that are due
	history   int           // events for all endpoints that retention drops
	resends   int           // events that are resent one after the other
	under     time.Duration // how long a load lasts that would not end on its own

	limit time.Duration // of one run
	bound time.Duration // of the longest wait
	// noise times the longest wait of the quiet store is allowed, if that is more than the
	// bound.
	noise int
	runs  int // the median of the runs counts
	tries int // the best of the tries counts; the first within the bound is the last
}

// The quick plan runs with every run of the tests. Its bound allows for a busy machine.
// That only ever makes waits longer, so the best of a few tries counts.
var (
	quickPlan = waitPlan{backlog: 10_000, failed: 2_500, cancelled: 1_000, answers: 2_000, endpoints: 200, batch: 1_000, claims: 1, history: 50,
		resends: 4, under: 300 * time.Millisecond, limit: time.Minute, bound: 500 * time.Millisecond, noise: 10, runs: 1, tries: 3}
	fullPlan = waitPlan{backlog: 400_000, failed: 100_000, cancelled: 10_000, answers: 100_000, endpoints: 1_000, batch: 1_000, claims: 4, history: 500,
		resends: 16, under: 5 * time.Second, limit: 20 * time.Minute, bound: 250 * time.Millisecond, runs: 5, tries: 1}
)

// The limits of the product, which the cases reach.
const (
	requestDeliveries = 10_000 // of one request; more may be refused
	claimShares       = 64     // endpoints of one claim
	claimRows         = 256    // deliveries of each
	flaps             = 100    // times that a listener comes and goes
)

// waitCase is one row of the table.
type waitCase struct {
	name         string
	postgresOnly bool
	given        *fixture
	// before prepares what a copy of the fixture cannot contain.
	before func(*waitRun)
	// worst does the most expensive thing that the first tenant may do. It returns when all
	// resulting background work is over.
	worst func(*waitRun)
	// pages marks work that is done in many pages, so that no wait may be as long as half of
	// it. That reveals an unbounded page even if all rows together take less than the bound of
	// the plan.
	pages bool
	// notices marks a control: worst holds the writer for longer than the bound, and the test
	// must detect it.
	notices bool
}

// fixture is what the first tenant has before a case. It is built once for each database,
// and every run uses a copy.
type fixture struct{ build func(*waitRun) }

// scene is a built fixture: where it is, and what it contains.
type scene struct {
	place      string // directory, or URL on PostgreSQL
	ahead      time.Duration
	endpoints  []hook.ID // of the first tenant
	events     []hook.ID
	deliveries []hook.ID // that a case requests one by one
}

// globex is the second tenant, which only publishes. The first, which makes the expensive
// requests, has the scope live.
var globex = hook.Scope{Tenant: "globex", Mode: hook.Live}

// waitBench runs cases on one database.
type waitBench struct {
	plan     waitPlan
	postgres bool
	parent   *testing.T // outlives the cases that share a fixture
	scenes   map[*fixture]*scene
}

func (b *waitBench) database() string {
	if b.postgres {
		return "postgres"
	}
	return "sqlite"
}

// scene returns the built fixture. It builds it if needed.
func (b *waitBench) scene(t *testing.T, f *fixture) *scene {
	t.Helper()
	if s := b.scenes[f]; s != nil {
		return s
	}
	made := &scene{}
	if b.postgres {
		made.place = pgtest.Database(b.parent)
	} else {
		made.place = b.parent.TempDir()
	}
	w := b.open(t, made)
	w.tenant(live)
	w.tenant(globex)
	w.endpoint(globex)
	f.build(w)
	w.must(w.Close())
	made.ahead, made.endpoints, made.events, made.deliveries = w.shift(), w.endpoints, w.events, w.deliveries
	b.scenes[f] = made
	return made
}

// copy returns a copy of the scene in another place.
func (b *waitBench) copy(t *testing.T, s *scene) *scene {
	t.Helper()
	next := *s
	if b.postgres {
		next.place = pgtest.DatabaseFrom(t, s.place)
		return &next
	}
	next.place = t.TempDir()
	data, err := os.ReadFile(filepath.Join(s.place, "posthorn.db"))
	if err == nil {
		err = os.WriteFile(filepath.Join(next.place, "posthorn.db"), data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &next
}

// waitRun is one store with both tenants. The test takes the dispatcher's place.
type waitRun struct {
	*store.Store
	*scene
	t     *testing.T
	ctx   context.Context
	plan  waitPlan
	bench *waitBench
	bound time.Duration // of this run

	clock atomic.Int64 // how far it is ahead
	room  atomic.Int64 // for the jobs of each endpoint in memory
	mu    sync.Mutex
	jobs  []hook.Job // of the first tenant

	dead *store.Store // another node, of cases that have one
	note string       // for the table
}

func (b *waitBench) open(t *testing.T, s *scene) *waitRun {
	t.Helper()
	own := *s
	w := &waitRun{scene: &own, t: t, ctx: t.Context(), plan: b.plan, bench: b}
	w.clock.Store(int64(s.ahead))
	o := store.Options{Keys: storetest.Keyring(t, 7), Now: func() time.Time { return time.Now().Add(w.shift()) }, Log: slog.New(slog.DiscardHandler),
		Room: func(*hook.Endpoint) int { return int(w.room.Load()) }, Committed: w.committed, Reserve: -1,
		HeldFor: heldFor, Retention: keptFor}
	if b.postgres {
		o.Postgres = s.place
	} else {
		o.Dir = s.place
	}
	var err error
	if w.Store, err = store.Open(w.ctx, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	if _, _, err := w.Recover(w.ctx); err != nil {
		t.Fatal(err)
	}
	return w
}

// Retention periods of the store in these cases. The cases move the clock beyond them.
const (
	heldFor = 24 * time.Hour
	keptFor = 48 * time.Hour
)

func (w *waitRun) shift() time.Duration { return time.Duration(w.clock.Load()) }

// pass moves the clock.
func (w *waitRun) pass(d time.Duration) { w.clock.Add(int64(d)) }

func (w *waitRun) committed(c hook.Commit) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, j := range c.Jobs {
		if j.Delivery.Scope == live {
			w.jobs = append(w.jobs, j)
		}
	}
}

func (w *waitRun) take() []hook.Job {
	w.mu.Lock()
	defer w.mu.Unlock()
	jobs := w.jobs
	w.jobs = nil
	return jobs
}

// must ends the test. It may only be called on the test's goroutine.
func (w *waitRun) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// waited is the result of one run of a case.
type waited struct {
	quiet   time.Duration // longest wait before the first tenant did anything
	longest time.Duration // since
	total   time.Duration // of the first tenant's operation and what follows from it
	sent    int64         // events of the second tenant during it
	refused int64         // answers to the second tenant that were errors
	bound   time.Duration
	note    string
}

// measure runs a case as often as the plan says and checks the result.
func (b *waitBench) measure(t *testing.T, c waitCase) waitRow {
	given := b.scene(t, c.given)
	var runs []waited
	for range b.plan.runs {
		best := b.run(t, c, given)
		for try := 1; try < b.plan.tries && !c.notices && best.longest > best.bound; try++ {
			if next := b.run(t, c, given); next.longest < best.longest {
				best = next
			}
		}
		runs = append(runs, best)
	}
	slices.SortFunc(runs, func(a, b waited) int { return int(a.longest - b.longest) })
	row := waitRow{name: c.name, database: b.database(), waited: runs[len(runs)/2]}
	switch {
	case c.notices && row.longest <= row.bound:
		t.Errorf("the control held the writer for longer than %v and the longest wait was %v: the test notices nothing", row.bound, row.longest)
	case !c.notices && row.longest > row.bound:
		t.Errorf("a publish of another tenant took up to %v, at most %v is allowed (before: %v)", row.longest, row.bound, row.quiet)
	}
	if row.refused > 0 {
		t.Errorf("%d publishes of another tenant were refused", row.refused)
	}
	return row
}

func (b *waitBench) run(t *testing.T, c waitCase, given *scene) waited {
	w := b.open(t, b.copy(t, given))
	defer func() { w.must(w.Close()) }()
	if c.before != nil {
		c.before(w)
	}
	p := &prober{store: w.Store, progress: make(chan struct{}, 1)}
	stop := p.start()
	defer stop()
	var out waited
	out.quiet = p.quiet(w.t)
	w.bound = w.plan.bound
	if !c.notices {
		w.bound = max(w.bound, time.Duration(w.plan.noise)*out.quiet)
	}
	before := p.sent.Load()
	p.reset()
	start := time.Now()
	c.worst(w)
	out.total = time.Since(start)
	stop()
	out.longest, out.sent, out.refused = p.reset(), p.sent.Load()-before, p.refused.Load()
	out.bound, out.note = w.bound, w.note
	if c.pages {
		out.bound = min(w.bound, max(out.total/2, time.Duration(w.plan.noise)*out.quiet, w.plan.bound/10))
	}
	return out
}

// prober is the second tenant. It publishes one event after the other. It resends a
// refused event, and the wait ends when the event is accepted.
type prober struct {
	store         *store.Store
	longest       atomic.Int64
	sent, refused atomic.Int64
	progress      chan struct{} // something was sent
}

func (p *prober) start() (stop func()) {
	var done sync.WaitGroup
	ending := make(chan struct{})
	done.Go(func() {
		pause := time.NewTicker(5 * time.Millisecond)
		defer pause.Stop()
		for {
			for began := time.Now(); ; {
				_, err := publishTo(p.store, globex, 1)
				p.note(time.Since(began))
				if err == nil {
					break
				}
				p.refused.Add(1)
				select {
				case <-ending:
					return
				case <-pause.C:
				}
			}
			p.sent.Add(1)
			select {
			case p.progress <- struct{}{}:
			default:
			}
			select {
			case <-ending:
				return
			default:
			}
		}
	})
	return sync.OnceFunc(func() {
		close(ending)
		done.Wait()
	})
}

// quiet lets the second tenant publish for a moment while the first does nothing, and
// returns the longest wait.
func (p *prober) quiet(t *testing.T) time.Duration {
	t.Helper()
	late := time.After(time.Minute)
	for p.sent.Load() < 50 { // until caches and connections are warm
		select {
		case <-p.progress:
		case <-late:
			t.Fatal("the second tenant cannot publish")
		}
	}
	p.reset()
	<-time.After(100 * time.Millisecond)
	return p.reset()
}

// reset returns the longest wait since the last call.
func (p *prober) reset() time.Duration { return time.Duration(p.longest.Swap(0)) }

// note records a wait if it is the longest.
func (p *prober) note(d time.Duration) {
	for old := p.longest.Load(); int64(d) > old && !p.longest.CompareAndSwap(old, int64(d)); old = p.longest.Load() {
	}
}

// publishTo publishes events of a few bytes in one request.
func publishTo(s *store.Store, scope hook.Scope, n int) ([]hook.Published, error) {
	batch := make([]hook.NewEvent, n)
	for i := range batch {
		batch[i] = hook.NewEvent{Scope: scope, Type: "a.b", Data: []byte(`{"n":1}`)}
	}
	out, _, err := s.Publish(context.Background(), batch, profileOf, nil)
	for i := range out {
		if err == nil && out[i].Err != nil {
			err = out[i].Err
		}
	}
	return out, err
}

// waitRow is a line of the table.
type waitRow struct {
	name, database string
	waited
}

type waitTable []waitRow

func (table *waitTable) add(t *testing.T, row waitRow) {
	t.Logf("longest wait %v of %d publishes in %v, %d refused; before %v, bound %v %s",
		row.longest, row.sent, row.total, row.refused, row.quiet, row.bound, row.note)
	*table = append(*table, row)
}

func (table waitTable) String() string {
	var text strings.Builder
	out := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(out, "case\tdatabase\tlongest wait\ttotal\tpublished\trefused\tquiet\tbound\tnote")
	for _, r := range table {
		_, _ = fmt.Fprintf(out, "%s\t%s\t%v\t%v\t%d\t%d\t%v\t%v\t%s\n", r.name, r.database, short(r.longest), short(r.total), r.sent, r.refused,
			short(r.quiet), short(r.bound), r.note)
	}
	_ = out.Flush() // into memory
	return text.String()
}

func short(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }
