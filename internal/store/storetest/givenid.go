package storetest

import (
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store"
)

// givenIDs: an event keeps the platform's id, which need not be a UUID, and its id is free
// again when retention has removed it.
func givenIDs(w *world) {
	w.must(w.store.Close())
	w.tweak = func(o *store.Options) { o.Retention = 24 * time.Hour }
	w.open()
	w.endpoint(live)
	names := []string{"order-4711", strings.Repeat("x", hook.MaxGivenID), "0123456789abcdef", "5f0b9e6c-1111-4222-8333-0123456789ab"}
	newEvent := func(name string) hook.NewEvent {
		id, given, ok := hook.EventID(name)
		if !ok {
			w.Fatalf("%s is no id", name)
		}
		return hook.NewEvent{Scope: live, PublicID: id, GivenID: given, Type: "a.b", Data: []byte(`{"n":1}`)}
	}
	w.taken()
	for _, name := range names {
		if p := w.publishAll(newEvent(name))[0]; p.Err != nil || hook.PublicText(p.PublicID, p.GivenID) != name {
			w.Errorf("%+v", p)
		}
	}
	jobs := w.taken().Jobs
	w.reopen()
	for i, name := range names {
		n := newEvent(name)
		e, err := w.store.EventByPublicID(w.ctx, live, n.PublicID)
		w.must(err)
		row, err := w.store.DeliveryRow(w.ctx, live, jobs[i].Delivery.ID)
		w.must(err)
		again := w.publishAll(n)[0]
		for _, got := range []string{hook.PublicText(e.PublicID, e.GivenID), hook.PublicText(row.PublicID, row.GivenID), hook.PublicText(again.PublicID, again.GivenID)} {
			if got != name {
				w.Errorf("%s, want %s", got, name)
			}
		}
		n.Data = []byte(`{"n":2}`)
		w.wantCode(w.publishAll(n)[0].Err, hook.CodeEventConflict)
		w.settle(w.outcome(jobs[i], 200))
	}
	w.pass(48 * time.Hour)
	w.must(w.store.Housekeep(w.ctx))
	for _, name := range names {
		n := newEvent(name)
		n.Data = []byte(`{"n":2}`)
		if p := w.publishAll(n)[0]; p.Err != nil || p.Repeated {
			w.Errorf("%s after retention: %+v", name, p)
		}
	}
}
