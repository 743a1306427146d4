// Package storetest is the conformance suite of the store. It tests what a store must do on
// any database. An engine is complete when Run passes.
//
// The suite has its own clock and replaces the dispatcher. It waits for results and never
// sleeps for a fixed time.
package storetest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store"
)

// Harness provides the suite with a place for one store, which is empty at first.
type Harness struct {
	// Open opens the store in this place with the options of the suite, to which it adds
	// the place. The suite calls it again after Close, to test recovery.
	Open func(store.Options) (*store.Store, error)
	// Bytes returns everything that the store has on disk.
	Bytes func() []byte
}

// Run runs every case, each with its own harness.
func Run(t *testing.T, make func(t *testing.T) *Harness) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, make(t))
			w.open()
			t.Cleanup(func() { _ = w.store.Close() })
			c.run(w)
		})
	}
}

var cases = []struct {
	name string
	run  func(*world)
}{
	{"publish fans out and hands over", publishFansOut},
	{"filter decides", filterDecides},
	{"no room leaves work in the table", noRoom},
	{"tenant and mode walls", walls},
	{"unknown tenant", unknownTenant},
	{"same public id", samePublicID},
	{"public id is found", publicIDFound},
	{"fan-out is bounded", fanOutBound},
	{"a bad item harms no neighbour", badItem},
	{"data that its schema refuses", refusedData},
	{"idempotency", idempotency},
	{"fifty first uses make one event", fiftyFirstUses},
	{"settle succeeds", settleSucceeds},
	{"settle plans a retry and fails at the end", settleRetries},
	{"stale fence", staleFence},
	{"success wins over cancelled and held", successWins},
	{"by hand", byHand},
	{"claim shares, order and due", claimShares},
	{"claim leaves the disabled alone", claimDisabled},
	{"recovery after reopening", recovery},
	{"single shots and tests survive", oneshotsSurvive},
	{"single shots wait in the table", oneshotsWait},
	{"single shots are bounded", oneshotsAreBounded},
	{"consecutive failures trip", tripByAttempts},
	{"only failures for a time warn, then trip", tripByDuration},
	{"gone disables", goneDisables},
	{"attempts before enabling do not count", oldEnabling},
	{"disable holds, enable releases in order", holdAndRelease},
	{"enabling while a hold is under way", enableDuringHold},
	{"a big backlog is swept in pages", bigBacklog},
	{"work that came during a hold is told", toldAfterHold},
	{"discard", discard},
	{"a listener that is away holds", listenerAway},
	{"an unverified endpoint holds", verifies},
	{"a move asks for another challenge", verifiesMoves},
	{"verification leaves other reasons alone", verifiesTripped},
	{"delete cancels", deleteCancels},
	{"held expires", heldExpires},
	{"retention drops what is settled", retention},
	{"retention keeps what is needed", retentionKeeps},
	{"retention goes page by page", retentionPages},
	{"no retention, no drop", retentionEndless},
	{"payloads are removed", payloads},
	{"a tenant's own retention", tenantRetention},
	{"an event's own retention", eventRetention},
	{"answers are removed", receiverAnswers},
	{"retention by class goes page by page", classPages},
	{"disk use and budget", diskUse},
	{"tags find events", tags},
	{"tags of refused events and deleted tenants", refusedTags},
	{"several states", severalStates},
	{"tags go with their events", tagsGo},
	{"channels", channels},
	{"channels in lists", channelLists},
	{"ids are found", findsIDs},
	{"test event", testEvent},
	{"resend uses the delivery again", resendReuses},
	{"resend makes what is missing", resendCreates},
	{"resend stays behind the walls", resendWalls},
	{"a resend survives", resendSurvives},
	{"a replay sends once, across restarts", replaySendsOnce},
	{"control: a replay in two transactions doubles", replayControl},
	{"a retry passes a disabled endpoint", retryAnyway},
	{"an event that nobody would get", requireMatch},
	{"a replay makes what is missing", replayMakesWhatIsMissing},
	{"a replay's filters", replayFilters},
	{"a replay of a disabled endpoint", replayOfDisabled},
	{"replays are bounded", replayIsBounded},
	{"history of endpoints", historyOfEndpoints},
	{"event types", eventTypes},
	{"members of event types", eventTypeMembers},
	{"subscribers of event types", subscribers},
	{"endpoint settings and secrets", endpointSettings},
	{"snapshots are not changed through callbacks", snapshotsStay},
	{"keys", keys},
	{"key limits and uses", keyLimits},
	{"tenants", tenants},
	{"uids and metadata", uidsAndMetadata},
	{"given ids", givenIDs},
	{"tenant rates", tenantRates},
	{"deliver at", deliverAt},
	{"deliver at, held", deliverAtHeld},
	{"deliver at, ended", deliverAtEnds},
	{"ascending lists", ascendingLists},
	{"tokens", tokens},
	{"partner users", partnerUsers},
	{"sessions of operators", operatorSessions},
	{"sessions of the portal", portalSessions},
	{"log of an endpoint", endpointLog},
	{"admission of an endpoint", admission},
	{"lists and cursors", lists},
	{"filters of lists", filters},
	{"profiles", profiles},
	{"secrets are sealed", sealed},
	{"audit chain", auditChain},
	{"audit acts", auditActs},
	{"audit retention", auditRetention},
	{"alerts come on transitions", alertsOnTransitions},
	{"alerts stay behind the walls", alertsStayInside},
	{"alerts about alerts do not exist", alertsNeverLoop},
	{"alerts are bounded", alertsAreBounded},
	{"alerts about deliveries and jobs", alertsAboutWork},
	{"closed store refuses", closedRefuses},
}

// world is a store with a clock. It replaces the dispatcher.
type world struct {
	*testing.T
	ctx     context.Context
	harness *Harness
	store   *store.Store
	keys    *seal.Keyring
	tweak   func(*store.Options)

	mu      sync.Mutex
	now     time.Time
	room    int
	commits []hook.Commit
	signal  chan struct{}
	seen    map[string]bool // alerts
}

var (
	live = hook.Scope{Tenant: "acme", Mode: hook.Live}
	test = hook.Scope{Tenant: "acme", Mode: hook.Test}
	// plan retries after one minute, then after one hour, and then ends.
	plan = &hook.Policy{Retry: hook.Retry{Steps: []time.Duration{time.Minute, time.Hour}}, GoneDisables: true}
)

func newWorld(t *testing.T, h *Harness) *world {
	return &world{T: t, ctx: t.Context(), harness: h, keys: Keyring(t, 7), room: 1000,
		now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), signal: make(chan struct{}, 1)}
}

func (w *world) open() {
	w.Helper()
	o := store.Options{Keys: w.keys, Now: w.clock, Jitter: func() float64 { return 0 },
		Committed: w.committed, Room: func(*hook.Endpoint) int { return w.room }, ProfileOf: profileOf, HeldFor: 24 * time.Hour, MaxFanOut: 20}
	if w.tweak != nil {
		w.tweak(&o)
	}
	var err error
	if w.store, err = w.harness.Open(o); err != nil {
		w.Fatalf("open: %v", err)
	}
}

// reopen closes the store and opens it again, as a restart does.
func (w *world) reopen() {
	w.Helper()
	if err := w.store.Close(); err != nil {
		w.Fatalf("close: %v", err)
	}
	w.open()
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) committed(c hook.Commit) {
	w.mu.Lock()
	w.commits = append(w.commits, c)
	w.mu.Unlock()
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// taken returns what was committed since the last call.
func (w *world) taken() (all hook.Commit) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.commits {
		all.Jobs = append(all.Jobs, c.Jobs...)
		all.Due = append(all.Due, c.Due...)
		all.Changed = append(all.Changed, c.Changed...)
		all.Dropped = append(all.Dropped, c.Dropped...)
	}
	w.commits = nil
	return all
}

// until waits for a commit after which the condition is true.
func (w *world) until(what string, ok func() bool) {
	w.Helper()
	deadline := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-w.signal:
		case <-time.After(5 * time.Millisecond): // the last page of a sweep may hand over nothing
		case <-deadline:
			w.Fatalf("not seen within 30 s: %s", what)
		}
	}
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) wantCode(err error, code hook.Code) {
	w.Helper()
	if err == nil {
		w.Fatalf("no error, want %s", code)
	}
	if got := hook.CodeOf(err); got != code {
		w.Fatalf("error %v (%s), want %s", err, got, code)
	}
}

func (w *world) tenant(id string) {
	w.Helper()
	_, _, err := w.store.CreateTenant(w.ctx, hook.Tenant{ID: id, Name: id + " Ltd"}, nil)
	w.must(err)
}

// endpoint creates an endpoint with a secret, and its tenant if needed.
func (w *world) endpoint(scope hook.Scope, types ...string) *hook.Endpoint {
	w.Helper()
	if _, err := w.store.Tenant(w.ctx, scope.Tenant); err != nil {
		w.tenant(scope.Tenant)
	}
	if types == nil {
		types = []string{"*"}
	}
	e, _, err := w.store.CreateEndpoint(w.ctx, hook.Endpoint{Scope: scope, URL: "https://example.com/hook", Types: types, Profile: "standard",
		Secrets: []hook.Secret{{Text: "whsec_first", Encoding: hook.EncodingWhsec}}}, nil)
	w.must(err)
	return e
}

func profileOf(*hook.Endpoint) hook.ProfileHash { return hook.ProfileHash{1, 2, 3} }

func (w *world) publish(scope hook.Scope, eventType string) hook.Published {
	w.Helper()
	p := w.publishAll(hook.NewEvent{Scope: scope, Type: eventType, Data: []byte(`{"n":1}`)})[0]
	w.must(p.Err)
	return p
}

func (w *world) publishAll(events ...hook.NewEvent) []hook.Published {
	w.Helper()
	out, replay, err := w.store.Publish(w.ctx, events, profileOf, nil)
	w.must(err)
	if replay != nil || len(out) != len(events) {
		w.Fatalf("replay %v, %d results for %d events", replay, len(out), len(events))
	}
	return out
}

// job publishes one event to the only endpoint of the scope and returns its job.
func (w *world) job(scope hook.Scope) hook.Job {
	w.Helper()
	w.taken()
	w.publish(scope, "a.b")
	jobs := w.taken().Jobs
	if len(jobs) != 1 {
		w.Fatalf("%d jobs, want 1", len(jobs))
	}
	return jobs[0]
}

func (w *world) outcome(j hook.Job, status int) hook.Settlement {
	o := hook.Outcome{StartedAt: w.clock(), Duration: 5 * time.Millisecond, Status: status, Success: status == 200, Policy: plan,
		Enablings: j.Target.Enablings, ResponseBody: []byte("body"), ResponseHeaders: []byte("A: b")}
	if !o.Success {
		o.Class, o.Message = hook.ClassStatus, "The endpoint answered badly."
	}
	return hook.Settlement{Job: j, Outcome: o}
}

func (w *world) settle(all ...hook.Settlement) []hook.Due {
	w.Helper()
	due, err := w.store.Settle(w.ctx, all)
	w.must(err)
	return due
}

func (w *world) delivery(j hook.Job) (hook.Delivery, []hook.Attempt) {
	w.Helper()
	row, attempts, err := w.store.Delivery(w.ctx, j.Delivery.Scope, j.Delivery.ID)
	w.must(err)
	return row.Delivery, attempts
}

func (w *world) wantState(j hook.Job, state hook.State, why hook.Reason, attempts int) hook.Delivery {
	w.Helper()
	d, tried := w.delivery(j)
	if d.State != state || d.Reason != why || d.Attempts != attempts || len(tried) != attempts {
		w.Fatalf("delivery is %s (%s) after %d attempts, %d logged; want %s (%s) after %d",
			d.State, d.Reason, d.Attempts, len(tried), state, why, attempts)
	}
	return d
}

func (w *world) claim(limit int, targets ...*hook.Endpoint) hook.Claimed {
	w.Helper()
	c := hook.Claim{Now: w.clock()}
	for _, e := range targets {
		c.Shares = append(c.Shares, hook.Share{Scope: e.Scope, Endpoint: e.ID, Limit: limit})
	}
	got, err := w.store.Claim(w.ctx, c)
	w.must(err)
	return got
}

func (w *world) setStatus(e *hook.Endpoint, status hook.Status, discardHeld bool) *hook.Endpoint {
	w.Helper()
	next, err := w.store.UpdateEndpoint(w.ctx, e.Scope, e.ID, func(old hook.Endpoint) (hook.Endpoint, error) {
		old.Status = status
		return old, nil
	}, discardHeld)
	w.must(err)
	return next
}
