package storetest

import (
	"github.com/posthorn/posthorn/internal/hook"
)

// filters checks the filters of the lists, page by page, with pages that examine three rows
// each. Rare rows are still found, and no page reads the whole list.
func filters(w *world) {
	w.store.Lists.Scan, w.store.Lists.First = 3, 1
	acme := live.Tenant
	e := w.endpoint(live)
	for range 7 {
		w.endpoint(live, "none")
	}
	_, err := w.store.UpdateEndpoint(w.ctx, live, e.ID, func(old hook.Endpoint) (hook.Endpoint, error) {
		old.Status, old.DisabledReason = hook.Disabled, "by_hand"
		return old, nil
	}, false)
	w.must(err)
	other := hook.Scope{Tenant: "other", Mode: hook.Live}
	w.tenant(other.Tenant)
	_, _, err = w.store.CreateTenant(w.ctx, hook.Tenant{ID: "twin", Name: "other Ltd"}, nil)
	w.must(err)
	for i, k := range []hook.Key{
		{Kind: hook.TenantKey, Tenant: acme, Name: "a"}, {Kind: hook.TenantKey, Tenant: "other", Name: "a"}, {Kind: hook.Publisher, Name: "b"},
		{Kind: hook.Publisher, Tenant: acme}, {Kind: hook.Operator, Name: "b"}, {Kind: hook.Operator}, {Kind: hook.Operator},
	} {
		k.Mode, k.Hash = hook.Live, [32]byte{byte(i + 1)}
		_, _, err := w.store.CreateKey(w.ctx, k, nil)
		w.must(err)
	}
	_, _, _, err = w.store.PublishTest(w.ctx, live, e.ID, "ping", []byte(`{}`), hook.ProfileHash{4}, nil)
	w.must(err)
	jobs := w.taken().Jobs
	for range 6 {
		w.publish(live, "a.b")
	}
	w.settle(w.outcome(jobs[0], 500))

	mode := hook.Scope{Mode: hook.Live}
	yes, no := true, false
	w.wantKeys(map[hook.KeyQuery]int{
		{Scope: mode}: 7, {Scope: mode, Kind: hook.TenantKey}: 2, {Scope: mode, Kind: hook.Publisher}: 2, {Scope: mode, Name: "a"}: 2, {Scope: mode, Name: "b"}: 2,
		{Scope: live}: 2, {Scope: live, Kind: hook.Publisher}: 1, {Scope: live, Kind: hook.TenantKey, Name: "a"}: 1, {Scope: mode, Name: "none"}: 0,
		{Scope: hook.Scope{Mode: hook.Test}}: 0,
	})
	for name, want := range map[string]int{"": 3, "other Ltd": 2, acme + " Ltd": 1, "none": 0, "OTHER LTD": 0} {
		n := walked(w, name == "none", func(p hook.Page) (int, string, error) {
			list, next, err := w.store.Tenants(w.ctx, hook.TenantQuery{Name: name, Page: p})
			return len(list), next, err
		})
		if n != want {
			w.Errorf("%d tenants with the name %q, want %d", n, name, want)
		}
	}
	for reason, want := range map[string]int{"": 8, "by_hand": 1, "gone": 0} {
		n := walked(w, reason == "gone", func(p hook.Page) (int, string, error) {
			list, next, err := w.store.Endpoints(w.ctx, hook.EndpointQuery{Scope: mode, Reason: reason, Page: p})
			return len(list), next, err
		})
		if n != want {
			w.Errorf("%d endpoints disabled for %q, want %d", n, reason, want)
		}
	}
	for only, want := range map[*bool]int{nil: 7, &yes: 1, &no: 6} {
		n := walked(w, only == &yes, func(p hook.Page) (int, string, error) {
			list, next, err := w.store.Events(w.ctx, hook.EventQuery{Scope: mode, Test: only, Page: p})
			return len(list), next, err
		})
		if n != want {
			w.Errorf("%d events, want %d", n, want)
		}
	}
	for class, want := range map[hook.Class]int{"": 1, hook.ClassStatus: 1, hook.ClassTimeout: 0} {
		n := walked(w, class != "", func(p hook.Page) (int, string, error) {
			list, next, err := w.store.Deliveries(w.ctx, hook.DeliveryQuery{Scope: mode, Error: class, Page: p})
			return len(list), next, err
		})
		if n != want {
			w.Errorf("%d deliveries that failed with %q, want %d", n, class, want)
		}
	}
}

func (w *world) wantKeys(all map[hook.KeyQuery]int) {
	w.Helper()
	for q, want := range all {
		n := walked(w, q.Name == "none", func(p hook.Page) (int, string, error) {
			q.Page = p
			list, next, err := w.store.Keys(w.ctx, q)
			return len(list), next, err
		})
		if n != want {
			w.Errorf("%+v: %d keys, want %d", q, n, want)
		}
	}
}

// walked counts the rows of all pages. A search for a rare row must need more than one
// page, otherwise it was not bounded.
func walked(w *world, rare bool, page func(hook.Page) (int, string, error)) int {
	w.Helper()
	rows, pages, p := 0, 0, hook.Page{Limit: 2}
	for {
		n, next, err := page(p)
		w.must(err)
		rows, pages = rows+n, pages+1
		if p.Cursor = next; next == "" {
			break
		}
	}
	if rare && pages < 2 {
		w.Errorf("a search that finds %d rows took one page: it is not bounded", rows)
	}
	return rows
}
