package bench

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store"
)

// The store that reads are measured on: a week of events, half of them of the last day, and
// half of them of one tenant. They pass through the operations of the store, so that tags,
// statistics, health and disk use are what a server would have written.
const (
	fillTenants  = 200
	fillInTest   = 20 // tenants with an endpoint in test mode; one batch in 20 is of it
	fillBatch    = 200
	fillSpan     = 7 * 24 * time.Hour
	fillDisabled = 0.8  // of the events were published when an endpoint answers 410: the rest of its events is held
	fillFailing  = 0.75 // of the events were published when all attempts of an endpoint begin to fail
	fillKept     = 36 * time.Hour
)

// fillTypes are the event types with their share of events, in thousandths.
var fillTypes = []struct {
	name  string
	share int
}{
	{"payment.settled", 300}, {"payment.created", 200}, {"payout.sent", 150}, {"invoice.paid", 150}, {"refund.created", 100},
	{"customer.updated", 50}, {"dispute.opened", 30}, {"mandate.revoked", 19}, {rareType, 1},
}

const rareType = "account.closed"

// writer writes the events of one store.
type writer struct {
	store    *store.Store
	profile  hook.ProfileHash
	random   *rand.Rand
	clock    time.Time
	mu       sync.Mutex
	jobs     []hook.Job
	failing  hook.ID
	disabled hook.ID
	made     int // deliveries
	events   int
}

func tenantName(n int) string { return fmt.Sprintf("tenant-%03d", n) }

// fill makes a store with the number of deliveries in a directory that does not exist, or in
// an empty database.
func fill(ctx context.Context, dir, database string, deliveries int, say func(string, ...any)) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	keys, err := seal.LoadOrCreate(filepath.Join(dir, "master.key"))
	if err != nil {
		return err
	}
	standard, ok := profile.Builtin().Get("standard")
	if !ok {
		return errors.New("there is no profile standard")
	}
	end := time.Now()
	f := &writer{profile: standard.Hash(), random: rand.New(rand.NewPCG(1, 2)), clock: end.Add(-fillSpan)}
	f.store, err = store.Open(ctx, store.Options{Dir: dir, Postgres: database, Keys: keys, Log: slog.New(slog.DiscardHandler), Synchronous: "off", Now: f.now,
		Room: func(*hook.Endpoint) int { return 1 << 20 }, Committed: f.committed})
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir)) // it holds the master key of nothing
	}
	defer func() { err = errors.Join(err, f.store.Close()) }()
	if _, _, err := f.store.Recover(ctx); err != nil {
		return err
	}
	if err := f.store.KeepProfile(ctx, standard.Hash(), standard.Name(), string(standard.Text())); err != nil {
		return err
	}
	if err := f.endpoints(ctx); err != nil {
		return err
	}
	for batch := 0; f.made < deliveries; batch++ {
		done := float64(f.made) / float64(deliveries)
		if batch%50 == 0 {
			say("filling: %d of %d deliveries", f.made, deliveries)
		}
		f.at(end, done)
		if err := f.publish(ctx, batch%20 == 19, done); err != nil {
			return err
		}
	}
	f.at(end, 1)
	say("filling: housekeeping")
	return f.store.Housekeep(ctx)
}

func (f *writer) now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.clock
}

// at sets the clock: half of the events are of the last day.
func (f *writer) at(end time.Time, done float64) {
	day := fillSpan / 7
	ago := time.Duration(float64(2*day) * (1 - done))
	if done < 0.5 {
		ago = day + time.Duration(float64(2*(fillSpan-day))*(0.5-done))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clock = end.Add(-ago)
}

func (f *writer) committed(c hook.Commit) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.jobs = append(f.jobs, c.Jobs...)
}

// endpoints makes the tenants, each with an endpoint for all types and one for invoices. The
// first has one that will fail and one that will be disabled.
func (f *writer) endpoints(ctx context.Context) error {
	for n := range fillTenants {
		if _, _, err := f.store.CreateTenant(ctx, hook.Tenant{ID: tenantName(n), Name: fmt.Sprint("Tenant ", n)}, nil); err != nil {
			return err
		}
		kinds := []string{"*", "invoice.*"}
		if n == 0 {
			kinds = append(kinds, "refund.*", "payout.*")
		}
		for i, types := range kinds {
			for _, mode := range []hook.Mode{hook.Live, hook.Test} {
				if mode == hook.Test && (n >= fillInTest || i > 0) {
					continue
				}
				e, _, err := f.store.CreateEndpoint(ctx, hook.Endpoint{Scope: hook.Scope{Tenant: tenantName(n), Mode: mode}, Profile: "standard",
					URL: fmt.Sprintf("https://hooks-%d.%s.example/in", i, tenantName(n)), Types: hook.Filter{types}, Title: "Hooks for " + types,
					Secrets: []hook.Secret{{Text: "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 32)), Encoding: hook.EncodingWhsec}}}, nil)
				if err != nil {
					return err
				}
				switch {
				case i == 2:
					f.failing = e.ID
				case i == 3:
					f.disabled = e.ID
				}
			}
		}
	}
	return nil
}

// publish publishes a batch and records the attempts of its deliveries.
func (f *writer) publish(ctx context.Context, inTest bool, done float64) error {
	events := make([]hook.NewEvent, fillBatch)
	for i := range events {
		events[i] = f.event(inTest)
	}
	out, _, err := f.store.Publish(ctx, events, func(*hook.Endpoint) hook.ProfileHash { return f.profile }, nil)
	if err != nil {
		return err
	}
	for _, p := range out {
		if p.Err != nil {
			return p.Err
		}
		f.made += p.Deliveries
	}
	f.mu.Lock()
	jobs := f.jobs
	f.jobs = nil
	f.mu.Unlock()
	var first, second []hook.Settlement
	for _, j := range jobs {
		o, more := f.outcome(&j, done)
		first = append(first, hook.Settlement{Job: j, Outcome: o})
		if more {
			j.Trigger = hook.ByHand
			second = append(second, hook.Settlement{Job: j, Outcome: f.delivered()})
		}
	}
	for _, page := range [][]hook.Settlement{first, second} {
		for part := range slices.Chunk(page, 500) {
			if _, err := f.store.Settle(ctx, part); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *writer) event(inTest bool) hook.NewEvent {
	f.events++
	tenant := 0
	if f.random.IntN(2) > 0 {
		tenant = 1 + int(float64(fillTenants-1)*f.random.Float64()*f.random.Float64()) // the first ones have more
	}
	e := hook.NewEvent{Scope: hook.Scope{Tenant: tenantName(tenant), Mode: hook.Live}}
	if inTest {
		e.Scope = hook.Scope{Tenant: tenantName(tenant % fillInTest), Mode: hook.Test}
	}
	at := f.random.IntN(1000)
	for _, t := range fillTypes {
		if e.Type = t.name; at < t.share {
			break
		}
		at -= t.share
	}
	order := fmt.Sprint("o-", f.events/3)
	e.Data = fmt.Appendf(nil, `{"id":"pay_%010d","order":"%s","amount":%d,"currency":"EUR","status":"settled","note":"%s"}`,
		f.events, order, f.random.IntN(1_000_000), fillText[:100+f.random.IntN(600)])
	if f.events%3 == 0 {
		e.Tags = hook.NewTags(hook.Tag{Name: "order", Value: order}, hook.Tag{Name: "channel", Value: "web"})
	}
	if f.events%5 == 0 { // an id of the platform: a random UUID
		binary.BigEndian.PutUint64(e.PublicID[:], f.random.Uint64()&^0xf000|0x4000)
		binary.BigEndian.PutUint64(e.PublicID[8:], f.random.Uint64()>>2|1<<63)
	}
	return e
}

// outcome returns that of the first attempt, and whether another one follows and succeeds.
func (f *writer) outcome(j *hook.Job, done float64) (o hook.Outcome, more bool) {
	o = f.delivered()
	o.Enablings = j.Target.Enablings
	chance, failing := f.random.IntN(1000), done > fillFailing
	switch {
	case j.Delivery.Endpoint == f.disabled && done > fillDisabled:
		o.Success, o.Status, o.Class, o.Policy = false, 410, hook.ClassGone, &hook.Policy{GoneDisables: true}
	case j.Delivery.Endpoint == f.failing && failing:
		f.fail(&o, fillKept)
	case chance < 20: // failed for good
		f.fail(&o, 0)
	case chance < 70: // delivered by another attempt
		f.fail(&o, fillKept)
		more = true
	case chance < 75 && failing: // waits until after the measurement
		f.fail(&o, fillKept)
	}
	return o, more
}

func (f *writer) delivered() hook.Outcome {
	return hook.Outcome{StartedAt: f.clock, Duration: time.Duration(20+f.random.IntN(300)) * time.Millisecond, Success: true, Status: 200, Policy: &hook.Policy{},
		ResponseHeaders: []byte("Content-Type: application/json\nServer: example\n"), ResponseBody: []byte(`{"received":true}`),
		Address: netip.AddrFrom4([4]byte{203, 0, 113, byte(f.random.IntN(250))}), Timing: hook.Timing{FirstByte: 19 * time.Millisecond, Reused: true}}
}

// fail makes an outcome a failure. After is when the next attempt is due; 0 means none.
func (f *writer) fail(o *hook.Outcome, after time.Duration) {
	o.Success, o.Status, o.Class = false, 503, hook.ClassStatus
	if f.random.IntN(3) == 0 {
		o.Status, o.Class, o.Message, o.Duration = 0, hook.ClassTimeout, "no answer within 20s", 20*time.Second
		o.ResponseHeaders, o.ResponseBody = nil, nil
	}
	if after > 0 {
		o.Policy = &hook.Policy{Retry: hook.Retry{Steps: []time.Duration{after}}}
	}
}

// fillText is text for the data of events.
var fillText = string(slices.Repeat([]byte("The quick brown fox jumps over the lazy dog and comes back again"), 12))
