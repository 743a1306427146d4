package storetest

import (
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// operatorSessions checks that an operator's session is found by its cookie on a store that
// is opened again, is replaced and closed at once, and that a link opens one, once.
func operatorSessions(w *world) {
	key, _, err := w.store.CreateKey(w.ctx, hook.Key{Kind: hook.Operator, Mode: hook.Live, Hash: [32]byte{7}}, nil)
	w.must(err)
	keys := map[hook.Mode][32]byte{hook.Live: {7}, hook.Test: {8}}
	w.must(w.store.OpenWebSession(w.ctx, hook.WebSession{Mode: hook.Live, Keys: keys, Settings: hook.PortalSettings{Address: "192.0.2.1"}}, [32]byte{1}, nil))
	w.reopen()
	got, err := w.store.WebSession(w.ctx, [32]byte{1})
	w.must(err)
	if got.Kind != hook.WebOperator || got.Mode != hook.Live || len(got.Keys) != 2 || got.Keys[hook.Test] != [32]byte{8} || got.SeenAt.IsZero() || got.Settings.Address != "192.0.2.1" ||
		!got.ExpiresAt.Equal(got.CreatedAt.Add(hook.WebSessionMax)) {
		w.Errorf("%+v", got)
	}
	w.pass(time.Minute)
	w.must(w.store.SeenWebSession(w.ctx, got.ID, hook.Test))
	if again, err := w.store.WebSession(w.ctx, [32]byte{1}); err != nil || again.Mode != hook.Test || !again.SeenAt.After(got.SeenAt) {
		w.Errorf("%+v %v", again, err)
	}
	old := [32]byte{1}
	w.must(w.store.OpenWebSession(w.ctx, hook.WebSession{CreatedAt: got.CreatedAt, Keys: keys}, [32]byte{2}, &old))
	_, err = w.store.WebSession(w.ctx, old)
	w.wantCode(err, hook.CodeNotFound)
	if next, err := w.store.WebSession(w.ctx, [32]byte{2}); err != nil || !next.ExpiresAt.Equal(got.ExpiresAt) {
		w.Errorf("a further mode prolonged the session: %+v %v", next, err)
	}
	listedSessions(w)
	w.must(w.store.CloseWebSession(w.ctx, [32]byte{2}))
	for _, hash := range [][32]byte{{2}, {}} { // the zero hash is no cookie
		_, err = w.store.WebSession(w.ctx, hash)
		w.wantCode(err, hook.CodeNotFound)
	}

	w.must(w.store.CreateWebLink(w.ctx, hook.WebLink{Hash: [32]byte{20}}, key.ID, hook.Live))
	w.must(w.store.CreateWebLink(w.ctx, hook.WebLink{Hash: [32]byte{21}, Keys: keys}, hook.ID{}, hook.Live))
	w.wantCode(w.store.CreateWebLink(w.ctx, hook.WebLink{Hash: [32]byte{22}}, key.ID, hook.Test), hook.CodeNotFound)
	w.must(w.store.RevokeKey(w.ctx, hook.Scope{Mode: hook.Live}, key.ID))
	w.wantCode(w.store.CreateWebLink(w.ctx, hook.WebLink{Hash: [32]byte{22}}, key.ID, hook.Live), hook.CodeNotFound)
	opened, err := w.store.SpendWebLink(hook.WithActor(w.ctx, hook.Actor{Kind: string(hook.PortalUser), Address: "192.0.2.2"}), [32]byte{20}, [32]byte{3}, [32]byte{30})
	w.must(err)
	if opened.Keys[hook.Live] != [32]byte{7} || len(opened.Keys) != 1 {
		w.Errorf("%+v", opened)
	}
	if got, err := w.store.WebSession(w.ctx, [32]byte{3}); err != nil || got.Settings.Address != "192.0.2.2" {
		w.Errorf("%+v %v", got.Settings, err)
	}
	_, err = w.store.SpendWebLink(w.ctx, [32]byte{20}, [32]byte{4}, [32]byte{31})
	w.wantCode(err, hook.CodeNotFound)
	w.pass(hook.WebLinkFor)
	_, err = w.store.SpendWebLink(w.ctx, [32]byte{21}, [32]byte{4}, [32]byte{31})
	w.wantCode(err, hook.CodeNotFound)
	w.pass(hook.WebSessionMax + hook.WebSessionKept)
	w.must(w.store.Housekeep(w.ctx))
	_, err = w.store.WebSession(w.ctx, [32]byte{3})
	w.wantCode(err, hook.CodeNotFound)
	_, _, err = w.store.WebLink(w.ctx, [32]byte{21})
	w.wantCode(err, hook.CodeNotFound)
}

// listedSessions checks that the sessions of a mode are listed and ended in it. There is one with
// keys of both modes, with the cookie 2; it is idle afterwards.
func listedSessions(w *world) {
	list := func(mode hook.Mode) []hook.WebSession {
		rows, next, err := w.store.OperatorSessions(w.ctx, mode, hook.Page{})
		w.must(err)
		if next != "" {
			w.Errorf("there is more than %d", len(rows))
		}
		return rows
	}
	w.must(w.store.OpenWebSession(w.ctx, hook.WebSession{Keys: map[hook.Mode][32]byte{hook.Test: {8}}}, [32]byte{9}, nil))
	of, tests := list(hook.Live), list(hook.Test) // the first has keys of both modes, and belongs to live mode
	if len(of) != 1 || len(tests) != 1 || of[0].ID == tests[0].ID {
		w.Fatalf("live %+v, test %+v", of, tests)
	}
	w.wantCode(w.store.EndWebSession(w.ctx, hook.Test, of[0].ID), hook.CodeNotFound)
	w.wantCode(w.store.EndWebSession(w.ctx, hook.Live, tests[0].ID), hook.CodeNotFound)
	w.wantCode(w.store.EndWebSession(w.ctx, hook.Live, hook.ID{1}), hook.CodeNotFound)
	_, err := w.store.WebSession(w.ctx, [32]byte{2}) // the control
	w.must(err)
	w.must(w.store.EndWebSession(w.ctx, hook.Test, tests[0].ID))
	_, err = w.store.WebSession(w.ctx, [32]byte{9})
	w.wantCode(err, hook.CodeNotFound)
	w.must(w.store.OpenWebSession(w.ctx, hook.WebSession{Keys: map[hook.Mode][32]byte{hook.Live: {7}}}, [32]byte{10}, nil))
	if first, next, err := w.store.OperatorSessions(w.ctx, hook.Live, hook.Page{Limit: 1}); err != nil || len(first) != 1 || next == "" {
		w.Errorf("%+v %q %v", first, next, err)
	} else if rest, last, err := w.store.OperatorSessions(w.ctx, hook.Live, hook.Page{Limit: 1, Cursor: next}); err != nil || len(rest) != 1 || rest[0].ID != of[0].ID || last != "" {
		w.Errorf("%+v %q %v", rest, last, err)
	}
	w.pass(hook.WebSessionIdle) // the one of live mode is not used: it is not listed, and the next is
	if of = list(hook.Live); len(of) != 0 {
		w.Errorf("idle sessions are listed: %+v", of)
	}
	w.must(w.store.CloseWebSession(w.ctx, [32]byte{10}))
}

// portalSessions checks that a portal session belongs to a tenant and a mode, is opened once
// by its link, and ends at once by hand, with its key and with its tenant.
func portalSessions(w *world) {
	w.tenant("acme")
	w.tenant("other")
	maker, _, err := w.store.CreateKey(w.ctx, hook.Key{Kind: hook.Operator, Mode: hook.Live, Hash: [32]byte{7}}, nil)
	w.must(err)
	n := byte(0)
	create := func(scope hook.Scope) (hook.WebSession, error) {
		n++
		s, _, err := w.store.CreatePortalSession(w.ctx, hook.NewPortalSession{Link: [32]byte{n}, WebSession: hook.WebSession{Mode: scope.Mode, Tenant: scope.Tenant, Maker: maker.ID,
			ExpiresAt: w.clock().Add(time.Hour), Settings: hook.PortalSettings{Capabilities: hook.MayRetry, Locale: "de"}}}, nil)
		return s, err
	}
	_, err = create(hook.Scope{Tenant: "nobody", Mode: hook.Live})
	w.wantCode(err, hook.CodeTenantNotFound)
	made, err := create(live)
	w.must(err)
	link, of, err := w.store.WebLink(w.ctx, [32]byte{n})
	if err != nil || link.Session != made.ID || of.ID != made.ID || of.Entered || !of.EnterBy.Equal(made.CreatedAt.Add(hook.WebLinkFor)) {
		w.Errorf("%+v %+v %v", link, of, err)
	}
	open := func(code, cookie, again byte) error {
		_, err := w.store.SpendWebLink(w.ctx, [32]byte{code}, [32]byte{cookie}, [32]byte{again})
		return err
	}
	w.must(open(n, 101, 201))
	w.wantCode(open(n, 102, 202), hook.CodeNotFound)
	got, err := w.store.WebSession(w.ctx, [32]byte{101})
	if err != nil || got.ID != made.ID || got.Tenant != "acme" || got.Mode != hook.Live || !got.MakerIn || !got.Entered || got.Over(w.clock()) || got.Settings.Capabilities != hook.MayRetry {
		w.Errorf("%+v %v", got, err)
	}
	if short, err := w.store.PortalSession(w.ctx, made.Short()); err != nil || short.ID != made.ID {
		w.Errorf("%+v %v", short, err)
	}
	// The second link is good until the session was used. It replaces the cookie.
	w.must(open(201, 103, 203))
	_, err = w.store.WebSession(w.ctx, [32]byte{101})
	w.wantCode(err, hook.CodeNotFound)
	w.must(w.store.SeenWebSession(w.ctx, made.ID, hook.Live))
	w.wantCode(open(203, 104, 204), hook.CodeNotFound)

	for _, foreign := range []hook.Scope{{Mode: hook.Test}, {Tenant: "other", Mode: hook.Live}, {Tenant: "acme", Mode: hook.Test}} {
		w.wantCode(w.store.EndPortalSession(w.ctx, foreign, made.ID, hook.ActPortalEnded), hook.CodeNotFound)
	}
	theirs, err := create(hook.Scope{Tenant: "other", Mode: hook.Live})
	w.must(err)
	list, _, err := w.store.PortalSessions(w.ctx, hook.WebSessionQuery{Scope: hook.Scope{Mode: hook.Live}, Page: hook.Page{Limit: 1}})
	if err != nil || len(list) != 1 || list[0].ID != theirs.ID {
		w.Errorf("%+v %v", list, err)
	}
	list, next, err := w.store.PortalSessions(w.ctx, hook.WebSessionQuery{Scope: live})
	if err != nil || len(list) != 1 || list[0].ID != made.ID || next != "" {
		w.Errorf("%+v %v", list, err)
	}
	w.must(w.store.EndPortalSession(w.ctx, live, made.ID, hook.ActPortalEnded))
	if got, err = w.store.WebSession(w.ctx, [32]byte{103}); err != nil || !got.Over(w.clock()) {
		w.Errorf("ended: %+v %v", got, err)
	}

	w.portalBounds(create, theirs)
}

// portalBounds checks when portal sessions end by themselves, and how many there may be.
func (w *world) portalBounds(create func(hook.Scope) (hook.WebSession, error), theirs hook.WebSession) {
	second, err := create(live)
	w.must(err)
	w.pass(hook.WebLinkFor)
	if got, err := w.store.PortalSession(w.ctx, second.Short()); err != nil || !got.Over(w.clock()) {
		w.Errorf("nobody entered, and nobody can: %+v %v", got, err)
	}
	for range hook.MaxPortalSessions {
		_, err := create(live)
		w.must(err)
	}
	_, err = create(live)
	w.wantCode(err, hook.CodePortalLimit)
	if _, err := create(hook.Scope{Tenant: "other", Mode: hook.Live}); err != nil {
		w.Errorf("one tenant's sessions took another's: %v", err)
	}
	if n, err := w.store.EndPortalSessions(w.ctx, live); err != nil || n < hook.MaxPortalSessions {
		w.Error(n, err)
	}
	w.must(errOf(create(live)))

	w.must(w.store.RevokeKey(w.ctx, hook.Scope{Mode: hook.Live}, theirs.Maker))
	if got, err := w.store.PortalSession(w.ctx, theirs.Short()); err != nil || got.MakerIn {
		w.Errorf("its key was revoked: %+v %v", got, err)
	}
	w.must(w.store.DeleteTenant(w.ctx, "other"))
	_, err = w.store.PortalSession(w.ctx, theirs.Short())
	w.wantCode(err, hook.CodeNotFound)
	w.pass(time.Hour + hook.WebSessionKept)
	w.must(w.store.Housekeep(w.ctx))
	if list, _, err := w.store.PortalSessions(w.ctx, hook.WebSessionQuery{Scope: hook.Scope{Mode: hook.Live}}); err != nil || len(list) > 0 {
		w.Errorf("kept: %d %v", len(list), err)
	}
}

func errOf(_ hook.WebSession, err error) error { return err }
