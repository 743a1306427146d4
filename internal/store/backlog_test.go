package store

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/seal"
)

// These tests are inside the package because the count in memory is not exported. It must
// never differ from the rows.

// walkLimit is low enough for the walk to reach it.
const walkLimit = 12

// walk changes the deliveries of one tenant at random.
type walk struct {
	*testing.T
	s     *Store
	rnd   *rand.Rand
	clock atomic.Int64 // unix microseconds; the writer reads it too
	dir   string
	keys  *seal.Keyring
	scope hook.Scope
	ends  []hook.ID

	refused int // publishes, because the backlog was full

	mu   sync.Mutex
	jobs []hook.Job // handed over by the writer
}

func (w *walk) handed(jobs []hook.Job) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.jobs = append(w.jobs, jobs...)
}

func (w *walk) open() {
	w.Helper()
	var err error
	places := rand.New(rand.NewPCG(1, 2)) // used only by the writer
	w.jobs = nil
	w.s, err = Open(w.Context(), Options{Dir: w.dir, Keys: w.keys, Log: slog.New(slog.DiscardHandler), Reserve: -1, TenantBacklog: walkLimit, HeldFor: time.Hour,
		Now: w.now, Room: func(*hook.Endpoint) int { return places.IntN(2) },
		Committed: func(c hook.Commit) { w.handed(c.Jobs) }})
	w.must(err)
	_, jobs, err := w.s.Recover(w.Context())
	w.must(err)
	w.handed(jobs)
}

func (w *walk) now() time.Time { return time.UnixMicro(w.clock.Load()).UTC() }

func (w *walk) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// rows returns the count of the table and the count in memory. known is false if the
// latter was never taken.
func (w *walk) rows() (table, memory int, known bool) {
	w.Helper()
	w.must(w.s.do(w.Context(), "test", 1, func(t *tx) error {
		memory, known = t.Backlog(w.scope) // this transaction may include a page of a sweep
		_, err := t.Row("count", `SELECT (SELECT count(*) FROM deliveries WHERE state IN (0, 1) AND mode = ? AND tenant = ?) +
			(SELECT count(*) FROM oneshots WHERE mode = ? AND tenant = ?)`,
			[]any{w.scope.Mode, w.scope.Tenant, w.scope.Mode, w.scope.Tenant}, &table)
		return err
	}))
	return table, memory, known
}

// take removes a random job from those handed over.
func (w *walk) take() (hook.Job, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.jobs) == 0 {
		return hook.Job{}, false
	}
	i := w.rnd.IntN(len(w.jobs))
	j := w.jobs[i]
	w.jobs = append(w.jobs[:i:i], w.jobs[i+1:]...)
	return j, true
}

func profileZero(*hook.Endpoint) hook.ProfileHash { return hook.ProfileHash{} }

func (w *walk) step() string {
	ctx := w.Context()
	end := w.ends[w.rnd.IntN(len(w.ends))]
	status := func(s hook.Status, discard bool) {
		_, err := w.s.UpdateEndpoint(ctx, w.scope, end, func(old hook.Endpoint) (hook.Endpoint, error) {
			old.Status = s
			return old, nil
		}, discard)
		if err != nil && hook.CodeOf(err) != hook.CodeNotFound {
			w.Fatal(err)
		}
	}
	w.clock.Add((time.Duration(w.rnd.IntN(20)) * time.Minute).Microseconds())
	switch n := w.rnd.IntN(14); n {
	case 0, 1, 2, 3:
		out, _, err := w.s.Publish(ctx, []hook.NewEvent{{Scope: w.scope, Type: "a.b", Data: []byte("{}")}}, profileZero, nil)
		w.must(err)
		if out[0].Err != nil {
			if hook.CodeOf(out[0].Err) != hook.CodeBacklogFull {
				w.Fatal(out[0].Err)
			}
			w.refused++
		}
		return "publish"
	case 4, 5, 6, 7:
		if j, ok := w.take(); ok {
			o := hook.Outcome{StartedAt: w.now(), Policy: &hook.Policy{GoneDisables: true, Retry: hook.Retry{Steps: []time.Duration{time.Minute}}}, Enablings: j.Target.Enablings}
			switch w.rnd.IntN(5) {
			case 0, 1:
				o.Success, o.Status = true, 200
			case 2:
				o.Status, o.Class = 410, hook.ClassGone
			case 3:
				o.Skipped = true
			default:
				o.Status, o.Class = 500, hook.ClassStatus
			}
			_, err := w.s.Settle(ctx, []hook.Settlement{{Job: j, Outcome: o}})
			w.must(err)
		}
		return "settle"
	case 8:
		list, _, err := w.s.Deliveries(ctx, hook.DeliveryQuery{Scope: w.scope})
		w.must(err)
		if len(list) > 0 {
			d := list[w.rnd.IntN(len(list))]
			_, _ = w.s.CancelDelivery(ctx, w.scope, d.ID)
			_, _, _ = w.s.Resend(ctx, w.scope, list[0].Event, hook.ID{}, profileZero, nil)
		}
		return "cancel, resend"
	case 9:
		status(hook.Disabled, false)
		return "disable"
	case 10:
		status(hook.Enabled, w.rnd.IntN(3) == 0)
		return "enable"
	case 11:
		w.must(w.s.Housekeep(ctx))
		return "expire"
	case 12:
		got, err := w.s.Claim(ctx, hook.Claim{Now: w.now(), Shares: []hook.Share{{Scope: w.scope, Endpoint: end, Limit: 5}}})
		w.must(err)
		w.handed(got.Jobs)
		_, _, _, _ = w.s.PublishTest(ctx, w.scope, end, "ping", []byte("{}"), hook.ProfileHash{}, nil)
		return "claim, test"
	default:
		if w.rnd.IntN(4) > 0 {
			return "rest"
		}
		w.must(w.s.DeleteEndpoint(ctx, w.scope, end))
		w.endpoint()
		return "delete"
	}
}

// endpoint replaces the oldest of three.
func (w *walk) endpoint() {
	w.Helper()
	e, _, err := w.s.CreateEndpoint(w.Context(), hook.Endpoint{Scope: w.scope, URL: "https://example.com/", Types: hook.Filter{"*"}}, nil)
	w.must(err)
	for i := len(w.ends) - 1; i >= 0; i-- {
		if _, err := w.s.Endpoint(w.Context(), w.scope, w.ends[i]); err != nil {
			w.ends = append(w.ends[:i:i], w.ends[i+1:]...)
		}
	}
	w.ends = append(w.ends, e.ID)
}

// TestBacklogCountsTheRows runs every kind of operation that opens or ends a delivery.
// After every step the count in memory must equal that of the table.
func TestBacklogCountsTheRows(t *testing.T) {
	keys := testKeys(t)
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := &walk{T: t, rnd: rand.New(rand.NewPCG(seed, 7)), dir: t.TempDir(), keys: keys,
				scope: hook.Scope{Tenant: "acme", Mode: hook.Live}}
			w.clock.Store(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC).UnixMicro())
			w.open()
			defer func() { _ = w.s.Close() }()
			_, _, err := w.s.CreateTenant(t.Context(), hook.Tenant{ID: "acme"}, nil)
			w.must(err)
			for range 3 {
				w.endpoint()
			}
			highest, compared := 0, 0
			for i := range 240 {
				act := w.step()
				if i%80 == 79 {
					w.must(w.s.Close())
					w.open()
					act = "restart"
				}
				table, memory, known := w.rows()
				if known {
					compared++
				}
				if known && table != memory {
					t.Fatalf("step %d, %s: %d open rows, %d counted", i, act, table, memory)
				}
				highest = max(highest, table)
			}
			if w.refused == 0 || compared < 180 { // control: the walk must reach the limit
				t.Errorf("at most %d open rows, %d refusals, compared %d times", highest, w.refused, compared)
			}
			if highest > walkLimit+8 { // test events are not bounded
				t.Errorf("%d open rows, allowed are %d", highest, walkLimit)
			}
		})
	}
}
