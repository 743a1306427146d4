package native_test

import (
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store"
)

func TestPaceIsShown(t *testing.T) {
	var pace *hook.Pace
	h := newTestAPI(t, func(ao *app.Options, _ *store.Options) {
		ao.Pace = func(hook.ID) (hook.Pace, bool) {
			if pace == nil {
				return hook.Pace{}, false
			}
			return *pace, true
		}
	})
	h.tenant("acme")
	e := h.endpoint("acme", "*")
	event := h.event("acme", "a.b")
	stats := func() *client.Pace {
		return want[client.EndpointStats](h, 200, get("/v1/endpoints/"+e.ID+"/stats")).Pace
	}
	explained := func() client.ExplainedEndpoint {
		return want[client.Explanation](h, 200, get("/v1/events/"+event.ID+"/explain")).Endpoints[0]
	}
	if p, x := stats(), explained(); p != nil || x.WaitsFor != nil || strings.Contains(x.Message, "wait") {
		t.Errorf("nothing is known, and shown are %+v and %+v", p, x)
	}
	pace = &hook.Pace{InFlight: 1, Cap: 1, Limit: 64, LoweredBy: hook.ClassTimeout, Waiting: 4, WaitsFor: hook.WaitCap, NotBefore: time.Unix(1e9, 0)}
	p, x := stats(), explained()
	if p == nil || p.Cap != 1 || p.Limit != 64 || *p.LoweredBy != "timeout_response" || *p.WaitsFor != "cap" || p.NotBefore == nil || !strings.Contains(p.Message, "1 of 64") {
		t.Errorf("pace: %+v", p)
	}
	if x.WaitsFor == nil || *x.WaitsFor != "cap" || !strings.Contains(x.Message, "timeout_response") {
		t.Errorf("explained: %+v", x)
	}
	for _, wait := range []hook.Wait{hook.WaitRate, hook.WaitPause, hook.WaitHostCap, hook.WaitHostRate, hook.WaitTenant, hook.WaitServer, hook.WaitTurn} {
		pace = &hook.Pace{InFlight: 0, Cap: 5, Limit: 64, LoweredBy: hook.ClassStatus, LoweredStatus: 503, Waiting: 1, WaitsFor: wait}
		if p := stats(); p == nil || *p.WaitsFor != string(wait) || !strings.Contains(p.Message, "answered 503") || strings.HasPrefix(p.Message, "It gets") {
			t.Errorf("%s: %+v", wait, p)
		}
	}
}
