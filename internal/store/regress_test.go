package store

import (
	"os"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/dispatch"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqlite"
)

// Each test covers a defect that existed.

func noProfile(*hook.Endpoint) hook.ProfileHash { return hook.ProfileHash{} }

func oneEndpoint(t *testing.T) (*faulty, hook.Scope, *hook.Endpoint) {
	t.Helper()
	f := newFaulty(t)
	scope := hook.Scope{Tenant: "acme", Mode: hook.Live}
	if _, _, err := f.CreateTenant(t.Context(), hook.Tenant{ID: scope.Tenant}, nil); err != nil {
		t.Fatal(err)
	}
	return f, scope, f.another(scope)
}

func (f *faulty) another(scope hook.Scope) *hook.Endpoint {
	f.t.Helper()
	e, _, err := f.CreateEndpoint(f.t.Context(), hook.Endpoint{Scope: scope, Types: hook.Filter{"*"}, Secrets: []hook.Secret{{Text: "s"}}}, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	return e
}

func (f *faulty) turn(scope hook.Scope, id hook.ID, to hook.Status) {
	f.t.Helper()
	change := func(e hook.Endpoint) (hook.Endpoint, error) { e.Status = to; return e, nil }
	if _, err := f.UpdateEndpoint(f.t.Context(), scope, id, change, false); err != nil {
		f.t.Fatal(err)
	}
}

func (f *faulty) say(scope hook.Scope, n int) {
	f.t.Helper()
	events := make([]hook.NewEvent, n)
	for i := range events {
		events[i] = hook.NewEvent{Scope: scope, Type: "a", Data: []byte("{}")}
	}
	out, _, err := f.Publish(f.t.Context(), events, noProfile, nil)
	if err != nil || out[0].Err != nil {
		f.t.Fatal(err, out)
	}
}

// page sweeps one page.
func (f *faulty) page() (more bool) {
	f.t.Helper()
	err := f.do(f.t.Context(), "test", 1, func(t *tx) (err error) { more, err = t.sweepOnce(); return err })
	if err != nil {
		f.t.Fatal(err)
	}
	return more
}

func TestARetryByHandOutlivesALateHold(t *testing.T) {
	f, scope, e := oneEndpoint(t)
	var dropped []hook.Ref
	f.opts.Committed = func(c hook.Commit) {
		f.jobs = append(f.jobs, c.Jobs...)
		dropped = append(dropped, c.Dropped...)
	}
	f.say(scope, 1)
	id := f.jobs[0].Delivery.ID
	f.turn(scope, e.ID, hook.Disabled)
	f.turn(scope, e.ID, hook.Enabled) // the hold has not begun yet
	if _, _, err := f.RetryDelivery(t.Context(), scope, id, nil); err != nil {
		t.Fatal(err)
	}
	for f.page() {
	}
	if len(dropped) == 0 {
		t.Fatal("the hold did not come by; the test shows nothing")
	}
	for _, ref := range dropped {
		if !ref.Scheduled {
			t.Errorf("the hold also drops the single shot: %+v", ref)
		}
	}
}

func TestSweepsTakeTurns(t *testing.T) {
	f, scope, first := oneEndpoint(t)
	ids := []hook.ID{first.ID}
	for range 8 {
		ids = append(ids, f.another(scope).ID)
	}
	last := ids[8]
	f.turn(scope, last, hook.Disabled) // it has no deliveries, so there is nothing to hold
	f.say(scope, 500)
	for _, id := range ids[:8] {
		f.turn(scope, id, hook.Disabled)
	}
	for pages := 0; ; pages++ {
		var sweep string
		if err := f.core.Read.QueryRowContext(t.Context(), "SELECT sweep FROM endpoints WHERE id = ?", last[:]).Scan(&sweep); err != nil {
			t.Fatal(err)
		}
		if sweep == "" {
			return
		}
		if pages > 3 {
			t.Fatal("an endpoint with nothing to hold waits behind 8 others with 500 rows each")
		}
		f.page()
	}
}

func TestOneTransactionKeepsTheBoundOfMemory(t *testing.T) {
	f, scope, _ := oneEndpoint(t)
	for range 99 {
		f.another(scope)
	}
	d := dispatch.New(dispatch.Options{Waiting: 1000, EndpointWaiting: 100})
	f.opts.Room, f.opts.Committed = d.Room, d.Committed
	f.say(scope, 1000)
	if st := d.Stats(); st.Waiting > txJobs {
		t.Errorf("%d jobs wait in memory after one transaction, its bound is %d", st.Waiting, txJobs)
	}
}

func TestADamagedSecretKeepsNobodyElseFromStarting(t *testing.T) {
	f, scope, _ := oneEndpoint(t)
	f.say(scope, 1)
	if _, err := f.core.Engine.(*sqlite.DB).Conn().Exec("UPDATE secrets SET sealed = x'00'"); err != nil {
		t.Fatal(err)
	}
	o := f.opts
	o.Committed, o.Room = nil, nil
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	due, _, err := s.Recover(t.Context())
	if err != nil || len(due) != 0 {
		t.Fatalf("recovered %v, %v; want nothing and no error", due, err)
	}
}

func TestTheDatabaseIsPrivate(t *testing.T) {
	f, _, _ := oneEndpoint(t)
	for _, suffix := range []string{"", "-wal", "-shm", ".lock"} {
		info, err := os.Stat(f.opts.Path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode != 0o600 {
			t.Errorf("posthorn.db%s has mode %o", suffix, mode)
		}
	}
}

func TestNoTwoEventsShareATimeOfAcceptance(t *testing.T) {
	f, scope, _ := oneEndpoint(t)
	f.say(scope, 50)
	f.say(scope, 50)
	var events, times int
	if err := f.core.Read.QueryRowContext(t.Context(), "SELECT count(*), count(DISTINCT accepted_at) FROM events").Scan(&events, &times); err != nil {
		t.Fatal(err)
	}
	if events != 100 || times != events {
		t.Errorf("%d events with %d times of acceptance", events, times)
	}
}

// A single shot that was not attempted, because the listener was between two connections
// or a read failed, is not lost, because it was acknowledged.
func TestASingleShotThatCouldNotBeMadeIsOfferedAgain(t *testing.T) {
	f, scope, e := oneEndpoint(t)
	f.opts.Committed = func(c hook.Commit) { f.jobs = append(f.jobs, c.Jobs...) }
	f.say(scope, 1)
	if _, _, err := f.RetryDelivery(t.Context(), scope, f.jobs[0].Delivery.ID, nil); err != nil {
		t.Fatal(err)
	}
	skip := func(job hook.Job) []hook.Due {
		t.Helper()
		due, err := f.Settle(t.Context(), []hook.Settlement{{Job: job, Outcome: hook.Outcome{Skipped: true}}})
		if err != nil {
			t.Fatal(err)
		}
		return due
	}
	due := skip(f.jobs[1])
	if len(due) != 1 || due[0].At.Before(time.Now()) {
		t.Fatalf("due %v after a skip, want the endpoint a little later", due)
	}
	got, err := f.Claim(t.Context(), hook.Claim{Now: due[0].At, Shares: []hook.Share{{Scope: scope, Endpoint: e.ID, Limit: 5}}})
	if err != nil || len(got.Jobs) != 1 || got.Jobs[0].Trigger != hook.ByHand {
		t.Fatalf("claimed %+v, %v, want the same again", got.Jobs, err)
	}
	f.turn(scope, e.ID, hook.Disabled)
	if due := skip(got.Jobs[0]); len(due) != 0 {
		t.Fatalf("due %v for an endpoint that does not receive", due)
	}
	var kept int
	if err := f.core.Read.QueryRowContext(t.Context(), "SELECT count(*) FROM oneshots").Scan(&kept); err != nil || kept != 0 {
		t.Errorf("%d single shots kept, %v", kept, err)
	}
}

// A job that leaves memory without an attempt returns to the table, unless its row has
// changed hands.
func TestAJobThatWasNotAttemptedIsClaimedAgain(t *testing.T) {
	f, scope, e := oneEndpoint(t)
	f.say(scope, 1)
	job := f.jobs[0]
	back := func() []hook.Due {
		t.Helper()
		due, err := f.Settle(t.Context(), []hook.Settlement{{Job: job, Outcome: hook.Outcome{Skipped: true}}})
		if err != nil {
			t.Fatal(err)
		}
		return due
	}
	due := back()
	if len(due) != 1 || due[0].Target.ID != e.ID || due[0].At.Before(job.Delivery.Due.Add(giveBackPause)) {
		t.Fatalf("due %+v, want the endpoint's, a pause after %v", due, job.Delivery.Due)
	}
	got, err := f.Claim(t.Context(), hook.Claim{Now: due[0].At, Shares: []hook.Share{{Scope: scope, Endpoint: e.ID, Limit: 5}}})
	if err != nil || len(got.Jobs) != 1 || got.Jobs[0].Delivery.Attempts != 0 {
		t.Fatalf("claimed %+v, %v", got.Jobs, err)
	}
	if due := back(); len(due) != 0 { // the job has the fence from before the claim
		t.Errorf("a row that somebody else holds was given back: %+v", due)
	}
}
