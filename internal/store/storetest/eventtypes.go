package storetest

import (
	"reflect"

	"github.com/posthorn/posthorn/internal/hook"
)

// eventTypeMembers checks that all members of an entry are kept, also across a restart, and
// that the filters of the catalogue find rare entries over pages that examine three rows.
func eventTypeMembers(w *world) {
	full := hook.EventType{Mode: hook.Live, Name: "pay.settled", Description: "D", Group: "Payments", Enforce: hook.EnforceWarn, Deprecated: true, Replacement: "pay.paid", Hidden: true,
		TypeVersion: hook.TypeVersion{Version: 3, Schema: []byte(`{"maximum":1e400}`), Example: []byte(`{"a":"<&>"}`)},
		Others:      []hook.TypeVersion{{Version: 1, Schema: []byte(`{"const":"<&>"}`)}, {Version: 2, Example: []byte(`{"n":1.50}`)}}}
	made, _, err := w.store.CreateEventType(w.ctx, full, nil)
	w.must(err)
	w.reopen()
	got, err := w.store.EventType(w.ctx, hook.Live, full.Name)
	w.must(err)
	full.CreatedAt, full.UpdatedAt = got.CreatedAt, got.UpdatedAt
	if !reflect.DeepEqual(got, full) || !got.CreatedAt.Equal(made.CreatedAt) {
		w.Errorf("%+v\nwant %+v", got, full)
	}
	_, err = w.store.UpdateEventType(w.ctx, hook.Live, full.Name, func(old hook.EventType) (hook.EventType, error) {
		old.Group, old.Deprecated, old.Replacement, old.Hidden, old.Enforce, old.Others = "", false, "", false, hook.EnforceOff, nil
		return old, old.Use(4)
	})
	w.must(err)
	got, err = w.store.EventType(w.ctx, hook.Live, full.Name)
	w.must(err)
	if got.Group != "" || got.Deprecated || got.Replacement != "" || got.Hidden || got.Version != 4 || len(got.Others) != 1 || got.Others[0].Version != 3 {
		w.Errorf("after a change: %+v", got)
	}

	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		e := hook.EventType{Mode: hook.Live, Name: name, TypeVersion: hook.TypeVersion{Version: 1}, Hidden: name == "h", Deprecated: name == "g"}
		if name == "f" {
			e.Group = "Rare"
		}
		_, _, err := w.store.CreateEventType(w.ctx, e, nil)
		w.must(err)
	}
	w.store.Lists.Scan = 3
	yes, no := true, false
	for _, c := range []struct {
		query hook.TypeQuery
		want  int
	}{{hook.TypeQuery{}, 9}, {hook.TypeQuery{Group: "Rare"}, 1}, {hook.TypeQuery{Group: "rare"}, 0}, {hook.TypeQuery{Hidden: &yes}, 1}, {hook.TypeQuery{Hidden: &no}, 8},
		{hook.TypeQuery{Deprecated: &yes}, 1}, {hook.TypeQuery{Deprecated: &no, Hidden: &no}, 7}, {hook.TypeQuery{Deprecated: &yes, Hidden: &yes}, 0}} {
		n := walked(w, c.want == 0, func(p hook.Page) (int, string, error) {
			q := c.query
			q.Mode, q.Page = hook.Live, p
			list, next, err := w.store.EventTypes(w.ctx, q)
			return len(list), next, err
		})
		if n != c.want {
			w.Errorf("%+v: %d entries, want %d", c.query, n, c.want)
		}
	}
}

// subscribers checks who counts as a subscriber of a type, and the bound of the count.
func subscribers(w *world) {
	other := hook.Scope{Tenant: "other", Mode: hook.Live}
	w.tenant(other.Tenant)
	w.endpoint(live, "pay.settled")
	w.endpoint(live, "pay.*")
	w.endpoint(other, "*")
	w.endpoint(other, "x.y")
	w.setStatus(w.endpoint(other, "pay.settled", "x.y"), hook.Disabled, false)
	gone := w.endpoint(other, "*")
	w.must(w.store.DeleteEndpoint(w.ctx, other, gone.ID))
	w.endpoint(hook.Scope{Tenant: other.Tenant, Mode: hook.Test}, "*")

	count := func(scope hook.Scope, most int) []hook.Subscribers {
		list, err := w.store.Subscribers(w.ctx, scope, []string{"pay.settled", "x.y", "none"}, most)
		w.must(err)
		return list
	}
	all := hook.Scope{Mode: hook.Live}
	if got, want := count(all, 5), []hook.Subscribers{{Endpoints: 4, Enabled: 3, Tenants: 2}, {Endpoints: 3, Enabled: 2, Tenants: 1}, {Endpoints: 1, Enabled: 1, Tenants: 1}}; !reflect.DeepEqual(got, want) {
		w.Errorf("of all tenants: %+v, want %+v", got, want)
	}
	if got, want := count(live, 5), []hook.Subscribers{{Endpoints: 2, Enabled: 2, Tenants: 1}, {}, {}}; !reflect.DeepEqual(got, want) {
		w.Errorf("of one tenant: %+v, want %+v", got, want)
	}
	if got := count(all, 3); !got[0].More || got[0].Endpoints != 2 {
		w.Errorf("bounded to the 3 newest: %+v", got)
	}
}
