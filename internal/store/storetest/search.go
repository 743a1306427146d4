package storetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// tags checks that events are found by their tags, in their scope only, page by page.
func tags(w *world) {
	w.store.Lists.Scan, w.store.Lists.First = 3, 2
	e := w.endpoint(live)
	w.endpoint(live)
	other := hook.Scope{Tenant: "other", Mode: hook.Live}
	w.endpoint(other)
	w.endpoint(test)
	order, long := hook.Tag{Name: "order", Value: "o-1"}, hook.Tag{Name: "note", Value: "ü: 'x' \"y\" \\ 例"}
	var mine []hook.ID
	for i := range 8 {
		n := hook.NewEvent{Scope: live, Type: "a", Data: []byte("{}"), Tags: hook.Tags{order}}
		switch {
		case i == 3:
			n.Tags = hook.Tags{long, order}
		case i == 5:
			n.Tags, n.Found = nil, []hook.Tag{order}
		case i%2 == 1:
			n.Tags = nil
		}
		p := w.publishAll(n)[0]
		if len(n.Tags)+len(n.Found) > 0 {
			mine = append([]hook.ID{p.Event}, mine...)
		}
		w.publishAll(hook.NewEvent{Scope: other, Type: "a", Data: []byte("{}"), Tags: hook.Tags{order}}, hook.NewEvent{Scope: test, Type: "a", Data: []byte("{}"), Tags: hook.Tags{order}})
	}
	mode := hook.Scope{Mode: hook.Live}
	for _, c := range []struct {
		scope  hook.Scope
		tag    hook.Tag
		events int
	}{{live, order, 6}, {mode, order, 14}, {other, order, 8}, {test, order, 8}, {live, long, 1}, {mode, long, 1}, {other, long, 0}, {live, hook.Tag{Name: "order", Value: "O-1"}, 0}, {live, hook.Tag{Name: "note", Value: "o-1"}, 0}} {
		var ids []hook.ID
		for _, limit := range []int{1, 250} {
			ids = nil
			for next := ""; ; {
				list, more, err := w.store.Events(w.ctx, hook.EventQuery{Scope: c.scope, Tag: &c.tag, Page: hook.Page{Limit: limit, Cursor: next}})
				w.must(err)
				for _, one := range list {
					ids = append(ids, one.ID)
					if !slices.Contains(one.Tags, c.tag) {
						w.Errorf("%v is shown with %v", c.tag, one.Tags)
					}
				}
				if next = more; next == "" {
					break
				}
			}
			if len(ids) != c.events || !slices.IsSortedFunc(ids, func(a, b hook.ID) int { return -slices.Compare(a[:], b[:]) }) {
				w.Errorf("%v %v: %d events, want %d, newest first: %v", c.scope, c.tag, len(ids), c.events, ids)
			}
		}
		if c.scope == live && c.tag == order && !slices.Equal(ids, mine) {
			w.Errorf("%v, want %v", ids, mine)
		}
		if got, want := len(w.walk(hook.DeliveryQuery{Scope: c.scope, Tag: &c.tag}, 1)), c.events; c.scope == other && got != want || c.scope == live && got != 2*want {
			w.Errorf("%v %v: %d deliveries of %d events", c.scope, c.tag, got, want)
		}
	}
	if got := w.walk(hook.DeliveryQuery{Scope: live, Tag: &order, Endpoint: e.ID}, 2); len(got) != 6 {
		w.Errorf("%d deliveries to one endpoint", len(got))
	}
	if got := w.walk(hook.DeliveryQuery{Scope: live, Tag: &long, Event: mine[0]}, 2); len(got) != 0 {
		w.Errorf("%d deliveries of an event without the tag", len(got))
	}
	whole, err := w.store.Event(w.ctx, live, mine[3])
	w.must(err)
	if !slices.Equal(whole.Tags, hook.Tags{long, order}) {
		w.Errorf("%v", whole.Tags)
	}
}

// refusedTags checks that an event that is refused leaves no tag, that its neighbours keep
// theirs, and that those of a deleted tenant are not found.
func refusedTags(w *world) {
	w.endpoint(live)
	once := hook.Tag{Name: "once", Value: "1"}
	full := hook.NewEvent{Scope: live, Type: "a", Data: []byte("{}"), PublicID: hook.ID{9}, Tags: hook.Tags{once}}
	nobody := hook.NewEvent{Scope: hook.Scope{Tenant: "nobody", Mode: hook.Live}, Type: "a", Data: []byte("{}"), Tags: hook.Tags{once}}
	out := w.publishAll(full, nobody, full)
	found := func() int {
		list, _, err := w.store.Events(w.ctx, hook.EventQuery{Scope: hook.Scope{Mode: hook.Live}, Tag: &once})
		w.must(err)
		return len(list)
	}
	if found() != 1 || out[1].Err == nil || !out[2].Repeated {
		w.Errorf("%d events, %+v", found(), out)
	}
	w.must(w.store.DeleteTenant(w.ctx, live.Tenant))
	if found() != 0 {
		w.Error("a deleted tenant's event is found")
	}
}

// tagsGo checks that tags are dropped with their events, and that those of events that are
// still needed stay.
func tagsGo(w *world) {
	w.aged()
	w.endpoint(live)
	tag := hook.Tag{Name: "order", Value: "o-1"}
	published := func() hook.Job {
		w.taken()
		w.publishAll(hook.NewEvent{Scope: live, Type: "a", Data: []byte(`{"n":1}`), Tags: hook.Tags{tag}, Found: []hook.Tag{{Name: "a", Value: "1"}}})
		return w.taken().Jobs[0]
	}
	first, second := published(), published()
	w.settle(w.outcome(first, 200))
	found := func() int {
		list, _, err := w.store.Events(w.ctx, hook.EventQuery{Scope: live, Tag: &tag})
		w.must(err)
		return len(list)
	}
	w.housekeep(kept + 48*time.Hour)
	if w.there(first) || !w.there(second) || found() != 1 {
		w.Errorf("settled: %v, open: %v, found %d", w.there(first), w.there(second), found())
	}
	whole, err := w.store.Event(w.ctx, live, second.Delivery.Event)
	if w.must(err); len(whole.Tags) != 2 {
		w.Errorf("%v", whole.Tags)
	}
}

// findsIDs checks the search by id on its walls and bounds.
func findsIDs(w *world) {
	e, theirs := w.endpoint(live), w.endpoint(hook.Scope{Tenant: "other", Mode: hook.Live})
	j := w.job(live)
	given := hook.ID{0xf4, 7: 0x43, 15: 1}
	w.publishAll(hook.NewEvent{Scope: live, Type: "named", PublicID: given, Data: []byte("{}")}, hook.NewEvent{Scope: hook.Scope{Tenant: "other", Mode: hook.Live}, Type: "theirs", PublicID: given, Data: []byte("{}")})
	find := func(scope hook.Scope, text string) hook.FoundPage {
		q := hook.IDQuery{Scope: scope, Text: text, Administers: scope.Tenant == ""}
		q.Low, q.High, q.Prefix, q.IsPrefix = hook.IDPrefix(text)
		page, err := w.store.FindID(w.ctx, q)
		w.must(err)
		return page
	}
	is := func(p hook.FoundPage) (list []string) {
		for _, f := range p.Found {
			list = append(list, fmt.Sprint(f.Kind, " ", f.Tenant, " ", f.Name))
		}
		return list
	}
	mode := hook.Scope{Mode: hook.Live}
	for _, c := range []struct {
		scope hook.Scope
		text  string
		want  []string
	}{
		{live, j.Delivery.Event.String(), []string{"event acme a.b"}}, {mode, j.Delivery.Event.String(), []string{"event acme a.b"}}, {test, j.Delivery.Event.String(), nil},
		{live, j.Delivery.ID.String(), []string{"delivery acme a.b"}}, {mode, j.Delivery.ID.String()[:30], []string{"delivery acme a.b"}}, {hook.Scope{Tenant: "other", Mode: hook.Live}, j.Delivery.ID.String(), nil},
		{live, given.String(), []string{"event acme named"}}, {live, "f4000000", []string{"event acme named"}}, {test, given.String(), nil},
		{live, e.ID.String(), []string{"endpoint acme https://example.com/hook"}}, {live, theirs.ID.String(), nil}, {mode, theirs.ID.String(), []string{"endpoint other https://example.com/hook"}},
		{mode, "acme", []string{"tenant acme acme Ltd"}}, {live, "acme", nil}, {mode, "acm", nil}, {mode, "nobody", nil},
	} {
		if got := is(find(c.scope, c.text)); !slices.Equal(got, c.want) {
			w.Errorf("%v %s: %q, want %q", c.scope, c.text, got, c.want)
		}
	}
	if got := is(find(mode, given.String())); len(got) != 2 {
		w.Errorf("of two tenants: %q", got)
	}
	for range 40 {
		w.publish(live, "many")
	}
	first := j.Delivery.Event.String()[:8]
	page := find(live, first)
	if kinds := page.More; len(page.Found) < 40 || len(page.Found) > 2*hook.MostFound+4 || !slices.Contains(kinds, hook.FoundEvent) || !slices.Contains(kinds, hook.FoundDelivery) {
		w.Errorf("%d found, more %v", len(page.Found), page.More)
	}
	w.store.Lists.Scan = 5 // a search says that it did not look at everything
	page = find(live, first)
	events := slices.DeleteFunc(is(page), func(f string) bool { return f != "event acme many" })
	if len(events) != 5 || !slices.Contains(page.More, hook.FoundEvent) {
		w.Errorf("%d events, more %v", len(events), page.More)
	}
}

// counts checks the numbers of deliveries by state, for each scope that contains the endpoint
// and for another one.
func (w *world) counts(e *hook.Endpoint) {
	w.endpoint(test)
	w.job(test)
	held := w.endpoint(live)
	w.publish(live, "a.b")
	w.setStatus(held, hook.Disabled, false)
	w.until("held", func() bool { _, n, err := w.store.Health(w.ctx, live, held.ID); return err == nil && n == 1 })
	of := func(pending, retrying, held, failed int) hook.StateCounts {
		return hook.StateCounts{Pending: hook.AtLeast{N: pending}, Retrying: hook.AtLeast{N: retrying}, Held: hook.AtLeast{N: held}, Failed: hook.AtLeast{N: failed}}
	}
	for _, c := range []struct {
		scope    hook.Scope
		endpoint hook.ID
		want     hook.StateCounts
	}{{live, hook.ID{}, of(2, 1, 1, 1)}, {hook.Scope{Mode: hook.Live}, hook.ID{}, of(2, 1, 1, 1)}, {live, e.ID, of(2, 1, 0, 1)}, {live, held.ID, of(0, 0, 1, 0)},
		{test, hook.ID{}, of(1, 0, 0, 0)}, {hook.Scope{Mode: hook.Test}, hook.ID{}, of(1, 0, 0, 0)}, {hook.Scope{Tenant: "other", Mode: hook.Live}, hook.ID{}, of(0, 0, 0, 0)}} {
		got, err := w.store.StateCounts(w.ctx, c.scope, c.endpoint)
		w.must(err)
		if got != c.want {
			w.Errorf("%v %v: %+v, want %+v", c.scope, c.endpoint, got, c.want)
		}
	}
	both := []hook.ID{e.ID, held.ID}
	for scope, want := range map[hook.Scope]int{live: 2, {Mode: hook.Live}: 2, test: 0, {Tenant: "other", Mode: hook.Live}: 0} {
		got, err := w.store.OpenOf(w.ctx, scope, both)
		w.must(err)
		if len(got) != want || want > 0 && (got[e.ID] != hook.OpenCounts{Pending: hook.AtLeast{N: 3}} || got[held.ID] != hook.OpenCounts{Held: hook.AtLeast{N: 1}}) {
			w.Errorf("open of %v: %+v", scope, got)
		}
	}
}

// severalStates checks the filters that take several values, and that the index over failed
// deliveries answers for one state.
func severalStates(w *world) {
	e := w.endpoint(live)
	first := w.job(live)
	s := w.outcome(first, 404)
	s.Outcome.Policy = &hook.Policy{}
	w.settle(s)
	w.settle(w.outcome(w.job(live), 200))
	w.settle(w.outcome(w.job(live), 503)) // retried
	w.publish(live, "a.b")
	for _, c := range []struct {
		q    hook.DeliveryQuery
		want int
	}{
		{hook.DeliveryQuery{States: []hook.State{hook.Failed}}, 1}, {hook.DeliveryQuery{States: []hook.State{hook.Failed, hook.Succeeded}}, 2}, {hook.DeliveryQuery{States: []hook.State{hook.Held, hook.Cancelled}}, 0},
		{hook.DeliveryQuery{States: []hook.State{hook.Pending, hook.Failed}, Endpoint: e.ID}, 3}, {hook.DeliveryQuery{States: []hook.State{hook.Failed}, Endpoint: e.ID}, 1},
		{hook.DeliveryQuery{StatusClasses: []int{4, 5}}, 2}, {hook.DeliveryQuery{StatusClasses: []int{2}}, 1}, {hook.DeliveryQuery{Status: 503}, 1}, {hook.DeliveryQuery{Status: 500}, 0},
		{hook.DeliveryQuery{Errors: []hook.Class{hook.ClassStatus, hook.ClassTimeout}}, 2}, {hook.DeliveryQuery{Errors: []hook.Class{hook.ClassTimeout}}, 0},
		{hook.DeliveryQuery{StatusClasses: []int{4, 5}, States: []hook.State{hook.Pending}, Event: first.Delivery.Event}, 0},
	} {
		for _, c.q.Scope = range []hook.Scope{live, {Mode: hook.Live}} {
			if got := w.walk(c.q, 1); len(got) != c.want {
				w.Errorf("%+v: %d, want %d", c.q, len(got), c.want)
			}
		}
	}
	yes, no := true, false
	for n, q := range map[int]hook.DeliveryQuery{3: {Tried: &yes}, 1: {Tried: &no}} {
		if q.Scope = live; len(w.walk(q, 1)) != n {
			w.Errorf("tried %v: %d, want %d", *q.Tried, len(w.walk(q, 1)), n)
		}
	}
	w.counts(e)
	w.store.Lists.Scan = 1
	for n, q := range map[int]hook.DeliveryQuery{1: {Scope: live, States: []hook.State{hook.Failed}, Endpoint: e.ID}, 0: {Scope: live, States: []hook.State{hook.Failed}}} {
		var reach hook.Reach
		q.Reach = &reach
		rows, _, err := w.store.Deliveries(w.ctx, q)
		w.must(err)
		if len(rows) != n || n == 0 && (reach.Scanned != 1 || reach.Until.IsZero()) {
			w.Errorf("%d rows on the first page, want %d; looked at %+v", len(rows), n, reach)
		}
	}
}
