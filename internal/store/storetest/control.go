package storetest

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/read"
)

func keys(w *world) {
	w.tenant("acme")
	k, _, err := w.store.CreateKey(w.ctx, hook.Key{Kind: hook.TenantKey, Mode: hook.Live, Tenant: "acme", Name: "n", Hash: [32]byte{1}}, nil)
	w.must(err)
	for range 2 {
		got, err := w.store.KeyByHash(w.ctx, [32]byte{1})
		w.must(err)
		if diff := cmp.Diff(k, got); diff != "" {
			w.Error(diff)
		}
	}
	_, _, err = w.store.CreateKey(w.ctx, hook.Key{Kind: hook.Operator, Mode: hook.Test, Hash: [32]byte{1}}, nil)
	w.wantCode(err, hook.CodeConflict)
	_, _, err = w.store.CreateKey(w.ctx, hook.Key{Kind: hook.TenantKey, Mode: hook.Test, Tenant: "none", Hash: [32]byte{2}}, nil)
	w.wantCode(err, hook.CodeTenantNotFound)
	op, _, err := w.store.CreateKey(w.ctx, hook.Key{Kind: hook.Operator, Mode: hook.Live, Hash: [32]byte{3}}, nil)
	w.must(err)
	list, next, err := w.store.Keys(w.ctx, hook.KeyQuery{Scope: hook.Scope{Mode: hook.Live}, Page: hook.Page{Limit: 1}})
	if err != nil || len(list) != 1 || list[0].ID != op.ID || next == "" {
		w.Fatalf("keys %+v, %q, %v", list, next, err)
	}
	list, next, err = w.store.Keys(w.ctx, hook.KeyQuery{Scope: live})
	if err != nil || len(list) != 1 || list[0].ID != k.ID || next != "" {
		w.Fatalf("keys %+v, %q, %v", list, next, err)
	}
	w.wantCode(w.store.RevokeKey(w.ctx, test, k.ID), hook.CodeNotFound)
	w.wantCode(w.store.RevokeKey(w.ctx, live, op.ID), hook.CodeNotFound)
	_, err = w.store.KeyByHash(w.ctx, [32]byte{1}) // puts the key into the cache, which must be cleared
	w.must(err)
	w.must(w.store.RevokeKey(w.ctx, live, k.ID))
	_, err = w.store.KeyByHash(w.ctx, [32]byte{1})
	w.wantCode(err, hook.CodeNotFound)
	w.wantCode(w.store.RevokeKey(w.ctx, live, k.ID), hook.CodeNotFound)
}

func keyLimits(w *world) {
	w.tenant("acme")
	same := cmpopts.EquateComparable(netip.Prefix{})
	limits := hook.KeyLimits{ExpiresAt: w.clock().Add(time.Hour).UTC().Truncate(time.Microsecond), ReadOnly: true, EventTypes: hook.Filter{"a.*", "b"},
		Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}}
	k, _, err := w.store.CreateKey(w.ctx, hook.Key{Kind: hook.TenantKey, Mode: hook.Live, Tenant: "acme", Hash: [32]byte{1}, KeyLimits: limits}, nil)
	w.must(err)
	plain, _, err := w.store.CreateKey(w.ctx, hook.Key{Kind: hook.TenantKey, Mode: hook.Live, Tenant: "acme", Hash: [32]byte{2}}, nil)
	w.must(err)
	w.must(w.store.CreateToken(w.ctx, live, hook.Token{Hash: [32]byte{3}, Key: k.ID, ExpiresAt: w.clock().Add(time.Hour)}))
	byToken, err := w.store.TokenKey(w.ctx, [32]byte{3})
	w.must(err)
	byHash, err := w.store.KeyByHash(w.ctx, [32]byte{1})
	w.must(err)
	for _, got := range []hook.Key{byToken, byHash} {
		if diff := cmp.Diff(k, got, same); diff != "" || !got.Limited() {
			w.Errorf("the limits changed: %s", diff)
		}
	}
	if got, err := w.store.KeyByHash(w.ctx, [32]byte{2}); err != nil || got.Limited() {
		w.Errorf("control: %+v, %v", got.KeyLimits, err)
	}
	w.store.KeyUsed(k.ID)
	used := func() (all []time.Time) {
		list, _, err := w.store.Keys(w.ctx, hook.KeyQuery{Scope: live})
		w.must(err)
		for _, k := range list {
			all = append(all, k.LastUsedAt)
		}
		return all // newest key comes first
	}
	minute := w.clock().UTC().Truncate(time.Minute)
	w.until("the use is written", func() bool { return !used()[1].IsZero() })
	if got := used(); !got[0].IsZero() || got[1].Before(minute.Add(-time.Minute)) || got[1].After(minute) || !got[1].Equal(got[1].Truncate(time.Minute)) {
		w.Errorf("last used %v, want the minute %v of %s and none of %s", got, minute, k.ID, plain.ID)
	}
}

func tenants(w *world) {
	w.tenant("acme")
	_, _, err := w.store.CreateTenant(w.ctx, hook.Tenant{ID: "acme"}, nil)
	w.wantCode(err, hook.CodeTenantExists)
	made, _, err := w.store.CreateTenant(w.ctx, hook.Tenant{Name: "no id"}, nil)
	if _, parseErr := hook.ParseID(made.ID); err != nil || parseErr != nil {
		w.Fatalf("made %+v, %v", made, err)
	}
	w.tenant("third")
	var seen []string
	page := hook.Page{Limit: 2}
	for {
		list, next, err := w.store.Tenants(w.ctx, hook.TenantQuery{Page: page})
		w.must(err)
		for _, n := range list {
			seen = append(seen, n.ID)
		}
		if page.Cursor = next; next == "" {
			break
		}
	}
	if diff := cmp.Diff([]string{"third", made.ID, "acme"}, seen); diff != "" {
		w.Error(diff)
	}
	up, err := w.store.UpdateTenant(w.ctx, "acme", func(n hook.Tenant) (hook.Tenant, error) { n.Name = "New"; n.ID = "x"; return n, nil })
	if err != nil || up.ID != "acme" || up.Name != "New" {
		w.Errorf("updated %+v, %v", up, err)
	}
	e := w.endpoint(test)
	j := w.job(test)
	_, _, err = w.store.CreateKey(w.ctx, hook.Key{Kind: hook.TenantKey, Mode: hook.Live, Tenant: "acme", Hash: [32]byte{1}}, nil)
	w.must(err)
	_, err = w.store.KeyByHash(w.ctx, [32]byte{1})
	w.must(err)
	w.must(w.store.DeleteTenant(w.ctx, "acme"))
	_, err = w.store.KeyByHash(w.ctx, [32]byte{1})
	w.wantCode(err, hook.CodeNotFound)
	_, err = w.store.Tenant(w.ctx, "acme")
	w.wantCode(err, hook.CodeNotFound)
	_, err = w.store.Endpoint(w.ctx, test, e.ID)
	w.wantCode(err, hook.CodeNotFound)
	_, _, err = w.store.Delivery(w.ctx, test, j.Delivery.ID)
	w.wantCode(err, hook.CodeNotFound) // at once, even before it is cancelled
	w.until("cancelled", func() bool {
		return slices.ContainsFunc(w.taken().Dropped, func(r hook.Ref) bool { return r.Event == j.Delivery.Event && r.Endpoint == e.ID })
	})
	out := w.publishAll(hook.NewEvent{Scope: test, Type: "a", Data: []byte("{}"), CreateTenant: true})
	w.wantCode(out[0].Err, hook.CodeTenantNotFound)
	_, _, err = w.store.CreateTenant(w.ctx, hook.Tenant{ID: "acme"}, nil)
	w.wantCode(err, hook.CodeTenantExists)
	w.wantCode(w.store.DeleteTenant(w.ctx, "acme"), hook.CodeNotFound)
}

func lists(w *world) {
	a, b := w.endpoint(live, "a", "x"), w.endpoint(live, "b", "x")
	other := hook.Scope{Tenant: "other", Mode: hook.Live}
	w.endpoint(other)
	var start time.Time
	for i, eventType := range []string{"a", "b", "x", "none", "x"} {
		if i == 2 {
			w.pass(time.Hour)
			start = w.clock()
		}
		w.publish(live, eventType)
		w.publish(other, eventType)
		w.pass(time.Second)
	}
	failed := hook.Failed
	for _, j := range w.taken().Jobs {
		if j.Event.Type == "a" && j.Delivery.Endpoint == a.ID {
			s := w.outcome(j, 404)
			s.Outcome.Policy = &hook.Policy{}
			w.settle(s)
		}
	}
	pending := hook.Pending
	for _, c := range []struct {
		q    hook.DeliveryQuery
		want int
	}{
		{hook.DeliveryQuery{Scope: live}, 6},
		{hook.DeliveryQuery{Scope: hook.Scope{Mode: hook.Live}}, 11},
		{hook.DeliveryQuery{Scope: test}, 0},
		{hook.DeliveryQuery{Scope: live, Endpoint: b.ID}, 3},
		{hook.DeliveryQuery{Scope: live, Type: "x"}, 4},
		{hook.DeliveryQuery{Scope: live, State: &failed}, 1},
		{hook.DeliveryQuery{Scope: live, State: &failed, Endpoint: a.ID}, 1},
		{hook.DeliveryQuery{Scope: live, State: &failed, Endpoint: b.ID}, 0},
		{hook.DeliveryQuery{Scope: live, State: &pending, Endpoint: a.ID}, 2},
		{hook.DeliveryQuery{Scope: live, StatusClass: 4}, 1},
		{hook.DeliveryQuery{Scope: live, StatusClass: 5}, 0},
		{hook.DeliveryQuery{Scope: live, Error: hook.ClassStatus}, 1},
		{hook.DeliveryQuery{Scope: live, Error: hook.ClassStatus, State: &failed, Endpoint: a.ID}, 1},
		{hook.DeliveryQuery{Scope: live, Error: hook.ClassTimeout}, 0},
		{hook.DeliveryQuery{Scope: live, After: start}, 4},
		{hook.DeliveryQuery{Scope: live, Before: start}, 2},
		{hook.DeliveryQuery{Scope: live, After: start.Add(time.Microsecond), Before: start.Add(time.Minute)}, 2},
	} {
		if got := w.walk(c.q, 250); len(got) != c.want {
			w.Errorf("%+v: %d, want %d", c.q, len(got), c.want)
		}
		if diff := cmp.Diff(w.walk(c.q, 250), w.walk(c.q, 1)); diff != "" {
			w.Errorf("%+v: one by one is different: %s", c.q, diff)
		}
	}
	w.listEvents(start)
	w.listEndpoints(a, b)
	_, _, err := w.store.Deliveries(w.ctx, hook.DeliveryQuery{Scope: live, Page: hook.Page{Cursor: "bad"}})
	w.wantCode(err, hook.CodeInvalidRequest)
}

// walk reads a list page by page and checks that it is in descending order.
func (w *world) walk(q hook.DeliveryQuery, limit int) (keys []string) {
	w.Helper()
	q.Limit = limit
	for {
		rows, next, err := w.store.Deliveries(w.ctx, q)
		w.must(err)
		if len(rows) > limit {
			w.Fatalf("%d rows over the limit %d", len(rows), limit)
		}
		for _, r := range rows {
			key := fmt.Sprintf("%s/%s", r.Event, r.Endpoint)
			if len(keys) > 0 && keys[len(keys)-1] <= key {
				w.Errorf("not newest first: %s before %s", keys[len(keys)-1], key)
			}
			keys = append(keys, key)
		}
		if q.Cursor = next; next == "" {
			return keys
		}
	}
}

func (w *world) listEvents(start time.Time) {
	w.Helper()
	for _, c := range []struct {
		q    hook.EventQuery
		want int
	}{
		{hook.EventQuery{Scope: live}, 5}, {hook.EventQuery{Scope: live, Type: "x"}, 2}, {hook.EventQuery{Scope: hook.Scope{Mode: hook.Live}}, 10},
		{hook.EventQuery{Scope: live, After: start}, 3}, {hook.EventQuery{Scope: live, Before: start}, 2}, {hook.EventQuery{Scope: test}, 0},
	} {
		seen := 0
		c.q.Limit = 2
		for {
			list, next, err := w.store.Events(w.ctx, c.q)
			w.must(err)
			seen += len(list)
			if c.q.Cursor = next; next == "" {
				break
			}
		}
		if seen != c.want {
			w.Errorf("%+v: %d events, want %d", c.q, seen, c.want)
		}
	}
}

func (w *world) listEndpoints(a, b *hook.Endpoint) {
	w.Helper()
	w.setStatus(b, hook.Disabled, false)
	yes, no := true, false
	for _, c := range []struct {
		q    hook.EndpointQuery
		want int
	}{
		{hook.EndpointQuery{Scope: live}, 2}, {hook.EndpointQuery{Scope: hook.Scope{Mode: hook.Live}}, 3}, {hook.EndpointQuery{Scope: test}, 0},
		{hook.EndpointQuery{Scope: live, Enabled: &yes}, 1}, {hook.EndpointQuery{Scope: live, Enabled: &no}, 1},
		{hook.EndpointQuery{Scope: live, EventType: "x"}, 2}, {hook.EndpointQuery{Scope: live, EventType: "a"}, 1},
		{hook.EndpointQuery{Scope: live, Profile: "none"}, 0},
	} {
		seen := 0
		c.q.Limit = 1
		for {
			list, next, err := w.store.Endpoints(w.ctx, c.q)
			w.must(err)
			seen += len(list)
			for _, e := range list {
				if len(e.Secrets) != 0 {
					w.Errorf("a list shows secrets")
				}
			}
			if c.q.Cursor = next; next == "" {
				break
			}
		}
		if seen != c.want {
			w.Errorf("%+v: %d endpoints, want %d", c.q, seen, c.want)
		}
	}
	w.must(w.store.DeleteEndpoint(w.ctx, live, a.ID))
	if list, _, err := w.store.Endpoints(w.ctx, hook.EndpointQuery{Scope: live}); err != nil || len(list) != 1 {
		w.Errorf("%d endpoints after one was deleted, %v", len(list), err)
	}
}

func profiles(w *world) {
	h := hook.ProfileHash{1}
	first := w.clock()
	w.must(w.store.KeepProfile(w.ctx, h, "standard", "text"))
	w.pass(time.Second)
	w.must(w.store.KeepProfile(w.ctx, h, "standard", "text"))
	other := hook.ProfileHash{0}
	w.must(w.store.PutProfile(w.ctx, other, "standard", "other"))
	second := w.clock()
	want := func(list ...read.Profile) {
		w.Helper()
		got, err := w.store.Profiles(w.ctx)
		w.must(err)
		if diff := cmp.Diff(list, got); diff != "" {
			w.Error(diff)
		}
	}
	want(read.Profile{Hash: h, Name: "standard", Text: "text", KeptAt: first}, read.Profile{Hash: other, Name: "standard", Text: "other", KeptAt: second})
	w.pass(time.Second)
	w.must(w.store.PutProfile(w.ctx, h, "standard", "text")) // makes it current again
	want(read.Profile{Hash: other, Name: "standard", Text: "other", KeptAt: second}, read.Profile{Hash: h, Name: "standard", Text: "text", KeptAt: w.clock()})
}

func closedRefuses(w *world) {
	w.endpoint(live)
	w.must(w.store.Ready(w.ctx))
	w.must(w.store.Close())
	w.must(w.store.Close())
	_, _, err := w.store.Publish(w.ctx, []hook.NewEvent{{Scope: live, Type: "a", Data: []byte("{}")}}, profileOf, nil)
	w.wantCode(err, hook.CodeShuttingDown)
	_, err = w.store.Claim(w.ctx, hook.Claim{})
	w.wantCode(err, hook.CodeShuttingDown)
	w.wantCode(w.store.Ready(w.ctx), hook.CodeShuttingDown)
}
