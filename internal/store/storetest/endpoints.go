package storetest

import (
	"bytes"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/posthorn/posthorn/internal/hook"
)

// fail publishes an event of the scope and settles it as failed under the trip rule.
func (w *world) fail(e *hook.Endpoint, status int, trip hook.Trip) hook.Job {
	w.Helper()
	j := w.job(e.Scope)
	s := w.outcome(j, status)
	p := *plan
	p.Trip = trip
	s.Outcome.Policy = &p
	w.settle(s)
	return j
}

func (w *world) current(e *hook.Endpoint) *hook.Endpoint {
	w.Helper()
	now, err := w.store.Endpoint(w.ctx, e.Scope, e.ID)
	w.must(err)
	return now
}

func tripByAttempts(w *world) {
	e := w.endpoint(live)
	rule := hook.Trip{Count: hook.TripAttempts, N: 3}
	w.fail(e, 500, rule)
	w.fail(e, 500, rule)
	if h, _, err := w.store.Health(w.ctx, live, e.ID); err != nil || h.Failures != 2 || !h.FirstFailureAt.Equal(w.clock()) {
		w.Errorf("health %+v, %v", h, err)
	}
	w.fail(e, 200, rule)
	if h, _, err := w.store.Health(w.ctx, live, e.ID); err != nil || h != (hook.Health{}) {
		w.Errorf("health after a success %+v, %v", h, err)
	}
	w.fail(e, 500, rule)
	w.reopen() // the count survives a restart
	w.fail(e, 500, rule)
	if w.current(e).Status != hook.Enabled {
		w.Fatal("tripped too early")
	}
	j := w.fail(e, 500, rule)
	now := w.current(e)
	if now.Status != hook.Tripped || now.DisabledReason != "failures" || !now.DisabledAt.Equal(w.clock()) || now.Revision != e.Revision+1 {
		w.Fatalf("endpoint %+v", now)
	}
	if changed := w.taken().Changed; len(changed) != 1 || changed[0].Status != hook.Tripped {
		w.Errorf("changed %+v", changed)
	}
	w.until("waiting deliveries held", func() bool { d, _ := w.delivery(j); return d.State == hook.Held })
	w.wantState(j, hook.Held, hook.ReasonTripped, 1)
	w.taken()
	p := w.publish(live, "new")
	if c := w.taken(); p.Deliveries != 1 || len(c.Jobs)+len(c.Due) != 0 {
		w.Errorf("a tripped endpoint was handed work: %+v", c)
	}
	if _, held, err := w.store.Health(w.ctx, live, e.ID); err != nil || held != 6 {
		w.Errorf("%d held, %v; want the five failed and the new one", held, err)
	}
}

func tripByDuration(w *world) {
	e := w.endpoint(live)
	rule := hook.Trip{Count: hook.TripDuration, N: 3, For: 4 * time.Hour}
	w.fail(e, 500, rule)
	w.pass(2 * time.Hour)
	w.fail(e, 500, rule)
	h, _, err := w.store.Health(w.ctx, live, e.ID)
	w.must(err)
	if !h.WarnedAt.Equal(w.clock()) || w.current(e).Status != hook.Enabled {
		w.Fatalf("no warning half-way: %+v", h)
	}
	w.pass(2 * time.Hour)
	w.fail(e, 500, rule)
	if got := w.current(e).Status; got != hook.Tripped {
		w.Errorf("status %d after 4 h of only failures", got)
	}
}

func goneDisables(w *world) {
	e := w.endpoint(live)
	waiting := w.job(live)
	j := w.fail(e, 410, hook.Trip{})
	w.wantState(j, hook.Failed, hook.ReasonGone, 1)
	if now := w.current(e); now.Status != hook.Tripped || now.DisabledReason != "gone" {
		w.Errorf("endpoint %+v", now)
	}
	w.until("waiting delivery held", func() bool { d, _ := w.delivery(waiting); return d.State == hook.Held })
	w.wantState(waiting, hook.Held, hook.ReasonGone, 0)
}

func oldEnabling(w *world) {
	e := w.endpoint(live)
	j := w.job(live)
	e = w.setStatus(e, hook.Disabled, false)
	e = w.setStatus(e, hook.Enabled, false)
	s := w.outcome(j, 410)
	w.settle(s)
	if now := w.current(e); now.Status != hook.Enabled {
		w.Errorf("an attempt begun before it was enabled disabled the endpoint")
	}
	s.Job = w.job(live) // control: one that started later does
	s.Outcome.Enablings = e.Enablings
	w.settle(s)
	if now := w.current(e); now.Status != hook.Tripped {
		w.Errorf("status %d after 410", now.Status)
	}
}

func holdAndRelease(w *world) {
	e := w.endpoint(live)
	var jobs []hook.Job
	for range 3 {
		jobs = append(jobs, w.job(live))
		w.pass(time.Second)
	}
	w.taken()
	off := w.setStatus(e, hook.Disabled, false)
	if off.DisabledReason != "by_hand" || off.Revision != e.Revision+1 {
		w.Errorf("endpoint %+v", off)
	}
	w.until("all held", func() bool { _, held, err := w.store.Health(w.ctx, live, e.ID); return err == nil && held == 3 })
	if p := w.publish(live, "a"); p.Deliveries != 0 {
		w.Errorf("disabled by hand, and %d new deliveries", p.Deliveries)
	}
	d := w.wantState(jobs[0], hook.Held, hook.ReasonDisabled, 0)
	if d.Owner != 0 || d.Fence != jobs[0].Delivery.Fence+1 || !d.Due.IsZero() {
		w.Errorf("held row %+v", d)
	}
	w.reopen()
	w.pass(time.Hour)
	w.taken()
	on := w.setStatus(off, hook.Enabled, false)
	if on.Enablings != e.Enablings+1 || on.DisabledReason != "" || !on.DisabledAt.IsZero() {
		w.Errorf("endpoint %+v", on)
	}
	w.until("all released", func() bool { _, held, err := w.store.Health(w.ctx, live, e.ID); return err == nil && held == 0 })
	w.until("told", func() bool { return len(w.taken().Due) > 0 })
	got := w.claim(10, on).Jobs
	if len(got) != 3 {
		w.Fatalf("claimed %d", len(got))
	}
	for i := range got {
		if got[i].Delivery.Event != jobs[i].Delivery.Event {
			w.Errorf("released out of order at %d", i)
		}
	}
}

// enableDuringHold enables an endpoint right after it was disabled. The rows whose jobs the
// dispatcher forgot in between must not stay owned.
func enableDuringHold(w *world) {
	e := w.endpoint(live)
	var old []hook.Job
	for range 30 {
		old = append(old, w.job(live))
	}
	w.setStatus(e, hook.Disabled, false)
	w.setStatus(e, hook.Enabled, false)
	fresh := w.job(live)
	w.until("old rows in the table", func() bool {
		for _, j := range old {
			if d, _ := w.delivery(j); d.State != hook.Pending || d.Owner != 0 {
				return false
			}
		}
		return true
	})
	d := w.wantState(fresh, hook.Pending, "", 0)
	if d.Owner != w.store.Epoch() || d.Fence != fresh.Delivery.Fence {
		w.Errorf("the sweep took a fresh delivery: %+v", d)
	}
	w.until("claimable", func() bool { return len(w.claim(100, e).Jobs) == 30 })
}

// bigBacklog holds and releases more rows than fit into a page.
func bigBacklog(w *world) {
	e := w.endpoint(live)
	const n = 1300
	w.room = n / 2 // half is handed over, half remains in the table
	for range n / 100 {
		var events []hook.NewEvent
		for range 100 {
			events = append(events, hook.NewEvent{Scope: live, Type: "a", Data: []byte("{}")})
		}
		w.publishAll(events...)
		w.room -= 100
	}
	held := func() int {
		_, held, err := w.store.Health(w.ctx, live, e.ID)
		w.must(err)
		return held
	}
	w.setStatus(e, hook.Disabled, false)
	w.until("all held", func() bool { return held() == n })
	w.taken()
	w.setStatus(e, hook.Enabled, false)
	w.until("all released", func() bool { return held() == 0 })
	seen := map[hook.ID]bool{}
	for {
		got := w.claim(200, e).Jobs
		if len(got) == 0 {
			break
		}
		for _, j := range got {
			seen[j.Delivery.ID] = true
		}
	}
	if len(seen) != n {
		w.Errorf("%d of %d came back", len(seen), n)
	}
}

// toldAfterHold enables an endpoint while its older rows are still being held. A claim
// returns nothing until the hold ends. Then the dispatcher is notified of the work in the
// table. The writer is stopped so that all this happens before the first page of the sweep.
func toldAfterHold(w *world) {
	e := w.endpoint(live)
	w.room = 0
	w.publish(live, "a")
	w.taken()
	stopped, goOn := make(chan struct{}), make(chan struct{})
	letGo := sync.OnceFunc(func() { close(goOn) })
	w.Cleanup(letGo) // if the test fails, it must run before the store is closed
	var all sync.WaitGroup
	var stop sync.Once
	all.Go(func() {
		_, err := w.store.UpdateTenant(w.ctx, live.Tenant, func(n hook.Tenant) (hook.Tenant, error) {
			stop.Do(func() { close(stopped); <-goOn })
			return n, nil
		})
		if err != nil {
			w.Error(err)
		}
	})
	<-stopped
	for i, step := range []func(){
		func() { w.setStatus(e, hook.Disabled, false) },
		func() { w.setStatus(e, hook.Enabled, true) },
		func() { w.publish(live, "a") },
		func() {
			if got := w.claim(5, e); len(got.Jobs)+len(got.Due) != 0 {
				w.Errorf("claimed %+v while the backlog was being held", got)
			}
		},
	} {
		all.Go(step)
		w.until("queued", func() bool { return w.store.Stats().Queued >= i+1 })
	}
	letGo()
	all.Wait()
	told := 0
	w.until("told after the hold", func() bool { told += len(w.taken().Due); return told == 2 })
	if got := w.claim(5, e).Jobs; len(got) != 1 {
		w.Errorf("claimed %d, want the one published after enabling", len(got))
	}
}

func discard(w *world) {
	e := w.endpoint(live)
	j := w.job(live)
	w.setStatus(e, hook.Disabled, false)
	w.until("held", func() bool { d, _ := w.delivery(j); return d.State == hook.Held })
	w.setStatus(e, hook.Enabled, true)
	w.until("discarded", func() bool { d, _ := w.delivery(j); return d.State == hook.Cancelled })
	if d := w.wantState(j, hook.Cancelled, hook.ReasonDiscarded, 0); !d.SettledAt.Equal(w.clock()) {
		w.Errorf("row %+v", d)
	}
}

func deleteCancels(w *world) {
	e := w.endpoint(live)
	waiting, done := w.job(live), w.job(live)
	w.settle(w.outcome(done, 200))
	w.taken()
	w.must(w.store.DeleteEndpoint(w.ctx, live, e.ID))
	if changed := w.taken().Changed; len(changed) != 1 || changed[0].Status != hook.Deleted {
		w.Errorf("changed %+v", changed)
	}
	_, err := w.store.Endpoint(w.ctx, live, e.ID)
	w.wantCode(err, hook.CodeNotFound)
	w.wantCode(w.store.DeleteEndpoint(w.ctx, live, e.ID), hook.CodeNotFound)
	w.until("cancelled", func() bool { d, _ := w.delivery(waiting); return d.State == hook.Cancelled })
	w.wantState(waiting, hook.Cancelled, hook.ReasonEndpointDeleted, 0)
	w.wantState(done, hook.Succeeded, "", 1)
	if p := w.publish(live, "a"); p.Deliveries != 0 {
		w.Errorf("%d deliveries to a deleted endpoint", p.Deliveries)
	}
	_, _, err = w.store.RetryDelivery(w.ctx, live, done.Delivery.ID, nil)
	w.wantCode(err, hook.CodeEndpointDisabled)
}

func heldExpires(w *world) {
	e := w.endpoint(live)
	old := w.job(live)
	w.setStatus(e, hook.Disabled, false)
	w.until("held", func() bool { d, _ := w.delivery(old); return d.State == hook.Held })
	w.pass(23 * time.Hour)
	w.must(w.store.Housekeep(w.ctx))
	w.wantState(old, hook.Held, hook.ReasonDisabled, 0)
	w.pass(2 * time.Hour)
	w.must(w.store.Housekeep(w.ctx))
	if d := w.wantState(old, hook.Failed, hook.ReasonHeldExpired, 0); !d.SettledAt.Equal(w.clock()) {
		w.Errorf("row %+v", d)
	}
}

func endpointSettings(w *world) {
	w.tenant("acme")
	made, _, err := w.store.CreateEndpoint(w.ctx, hook.Endpoint{Scope: live, URL: "https://example.com/x", Types: hook.Filter{"a", "b.*"},
		Title: "T", Description: "D", Profile: "standard", Headers: []hook.Header{{Name: "X-Key", Value: "v"}}, RateLimit: 2.5, MaxInFlight: 3,
		MaxFailures: 4, Retry: &hook.Retry{Steps: []time.Duration{time.Second}, Jitter: 0.1},
		Secrets: []hook.Secret{{Text: "s1", Encoding: hook.EncodingText}}}, nil)
	w.must(err)
	same := func(what string, want *hook.Endpoint) {
		w.Helper()
		for range 2 { // from memory, then from disk
			if diff := cmp.Diff(want, w.current(made)); diff != "" {
				w.Errorf("%s: %s", what, diff)
			}
			w.reopen()
		}
	}
	same("as created", made)
	rotated, _, err := w.store.RotateSecret(w.ctx, live, made.ID, hook.Secret{Text: "s2", Encoding: hook.EncodingText}, time.Hour, nil)
	w.must(err)
	if s := rotated.Secrets; len(s) != 2 || s[0].Text != "s2" || s[1].Text != "s1" || !s[1].ExpiresAt.Equal(w.clock().Add(time.Hour)) ||
		!s[0].ExpiresAt.IsZero() || s[0].Version <= s[1].Version || rotated.Revision != made.Revision+1 {
		w.Errorf("rotated: revision %d, %d secrets", rotated.Revision, len(rotated.Secrets))
	}
	same("rotated", rotated)
	w.pass(2 * time.Hour)
	last, _, err := w.store.RotateSecret(w.ctx, live, made.ID, hook.Secret{Text: "s3", Encoding: hook.EncodingText}, 0, nil)
	w.must(err)
	if len(last.Secrets) != 1 || last.Secrets[0].Text != "s3" {
		w.Errorf("without overlap %d secrets stay", len(last.Secrets))
	}
	changed, err := w.store.UpdateEndpoint(w.ctx, live, made.ID, func(e hook.Endpoint) (hook.Endpoint, error) {
		e.URL, e.Headers, e.Retry, e.Types = "https://example.com/y", nil, nil, nil
		e.ID, e.Revision = hook.ID{1}, 99 // update cannot set these
		return e, nil
	}, false)
	w.must(err)
	if changed.ID != made.ID || changed.Revision != last.Revision+1 {
		w.Errorf("changed %+v", changed)
	}
	same("changed", changed)
	refuse := &hook.Error{Code: hook.CodeURLInvalid}
	_, err = w.store.UpdateEndpoint(w.ctx, live, made.ID, func(e hook.Endpoint) (hook.Endpoint, error) { return e, refuse }, false)
	w.wantCode(err, hook.CodeURLInvalid)
	same("refused", changed)
}

func snapshotsStay(w *world) {
	types := []string{"a", "b"}
	e := w.endpoint(live, types...)
	types[0] = "changed"
	_, err := w.store.UpdateEndpoint(w.ctx, live, e.ID, func(old hook.Endpoint) (hook.Endpoint, error) {
		old.Types[1], old.Secrets[0].Text = "changed", "changed"
		return old, &hook.Error{Code: hook.CodeInvalidRequest}
	}, false)
	w.wantCode(err, hook.CodeInvalidRequest)
	now := w.current(e)
	if diff := cmp.Diff(hook.Filter{"a", "b"}, now.Types); diff != "" || now.Secrets[0].Text != "whsec_first" {
		w.Errorf("a shared snapshot was changed: %s", diff)
	}
}

func sealed(w *world) {
	const planted = "PLANTED-SECRET-f4c1"
	w.tenant("acme")
	once := w.once("k", 1)
	once.Answer = func(any) (int, []byte) { return 201, []byte(planted) }
	const url = "https://example.com/in?token=" + planted + "&a=b?c"
	made, _, err := w.store.CreateEndpoint(w.ctx, hook.Endpoint{Scope: live, URL: url, Types: hook.Filter{"*"},
		Headers: []hook.Header{{Name: "X-Key", Value: planted}}, Secrets: []hook.Secret{{Text: planted, Encoding: hook.EncodingText}}}, once)
	w.must(err)
	look := func(when string) {
		all := w.harness.Bytes()
		if n := bytes.Count(all, []byte(planted)); n != 0 {
			w.Errorf("%s: the secret is on disk %d times", when, n)
		}
		if !bytes.Contains(all, []byte("acme")) { // control: the search finds an existing value
			w.Errorf("%s: the tenant's name is not found", when)
		}
	}
	look("open")
	for range 2 { // from memory, then from disk
		if got := w.current(made).URL; got != url {
			w.Errorf("the URL is %q", got)
		}
		w.reopen()
	}
	w.must(w.store.Close())
	look("closed")
}
