package storetest

import (
	"fmt"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// failing creates an endpoint with n failed deliveries, each of its own event.
func (w *world) failing(n int) (*hook.Endpoint, map[hook.ID]bool) {
	w.Helper()
	e := w.endpoint(live)
	events := map[hook.ID]bool{}
	for range n {
		w.pass(time.Millisecond)
		j := w.job(live)
		s := w.outcome(j, 500)
		s.Outcome.Policy = &hook.Policy{} // one attempt
		w.settle(s)
		w.wantState(j, hook.Failed, hook.ReasonPolicyEnded, 1)
		events[j.Delivery.Event] = true
	}
	return e, events
}

// replay creates a replay and returns it as this process runs it.
func (w *world) replay(n hook.NewReplay) (hook.ReplayJob, hook.ReplayRef) {
	w.Helper()
	if n.Rate == 0 {
		n.Rate = 100
	}
	j, replay, err := w.store.CreateReplay(w.ctx, n, nil)
	w.must(err)
	if replay != nil {
		w.Fatalf("replay %v", replay)
	}
	return j, hook.ReplayRef{ID: j.ID, Fence: j.Fence, Rate: j.Rate}
}

func (w *world) step(ref hook.ReplayRef, most int) hook.ReplayStep {
	w.Helper()
	step, err := w.store.StepReplay(w.ctx, ref, most, profileOf)
	w.must(err)
	return step
}

// steps runs steps until the replay has ended, and returns how many were needed.
func (w *world) steps(ref hook.ReplayRef, most int) int {
	w.Helper()
	for n := 1; n < 100; n++ {
		if step := w.step(ref, most); step.Over {
			return n
		}
	}
	w.Fatal("the replay does not end")
	return 0
}

// claimAll claims and attempts the waiting work of an endpoint, and counts the attempts of
// each event.
func (w *world) claimAll(e *hook.Endpoint, status int, counts map[hook.ID]int) {
	w.Helper()
	for {
		jobs := w.claim(100, e).Jobs
		if len(jobs) == 0 {
			return
		}
		for _, j := range jobs {
			counts[j.Delivery.Event]++
			w.settle(w.outcome(j, status))
		}
	}
}

func (w *world) replayNow(id hook.ID) hook.ReplayJob {
	w.Helper()
	j, err := w.store.Replay(w.ctx, live, id)
	w.must(err)
	return j
}

func replaySendsOnce(w *world) {
	e, events := w.failing(7)
	other := w.endpoint(live, "x.y")
	w.pass(time.Second)
	w.publish(live, "a.b") // succeeds, so the replay ignores it
	w.claimAll(e, 200, map[hook.ID]int{})
	for _, j := range w.taken().Jobs {
		w.settle(w.outcome(j, 200))
	}
	want := hook.NewReplay{Scope: hook.Scope{Mode: hook.Live}, Endpoint: e.ID, Source: hook.FromFailed, Rate: 100}
	dry, err := w.store.PreviewReplay(w.ctx, want)
	w.must(err)
	if dry.Matched != 7 || !dry.Exact || len(dry.Sample) != 7 || dry.Sample[0].LastStatus != 500 || !events[dry.Sample[0].Event] {
		w.Fatalf("dry run %+v", dry)
	}
	j, ref := w.replay(want)
	if j.Scope != live || j.Total != 7 || j.State != hook.ReplayRunning {
		w.Fatalf("%+v", j)
	}
	counts := map[hook.ID]int{}
	for n := range 3 { // the store is closed between two pages and continues where it was
		if step := w.step(ref, 2); step.Done != 2 || step.Over {
			w.Fatalf("step %d: %+v", n, step)
		}
		w.reopen()
		w.taken()
		_, _, err := w.store.Recover(w.ctx)
		w.must(err)
		taken := w.runs()
		if len(taken) != 1 || taken[0].ID != j.ID || taken[0].Fence <= ref.Fence {
			w.Fatalf("taken over: %+v", taken)
		}
		if step := w.step(ref, 2); !step.Over || step.Done != 0 {
			w.Fatalf("a step with an old fence: %+v", step)
		}
		ref = taken[0]
		w.claimAll(e, []int{200, 500, 200}[n], counts)
	}
	w.steps(ref, 2)
	w.claimAll(e, 200, counts)
	for event := range events {
		if counts[event] != 1 {
			w.Errorf("event sent %d times", counts[event])
		}
	}
	if len(counts) != dry.Matched {
		w.Errorf("%d events sent, the dry run said %d", len(counts), dry.Matched)
	}
	if now := w.replayNow(j.ID); now.State != hook.ReplayDone || now.Requested != 7 || now.Delivered != 5 || now.Failed != 2 || now.Pending() != 0 || now.EndedAt.IsZero() {
		w.Errorf("done: %+v", now)
	}
	if left := w.claim(10, other).Jobs; len(left) != 0 {
		w.Errorf("another endpoint got %+v", left)
	}
	_, err = w.store.CancelReplay(w.ctx, live, j.ID)
	w.wantCode(err, hook.CodeReplayEnded)
}

// runs returns the replays that were handed over to this process since the last call.
func (w *world) runs() (all []hook.ReplayRef) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.commits {
		all = append(all, c.Replays...)
	}
	w.commits = nil
	return all
}

func replayMakesWhatIsMissing(w *world) {
	w.tenant("acme")
	var want []hook.ID
	for i := range 5 {
		w.pass(time.Millisecond)
		p := w.publish(live, []string{"a.b", "x.y"}[i%2])
		if i%2 == 0 {
			want = append(want, p.Event)
		}
	}
	e := w.endpoint(live, "a.*")
	w.pass(time.Second)
	n := hook.NewReplay{Scope: live, Endpoint: e.ID, Source: hook.FromMissing, Newest: true}
	j, ref := w.replay(n)
	if j.Total != 3 {
		w.Fatalf("%+v", j)
	}
	w.taken()
	if step := w.step(ref, 2); step.Done != 2 {
		w.Fatalf("%+v", step)
	}
	if jobs := w.taken().Jobs; len(jobs) != 0 {
		w.Errorf("handed over before fresh events: %+v", jobs)
	}
	counts := map[hook.ID]int{}
	w.claimAll(e, 200, counts)
	if counts[want[2]] != 1 || counts[want[1]] != 1 || counts[want[0]] != 0 {
		w.Errorf("newest first: %v", counts)
	}
	w.steps(ref, 2)
	w.claimAll(e, 200, counts)
	if now := w.replayNow(j.ID); now.State != hook.ReplayDone || now.Created != 3 || len(counts) != 3 {
		w.Errorf("%+v, sent %v", now, counts)
	}
	if again, _ := w.replay(n); again.State != hook.ReplayDone || again.Total != 0 || !again.Exact || again.EndedAt.IsZero() {
		w.Errorf("nothing is missing any more: %+v", again)
	}
}

func replayFilters(w *world) {
	e, _ := w.failing(3)
	w.pass(time.Second)
	since := w.clock()
	j := w.job(live)
	w.settle(w.outcome(j, 200))
	w.pass(time.Second)
	failed, succeeded := hook.Failed, hook.Succeeded
	for name, c := range map[string]struct {
		source hook.ReplaySource
		filter hook.ReplayFilter
		want   int
	}{
		"all":           {hook.FromAll, hook.ReplayFilter{}, 4},
		"state":         {hook.FromAll, hook.ReplayFilter{State: &succeeded}, 1},
		"failed state":  {hook.FromAll, hook.ReplayFilter{State: &failed}, 3},
		"status class":  {hook.FromAll, hook.ReplayFilter{StatusClass: 2}, 1},
		"error class":   {hook.FromFailed, hook.ReplayFilter{Error: hook.ClassStatus}, 3},
		"other error":   {hook.FromFailed, hook.ReplayFilter{Error: hook.ClassTimeout}, 0},
		"type":          {hook.FromAll, hook.ReplayFilter{Types: hook.Filter{"a.*"}}, 4},
		"other type":    {hook.FromAll, hook.ReplayFilter{Types: hook.Filter{"x.y"}}, 0},
		"after":         {hook.FromAll, hook.ReplayFilter{After: since}, 1},
		"before":        {hook.FromAll, hook.ReplayFilter{Before: since}, 3},
		"failed, after": {hook.FromFailed, hook.ReplayFilter{After: since}, 0},
		"missing":       {hook.FromMissing, hook.ReplayFilter{}, 0},
	} {
		got, err := w.store.PreviewReplay(w.ctx, hook.NewReplay{Scope: live, Endpoint: e.ID, Source: c.source, Filter: c.filter})
		w.must(err)
		if got.Matched != c.want || !got.Exact {
			w.Errorf("%s: %+v, want %d", name, got, c.want)
		}
	}
}

func replayOfDisabled(w *world) {
	e, events := w.failing(4)
	w.pass(time.Second)
	n := hook.NewReplay{Scope: live, Endpoint: e.ID, Source: hook.FromFailed}
	plain, ref := w.replay(n)
	n.Hold = true
	w.step(ref, 1)
	w.setStatus(e, hook.Disabled, false)
	_, _, err := w.store.CreateReplay(w.ctx, hook.NewReplay{Scope: live, Endpoint: e.ID, Source: hook.FromFailed, Rate: 1}, nil)
	w.wantCode(err, hook.CodeEndpointDisabled)
	if step := w.step(ref, 1); !step.Over {
		w.Errorf("%+v", step)
	}
	if now := w.replayNow(plain.ID); now.State != hook.ReplayPaused || now.Reason != hook.ReplayEndpointDisabled || now.Pending() != 1 {
		w.Errorf("disabled meanwhile: %+v", now)
	}
	_, err = w.store.ResumeReplay(w.ctx, live, plain.ID)
	w.wantCode(err, hook.CodeEndpointDisabled)
	held, heldRef := w.replay(n)
	if step := w.step(heldRef, 1); !step.Waiting || step.Over {
		w.Errorf("%+v", step)
	}
	e = w.setStatus(e, hook.Enabled, false)
	w.runs()
	_, err = w.store.ResumeReplay(w.ctx, live, plain.ID)
	w.must(err)
	again := w.runs()
	if len(again) != 1 {
		w.Fatalf("resumed: %+v", again)
	}
	w.steps(again[0], 10)
	w.steps(heldRef, 10) // what the first replay requested is skipped
	counts := map[hook.ID]int{}
	w.until("claimed once the hold has ended", func() bool { w.claimAll(e, 200, counts); return len(counts) == len(events) })
	w.claimAll(e, 200, counts)
	for _, n := range counts {
		if n != 1 {
			w.Errorf("sent %v", counts)
		}
	}
	if a, b := w.replayNow(plain.ID), w.replayNow(held.ID); a.State != hook.ReplayDone || a.Delivered != 4 || b.State != hook.ReplayDone || b.Skipped != 4 {
		w.Errorf("%+v\n%+v", a, b)
	}
}

func replayIsBounded(w *world) {
	e, _ := w.failing(1)
	w.pass(time.Second)
	n := hook.NewReplay{Scope: live, Endpoint: e.ID, Source: hook.FromFailed}
	var first hook.ReplayJob
	var ref hook.ReplayRef
	for i := range hook.MaxTenantReplays {
		if j, r := w.replay(n); i == 0 {
			first, ref = j, r
		}
	}
	n.Rate = 1
	_, _, err := w.store.CreateReplay(w.ctx, n, nil)
	w.wantCode(err, hook.CodeReplayLimit)
	for _, scope := range []hook.Scope{test, {Tenant: "other", Mode: hook.Live}} {
		_, err := w.store.Replay(w.ctx, scope, first.ID)
		w.wantCode(err, hook.CodeNotFound)
		_, err = w.store.CancelReplay(w.ctx, scope, first.ID)
		w.wantCode(err, hook.CodeNotFound)
		_, err = w.store.PreviewReplay(w.ctx, hook.NewReplay{Scope: scope, Endpoint: e.ID, Source: hook.FromAll})
		w.wantCode(err, hook.CodeNotFound)
	}
	w.steps(ref, 10)
	if now := w.replayNow(first.ID); now.Pending() != 1 {
		w.Errorf("%+v", now)
	}
	now, err := w.store.CancelReplay(w.ctx, live, first.ID)
	w.must(err)
	if now.State != hook.ReplayCancelled || len(w.claim(10, e).Jobs) != 0 {
		w.Errorf("cancelled: %+v, and its attempt is still made", now)
	}
	if now = w.replayNow(first.ID); now.Dropped != 1 || now.Pending() != 0 {
		w.Errorf("%+v", now)
	}
	running := hook.ReplayRunning
	list, next, err := w.store.Replays(w.ctx, hook.ReplayQuery{Scope: live, Endpoint: e.ID, State: &running, Page: hook.Page{Limit: 2}})
	w.must(err)
	rest, last, err := w.store.Replays(w.ctx, hook.ReplayQuery{Scope: live, State: &running, Page: hook.Page{Limit: 2, Cursor: next}})
	w.must(err)
	if len(list) != 2 || len(rest) != 1 || last != "" || list[0].CreatedAt.Before(rest[0].CreatedAt) {
		w.Errorf("%d and %d of 3 in pages, then %q", len(list), len(rest), last)
	}
	w.must(w.store.DeleteEndpoint(w.ctx, live, e.ID))
	for _, j := range list {
		if now := w.replayNow(j.ID); now.State != hook.ReplayFailed || now.Reason != hook.ReplayEndpointDeleted {
			w.Errorf("the endpoint is deleted: %+v", now)
		}
	}
	if got := fmt.Sprint(w.step(hook.ReplayRef{ID: list[0].ID, Fence: list[0].Fence}, 1)); got != fmt.Sprint(hook.ReplayStep{Over: true}) {
		w.Errorf("a step of what has ended: %s", got)
	}
}

// replayControl shows what replaySendsOnce would detect: a replay that requests its
// attempts in one transaction and advances in another sends twice after a crash in between.
func replayControl(w *world) {
	e, events := w.failing(3)
	w.pass(time.Second)
	_, _ = w.replay(hook.NewReplay{Scope: live, Endpoint: e.ID, Source: hook.FromFailed})
	counts := map[hook.ID]int{}
	for event := range events {
		_, _, err := w.store.Resend(w.ctx, live, event, e.ID, profileOf, nil)
		w.must(err)
	}
	for _, j := range w.taken().Jobs {
		counts[j.Delivery.Event]++
		w.settle(w.outcome(j, 500))
	}
	w.reopen() // before it advanced
	_, _, err := w.store.Recover(w.ctx)
	w.must(err)
	w.steps(w.runs()[0], 10)
	w.claimAll(e, 200, counts)
	for event := range events {
		if counts[event] != 2 {
			w.Errorf("the control sent an event %d times: the case cannot see what is sent twice", counts[event])
		}
	}
}

// retryAnyway checks that a retry by hand is sent to a disabled endpoint on request, and
// does not affect its health.
func retryAnyway(w *world) {
	e := w.endpoint(live)
	j := w.job(live)
	w.settle(w.outcome(j, 500))
	e = w.setStatus(e, hook.Disabled, false)
	w.until("held", func() bool { d, _ := w.delivery(j); return d.State == hook.Held })
	before, _, err := w.store.Health(w.ctx, live, e.ID)
	w.must(err)
	_, _, err = w.store.RetryDelivery(w.ctx, live, j.Delivery.ID, nil)
	w.wantCode(err, hook.CodeEndpointDisabled)
	for _, status := range []int{500, 410, 200} {
		w.taken()
		_, _, err = w.store.RetryAnyway(w.ctx, live, j.Delivery.ID, nil)
		w.must(err)
		jobs := w.taken().Jobs
		if len(jobs) != 1 || !jobs[0].Passes() || jobs[0].Trigger.String() != "manual" {
			w.Fatalf("%+v", jobs)
		}
		w.settle(w.outcome(jobs[0], status))
	}
	w.wantState(j, hook.Succeeded, "", 4)
	after, _, err := w.store.Health(w.ctx, live, e.ID)
	w.must(err)
	if now, err := w.store.EndpointNow(w.ctx, live, e.ID); err != nil || after != before || now.Status != hook.Disabled || now.DisabledReason != e.DisabledReason {
		w.Errorf("health %+v, was %+v; %+v %v", after, before, now, err)
	}
	w.setStatus(e, hook.Enabled, false)
	w.taken()
	_, _, err = w.store.RetryAnyway(w.ctx, live, j.Delivery.ID, nil)
	w.must(err)
	if jobs := w.taken().Jobs; len(jobs) != 1 || jobs[0].Trigger != hook.ByHand { // control: it counts when the endpoint is enabled
		w.Errorf("%+v", jobs)
	}
	w.must(w.store.DeleteEndpoint(w.ctx, live, e.ID))
	_, _, err = w.store.RetryAnyway(w.ctx, live, j.Delivery.ID, nil)
	w.wantCode(err, hook.CodeEndpointDisabled)
}

// requireMatch checks that an event without any recipient is refused if the platform
// requires a match.
func requireMatch(w *world) {
	e := w.endpoint(live, "a.*")
	one := hook.NewEvent{Scope: live, Type: "x.y", Data: []byte(`{}`), RequireMatch: true}
	two := one
	two.Type = "a.b"
	stranger := one
	stranger.Scope.Tenant, stranger.CreateTenant = "nobody", true
	out := w.publishAll(one, two, stranger)
	w.wantCode(out[0].Err, hook.CodeNoMatch)
	w.must(out[1].Err)
	w.wantCode(out[2].Err, hook.CodeNoMatch)
	if list, _, err := w.store.Events(w.ctx, hook.EventQuery{Scope: live}); err != nil || len(list) != 1 {
		w.Errorf("stored %+v, %v", list, err)
	}
	_, err := w.store.Tenant(w.ctx, "nobody")
	w.wantCode(err, hook.CodeNotFound)
	w.setStatus(e, hook.Disabled, false)
	w.wantCode(w.publishAll(two)[0].Err, hook.CodeNoMatch)
}
