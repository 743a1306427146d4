package store

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/pgtest"
	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/upkeep"
)

// statsWorld runs random work on one or two nodes and counts the rows that it left.
type statsWorld struct {
	t    *testing.T
	rnd  *rand.Rand
	opts []Options
	node []*faulty
	ends []*hook.Endpoint

	mu  sync.Mutex
	now time.Time

	asked int // deliveries of all writes, including refused ones
}

func (w *statsWorld) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *statsWorld) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *statsWorld) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *statsWorld) open(i int) {
	w.node[i] = newFaultyOn(w.t, w.opts[i])
	_, jobs, err := w.node[i].Recover(w.t.Context())
	w.must(err)
	w.node[i].jobs = append(w.node[i].jobs, jobs...)
}

// step performs one action on a node. An action that fails stores nothing.
func (w *statsWorld) step(f *faulty) error {
	ctx := w.t.Context()
	w.pass(time.Duration(w.rnd.IntN(20_000)) * time.Millisecond)
	e := w.ends[w.rnd.IntN(len(w.ends))]
	switch w.rnd.IntN(9) {
	case 8:
		through, err := sqltext.Collect(ctx, f.core.Read, sqltext.ScanDelivery,
			"SELECT "+sqltext.DeliveryColumns+" FROM deliveries d WHERE d.state = 2 AND d.kind = 0 ORDER BY d.id LIMIT 1 OFFSET ?", w.rnd.IntN(3))
		if err != nil || len(through) == 0 {
			return err
		}
		_, _, err = f.RetryDelivery(ctx, through[0].Scope, through[0].ID, nil) // its success counts as an attempt only
		return err
	case 0, 1:
		events := make([]hook.NewEvent, 1+w.rnd.IntN(3))
		for i := range events {
			events[i] = hook.NewEvent{Scope: e.Scope, Type: "a", Data: []byte("{}")}
			w.asked += len(w.ends) / 2
		}
		_, _, err := f.Publish(ctx, events, func(*hook.Endpoint) hook.ProfileHash { return hook.ProfileHash{} }, nil)
		return err
	case 2:
		_, _, _, err := f.PublishTest(ctx, e.Scope, e.ID, "t", []byte("{}"), hook.ProfileHash{}, nil)
		return err
	case 3:
		got, err := f.Claim(ctx, hook.Claim{Now: w.clock(), Shares: []hook.Share{{Scope: e.Scope, Endpoint: e.ID, Limit: 5}}})
		f.jobs = append(f.jobs, got.Jobs...)
		return err
	case 4:
		_, err := f.upkeep.SumStats(ctx)
		return err
	}
	var done []hook.Settlement
	for range min(len(f.jobs), 1+w.rnd.IntN(4)) {
		o := hook.Outcome{StartedAt: w.clock(), Duration: time.Duration(w.rnd.IntN(3_000_000)) * time.Microsecond, Status: 200, Success: true,
			Policy: &hook.Policy{Retry: hook.Retry{Steps: []time.Duration{time.Second}}}}
		switch w.rnd.IntN(4) {
		case 0:
			o.Status, o.Success, o.Class = 500, false, hook.ClassStatus
		case 1:
			o.Status, o.Success, o.Class = 0, false, hook.ClassTimeout
		}
		done = append(done, hook.Settlement{Job: f.jobs[0], Outcome: o})
		f.jobs = f.jobs[1:]
	}
	_, err := f.Settle(ctx, done)
	if err != nil { // as the dispatcher does
		for _, d := range done {
			f.jobs = append(f.jobs, d.Job)
		}
	}
	return err
}

type minuteOf struct {
	sqltext.Subject
	start int64
}

// rows counts all rows by the minute of acceptance and of settlement. Counts that have no
// known minute go to the sum at 0.
func (w *statsWorld) rows(f *faulty) map[minuteOf]*hook.Tally {
	w.t.Helper()
	all := map[minuteOf]*hook.Tally{}
	count := func(s sqltext.Subject, at int64, add func(*hook.Tally)) {
		subjects := []sqltext.Subject{{Scope: hook.Scope{Mode: s.Mode}}, {Scope: s.Scope}, s}
		if s.Endpoint.IsZero() {
			subjects = subjects[:2]
		}
		for _, s := range subjects {
			for _, start := range []int64{0, at - at%60e6} {
				m := minuteOf{s, start}
				if all[m] == nil {
					all[m] = &hook.Tally{}
				}
				add(all[m])
				if at == 0 {
					break
				}
			}
		}
	}
	ctx := w.t.Context()
	_, err := sqltext.Collect(ctx, f.core.Read, func(row sqltext.Scanner) (none struct{}, err error) {
		var s sqltext.Subject
		var at int64
		err = row.Scan(&s.Mode, &s.Tenant, &at)
		count(s, at, func(t *hook.Tally) { t.Events++ })
		return none, err
	}, "SELECT mode, tenant, accepted_at FROM events WHERE kind = 0")
	w.must(err)
	_, err = sqltext.Collect(ctx, f.core.Read, func(row sqltext.Scanner) (none struct{}, err error) {
		var s sqltext.Subject
		var created, settled int64
		var state hook.State
		err = row.Scan(&s.Mode, &s.Tenant, sqltext.Blob(s.Endpoint[:]), &created, &settled, &state)
		count(s, created, func(t *hook.Tally) { t.Accepted++ })
		switch state {
		case hook.Succeeded:
			count(s, settled, func(t *hook.Tally) { t.Delivered++ })
		case hook.Failed:
			count(s, settled, func(t *hook.Tally) { t.GivenUp++ })
		}
		return none, err
	}, "SELECT mode, tenant, endpoint, created_at, settled_at, state FROM deliveries WHERE kind = 0")
	w.must(err)
	through := map[hook.ID]bool{}
	_, err = sqltext.Collect(ctx, f.core.Read, func(row sqltext.Scanner) (none struct{}, err error) {
		var id hook.ID
		var s sqltext.Subject
		var created, at, took, number int64
		var class hook.Class
		err = row.Scan(sqltext.Blob(id[:]), &s.Mode, &s.Tenant, sqltext.Blob(s.Endpoint[:]), &created, &at, &took, &class, &number)
		again := through[id]
		through[id] = again || class == ""
		count(s, 0, func(t *hook.Tally) {
			t.Attempts++
			t.AttemptTime.Note(time.Duration(took) * time.Microsecond)
			if class != "" {
				t.AddError(class, 1)
				return
			}
			if again { // it had succeeded before
				return
			}
			t.DeliveryTime.Note(time.Duration(at+took-created) * time.Microsecond)
			if number == 1 {
				t.FirstTry++
			}
		})
		return none, err
	}, `SELECT d.id, d.mode, d.tenant, d.endpoint, d.created_at, a.at, a.duration_us, a.class, a.number
		FROM deliveries d JOIN attempts a ON a.event = d.event AND a.endpoint = d.endpoint WHERE d.kind = 0 ORDER BY a.event, a.endpoint, a.number`)
	w.must(err)
	return all
}

// check compares the statistics of every subject with the rows.
func (w *statsWorld) check(f *faulty, when string, step time.Duration) {
	w.t.Helper()
	rows := w.rows(f)
	subjects := []sqltext.Subject{{Scope: hook.Scope{Mode: hook.Live}}, {Scope: hook.Scope{Mode: hook.Test}}}
	var ids []hook.ID
	for _, e := range w.ends {
		ids = append(ids, e.ID)
		subjects = append(subjects, sqltext.Subject{Scope: e.Scope}, sqltext.Subject{Scope: e.Scope, Endpoint: e.ID})
	}
	from := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for _, s := range subjects {
		got, err := f.Buckets(w.t.Context(), hook.StatsQuery{Scope: s.Scope, Endpoint: s.Endpoint, From: from, To: from.Add(24 * time.Hour), Step: step})
		w.must(err)
		if !s.Endpoint.IsZero() { // with others, and one of the other mode that is left out
			of, err := f.BucketsOf(w.t.Context(), hook.StatsQuery{Scope: hook.Scope{Mode: s.Mode}, From: from, To: from.Add(24 * time.Hour), Step: step}, ids)
			w.must(err)
			list := of[s.Endpoint]
			if list == nil {
				list = make([]hook.Tally, len(got.Buckets))
			}
			if !reflect.DeepEqual(list, got.Buckets) || of[hook.ID{}] != nil {
				w.t.Errorf("%s: %v by %v: with others\n%+v\nalone\n%+v", when, s, step, list, got.Buckets)
			}
		}
		var total hook.Tally
		for i := range got.Buckets {
			b := &got.Buckets[i]
			total.Add(b)
			if step != time.Minute {
				continue
			}
			want := rows[minuteOf{s, from.Add(time.Duration(i) * step).UnixMicro()}]
			if want == nil {
				want = &hook.Tally{}
			}
			if !s.Endpoint.IsZero() {
				want.Events = 0
			}
			if b.Events != want.Events || b.Accepted != want.Accepted || b.Delivered != want.Delivered || b.GivenUp != want.GivenUp {
				w.t.Errorf("%s: %v, minute %d: counted %+v, want %+v", when, s, i, b, want)
			}
		}
		want := rows[minuteOf{s, 0}]
		if want == nil {
			want = &hook.Tally{}
		}
		if !bytes.Equal(sqltext.AppendTally(nil, &total), sqltext.AppendTally(nil, want)) {
			w.t.Errorf("%s: %v by %v:\ncounted %+v\nrows    %+v", when, s, step, total, want)
		}
	}
}

// The statistics equal the rows, per minute and per hour, after each of five kills in the
// middle of work, whether added up or not, and on every node.
func TestStatisticsAreExact(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) { statisticsAreExact(t, []Options{{Dir: t.TempDir()}}) })
	t.Run("PostgreSQL", func(t *testing.T) {
		url := pgtest.Database(t)
		statisticsAreExact(t, []Options{{Postgres: url, Lease: time.Minute}, {Postgres: url, Lease: time.Minute}})
	})
}

func statisticsAreExact(t *testing.T, opts []Options) {
	w := &statsWorld{t: t, rnd: rand.New(rand.NewPCG(21, 2026)), opts: opts, node: make([]*faulty, len(opts)), now: time.Date(2026, 3, 1, 11, 0, 0, 0, time.UTC)}
	for i := range w.opts {
		w.opts[i].Now = w.clock
	}
	w.open(0)
	for _, scope := range []hook.Scope{{Tenant: "acme", Mode: hook.Live}, {Tenant: "rival", Mode: hook.Live}, {Tenant: "acme", Mode: hook.Test}} {
		if scope.Mode == hook.Live {
			_, _, err := w.node[0].CreateTenant(t.Context(), hook.Tenant{ID: scope.Tenant}, nil)
			w.must(err)
		}
		for range 2 {
			e, _, err := w.node[0].CreateEndpoint(t.Context(), hook.Endpoint{Scope: scope, Types: hook.Filter{"*"}, Secrets: []hook.Secret{{Text: "s"}}}, nil)
			w.must(err)
			w.ends = append(w.ends, e)
		}
	}
	for i := 1; i < len(w.node); i++ {
		w.open(i)
	}
	for kill := range 5 {
		f := w.node[0]
		f.failAt(40 + w.rnd.IntN(80))
		for range 500 {
			err := w.step(w.node[w.rnd.IntN(len(w.node))])
			if f.fired {
				break
			}
			if err != nil && !errors.Is(err, upkeep.ErrNotMine) {
				t.Fatal(err)
			}
		}
		if !f.fired {
			t.Fatalf("kill %d: nothing failed", kill)
		}
		f.failAt(0)
		w.must(f.Close())
		w.open(0)
		w.check(w.node[0], "after a kill", time.Minute)
	}
	f := w.node[len(w.node)-1]
	w.check(f, "at the end", time.Minute)
	w.check(f, "at the end", time.Hour)
	if n := w.count(f, "stats"); n == 0 {
		t.Error("nothing was moved to the table of finished spans")
	}
	// All spans are over, and nothing is left in the log.
	w.pass(2 * time.Hour)
	for {
		next, err := f.upkeep.SumStats(t.Context())
		w.must(err)
		w.pass(max(next, upkeep.StatAge))
		if next == 0 {
			break
		}
	}
	if n := w.count(f, "stat_log"); n != 0 {
		t.Errorf("%d rows are left in the log", n)
	}
	w.check(f, "all finished", time.Minute)
	w.check(f, "all finished", time.Hour)
	if accepted := w.rows(f)[minuteOf{sqltext.Subject{Scope: hook.Scope{Mode: hook.Live}}, 0}].Accepted; int64(w.asked) == accepted {
		t.Error("control: what was counted outside of the transactions is the same")
	}
	// Minutes are kept for a day, hours for longer.
	w.pass(26 * time.Hour)
	w.must(f.upkeep.DropStats(t.Context()))
	if n := w.count(f, "stats WHERE span = 60"); n != 0 {
		t.Errorf("%d minutes are kept after a day", n)
	}
	w.check(f, "after a day", time.Hour)
	w.pass(91 * 24 * time.Hour)
	w.must(f.upkeep.DropStats(t.Context()))
	if n := w.count(f, "stats"); n != 0 {
		t.Errorf("%d hours are kept after 91 days", n)
	}
}

func (w *statsWorld) count(f *faulty, from string) (n int) {
	w.t.Helper()
	w.must(f.core.Read.QueryRowContext(w.t.Context(), "SELECT count(*) FROM "+from).Scan(&n))
	return n
}

// A row that another node committed while its neighbours were being added up is neither
// lost nor counted twice. The step is undone, and the next one includes it.
func TestARowThatIsSeenLate(t *testing.T) {
	w := &statsWorld{t: t, opts: []Options{{Postgres: pgtest.Database(t), Lease: time.Minute}}, node: make([]*faulty, 1), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	w.opts[0].Now = w.clock
	w.open(0)
	f, scope := w.node[0], hook.Scope{Tenant: "acme", Mode: hook.Live}
	for range 2 {
		_, _, err := f.Publish(t.Context(), []hook.NewEvent{{Scope: scope, Type: "a", Data: []byte("{}"), CreateTenant: true}}, nil, nil)
		w.must(err)
	}
	w.pass(20 * time.Second)
	came := false
	for _, conn := range node(f.Store).Writers() {
		conn.Fault = func(query string) error {
			if query != upkeep.Statements()["drop log"] || came {
				return nil
			}
			came = true
			_, err := f.core.Read.DB.ExecContext(t.Context(), "INSERT INTO stat_log SELECT id + 1, span, start, fresh, subjects, data FROM stat_log ORDER BY id LIMIT 1")
			return err
		}
	}
	for _, want := range []int{3, 1} {
		_, err := f.upkeep.SumStats(t.Context())
		w.must(err)
		got, err := f.Buckets(t.Context(), hook.StatsQuery{Scope: scope, From: w.now.Truncate(time.Hour), To: w.now.Truncate(time.Hour).Add(time.Hour), Step: time.Hour})
		w.must(err)
		if n := w.count(f, "stat_log"); n != want || got.Buckets[0].Events != 3 {
			t.Errorf("%d rows in the log, want %d; %d events, want 3", n, want, got.Buckets[0].Events)
		}
	}
}
