package storetest

import (
	"fmt"
	"slices"

	"github.com/posthorn/posthorn/internal/hook"
)

// uidsAndMetadata: the platform's own names and notes are kept, and a uid is unique among
// the endpoints of a scope that are not deleted.
func uidsAndMetadata(w *world) {
	made, _, err := w.store.CreateTenant(w.ctx, hook.Tenant{ID: "acme", Metadata: `{"a":"b"}`}, nil)
	w.must(err)
	other := w.endpoint(live)
	named := hook.Endpoint{Scope: live, URL: "https://example.com/", Types: []string{"*"}, Profile: "standard", UID: "one", Metadata: `{"c":"d"}`,
		Secrets: []hook.Secret{{Text: "whsec_first", Encoding: hook.EncodingWhsec}}}
	one, _, err := w.store.CreateEndpoint(w.ctx, named, nil)
	w.must(err)
	_, _, err = w.store.CreateEndpoint(w.ctx, named, nil)
	w.wantCode(err, hook.CodeConflict)
	rename := func(e hook.Endpoint) (hook.Endpoint, error) { e.UID = "one"; return e, nil }
	_, err = w.store.UpdateEndpoint(w.ctx, live, other.ID, rename, false)
	w.wantCode(err, hook.CodeConflict)
	w.tenant("third")
	elsewhere := named
	elsewhere.Scope.Tenant = "third"
	_, _, err = w.store.CreateEndpoint(w.ctx, elsewhere, nil)
	w.must(err) // control: it is unique in its scope only
	w.reopen()
	got, err := w.store.Endpoint(w.ctx, live, one.ID)
	w.must(err)
	t, err := w.store.Tenant(w.ctx, "acme")
	w.must(err)
	if got.UID != "one" || got.Metadata != named.Metadata || t.Metadata != made.Metadata || t.Metadata == "" {
		w.Errorf("%+v %+v", got, t)
	}
	w.must(w.store.DeleteEndpoint(w.ctx, live, one.ID))
	_, err = w.store.UpdateEndpoint(w.ctx, live, other.ID, rename, false)
	w.must(err) // a deleted endpoint gives its uid back
}

// tenantRates: endpoints without a rate limit get the tenant's, at once and after a restart.
func tenantRates(w *world) {
	_, _, err := w.store.CreateTenant(w.ctx, hook.Tenant{ID: "acme", RateLimit: 2.5}, nil)
	w.must(err)
	made := map[*hook.Endpoint]float64{w.endpoint(live): 0, w.endpoint(test): 0}
	own := w.endpoint(live)
	own, err = w.store.UpdateEndpoint(w.ctx, live, own.ID, func(e hook.Endpoint) (hook.Endpoint, error) { e.RateLimit = 7; return e, nil }, false)
	w.must(err)
	made[own] = 7
	wantRates := func(tenant float64) {
		w.Helper()
		for e, rate := range made {
			now := w.current(e)
			list, _, err := w.store.Endpoints(w.ctx, hook.EndpointQuery{Scope: e.Scope})
			w.must(err)
			for _, one := range list {
				if one.ID == e.ID && one.Rate() != now.Rate() {
					w.Errorf("listed with %v", one.Rate())
				}
			}
			if rate == 0 {
				rate = tenant
			}
			if now.Rate() != rate || now.Revision != e.Revision {
				w.Errorf("rate %v of revision %d, want %v of %d", now.Rate(), now.Revision, rate, e.Revision)
			}
		}
	}
	wantRates(2.5)
	w.taken()
	change := func(rate float64) func(hook.Tenant) (hook.Tenant, error) {
		return func(n hook.Tenant) (hook.Tenant, error) { n.RateLimit = rate; return n, nil }
	}
	_, err = w.store.UpdateTenant(w.ctx, "acme", change(4))
	w.must(err)
	if changed := w.taken().Changed; len(changed) != len(made) {
		w.Errorf("the dispatcher got %d snapshots", len(changed))
	}
	wantRates(4)
	_, err = w.store.UpdateTenant(w.ctx, "acme", func(n hook.Tenant) (hook.Tenant, error) { n.Name = "New"; return n, nil })
	w.must(err)
	if changed := w.taken().Changed; len(changed) != 0 { // control
		w.Errorf("a new name gave %d snapshots", len(changed))
	}
	w.reopen()
	wantRates(4)
	w.endpoint(hook.Scope{Tenant: "other", Mode: hook.Live}) // control
	made = map[*hook.Endpoint]float64{w.endpoint(hook.Scope{Tenant: "other", Mode: hook.Live}): 0}
	wantRates(0)
}

// ascendingLists: the lists of tenants and of events go both ways and meet.
func ascendingLists(w *world) {
	var ids []string
	for i := range 5 {
		w.tenant(fmt.Sprint("t", i))
		ids = append(ids, fmt.Sprint("t", i))
	}
	w.must(w.store.DeleteTenant(w.ctx, "t1"))
	walk := func(q hook.TenantQuery) (out []string) {
		for q.Limit = 2; ; q.After = "" {
			rows, next, err := w.store.Tenants(w.ctx, q)
			w.must(err)
			for _, t := range rows {
				out = append(out, t.ID)
			}
			if q.Cursor = next; next == "" {
				return out
			}
		}
	}
	left := append([]string{ids[0]}, ids[2:]...)
	if up := walk(hook.TenantQuery{Ascending: true}); !slices.Equal(up, left) {
		w.Errorf("up: %v", up)
	}
	if up := walk(hook.TenantQuery{Ascending: true, After: "t1"}); !slices.Equal(up, ids[2:]) {
		w.Errorf("after one that was deleted: %v", up)
	}
	if down := walk(hook.TenantQuery{After: "t3"}); !slices.Equal(down, []string{"t2", "t0"}) {
		w.Errorf("down: %v", down)
	}
	_, _, err := w.store.Tenants(w.ctx, hook.TenantQuery{After: "nobody"})
	w.wantCode(err, hook.CodeNotFound)

	w.endpoint(live)
	for i := range 5 {
		w.publish(live, []string{"x", "y"}[i%2])
	}
	events := func(q hook.EventQuery) (out []hook.ID) {
		for q.Scope, q.Limit = live, 2; ; {
			rows, next, err := w.store.Events(w.ctx, q)
			w.must(err)
			for _, e := range rows {
				out = append(out, e.ID)
			}
			if q.Cursor = next; next == "" {
				return out
			}
		}
	}
	down, up := events(hook.EventQuery{}), events(hook.EventQuery{Ascending: true})
	slices.Reverse(down)
	if len(up) != 5 || !slices.Equal(up, down) {
		w.Errorf("%v, and down %v", up, down)
	}
	page := hook.Page{Cursor: hook.CursorAt(up[1])}
	if above := events(hook.EventQuery{Ascending: true, Page: page}); !slices.Equal(above, up[2:]) {
		w.Errorf("above %s: %v", up[1], above)
	}
	if kind := events(hook.EventQuery{Ascending: true, Type: "y"}); !slices.Equal(kind, []hook.ID{up[1], up[3]}) {
		w.Errorf("of a type: %v", kind)
	}
}
