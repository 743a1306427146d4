package systemtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/deliver"
	"github.com/posthorn/posthorn/internal/dispatch"
	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store"
)

// A node runs through random faults in virtual time: receivers that fail in every way,
// endpoints that are disabled, enabled and throttled, manual retries and cancellations, a
// queue that cannot record, restarts. Then the faults end, and everything must settle (R-01,
// The name of a failed run contains its random seed.

const (
	simTenants   = 2
	simEndpoints = 6
	simSteps     = 80
)

// Behaviours of a receiver.
const (
	simGood = iota
	simError
	simBusy  // 503 with Retry-After
	simHangs // until the sender gives up
	simSlow  // success, after three seconds
	simKinds
)

type simulation struct {
	t    *testing.T
	rng  *rand.Rand
	dir  string
	keys *seal.Keyring

	profiles *profile.Set
	store    *store.Store
	dispatch *dispatch.Dispatcher
	queue    *unreliable
	client   *egress.Client
	wire     *pipeNet
	server   *http.Server

	endpoints []*hook.Endpoint
	accepted  int // deliveries acknowledged by a publish

	mu        sync.Mutex
	behaviour [simEndpoints]int
	got       map[string]int // endpoint and event -> requests that were answered with success
}

// unreliable is a queue whose calls occasionally fail.
type unreliable struct {
	dispatch.Queue
	mu   sync.Mutex
	fail int
}

func (u *unreliable) down() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.fail == 0 {
		return nil
	}
	u.fail--
	return &hook.Error{Code: hook.CodeStorageFull, Message: "no space", Err: errors.New("simulated")}
}

func (u *unreliable) Claim(ctx context.Context, c hook.Claim) (hook.Claimed, error) {
	if err := u.down(); err != nil {
		return hook.Claimed{}, err
	}
	return u.Queue.Claim(ctx, c)
}

func (u *unreliable) Settle(ctx context.Context, done []hook.Settlement) ([]hook.Due, error) {
	if err := u.down(); err != nil {
		return nil, err
	}
	return u.Queue.Settle(ctx, done)
}

func newSimulation(t *testing.T, seed uint64) *simulation {
	t.Helper()
	s := &simulation{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), dir: t.TempDir(), profiles: profile.Builtin(),
		wire: &pipeNet{conns: make(chan net.Conn)}, got: map[string]int{},
	}
	var err error
	if s.keys, err = seal.LoadOrCreate(filepath.Join(s.dir, "master.key")); err != nil {
		t.Fatal(err)
	}
	s.client = egress.New(egress.Options{AllowHTTP: true, Resolver: publicNames{}, DialContext: s.wire.dial})
	s.server = &http.Server{Handler: s}
	go func() { _ = s.server.Serve(s.wire) }() // ends with the listener
	s.open()
	for n := range simEndpoints {
		s.endpoint(n)
	}
	return s
}

func (s *simulation) open() {
	s.t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	// Small limits, so that overflow into the table is part of the simulation.
	s.dispatch = dispatch.New(dispatch.Options{Log: quiet, Fast: 8, FastPerTenant: 6, Slow: 12, SlowPerTenant: 8, Waiting: 60, EndpointWaiting: 20})
	var err error
	s.store, err = store.Open(context.Background(), store.Options{
		Dir: s.dir, Keys: s.keys, Log: quiet, Committed: s.dispatch.Committed, Room: s.dispatch.Room, Reserve: -1,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.queue = &unreliable{Queue: s.store}
	sender := deliver.New(deliver.Options{Store: s.store, Profiles: s.profiles, Poster: s.client, Log: quiet})
	if err := s.dispatch.Start(context.Background(), s.queue, sender); err != nil {
		s.t.Fatal(err)
	}
}

// shut stops the node. With a limit of zero it stops as in a crash.
func (s *simulation) shut(limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	s.dispatch.Stop(ctx)
	s.client.CloseIdle()
	if err := s.store.Close(); err != nil {
		s.t.Error(err)
	}
}

func (s *simulation) scope(n int) hook.Scope {
	return hook.Scope{Tenant: fmt.Sprint("tenant-", n%simTenants), Mode: hook.Live}
}

func (s *simulation) endpoint(n int) {
	s.t.Helper()
	p, _ := s.profiles.Get("paysway")
	text, encoding, err := p.NewSecret()
	if err != nil {
		s.t.Fatal(err)
	}
	if n < simTenants {
		if _, _, err := s.store.CreateTenant(s.t.Context(), hook.Tenant{ID: s.scope(n).Tenant}, nil); err != nil {
			s.t.Fatal(err)
		}
	}
	e, _, err := s.store.CreateEndpoint(s.t.Context(), hook.Endpoint{
		Scope: s.scope(n), URL: fmt.Sprintf("http://hooks.example.com/in/%d", n), Types: hook.Filter{"*"},
		Profile: "paysway", Secrets: []hook.Secret{{Text: text, Encoding: encoding}},
	}, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.endpoints = append(s.endpoints, e)
}

// ServeHTTP acts as every receiver; the path selects which.
func (s *simulation) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	n, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/in/"))
	if err != nil {
		return // the sender was stopped
	}
	s.mu.Lock()
	how := s.behaviour[n]
	s.mu.Unlock()
	switch how {
	case simError:
		w.WriteHeader(http.StatusInternalServerError)
		return
	case simBusy:
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case simHangs:
		<-r.Context().Done()
		return
	case simSlow:
		time.Sleep(3 * time.Second)
	}
	_, rest, _ := bytes.Cut(body, []byte(`"id":"`))
	s.mu.Lock()
	s.got[fmt.Sprint(n, " ", string(rest[:36]))]++
	s.mu.Unlock()
}

func (s *simulation) change(e *hook.Endpoint, f func(*hook.Endpoint)) {
	s.t.Helper()
	_, err := s.store.UpdateEndpoint(s.t.Context(), e.Scope, e.ID, func(old hook.Endpoint) (hook.Endpoint, error) { f(&old); return old, nil }, false)
	if err != nil {
		s.t.Fatal(err)
	}
}

// step performs one random action.
func (s *simulation) step() {
	n := s.rng.IntN(simEndpoints)
	e := s.endpoints[n]
	switch s.rng.IntN(12) {
	case 0, 1, 2, 3:
		s.publish(s.scope(n), 1+s.rng.IntN(30))
	case 4, 5:
		s.mu.Lock()
		s.behaviour[n] = s.rng.IntN(simKinds)
		s.mu.Unlock()
	case 6:
		s.change(e, func(e *hook.Endpoint) { e.Status = hook.Disabled })
	case 7:
		s.change(e, func(e *hook.Endpoint) { e.Status = hook.Enabled })
	case 8:
		s.change(e, func(e *hook.Endpoint) {
			e.RateLimit, e.MaxInFlight = float64(s.rng.IntN(3))/2, s.rng.IntN(4)
		})
	case 9:
		s.byHand(e.Scope)
	case 10:
		s.queue.mu.Lock()
		s.queue.fail = s.rng.IntN(6)
		s.queue.mu.Unlock()
	case 11:
		s.shut(time.Duration(s.rng.IntN(2)) * time.Minute)
		s.open()
	}
}

func (s *simulation) publish(scope hook.Scope, n int) {
	s.t.Helper()
	events := make([]hook.NewEvent, n)
	for i := range events {
		events[i] = hook.NewEvent{Scope: scope, Type: "RECIPIENT.CREATED", Data: []byte(`{"externalUserId": "x"}`)}
	}
	p, _ := s.profiles.Get("paysway")
	got, _, err := s.store.Publish(s.t.Context(), events, func(*hook.Endpoint) hook.ProfileHash { return p.Hash() }, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, g := range got {
		s.accepted += g.Deliveries
	}
}

// byHand retries or cancels a delivery. It may be refused.
func (s *simulation) byHand(scope hook.Scope) {
	s.t.Helper()
	rows := s.rows(scope)
	if len(rows) == 0 {
		return
	}
	row := rows[s.rng.IntN(len(rows))]
	var err error
	if s.rng.IntN(3) == 0 {
		_, err = s.store.CancelDelivery(s.t.Context(), scope, row.ID)
	} else {
		_, _, err = s.store.RetryDelivery(s.t.Context(), scope, row.ID, nil)
	}
	if code := hook.CodeOf(err); err != nil && code != hook.CodeDeliverySettled && code != hook.CodeEndpointDisabled && code != hook.CodeConflict {
		s.t.Fatal(err)
	}
}

func (s *simulation) rows(scope hook.Scope) (all []hook.DeliveryRow) {
	s.t.Helper()
	for page := (hook.Page{Limit: 250}); ; {
		rows, next, err := s.store.Deliveries(s.t.Context(), hook.DeliveryQuery{Scope: scope, Page: page})
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, rows...)
		if next == "" {
			return all
		}
		page.Cursor = next
	}
}

// clear ends all faults.
func (s *simulation) clear() {
	s.mu.Lock()
	s.behaviour = [simEndpoints]int{}
	s.mu.Unlock()
	s.queue.mu.Lock()
	s.queue.fail = 0
	s.queue.mu.Unlock()
	for _, e := range s.endpoints {
		s.change(e, func(e *hook.Endpoint) { e.Status = hook.Enabled })
	}
}

// verdict compares what was acknowledged with what arrived, and returns the differences.
func (s *simulation) verdict() (wrong []string) {
	s.t.Helper()
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	place := map[hook.ID]int{}
	for n, e := range s.endpoints {
		place[e.ID] = n
	}
	found, states := 0, map[hook.State]int{}
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := range simTenants {
		for _, row := range s.rows(s.scope(n)) {
			found++
			states[row.State]++
			came := s.got[fmt.Sprint(place[row.Endpoint], " ", row.PublicID)]
			switch {
			case row.State == hook.Succeeded && came == 0:
				complain("delivery %v succeeded and nobody got it", row.ID)
			case row.State != hook.Succeeded && row.State != hook.Cancelled:
				complain("delivery %v of endpoint %d is still %v %q after %d attempts, due %v, owner %d", row.ID, place[row.Endpoint], row.State, row.Reason, row.Attempts, row.Due, row.Owner)
			}
		}
	}
	if found != s.accepted {
		complain("%d deliveries were acknowledged, %d are in the store", s.accepted, found)
	}
	if st := s.dispatch.Stats(); st.InFlight+st.Fast+st.Slow+st.Waiting != 0 {
		complain("the dispatcher is not empty: %+v", st)
	}
	if states[hook.Succeeded] < 100 {
		complain("too little happened: %v", states)
	}
	return wrong
}

func TestRandomWeather(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSimulation(t, seed)
				defer func() {
					s.shut(time.Minute)
					_ = s.server.Close()
				}()
				for range simSteps {
					s.step()
					if s.rng.IntN(3) > 0 {
						time.Sleep(time.Duration(s.rng.IntN(600_000)) * time.Millisecond)
					}
				}
				s.clear()
				time.Sleep(48 * time.Hour)
				for _, text := range s.verdict() {
					t.Error(text)
				}
				before := len(s.got)
				time.Sleep(7 * 24 * time.Hour)
				if len(s.got) != before {
					t.Error("something was sent after all was settled")
				}
			})
		})
	}
}

// The control: the verdict detects a missing delivery, and one that never settles.
func TestRandomWeatherNoticesALoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSimulation(t, 1)
		defer func() {
			s.shut(time.Minute)
			_ = s.server.Close()
		}()
		s.publish(s.scope(0), 100)
		time.Sleep(time.Hour)
		if wrong := s.verdict(); len(wrong) != 0 {
			t.Fatalf("all is well, and the verdict is %q", wrong)
		}
		s.accepted++
		if len(s.verdict()) != 1 {
			t.Error("a delivery that was acknowledged and is not there goes unnoticed")
		}
		s.accepted--
		s.behaviour[0] = simError
		s.publish(s.scope(0), 1)
		time.Sleep(time.Hour)
		if len(s.verdict()) == 0 {
			t.Error("a delivery that is still open goes unnoticed")
		}
	})
}
