package storetest

import (
	"errors"
	"reflect"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// tokens checks that a token gives access as its key, in the key's scope, until the token
// expires or the key is revoked.
func tokens(w *world) {
	w.tenant("acme")
	w.tenant("other")
	key := func(scope hook.Scope, n byte) hook.Key {
		k, _, err := w.store.CreateKey(w.ctx, hook.Key{Kind: hook.TenantKey, Mode: scope.Mode, Tenant: scope.Tenant, Hash: [32]byte{n}}, nil)
		w.must(err)
		return k
	}
	mine, second := key(live, 1), key(live, 2)
	token := func(n byte, k hook.Key, life time.Duration) hook.Token {
		return hook.Token{Hash: [32]byte{n}, Key: k.ID, ExpiresAt: w.clock().Add(life)}
	}
	w.must(w.store.CreateToken(w.ctx, live, token(1, mine, time.Hour)))
	w.must(w.store.CreateToken(w.ctx, live, token(2, second, time.Minute)))
	for _, scope := range []hook.Scope{test, {Tenant: "other", Mode: hook.Live}, {Mode: hook.Live}} {
		w.wantCode(w.store.CreateToken(w.ctx, scope, token(9, mine, time.Hour)), hook.CodeNotFound)
	}
	w.wantCode(w.store.CreateToken(w.ctx, live, token(9, hook.Key{ID: hook.ID{5}}, time.Hour)), hook.CodeNotFound)
	got, err := w.store.TokenKey(w.ctx, [32]byte{1})
	w.must(err)
	if !reflect.DeepEqual(got, mine) {
		w.Errorf("%+v, want %+v", got, mine)
	}
	_, err = w.store.TokenKey(w.ctx, [32]byte{9})
	w.wantCode(err, hook.CodeNotFound)

	w.pass(time.Minute)
	_, err = w.store.TokenKey(w.ctx, [32]byte{2})
	w.wantCode(err, hook.CodeNotFound)
	w.must(w.store.Housekeep(w.ctx))
	// A token whose row has been deleted can be created again. One whose row exists cannot.
	w.must(w.store.CreateToken(w.ctx, live, token(2, second, time.Hour)))
	if w.store.CreateToken(w.ctx, live, token(1, mine, time.Hour)) == nil {
		w.Error("housekeeping took a token that is good")
	}
	w.must(w.store.RevokeKey(w.ctx, live, mine.ID))
	_, err = w.store.TokenKey(w.ctx, [32]byte{1})
	w.wantCode(err, hook.CodeNotFound)
	w.wantCode(w.store.CreateToken(w.ctx, live, token(3, mine, time.Hour)), hook.CodeNotFound)
	if _, err = w.store.TokenKey(w.ctx, [32]byte{2}); err != nil {
		w.Errorf("another key's revocation ended a token: %v", err)
	}
	w.must(w.store.DeleteTenant(w.ctx, "acme"))
	_, err = w.store.TokenKey(w.ctx, [32]byte{2})
	w.wantCode(err, hook.CodeNotFound)
}

// partnerUsers checks that grants belong to a partner and a mode, and end with the tenant.
func partnerUsers(w *world) {
	for _, id := range []string{"agency", "acme", "other"} {
		w.tenant(id)
	}
	grant := func(mode hook.Mode, partner, user, tenant string) (hook.PartnerUser, error) {
		p, _, err := w.store.CreatePartnerUser(w.ctx, hook.PartnerUser{Mode: mode, Partner: partner, User: user, Tenant: tenant}, nil)
		return p, err
	}
	made, err := grant(hook.Live, "agency", "u", "acme")
	w.must(err)
	_, err = grant(hook.Live, "agency", "u", "other")
	w.wantCode(err, hook.CodeConflict)
	_, err = grant(hook.Test, "agency", "u", "other")
	w.must(err)
	_, err = grant(hook.Live, "nobody", "u", "acme")
	w.wantCode(err, hook.CodeTenantNotFound)
	agency := hook.Scope{Tenant: "agency", Mode: hook.Live}
	for _, c := range []struct {
		scope hook.Scope
		user  string
		want  string
	}{{agency, "u", "acme"}, {hook.Scope{Tenant: "agency", Mode: hook.Test}, "u", "other"}, {agency, "v", ""}, {hook.Scope{Tenant: "other", Mode: hook.Live}, "u", ""}, {hook.Scope{Mode: hook.Live}, "u", ""}} {
		if got, err := w.store.PartnerTenant(w.ctx, c.scope, c.user); got != c.want || (err == nil) != (c.want != "") {
			w.Errorf("%v names %s: %q %v, want %q", c.scope, c.user, got, err, c.want)
		}
	}
	list, _, err := w.store.PartnerUsers(w.ctx, hook.Scope{Mode: hook.Live}, hook.Page{})
	w.must(err)
	if len(list) != 1 || list[0] != made {
		w.Errorf("%+v, want %+v", list, made)
	}
	w.wantCode(w.store.DeletePartnerUser(w.ctx, hook.Scope{Mode: hook.Test}, made.ID), hook.CodeNotFound)
	w.wantCode(w.store.DeletePartnerUser(w.ctx, hook.Scope{Tenant: "other", Mode: hook.Live}, made.ID), hook.CodeNotFound)
	w.must(w.store.DeleteTenant(w.ctx, "acme"))
	_, err = w.store.PartnerTenant(w.ctx, agency, "u")
	w.wantCode(err, hook.CodeNotFound)
	w.must(w.store.DeletePartnerUser(w.ctx, hook.Scope{Mode: hook.Live}, made.ID))
}

// endpointLog checks that an endpoint's deliveries are listed in its own scope only.
func endpointLog(w *world) {
	e, neighbour := w.endpoint(live), w.endpoint(live, "other.type")
	w.taken()
	w.publish(live, "a.b")
	failed := w.taken().Jobs[0]
	w.settle(w.outcome(failed, 500))
	strangers := []hook.Scope{test, {Tenant: "other", Mode: hook.Live}, {Mode: hook.Live}}
	for i, scope := range append(strangers, live) {
		found, err := w.store.Healths(w.ctx, scope, []hook.ID{e.ID, neighbour.ID})
		w.must(err)
		if mine := i == len(strangers) || scope.Tenant == ""; (len(found) == 1) != mine || mine && found[e.ID].Failures != 1 {
			w.Errorf("%v sees the health %v", scope, found)
		}
	}
	w.publish(live, "c.d")
	done := w.taken().Jobs[0]
	w.settle(w.outcome(done, 200))
	w.publish(live, "other.type") // to both endpoints
	log := func(scope hook.Scope, id hook.ID, change func(*hook.EndpointLog)) ([]hook.LoggedDelivery, int) {
		q := hook.EndpointLog{Scope: scope, Endpoint: id, Window: hook.Window{Limit: 10}}
		if change != nil {
			change(&q)
		}
		list, count, err := w.store.EndpointLog(w.ctx, q)
		w.must(err)
		return list, count
	}
	list, count := log(live, e.ID, nil)
	if count != 3 || len(list) != 3 || list[0].EventType != "other.type" || list[1].ID != done.Delivery.ID || list[2].ID != failed.Delivery.ID {
		w.Fatalf("%d: %+v", count, list)
	}
	if first := list[2]; first.Message == "" || !first.UpdatedAt.Equal(w.clock().Add(5*time.Millisecond)) || first.PublicID != failed.Delivery.Event {
		w.Errorf("%+v", first)
	}
	yes := true
	for name, c := range map[string]struct {
		change func(*hook.EndpointLog)
		rows   int
		count  int
	}{
		"type":     {func(q *hook.EndpointLog) { q.Type = "a.b" }, 1, 1},
		"window":   {func(q *hook.EndpointLog) { q.Window = hook.Window{Offset: 1, Limit: 1} }, 1, 3},
		"beyond":   {func(q *hook.EndpointLog) { q.Offset = 3 }, 0, 3},
		"retrying": {func(q *hook.EndpointLog) { q.Stages = []hook.Stage{{State: hook.Pending, Attempted: &yes}} }, 1, 1},
		"either":   {func(q *hook.EndpointLog) { q.Stages = []hook.Stage{{State: hook.Pending}, {State: hook.Succeeded}} }, 3, 3},
	} {
		if list, count := log(live, e.ID, c.change); len(list) != c.rows || count != c.count {
			w.Errorf("%s: %d rows of %d, want %d of %d", name, len(list), count, c.rows, c.count)
		}
	}
	if _, count := log(live, neighbour.ID, nil); count != 1 {
		w.Errorf("the neighbour has %d", count)
	}
	for _, scope := range strangers {
		if _, count := log(scope, e.ID, nil); count != 0 {
			w.Errorf("%v sees %d", scope, count)
		}
		if all, err := w.store.TenantEndpoints(w.ctx, scope); err != nil || len(all) != 0 {
			w.Errorf("%v lists %v, %v", scope, all, err)
		}
	}
	if all, err := w.store.TenantEndpoints(w.ctx, live); err != nil || len(all) != 2 || all[0].ID != e.ID {
		w.Errorf("%v %v", all, err)
	}
}

// admission checks that admit is called inside the transaction with the existing endpoints,
// and that its error refuses the endpoint.
func admission(w *world) {
	w.endpoint(live)
	refusal := errors.New("no more")
	seen := -1
	_, _, err := w.store.CreateEndpointIf(w.ctx, hook.Endpoint{Scope: live, URL: "https://example.com/"}, func(existing []*hook.Endpoint) error {
		seen = len(existing)
		return &hook.Error{Code: hook.CodeEndpointLimit, Err: refusal}
	}, nil)
	if w.wantCode(err, hook.CodeEndpointLimit); seen != 1 || !errors.Is(err, refusal) {
		w.Errorf("%d shown, %v", seen, err)
	}
	if all, err := w.store.TenantEndpoints(w.ctx, live); err != nil || len(all) != 1 {
		w.Errorf("%d endpoints after a refusal, %v", len(all), err)
	}
	_, _, err = w.store.CreateEndpointIf(w.ctx, hook.Endpoint{Scope: live, URL: "https://example.com/"}, func([]*hook.Endpoint) error { return nil }, nil)
	w.must(err)
}
