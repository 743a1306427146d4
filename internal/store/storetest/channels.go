package storetest

import (
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// listening creates an endpoint that listens to channels.
func (w *world) listening(scope hook.Scope, names ...string) *hook.Endpoint {
	e := hook.Endpoint{Scope: scope, URL: "https://example.com/", Types: []string{"a.*"}, Channels: hook.NewChannels(names...), Profile: "standard",
		Secrets: []hook.Secret{{Text: "whsec_first", Encoding: hook.EncodingWhsec}}}
	made, _, err := w.store.CreateEndpoint(w.ctx, e, nil)
	w.must(err)
	return made
}

// on publishes an event to channels and returns it with the endpoints that got it.
func (w *world) on(scope hook.Scope, eventType string, names ...string) (hook.ID, []hook.ID) {
	w.taken()
	w.pass(time.Millisecond)
	out := w.publishAll(hook.NewEvent{Scope: scope, Type: eventType, Channels: hook.NewChannels(names...), Data: []byte("{}")})[0]
	w.must(out.Err)
	var got []hook.ID
	for _, j := range w.taken().Jobs {
		got = append(got, j.Target.ID)
	}
	return out.Event, got
}

// channels checks who gets an event of given channels, at once, after a restart, by a resend
// and by a replay.
func channels(w *world) {
	for _, tenant := range []string{"acme", "other"} {
		w.tenant(tenant)
	}
	any, one, two := w.endpoint(live, "a.*"), w.listening(live, "c1", "cx"), w.listening(live, "c2")
	elsewhere := w.listening(hook.Scope{Tenant: "other", Mode: hook.Live}, "c1")
	check := func() {
		w.Helper()
		for _, c := range []struct {
			eventType string
			channels  []string
			want      []hook.ID
		}{
			{"a.b", nil, []hook.ID{any.ID}}, // control: an endpoint with channels never gets an event without
			{"a.b", []string{"c1"}, []hook.ID{any.ID, one.ID}},
			{"a.b", []string{"c2", "c1"}, []hook.ID{any.ID, one.ID, two.ID}},
			{"a.b", []string{"C1", "c", "c11"}, []hook.ID{any.ID}},
			{"x.y", []string{"c1"}, nil}, // the type matters too
		} {
			if _, got := w.on(live, c.eventType, c.channels...); !slices.Equal(got, c.want) {
				w.Errorf("%s to %v: %v, want %v", c.eventType, c.channels, got, c.want)
			}
		}
	}
	check()
	w.reopen()
	check()
	if got, err := w.store.Endpoint(w.ctx, live, one.ID); err != nil || !slices.Equal(got.Channels, hook.Channels{"c1", "cx"}) {
		w.Errorf("%v, %v", got, err)
	}

	// What listens later gets what it listens to, by a resend and by a replay.
	event, _ := w.on(live, "a.b", "late")
	w.on(live, "a.b")
	late := w.listening(live, "late")
	if out, _ := w.resend(event, hook.ID{}); out.Created != 1 || len(out.Deliveries) != 2 {
		w.Errorf("resent %+v", out)
	}
	w.pass(time.Second)
	again := w.listening(live, "late", "c2")
	missing := hook.NewReplay{Scope: live, Endpoint: again.ID, Source: hook.FromMissing}
	if got, err := w.store.PreviewReplay(w.ctx, missing); err != nil || got.Matched != 3 { // two of c2, one of late
		w.Errorf("missing: %+v, %v", got, err)
	}
	missing.Filter.Channel = "late"
	j, ref := w.replay(missing)
	w.steps(ref, 2)
	if now := w.replayNow(j.ID); now.Created != 1 || now.Total != 1 {
		w.Errorf("replayed %+v", now)
	}
	all := hook.NewReplay{Scope: live, Endpoint: any.ID, Source: hook.FromAll, Filter: hook.ReplayFilter{Channel: "c1"}}
	if got, err := w.store.PreviewReplay(w.ctx, all); err != nil || got.Matched != 4 {
		w.Errorf("of c1: %+v, %v", got, err)
	}

	// A change takes effect, and an earlier revision is remembered.
	before := w.clock()
	w.pass(time.Second)
	_, err := w.store.UpdateEndpoint(w.ctx, live, late.ID, func(e hook.Endpoint) (hook.Endpoint, error) { e.Channels = nil; return e, nil }, false)
	w.must(err)
	if _, got := w.on(live, "a.b"); !slices.Equal(got, []hook.ID{any.ID, late.ID}) {
		w.Errorf("without channels any more: %v", got)
	}
	w.pass(time.Second)
	for at, want := range map[time.Time]hook.Channels{before: {"late"}, w.clock(): nil} {
		list, _, err := w.store.History(w.ctx, live, at)
		w.must(err)
		i := slices.IndexFunc(list, func(h hook.History) bool { return h.Endpoint == late.ID })
		if i < 0 || len(list[i].Then) != 1 || !slices.Equal(list[i].Then[0].Channels, want) {
			w.Errorf("at %v: %+v, want %v", at, list, want)
		}
	}
	if jobs := w.walk(hook.DeliveryQuery{Scope: elsewhere.Scope}, 10); len(jobs) != 0 {
		w.Errorf("another tenant got %v", jobs)
	}
}

// channelLists checks that lists show the channels of events and find events by them, and
// that they are a part of what an id stands for.
func channelLists(w *world) {
	w.tenant("acme")
	e := w.endpoint(live, "*")
	var want []hook.ID
	for _, names := range [][]string{{"c1"}, nil, {"c.1", "d"}, {"b", "c1", "d"}, {"c1x", "xc1"}} {
		id, _ := w.on(live, "a.b", names...)
		if slices.Contains(names, "c1") {
			want = append(want, id)
		}
		whole, err := w.store.Event(w.ctx, live, id)
		w.must(err)
		if !slices.Equal(whole.Channels, hook.Channels(names)) {
			w.Errorf("%v, want %v", whole.Channels, names)
		}
	}
	for _, up := range []bool{true, false} {
		var ids []hook.ID
		for q := (hook.EventQuery{Scope: live, Channel: "c1", Ascending: up, Page: hook.Page{Limit: 1}}); ; {
			list, next, err := w.store.Events(w.ctx, q)
			w.must(err)
			for _, found := range list {
				ids = append(ids, found.ID)
				if !slices.Contains(found.Channels, "c1") {
					w.Errorf("found with %v", found.Channels)
				}
			}
			if q.Cursor = next; next == "" {
				break
			}
		}
		if !up {
			slices.Reverse(ids)
		}
		if !slices.Equal(ids, want) {
			w.Errorf("ascending %v: %v, want %v", up, ids, want)
		}
	}
	pending := hook.Pending
	for _, q := range []hook.DeliveryQuery{{}, {Endpoint: e.ID}, {State: &pending}, {Event: want[1]}} {
		n := len(want)
		if !q.Event.IsZero() {
			n = 1
		}
		q.Scope, q.Channel = live, "c1"
		if got := w.walk(q, 1); len(got) != n {
			w.Errorf("%+v: %v, want %d", q, got, n)
		}
		rows, _, err := w.store.Deliveries(w.ctx, q)
		w.must(err)
		for _, row := range rows {
			if !slices.Contains(row.Channels, "c1") {
				w.Errorf("%+v", row)
			}
		}
	}
	failed := hook.Failed
	if got := w.walk(hook.DeliveryQuery{Scope: live, Endpoint: e.ID, State: &failed, Channel: "c1"}, 1); len(got) != 0 {
		w.Errorf("failed: %v", got)
	}

	given := hook.NewEvent{Scope: live, PublicID: hook.ID{9}, Type: "a.b", Channels: hook.Channels{"b", "c"}, Data: []byte("{}")}
	w.must(w.publishAll(given)[0].Err)
	if again := w.publishAll(given)[0]; !again.Repeated {
		w.Errorf("%+v", again)
	}
	for _, names := range []hook.Channels{nil, {"b"}, {"bc"}} {
		given.Channels = names
		w.wantCode(w.publishAll(given)[0].Err, hook.CodeEventConflict)
	}
}
