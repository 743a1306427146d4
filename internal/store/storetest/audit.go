package storetest

import (
	"errors"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store"
)

// by returns a world whose context names an actor.
func (w *world) by(mode hook.Mode) *world {
	next := &world{T: w.T, store: w.store}
	next.ctx = hook.WithActor(w.ctx, hook.Actor{Mode: mode, Kind: "operator", ID: hook.ActorBootstrap, Address: "192.0.2.7", Request: "r-1"})
	return next
}

// audited returns all entries of a mode, newest first, and the fault that the check of the
// chains finds.
func (w *world) audited(scope hook.Scope) (list []hook.AuditEntry, fault error) {
	w.Helper()
	q, check := hook.AuditQuery{Scope: scope, Page: hook.Page{Limit: 7}}, hook.AuditCheck{}
	for {
		rows, next, err := w.store.AuditEntries(w.ctx, q)
		w.must(err)
		for _, e := range rows {
			fault = errors.Join(fault, check.Add(e))
		}
		list = append(list, rows...)
		if q.Cursor = next; next == "" {
			return list, errors.Join(fault, check.End())
		}
	}
}

// wantAudit checks the chains of both modes and returns the entries of one.
func (w *world) wantAudit(mode hook.Mode) []hook.AuditEntry {
	w.Helper()
	if _, err := w.audited(hook.Scope{Mode: hook.Live + hook.Test - mode}); err != nil {
		w.Fatal(err)
	}
	list, err := w.audited(hook.Scope{Mode: mode})
	if err != nil {
		w.Fatal(err)
	}
	return list
}

// Refused operations leave no entry, whatever they share a transaction with, and the chain
// continues after a restart.
func auditChain(w *world) {
	w.tenant("acme") // no actor is named, so nothing is recorded
	if list := w.wantAudit(hook.Live); len(list) != 0 {
		w.Fatalf("entries of nobody: %+v", list)
	}
	const callers, rounds = 8, 12
	for open := range 2 {
		var all sync.WaitGroup
		for i := range callers {
			all.Go(func() {
				mode := []hook.Mode{hook.Test, hook.Live}[i%2]
				me := w.by(mode)
				for range rounds {
					if i < 4 { // half of the callers are refused after their operation wrote
						_, err := w.store.UpdateTenant(me.ctx, "acme", func(old hook.Tenant) (hook.Tenant, error) {
							old.Name += "x"
							return old, nil
						})
						if err != nil {
							w.Error(err)
						}
						continue
					}
					key := hook.Key{Mode: mode, Kind: hook.Publisher, Hash: [32]byte{byte(open), byte(i)}}
					_, _, _ = w.store.CreateKey(me.ctx, key, nil)
					w.publish(live, "a.b")
				}
			})
		}
		all.Wait()
		for _, mode := range []hook.Mode{hook.Test, hook.Live} {
			list := w.wantAudit(mode)
			counts := map[hook.Act]int{}
			for _, e := range list {
				counts[e.Act]++
			}
			if counts[hook.ActTenantUpdated] != (open+1)*2*rounds || counts[hook.ActKeyCreated] != (open+1)*2 {
				w.Errorf("%s, opened %d times: %v", mode, open+1, counts)
			}
		}
		w.reopen()
	}
	newest := w.wantAudit(hook.Live)[0]
	if newest.Actor.Address != "192.0.2.7" || newest.Actor.Request != "r-1" || newest.Actor.ID != hook.ActorBootstrap || newest.Outcome != hook.AuditOK {
		w.Errorf("%+v", newest)
	}
}

// Every action in a tenant is visible in the scope of the tenant, and in no other.
func auditActs(w *world) {
	w.tenant("acme")
	w.tenant("other")
	me := w.by(hook.Live)
	e := me.endpoint(live)
	other := me.endpoint(hook.Scope{Tenant: "other", Mode: hook.Live})
	w.by(hook.Test).endpoint(test)
	me.setStatus(e, hook.Disabled, false)
	me.setStatus(e, hook.Enabled, false)
	me.setStatus(e, hook.Enabled, false) // changes nothing
	_, _, err := w.store.RotateSecret(me.ctx, live, e.ID, hook.Secret{Text: "whsec_second", Encoding: hook.EncodingWhsec}, time.Hour, nil)
	w.must(err)
	change := func(change func(*hook.Endpoint)) {
		_, err := w.store.UpdateEndpoint(me.ctx, live, e.ID, func(old hook.Endpoint) (hook.Endpoint, error) { change(&old); return old, nil }, false)
		w.must(err)
	}
	change(func(e *hook.Endpoint) { e.Secrets = e.Secrets[:1] })
	change(func(e *hook.Endpoint) { e.Title, e.Status = "T", hook.Disabled })
	_, err = w.store.UpdateEndpoint(me.ctx, live, e.ID, func(old hook.Endpoint) (hook.Endpoint, error) { return old, hook.NotFound("endpoint") }, false)
	w.wantCode(err, hook.CodeNotFound)
	w.must(w.store.Audit(me.ctx, hook.AuditEntry{Mode: hook.Live, Tenant: "acme", Act: hook.ActSecretRevealed, Object: "endpoint", ObjectID: e.ID.String() + "\x00\xff", Outcome: hook.AuditOK}))
	w.must(w.store.DeleteEndpoint(me.ctx, live, e.ID))
	w.must(w.store.DeleteEndpoint(me.ctx, hook.Scope{Mode: hook.Live}, other.ID))
	want := []string{"endpoint.deleted ", "endpoint.secret_revealed ", "endpoint.updated title, enabled", "endpoint.secret_expired secrets",
		"endpoint.secret_rotated overlap 1h0m0s", "endpoint.enabled enabled", "endpoint.disabled enabled", "endpoint.created "}
	list, _ := w.audited(live)
	for i, e := range list {
		if i >= len(want) || string(e.Act)+" "+e.Detail != want[i] || e.Tenant != "acme" || e.Mode != hook.Live {
			w.Errorf("%d: %+v", i, e)
		}
	}
	if len(list) != len(want) {
		w.Errorf("%d entries, want %d", len(list), len(want))
	}
	if list, _ := w.audited(test); len(list) != 1 {
		w.Errorf("in test mode: %+v", list)
	}
	if all := w.wantAudit(hook.Live); len(all) != len(want)+3 { // two of the other tenant, and the first of the chain
		w.Errorf("%d entries in all, want %d", len(all), len(want)+3)
	}
	for _, q := range []hook.AuditQuery{{Act: "endpoint.deleted"}, {Object: "endpoint", ObjectID: other.ID.String()}, {Actor: "posthorn"}, {Object: "tenant"}} {
		q.Scope = hook.Scope{Mode: hook.Live}
		rows, _, err := w.store.AuditEntries(w.ctx, q)
		w.must(err)
		if n := map[string]int{"endpoint.deleted": 2, "posthorn": 1}[q.Act+q.Actor]; q.ObjectID == "" && len(rows) != n || q.ObjectID != "" && len(rows) != 2 {
			w.Errorf("%+v: %d rows", q, len(rows))
		}
	}
}

// Entries older than the retention are deleted, and the rest of the chain remains valid.
func auditRetention(w *world) {
	const kept = 30 * 24 * time.Hour
	w.tweak = func(o *store.Options) { o.AuditRetention = kept }
	w.reopen()
	w.tenant("acme")
	act := func(n int) {
		for i := range n {
			w.must(w.store.Audit(w.by(hook.Live).ctx, hook.AuditEntry{Mode: hook.Live, Act: hook.ActEventRead, ObjectID: string(rune('a' + i%26)), Outcome: hook.AuditOK}))
		}
	}
	act(30)
	w.reopen() // on PostgreSQL this starts another chain
	act(5)
	w.pass(kept + time.Hour)
	act(3)
	w.must(w.store.Housekeep(w.ctx))
	if list := w.wantAudit(hook.Live); len(list) < 30 {
		w.Fatalf("removed within the day after the retention: %d entries", len(list))
	}
	w.pass(24 * time.Hour)
	w.must(w.store.Housekeep(w.ctx))
	list := w.wantAudit(hook.Live)
	if n := len(list); n < 4 || n > 6 {
		w.Errorf("%d entries are left: %+v", n, list)
	}
	if list[0].Act != hook.ActAuditTrimmed {
		w.Errorf("%+v", list[0])
	}
	w.reopen()
	act(1)
	// Control: without the anchor the rest is not valid.
	var c hook.AuditCheck
	for _, e := range w.wantAudit(hook.Live) {
		if e.Act == hook.ActAuditTrimmed {
			e.Detail = "" // Add detects this too; here End is tested
		}
		_ = c.Add(e)
	}
	if err := c.End(); err == nil {
		w.Error("the rest fits without its anchor")
	}
	w.pass(3 * kept)
	w.must(w.store.Housekeep(w.ctx))
	act(1)
	if list := w.wantAudit(hook.Live); len(list) > 5 {
		w.Errorf("%d entries are left after all are too old", len(list))
	}
}
