package storetest

import (
	"github.com/posthorn/posthorn/internal/hook"
)

// listenerAway checks that a new listener is disconnected, that a connection enables it,
// and that it is disconnected again when the process that it was connected to has ended.
// Other endpoints are not affected.
func listenerAway(w *world) {
	w.tenant(live.Tenant)
	e, _, err := w.store.CreateEndpoint(w.ctx, hook.Endpoint{Scope: live, URL: hook.ListenURL("dev"), Types: hook.Filter{"*"}, Profile: "standard",
		Status: hook.Tripped, Secrets: []hook.Secret{{Text: "whsec_first", Encoding: hook.EncodingWhsec}}}, nil)
	w.must(err)
	if e.Status != hook.Tripped || e.DisabledReason != "listener_away" {
		w.Fatalf("a new listener is %+v", e)
	}
	w.publish(live, "first")
	if c := w.taken(); len(c.Jobs)+len(c.Due) != 0 {
		w.Errorf("a listener that is away was handed work: %+v", c)
	}
	held := func(n int) func() bool {
		return func() bool { _, got, err := w.store.Health(w.ctx, live, e.ID); return err == nil && got == n }
	}
	w.until("the first is held", held(1))
	e = w.setStatus(e, hook.Enabled, false)
	w.until("the first is released", held(0))
	w.until("told", func() bool { return len(w.taken().Due) > 0 })
	got := w.claim(10, e).Jobs
	if len(got) != 1 {
		w.Fatalf("claimed %d", len(got))
	}
	w.settle(w.outcome(got[0], 200))

	waiting := w.job(live)
	e = w.setStatus(e, hook.Tripped, false)
	if e.Status != hook.Tripped || e.DisabledReason != "listener_away" || !e.DisabledAt.Equal(w.clock()) {
		w.Errorf("a listener that left is %+v", e)
	}
	w.until("what waits is held", held(1))
	w.wantState(waiting, hook.Held, hook.ReasonAway, 0)

	w.setStatus(e, hook.Enabled, false)
	other := w.endpoint(live)
	w.reopen()
	if n, err := w.store.ListenersAway(w.ctx); n != 1 || err != nil {
		w.Errorf("%d listeners of the earlier process, %v", n, err)
	}
	if now := w.current(e); now.Status != hook.Tripped || now.DisabledReason != "listener_away" {
		w.Errorf("after a restart it is %+v", now)
	}
	if n, err := w.store.ListenersAway(w.ctx); n != 0 || err != nil {
		w.Errorf("%d more, %v", n, err)
	}
	if now := w.current(other); now.Status != hook.Enabled {
		w.Errorf("another endpoint is %+v", now)
	}
	if other = w.setStatus(other, hook.Tripped, false); other.Status != hook.Disabled || other.DisabledReason != "by_hand" {
		w.Errorf("only a listener can be away; this one is %+v", other)
	}
}
