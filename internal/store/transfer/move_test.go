package transfer_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/store/pgtest"
	"github.com/posthorn/posthorn/internal/store/storetest"
	"github.com/posthorn/posthorn/internal/store/transfer"
)

// Every case of the suite that restarts its store finds it moved after the restart.
func TestConformanceAfterMove(t *testing.T) {
	server := pgtest.Shared(t)
	storetest.Run(t, func(t *testing.T) *storetest.Harness {
		dir, target, opened := t.TempDir(), "", 0
		return &storetest.Harness{
			Open: func(o store.Options) (*store.Store, error) {
				o.Dir, o.Reserve = dir, -1
				if opened++; opened == 2 {
					target = server.Database(t)
					_, err := transfer.Move(t.Context(), transfer.Options{From: filepath.Join(dir, "posthorn.db"), To: target, Keys: o.Keys})
					if err != nil {
						t.Fatal(err)
					}
				}
				if opened > 1 {
					o.Dir, o.Postgres = "", target
				}
				return store.Open(context.Background(), o)
			},
			Bytes: func() []byte { return storetest.Bytes(t, dir) },
		}
	})
}

// full is a store with rows in every table.
type full struct {
	*storetest.Opened
	dir    string
	passed *atomic.Int64  // time since the start, in nanoseconds
	shown  *hook.Endpoint // with every field of an endpoint set
	paused *hook.Endpoint
	retry  hook.ID // event whose delivery waits for its second attempt
	token  [32]byte
	hash   [32]byte // of a key
}

func (f *full) now() time.Time {
	return time.Date(2026, 1, 30, 23, 59, 0, 0, time.UTC).Add(time.Duration(f.passed.Load()))
}

func (f *full) pass(d time.Duration) { f.passed.Add(int64(d)) }

func (f *full) options() store.Options {
	return store.Options{Now: f.now, Jitter: func() float64 { return 0 }, ProfileOf: profileOf, Reserve: -1}
}

func fill(t *testing.T) *full {
	f := &full{dir: t.TempDir(), passed: new(atomic.Int64), token: [32]byte{1, 2}, hash: [32]byte{3}}
	o := f.options()
	o.Dir = f.dir
	f.Opened = storetest.Open(t, o)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"zeta", "agency", "beta"} { // not in the order of their names
		_, _, err := f.CreateTenant(ctx, hook.Tenant{ID: id, Name: id + " \u00fc\U0001F4EF"}, nil)
		must(err)
	}
	must(f.DeleteTenant(ctx, "beta"))
	key, _, err := f.CreateKey(ctx, hook.Key{Kind: hook.TenantKey, Mode: hook.Live, Tenant: live.Tenant, Name: "n", Hash: f.hash}, nil)
	must(err)
	must(f.CreateToken(ctx, live, hook.Token{Hash: f.token, Key: key.ID, ExpiresAt: f.now().Add(30 * 24 * time.Hour)}))
	_, _, err = f.CreatePartnerUser(hook.WithActor(ctx, hook.Actor{Mode: hook.Live, Kind: "operator", ID: hook.ActorBootstrap}), hook.PartnerUser{Mode: hook.Live, Partner: "agency", User: "u1", Tenant: live.Tenant}, nil)
	must(err)
	_, _, err = f.CreateEventType(ctx, hook.EventType{Mode: hook.Live, Name: "a.b", Description: "d", Group: "G", Deprecated: true, Replacement: "c.d", Hidden: true, TypeVersion: hook.TypeVersion{Version: 2, Schema: []byte(`{"type":"object"}`)}, Others: []hook.TypeVersion{{Version: 1, Example: []byte(`{"a":"<"}`)}}}, nil)
	must(err)
	must(f.KeepProfile(ctx, hook.ProfileHash{1}, "standard", "text: \"\u20ac\""))
	f.shown, _, err = f.CreateEndpoint(ctx, hook.Endpoint{Scope: live, URL: "https://example.com/x?token=secret", Types: hook.Filter{"a.*"}, Title: "T",
		Description: "D", Profile: "standard", Headers: []hook.Header{{Name: "X-A", Value: "hidden"}}, RateLimit: 0.1, MaxInFlight: 3, MaxFailures: 4,
		Retry: &hook.Retry{Steps: []time.Duration{time.Minute}}, Secrets: []hook.Secret{{Text: "whsec_one", Encoding: hook.EncodingWhsec}}}, nil)
	must(err)
	f.shown, _, err = f.RotateSecret(ctx, live, f.shown.ID, hook.Secret{Text: "whsec_two", Encoding: hook.EncodingWhsec}, time.Hour, nil)
	must(err)
	f.paused, _, err = f.CreateEndpoint(ctx, hook.Endpoint{Scope: live, URL: "https://example.com/p", Types: hook.Filter{"held"}, Profile: "standard"}, nil)
	must(err)
	publish := func(eventType string, id hook.ID, once *hook.Once) []hook.Job {
		t.Helper()
		f.Take()
		out, _, err := f.Publish(ctx, []hook.NewEvent{{Scope: live, Type: eventType, PublicID: id, Data: []byte(`{"n":"` + eventType + `"}`), Tags: hook.Tags{{Name: "of", Value: eventType}}}}, profileOf, once)
		must(err)
		must(out[0].Err)
		return f.Take()
	}
	settle := func(status int, class hook.Class, jobs ...hook.Job) {
		t.Helper()
		var done []hook.Settlement
		for _, j := range jobs {
			done = append(done, hook.Settlement{Job: j, Outcome: hook.Outcome{StartedAt: f.now(), Duration: time.Millisecond, Status: status, Success: status == 200,
				Class: class, Message: "m", ResponseHeaders: []byte("A: b"), ResponseBody: []byte{}, Truncated: true, Enablings: j.Target.Enablings,
				Policy: &hook.Policy{Retry: hook.Retry{Steps: []time.Duration{time.Hour}}}}})
		}
		_, err := f.Settle(ctx, done)
		must(err)
	}
	agency := hook.Scope{Tenant: "agency", Mode: hook.Live}
	_, _, err = f.CreateEndpoint(ctx, hook.Endpoint{Scope: agency, URL: "https://example.com/ops", Types: hook.Filter{"*"}, Profile: "standard", Operational: true}, nil)
	must(err)
	for range hook.AlertsPerWindow + 1 { // the last one is left to a digest
		_, _, err = f.CreateEndpoint(ctx, hook.Endpoint{Scope: agency, URL: "https://example.com/none", Types: hook.Filter{}, Profile: "standard"}, nil)
		must(err)
	}
	settle(200, "", f.Take()...)
	settle(200, "", publish("done", hook.ID{9, 9}, onceOf("k"))...)
	must(f.SetRetention(ctx, live, hook.Retention{Payloads: time.Hour, Answers: hook.NotSet, Events: hook.NotSet}))
	for _, later := range []time.Duration{2 * time.Hour, time.Minute} { // statistics of periods that have ended
		f.pass(later)
		must(f.Housekeep(ctx))
	}
	f.pass(10 * 24 * time.Hour) // another day, after days without events
	failing := publish("a.b", hook.ID{}, nil)
	settle(503, hook.ClassStatus, failing...)
	f.retry = failing[0].Delivery.Event
	ended := publish("ended", hook.ID{}, nil)
	settle(500, hook.ClassStatus, ended...)
	must(errors.Join(second(f.CancelDelivery(ctx, live, ended[0].Delivery.ID))))
	publish("held", hook.ID{}, nil)
	soon := time.Minute
	out, _, err := f.Publish(ctx, []hook.NewEvent{{Scope: live, Type: "held", Data: []byte(`{"kept":"a minute"}`), PayloadRetention: &soon}}, profileOf, nil)
	must(errors.Join(err, out[0].Err))
	f.paused, err = f.UpdateEndpoint(ctx, live, f.paused.ID, func(e hook.Endpoint) (hook.Endpoint, error) { e.Status = hook.Disabled; return e, nil }, false)
	must(err)
	for deadline := time.Now().Add(5 * time.Second); ; { // the sweep holds the waiting deliveries
		if _, held, err := f.Health(ctx, live, f.paused.ID); err != nil || held == 2 || time.Now().After(deadline) {
			must(err)
			break
		}
	}
	_, _, _, err = f.PublishTest(ctx, live, f.paused.ID, "ping", []byte("{}"), hook.ProfileHash{1}, nil)
	must(err)
	one := publish("by.hand", hook.ID{}, nil)
	settle(200, "", one...)
	_, _, err = f.RetryDelivery(ctx, live, one[0].Delivery.ID, nil)
	must(err)
	_, _, err = f.CreateReplay(ctx, hook.NewReplay{Scope: live, Endpoint: f.paused.ID, Source: hook.FromAll, Rate: 0.5, Hold: true,
		Filter: hook.ReplayFilter{Types: hook.Filter{"*"}, After: f.now().Add(-365 * 24 * time.Hour)}}, nil)
	must(err)
	_, _, err = f.Erase(ctx, hook.NewErasure{Mode: hook.Live, Tenant: "beta"}, nil)
	must(err)
	_, _, err = f.CreatePortalSession(ctx, hook.NewPortalSession{WebSession: hook.WebSession{Mode: hook.Live, Tenant: live.Tenant, Settings: hook.PortalSettings{Locale: "de"},
		ExpiresAt: f.now().Add(time.Hour)}, Link: [32]byte{1}}, nil)
	must(err)
	must(f.Close())
	return f
}

func second[T any](_ T, err error) error { return err }

func onceOf(key string) *hook.Once {
	return &hook.Once{Route: "POST /v1/events", Key: key, BodyHash: [32]byte{1}, Scope: live, Answer: func(any) (int, []byte) { return 202, []byte("first") }}
}

// told returns what the methods of a store return about its content.
func told(t *testing.T, s *store.Store) map[string]any {
	t.Helper()
	ctx, all := t.Context(), map[string]any{}
	note := func(name string, v any, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all[name] = v
	}
	tenants, _, err := s.Tenants(ctx, hook.TenantQuery{})
	note("tenants", tenants, err)
	keys, _, err := s.Keys(ctx, hook.KeyQuery{Scope: live})
	note("keys", keys, err)
	types, _, err := s.EventTypes(ctx, hook.TypeQuery{Mode: hook.Live})
	note("event types", types, err)
	users, _, err := s.PartnerUsers(ctx, hook.Scope{Mode: hook.Live, Tenant: "agency"}, hook.Page{})
	note("partner users", users, err)
	profiles, err := s.Profiles(ctx)
	note("profiles", profiles, err)
	endpoints, _, err := s.Endpoints(ctx, hook.EndpointQuery{Scope: live})
	note("endpoints", endpoints, err)
	for _, e := range endpoints {
		health, held, err := s.Health(ctx, live, e.ID)
		note("health "+e.ID.String(), []any{health, held}, err)
	}
	events, _, err := s.Events(ctx, hook.EventQuery{Scope: live})
	note("events", events, err)
	for _, e := range events {
		whole, err := s.Event(ctx, live, e.ID)
		note("event "+e.ID.String(), whole, err)
		history, _, err := s.History(ctx, live, e.AcceptedAt)
		note("history "+e.ID.String(), history, err)
	}
	rows, _, err := s.Deliveries(ctx, hook.DeliveryQuery{Scope: live})
	note("deliveries", len(rows), err)
	for _, row := range rows {
		row, attempts, err := s.Delivery(ctx, live, row.ID)
		row.Owner = 0
		note("delivery "+row.ID.String(), []any{row, attempts}, err)
	}
	replays, _, err := s.Replays(ctx, hook.ReplayQuery{Scope: live})
	for i := range replays {
		replays[i].Owner, replays[i].Fence = 0, 0
	}
	note("replays", replays, err)
	erasures, _, err := s.Erasures(ctx, hook.ErasureQuery{Mode: hook.Live})
	for i := range erasures {
		erasures[i].Owner, erasures[i].Fence = 0, 0
	}
	note("erasures", erasures, err)
	return all
}

func move(t *testing.T, from, to string) ([]transfer.TableCount, error) {
	t.Helper()
	return transfer.Move(t.Context(), transfer.Options{From: from, To: to, Keys: storetest.Keyring(t, 7)})
}

func TestMove(t *testing.T) {
	f, target := fill(t), pgtest.Database(t)
	from := filepath.Join(f.dir, "posthorn.db")
	o := f.options()
	o.Dir = f.dir
	before := storetest.Open(t, o)
	want := told(t, before.Store)
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	fingerprint := sha256.Sum256(storetest.Bytes(t, f.dir))
	counts, err := move(t, from, target)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range counts {
		if c.Rows == 0 {
			t.Errorf("%s was empty: nothing was shown", c.Table)
		}
	}
	if fingerprint != sha256.Sum256(storetest.Bytes(t, f.dir)) {
		t.Error("the source was changed")
	}
	if _, err := transfer.Compare(t.Context(), transfer.Options{From: from, To: target, Keys: storetest.Keyring(t, 7)}); err != nil {
		t.Errorf("compared afterwards: %v", err)
	}
	if rows := query[int](t, target, "SELECT (SELECT count(*) FROM events_default) + (SELECT count(*) FROM deliveries_default) + (SELECT count(*) FROM attempts_default)"); rows != 0 {
		t.Errorf("%d rows have no partition of their day", rows)
	}
	if days := query[int](t, target, "SELECT count(*) FROM pg_class WHERE relname ~ '^events_[0-9]{8}$'"); days != 2 {
		t.Errorf("%d partitions of events for events of 2 days", days)
	}
	o.Dir, o.Postgres = "", target
	s := storetest.Open(t, o)
	if diff := cmp.Diff(want, told(t, s.Store), cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("the file said (-), PostgreSQL says (+):\n%s", diff)
	}
	f.goesOn(t, s, target)
	if _, err := move(t, from, target); err == nil || !strings.Contains(err.Error(), "work on the target") {
		t.Errorf("while a node works on the target: %v", err)
	}
}

// goesOn checks that the moved store can be used.
func (f *full) goesOn(t *testing.T, s *storetest.Opened, target string) {
	t.Helper()
	ctx := t.Context()
	if k, err := s.KeyByHash(ctx, f.hash); err != nil || k.Tenant != live.Tenant {
		t.Errorf("key: %+v, %v", k, err)
	}
	f.pass(-10 * 24 * time.Hour) // when the token and the response were recent
	if _, err := s.TokenKey(ctx, f.token); err != nil {
		t.Errorf("token: %v", err)
	}
	_, replay, err := s.Publish(ctx, []hook.NewEvent{{Scope: live, Type: "done", PublicID: hook.ID{9, 9}, Data: []byte(`{"n":"done"}`), Tags: hook.Tags{{Name: "of", Value: "done"}}}}, profileOf, onceOf("k"))
	if err != nil || replay == nil || string(replay.Body) != "first" {
		t.Errorf("the answer kept for an idempotency key: %+v, %v", replay, err)
	}
	again, _, err := s.Publish(ctx, []hook.NewEvent{{Scope: live, Type: "done", PublicID: hook.ID{9, 9}, Data: []byte(`{"n":"done"}`), Tags: hook.Tags{{Name: "of", Value: "done"}}}}, profileOf, nil)
	if err != nil || again[0].Err != nil || !again[0].Repeated {
		t.Errorf("the platform's id again: %+v, %v", again, err)
	}
	f.pass(11 * 24 * time.Hour)
	due, jobs, err := s.Recover(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if st := s.ClusterStats(); st.Takeovers != 0 || st.TakenDeliveries != 0 {
		t.Errorf("what was moved counts as a takeover, as if a node had died: %+v", st)
	}
	if n := query[int](t, target, "SELECT count(*) FROM nodes WHERE name = 'moved from SQLite' AND done"); n != 1 {
		t.Errorf("%d times the work that was moved was taken over", n)
	}
	var triggers []hook.Trigger
	for _, j := range jobs {
		triggers = append(triggers, j.Trigger)
	}
	slices.Sort(triggers)
	if !slices.Equal(triggers, []hook.Trigger{hook.ByTest}) {
		t.Errorf("tests: %v", triggers)
	}
	byHand := 0
	claim := func(targets ...hook.ID) (events []hook.ID) {
		t.Helper()
		c := hook.Claim{Now: f.now()}
		for _, id := range targets {
			c.Shares = append(c.Shares, hook.Share{Scope: live, Endpoint: id, Limit: 10})
		}
		got, err := s.Claim(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range got.Jobs {
			events = append(events, j.Delivery.Event)
			if j.Trigger == hook.ByHand {
				byHand++
			}
		}
		return events
	}
	var waiting []hook.ID
	for _, d := range due {
		waiting = append(waiting, d.Target.ID)
	}
	if !slices.Contains(claim(waiting...), f.retry) || byHand != 1 {
		t.Errorf("the retry that was due, and what was asked for by hand: %v, %d", due, byHand)
	}
	if _, err := s.UpdateEndpoint(ctx, live, f.paused.ID, func(e hook.Endpoint) (hook.Endpoint, error) { e.Status = hook.Enabled; return e, nil }, false); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); len(claim(f.paused.ID)) == 0; {
		if time.Now().After(deadline) {
			t.Fatal("what was held is not released")
		}
	}
	tenant, _, err := s.CreateTenant(ctx, hook.Tenant{ID: "new"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if list, _, err := s.Tenants(ctx, hook.TenantQuery{}); err != nil || list[0].ID != tenant.ID {
		t.Errorf("a new tenant is not the first of the list: %+v, %v", list, err)
	}
	newest := query[[]byte](t, target, "SELECT id FROM events ORDER BY id DESC LIMIT 1")
	f.pass(-400 * 24 * time.Hour) // a clock that is far behind
	if id, err := s.PublishBytes(1); err != nil || slices.Compare(id[:], newest) <= 0 {
		t.Errorf("an id %x after %x, %v", id, newest, err)
	}
}
