package storetest

import (
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/posthorn/posthorn/internal/hook"
)

func challenged() hook.Verification {
	return hook.Verification{State: hook.VerificationPending,
		Challenge: &hook.Challenge{Type: "verify", Data: []byte(`{"challenge":"x"}`), Profile: hook.ProfileHash{4}}}
}

// unverified creates an endpoint and returns it with the job of its challenge.
func (w *world) unverified(scope hook.Scope, status hook.Status) (*hook.Endpoint, hook.Job) {
	w.Helper()
	if _, err := w.store.Tenant(w.ctx, scope.Tenant); err != nil {
		w.tenant(scope.Tenant)
	}
	w.taken()
	e, _, err := w.store.CreateEndpoint(w.ctx, hook.Endpoint{Scope: scope, URL: "https://example.com/hook", Types: hook.Filter{"*"}, Profile: "standard",
		Status: status, Verification: challenged(), Secrets: []hook.Secret{{Text: "whsec_first", Encoding: hook.EncodingWhsec}}}, nil)
	w.must(err)
	return e, w.challenge(e)
}

// challenge returns the job of the challenge that the last change created.
func (w *world) challenge(e *hook.Endpoint) hook.Job {
	w.Helper()
	jobs := w.taken().Jobs
	if len(jobs) != 1 || jobs[0].Trigger != hook.ByTest || jobs[0].Delivery.Endpoint != e.ID || jobs[0].Delivery.Event != e.Verification.Event ||
		jobs[0].Event.Type != "verify" || e.Verification.Challenge != nil {
		w.Fatalf("jobs %+v of %+v", jobs, e.Verification)
	}
	return jobs[0]
}

func (w *world) wantVerification(e *hook.Endpoint, state hook.VerificationState, status hook.Status, disabled string) *hook.Endpoint {
	w.Helper()
	now := w.current(e)
	if now.Verification.State != state || now.Status != status || now.DisabledReason != disabled {
		w.Fatalf("endpoint is %s, status %d (%s); want %s, status %d (%s)",
			now.Verification.State, now.Status, now.DisabledReason, state, status, disabled)
	}
	return now
}

func (w *world) move(e *hook.Endpoint, url string) *hook.Endpoint {
	w.Helper()
	next, err := w.store.UpdateEndpoint(w.ctx, e.Scope, e.ID, func(old hook.Endpoint) (hook.Endpoint, error) {
		old.URL, old.Verification = url, challenged()
		return old, nil
	}, false)
	w.must(err)
	return next
}

// verifies checks that deliveries to an unverified endpoint are held, and released once its
// challenge is answered. Other endpoints, including those of another tenant, are not
// affected.
func verifies(w *world) {
	other, foreign := w.endpoint(live), w.endpoint(hook.Scope{Tenant: "umbrella", Mode: hook.Live})
	e, first := w.unverified(live, hook.Enabled)
	w.wantVerification(e, hook.VerificationPending, hook.Tripped, "unverified")
	p := w.publish(live, "a.b")
	if jobs := w.taken().Jobs; p.Deliveries != 2 || len(jobs) != 1 || jobs[0].Delivery.Endpoint != other.ID {
		w.Fatalf("%d deliveries, jobs %+v", p.Deliveries, jobs)
	}
	waiting := hook.Job{Delivery: w.rowOf(p.Event, e)}
	w.wantState(waiting, hook.Held, hook.ReasonUnverified, 0)
	e = w.setStatus(e, hook.Enabled, false) // requesting it has no effect
	w.wantVerification(e, hook.VerificationPending, hook.Tripped, "unverified")

	_, _, _, err := w.store.PublishTest(w.ctx, live, e.ID, "ping", []byte("{}"), hook.ProfileHash{4}, nil)
	w.wantCode(err, hook.CodeUnverified)
	_, _, err = w.store.RetryDelivery(w.ctx, live, waiting.Delivery.ID, nil)
	w.wantCode(err, hook.CodeUnverified)
	_, _, err = w.store.Resend(w.ctx, live, p.Event, e.ID, profileOf, nil)
	w.wantCode(err, hook.CodeUnverified)

	w.pass(time.Second)
	w.settle(w.outcome(first, 404))
	now := w.wantVerification(e, hook.VerificationFailed, hook.Tripped, "unverified")
	if v := now.Verification; v.Reason != "The endpoint answered badly." || !v.AttemptAt.Equal(w.clock()) || !v.VerifiedAt.IsZero() {
		w.Errorf("after a bad answer %+v", v)
	}
	w.taken()
	again, _, err := w.store.VerifyEndpoint(w.ctx, live, e.ID, challenged(), w.once("v", 1))
	w.must(err)
	second := w.challenge(again)
	if _, replay, err := w.store.VerifyEndpoint(w.ctx, live, e.ID, challenged(), w.once("v", 1)); err != nil || replay == nil {
		w.Errorf("second use: %v, %v", replay, err)
	}
	if same, _, err := w.store.VerifyEndpoint(w.ctx, live, e.ID, challenged(), nil); err != nil || same.Verification.Event != again.Verification.Event || len(w.taken().Jobs) != 0 {
		w.Errorf("another challenge while one is on its way: %+v, %v", same, err)
	}
	_, _, err = w.store.RetryDelivery(w.ctx, live, first.Delivery.ID, nil)
	w.wantCode(err, hook.CodeUnverified)
	w.settle(w.outcome(first, 200)) // an earlier challenge no longer counts
	w.wantVerification(e, hook.VerificationPending, hook.Tripped, "unverified")

	w.reopen() // everything is on disk, including the challenge
	_, jobs, err := w.store.Recover(w.ctx)
	w.must(err)
	if len(jobs) != 1 || jobs[0].Delivery.ID != second.Delivery.ID {
		w.Fatalf("recovered %+v", jobs)
	}
	w.taken()
	w.pass(time.Second)
	answer := w.outcome(jobs[0], 204) // not 200, so not a success here: any 2xx verifies
	w.settle(answer)
	now = w.wantVerification(e, hook.Verified, hook.Enabled, "")
	if v := now.Verification; !v.VerifiedAt.Equal(w.clock()) || v.Reason != "" || !now.DisabledAt.IsZero() {
		w.Errorf("verified: %+v", now)
	}
	w.until("what was held is released", func() bool { d, _ := w.delivery(waiting); return d.State == hook.Pending })
	if got := w.claim(10, now).Jobs; len(got) != 1 || got[0].Delivery.ID != waiting.Delivery.ID {
		w.Errorf("claimed %+v", got)
	}
	if v, _, err := w.store.VerifyEndpoint(w.ctx, live, e.ID, challenged(), nil); err != nil || v != now {
		w.Errorf("a verified endpoint was challenged: %+v, %v", v, err)
	}
	for _, neighbour := range []*hook.Endpoint{other, foreign} {
		if diff := cmp.Diff(neighbour.Revision, w.current(neighbour).Revision); diff != "" {
			w.Error(diff)
		}
	}
}

// verifiesMoves checks that an endpoint that moves to another host needs another challenge,
// and that no delivery in progress reaches the new host.
func verifiesMoves(w *world) {
	e, first := w.unverified(live, hook.Enabled)
	w.settle(w.outcome(first, 200))
	e = w.wantVerification(e, hook.Verified, hook.Enabled, "")
	waiting := w.job(live)
	_, ping, _, err := w.store.PublishTest(w.ctx, live, e.ID, "ping", []byte("{}"), hook.ProfileHash{4}, nil)
	w.must(err)
	w.taken()
	e = w.move(e, "https://second.example/")
	second := w.challenge(e)
	e = w.wantVerification(e, hook.VerificationPending, hook.Tripped, "unverified")
	if e.MayGet(waiting.Delivery.Event) || e.MayGet(first.Delivery.Event) || !e.MayGet(second.Delivery.Event) {
		w.Error("something else than the challenge may go to the new host")
	}
	w.until("what waited is held", func() bool { d, _ := w.delivery(waiting); return d.State == hook.Held })
	w.wantState(waiting, hook.Held, hook.ReasonUnverified, 0)
	_, _, err = w.store.RetryDelivery(w.ctx, live, ping, nil)
	w.wantCode(err, hook.CodeUnverified)

	e = w.move(e, "https://third.example/")
	third := w.challenge(e)
	w.settle(w.outcome(second, 200)) // the previous host agreed, but too late
	w.wantVerification(e, hook.VerificationPending, hook.Tripped, "unverified")

	off := w.setStatus(e, hook.Disabled, false)
	w.settle(w.outcome(third, 200))
	w.wantVerification(off, hook.Verified, hook.Disabled, "by_hand")
	w.setStatus(off, hook.Enabled, false)
	w.until("what waited is released", func() bool { d, _ := w.delivery(waiting); return d.State == hook.Pending })
}

// verifiesTripped checks that an endpoint that was disabled by failures stays disabled,
// even if its URL changes. When it is enabled, it waits for its challenge.
func verifiesTripped(w *world) {
	e := w.endpoint(live)
	held := w.fail(e, 500, hook.Trip{Count: hook.TripAttempts, N: 1})
	w.taken()
	e = w.move(w.current(e), "https://second.example/")
	first := w.challenge(e)
	w.wantVerification(e, hook.VerificationPending, hook.Tripped, "failures")
	e = w.setStatus(e, hook.Enabled, false)
	w.wantVerification(e, hook.VerificationPending, hook.Tripped, "unverified")
	w.until("held", func() bool { d, _ := w.delivery(held); return d.State == hook.Held })
	w.pass(25 * time.Hour)
	w.must(w.store.Housekeep(w.ctx)) // without verification, held deliveries expire
	w.wantState(held, hook.Failed, hook.ReasonHeldExpired, 1)
	w.settle(w.outcome(first, 200))
	w.wantVerification(e, hook.Verified, hook.Enabled, "")

	e, _ = w.unverified(hook.Scope{Tenant: live.Tenant, Mode: hook.Test}, hook.Disabled)
	w.wantVerification(e, hook.VerificationPending, hook.Disabled, "by_hand")
	_, _, err := w.store.VerifyEndpoint(w.ctx, live, e.ID, hook.Verification{State: hook.Verified}, nil)
	w.wantCode(err, hook.CodeNotFound) // of the other mode
	trusted, _, err := w.store.VerifyEndpoint(w.ctx, e.Scope, e.ID, hook.Verification{State: hook.Verified, Reason: "trusted"}, nil)
	if err != nil || !trusted.Verification.VerifiedAt.Equal(w.clock()) || len(w.taken().Jobs) != 0 {
		w.Errorf("%+v, %v", trusted, err)
	}
	w.wantVerification(e, hook.Verified, hook.Disabled, "by_hand")
}

// rowOf returns the delivery of an event to an endpoint.
func (w *world) rowOf(event hook.ID, e *hook.Endpoint) hook.Delivery {
	w.Helper()
	rows, _, err := w.store.Deliveries(w.ctx, hook.DeliveryQuery{Scope: e.Scope, Event: event, Endpoint: e.ID})
	w.must(err)
	if len(rows) != 1 {
		w.Fatalf("%d deliveries", len(rows))
	}
	return rows[0].Delivery
}
