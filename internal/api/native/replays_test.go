package native_test

import (
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store"
)

// An invalid replay is refused with its field, and nothing is stored.
func TestReplaysThatAreRefused(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	e := h.endpoint("acme", "*").ID
	h.event("acme", "a.b")
	of := func(members string) call { return post("/v1/replays", `{"endpoint":"`+e+`"`+members+`}`) }
	for _, c := range []bad{
		{"no endpoint", post("/v1/replays", `{"source":"all"}`), 422, hook.CodeInvalidRequest, "endpoint"},
		{"no UUID", post("/v1/replays", `{"endpoint":"all"}`), 422, hook.CodeInvalidRequest, "endpoint"},
		{"unknown endpoint", post("/v1/replays", `{"endpoint":"019396e0-5c2f-7cc1-8f3d-6d1f0f1c2b3a"}`), 404, hook.CodeNotFound, ""},
		{"rate 0", of(`,"rate":0`), 422, hook.CodeInvalidRequest, "rate"},
		{"rate of a million", of(`,"rate":1000000`), 422, hook.CodeInvalidRequest, "rate"},
		{"rate below zero", of(`,"rate":-1`), 422, hook.CodeInvalidRequest, "rate"},
		{"rate as text", of(`,"rate":"fast"`), 422, hook.CodeInvalidRequest, "rate"},
		{"source", of(`,"source":"some"`), 422, hook.CodeInvalidRequest, "source"},
		{"state of what is missing", of(`,"source":"missing","state":"failed"`), 422, hook.CodeInvalidRequest, "source"},
		{"other state of failed", of(`,"state":"held"`), 422, hook.CodeInvalidRequest, "state"},
		{"state", of(`,"source":"all","state":"lost"`), 422, hook.CodeInvalidRequest, "state"},
		{"order", of(`,"order":"random"`), 422, hook.CodeInvalidRequest, "order"},
		{"status class", of(`,"status_class":"9xx"`), 422, hook.CodeInvalidRequest, "status_class"},
		{"error class", of(`,"error":"Time out"`), 422, hook.CodeInvalidRequest, "error"},
		{"type", of(`,"event_types":["a..b"]`), 422, hook.CodeInvalidRequest, "event_types/0"},
		{"pattern", of(`,"event_types":["a.b","*.created.*"]`), 422, hook.CodeInvalidRequest, "event_types/1"},
		{"times", of(`,"after":"2026-01-02T00:00:00Z","before":"2026-01-01T00:00:00Z"`), 422, hook.CodeInvalidRequest, "before"},
		{"time", of(`,"after":"yesterday"`), 422, hook.CodeInvalidRequest, "after"},
		{"unknown member", of(`,"tenant":"acme"`), 422, hook.CodeUnknownField, "tenant"},
		{"match without type", post("/v1/events/match", `{"tenant":"acme"}`), 422, hook.CodeInvalidRequest, "type"},
		{"match of nobody", post("/v1/events/match", `{"tenant":"nobody","type":"a.b"}`), 404, hook.CodeTenantNotFound, "tenant"},
		{"nobody would get it", post("/v1/events", `{"tenant":"acme","type":"a.b","data":{},"require_match":"yes"}`), 422, hook.CodeInvalidRequest, "require_match"},
	} {
		p := want[client.Problem](h, c.status, c.c)
		if p.Code != string(c.code) || p.Field != c.field {
			t.Errorf("%s: %s of %q: %s", c.name, p.Code, p.Field, p.Detail)
		}
	}
	none := want[client.Replay](h, 201, of(`,"source":"failed"`))
	if none.State != client.ReplayDone || none.Total != 0 || !none.TotalExact || none.Message != "Nothing matched. Nothing was sent." {
		t.Errorf("nothing matches: %+v", none)
	}
	for _, state := range []string{"running", "paused"} {
		if list := want[client.Page[client.Replay]](h, 200, get("/v1/replays?state="+state)); len(list.Data) != 0 {
			t.Errorf("stored: %+v", list.Data)
		}
	}
	if all := want[client.Page[client.Replay]](h, 200, get("/v1/replays?endpoint="+e)); len(all.Data) != 1 { // control
		t.Errorf("%+v", all.Data)
	}
}

func TestReplaysAndMatches(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	e := h.endpoint("acme", "a.*").ID
	for range 3 {
		h.event("acme", "a.b")
	}
	m := want[client.Match](h, 200, post("/v1/events/match", `{"tenant":"acme","type":"a.b"}`))
	if m.Count != 1 || len(m.Endpoints) != 1 || m.Endpoints[0].Endpoint != e || m.Endpoints[0].Held {
		t.Errorf("%+v", m)
	}
	if m = want[client.Match](h, 200, post("/v1/events/match", `{"tenant":"acme","type":"x.y"}`)); m.Count != 0 {
		t.Errorf("%+v", m)
	}
	p := want[client.Problem](h, 422, post("/v1/events", `{"tenant":"acme","type":"x.y","data":{},"require_match":true}`))
	if p.Code != client.CodeNoMatch || p.Field != "require_match" {
		t.Errorf("%+v", p)
	}
	if list := want[client.Page[client.Event]](h, 200, get("/v1/events?type=x.y")); len(list.Data) != 0 {
		t.Errorf("stored although it was refused: %+v", list.Data)
	}
	want[client.Published](h, 202, post("/v1/events", `{"tenant":"acme","type":"a.b","data":{},"require_match":true}`))
	const body = `,"source":"all","rate":2,"order":"newest"`
	dry := want[client.Replay](h, 201, post("/v1/replays", `{"endpoint":"`+e+`"`+body+`,"dry_run":true}`))
	if dry.ID != nil || dry.State != client.ReplayDryRun || dry.Total != 4 || len(dry.Sample) != 4 || dry.Message != "4 events would be sent, which takes about 2s at this rate." {
		t.Errorf("%+v", dry)
	}
	r := want[client.Replay](h, 201, with(post("/v1/replays", `{"endpoint":"`+e+`"`+body+`}`), "Idempotency-Key", "once"))
	if r.State != client.ReplayRunning || r.Total != 4 || r.Estimated == nil || r.Order != "newest" {
		t.Errorf("%+v", r)
	}
	again := want[client.Replay](h, 201, with(post("/v1/replays", `{"endpoint":"`+e+`"`+body+`}`), "Idempotency-Key", "once"))
	if *again.ID != *r.ID {
		t.Errorf("the same request made two replays")
	}
	id := "/v1/replays/" + *r.ID
	if p := want[client.Replay](h, 200, post(id+"/pause", "")); p.State != client.ReplayPaused || p.Estimated != nil {
		t.Errorf("%+v", p)
	}
	if p := want[client.Replay](h, 200, post(id+"/resume", "")); p.State != client.ReplayRunning {
		t.Errorf("%+v", p)
	}
	want[client.Endpoint](h, 200, call{"PATCH", "/v1/endpoints/" + e, liveKey, `{"enabled":false}`, nil})
	if p := want[client.Problem](h, 409, post("/v1/replays", `{"endpoint":"`+e+`"}`)); p.Code != client.CodeEndpointDisabled || p.Field != "endpoint" {
		t.Errorf("%+v", p)
	}
	if held := want[client.Replay](h, 201, post("/v1/replays", `{"endpoint":"`+e+`","source":"all","hold":true}`)); held.WaitsFor == nil || *held.WaitsFor != "endpoint" {
		t.Errorf("%+v", held)
	}
	if c := want[client.Replay](h, 200, post(id+"/cancel", "")); c.State != client.ReplayCancelled || c.EndedAt == nil {
		t.Errorf("%+v", c)
	}
	if p := want[client.Problem](h, 409, post(id+"/resume", "")); p.Code != client.CodeReplayEnded {
		t.Errorf("%+v", p)
	}
}

// Who would get an event is a read: it is allowed with a key that may only read, counts
// against the reads, and a refusal leaves no entry in the audit log.
func TestMatchIsARead(t *testing.T) {
	h := newTestAPI(t, func(o *app.Options, _ *store.Options) {
		o.Reads, o.Writes = app.Rate{PerSecond: 100, Burst: 100}, app.Rate{PerSecond: 0.001, Burst: 1}
	})
	h.tenant("acme")
	h.endpoint("acme", "a.*")
	for _, k := range []client.NewKey{{Kind: "operator", ReadOnly: true}, {Kind: "tenant", Tenant: "acme", ReadOnly: true}} {
		key := h.mint(k).Key
		before := len(h.audited())
		for range 2 {
			if m := want[client.Match](h, 200, call{"POST", "/v1/events/match", key, `{"tenant":"acme","type":"a.b"}`, nil}); m.Count != 1 {
				t.Errorf("%+v", m)
			}
		}
		refused(h, 422, hook.CodeInvalidRequest, "type", call{"POST", "/v1/events/match", key, `{"tenant":"acme","type":"a..b"}`, nil})
		if left := len(h.audited()) - before; left != 0 {
			t.Errorf("%d entries in the audit log", left)
		}
		refused(h, 403, hook.CodeKeyReadOnly, "", call{"POST", "/v1/endpoints/019396e0-5c2f-7cc1-8f3d-6d1f0f1c2b3a/test", key, `{}`, nil}) // control: a write
	}
}
