package native_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store"
)

// audited returns the entries of live mode, oldest first, except the first of the
// chain. It checks the chain.
func (h *testAPI) audited() (list []client.AuditEntry) {
	h.t.Helper()
	q, check := hook.AuditQuery{Scope: hook.Scope{Mode: hook.Live}, Page: hook.Page{Limit: 250}}, hook.AuditCheck{}
	for {
		rows, next, err := h.store.AuditEntries(h.t.Context(), q)
		for _, e := range rows {
			err = errors.Join(err, check.Add(e))
			if e.Act != hook.ActAuditBegan {
				list = append(list, client.AuditEntry{Act: string(e.Act), Object: e.Object, ObjectID: &e.ObjectID, Outcome: e.Outcome, Detail: &e.Detail,
					Actor: client.AuditActor{Kind: e.Actor.Kind, ID: &e.Actor.ID, Address: &e.Actor.Address}, RequestID: &e.Actor.Request, Tenant: &e.Tenant})
			}
		}
		if err != nil {
			h.t.Fatal(err)
		}
		if q.Cursor = next; next == "" {
			if err := check.End(); err != nil {
				h.t.Fatal(err)
			}
			slices.Reverse(list)
			return list
		}
	}
}

// auditedActs maps routes to the entry that a call adds. Reads are recorded only for
// payloads. Publishing is not recorded.
var auditedActs = map[string]hook.Act{
	"GET /v1/events/{id}":                   hook.ActEventRead,
	"POST /v1/events/{id}/resend":           hook.ActEventResent,
	"POST /v1/deliveries/{id}/retry":        hook.ActDeliveryRetried,
	"POST /v1/deliveries/{id}/cancel":       hook.ActDeliveryCancelled,
	"POST /v1/endpoints":                    hook.ActEndpointCreated,
	"PATCH /v1/endpoints/{id}":              hook.ActEndpointUpdated,
	"DELETE /v1/endpoints/{id}":             hook.ActEndpointDeleted,
	"POST /v1/endpoints/{id}/test":          hook.ActEndpointTested,
	"POST /v1/endpoints/{id}/verify":        "", // the endpoint needs no verification: nothing happens (see TestAuditOfVerification)
	"POST /v1/endpoints/{id}/secret/rotate": hook.ActSecretRotated,
	"POST /v1/endpoints/{id}/secret/expire": hook.ActSecretExpired,
	"POST /v1/endpoints/{id}/secret/reveal": hook.ActSecretRevealed,
	"POST /v1/tenants":                      hook.ActTenantCreated,
	"PATCH /v1/tenants/{id}":                hook.ActTenantUpdated,
	"DELETE /v1/tenants/{id}":               hook.ActTenantDeleted,
	"POST /v1/keys":                         hook.ActKeyCreated,
	"DELETE /v1/keys/{id}":                  hook.ActKeyRevoked,
	"POST /v1/event-types":                  hook.ActEventTypeCreated,
	"PATCH /v1/event-types/{id}":            hook.ActEventTypeUpdated,
	"DELETE /v1/event-types/{id}":           hook.ActEventTypeDeleted,
	"POST /v1/partner-users":                hook.ActPartnerUserCreated,
	"DELETE /v1/partner-users/{id}":         hook.ActPartnerUserDeleted,
	"POST /v1/portal/sessions":              hook.ActPortalCreated,
	"DELETE /v1/portal/sessions":            hook.ActPortalEnded,
	"DELETE /v1/portal/sessions/{id}":       hook.ActPortalEnded,
	"POST /v1/ui/links":                     hook.ActUILinkCreated,
	"POST /v1/replays":                      hook.ActReplayCreated,
	"POST /v1/replays/{id}/pause":           hook.ActReplayPaused,
	"POST /v1/replays/{id}/resume":          hook.ActReplayResumed,
	"POST /v1/replays/{id}/cancel":          hook.ActReplayCancelled,
	"POST /v1/erasures":                     hook.ActErasureCreated,
	"POST /v1/reclaim":                      hook.ActReclaimed,
	"POST /v1/master-keys/rotate":           hook.ActMasterKeyRotated,
	"DELETE /v1/master-keys/{id}":           hook.ActMasterKeyDropped,
	"POST /v1/events/match":                 "",
	"POST /v1/events":                       "",
	"POST /v1/events/batch":                 "",
}

// auditedAfter prepares a state in which the call changes something.
var auditedAfter = map[string]func(*site) error{
	"POST /v1/replays/{id}/resume":          func(s *site) error { return second(s.PauseReplay(s.ctx, s.replay)) },
	"POST /v1/endpoints/{id}/secret/expire": func(s *site) error { return second(s.RotateSecret(s.ctx, s.endpoint, client.RotateSecret{})) },
}

// wronglyAudited returns what is wrong with the entries that a call of a route added.
func wronglyAudited(route string, left []client.AuditEntry) string {
	act, known := auditedActs[route]
	if !known && !strings.HasPrefix(route, "GET ") {
		return route + " writes: say in auditedActs what it leaves in the audit log"
	}
	if act == "" {
		if len(left) > 0 {
			return fmt.Sprintf("%s left %+v, want nothing", route, left)
		}
		return ""
	}
	if len(left) != 1 {
		return fmt.Sprintf("%s left %d entries, want one of %s: is the actor in its context?", route, len(left), act)
	}
	e := left[0]
	if e.Act != string(act) || e.Outcome != hook.AuditOK || e.Actor.Kind != "operator" || *e.Actor.ID != hook.ActorBootstrap ||
		*e.Actor.Address == "" || *e.RequestID == "" || *e.ObjectID == "" {
		return fmt.Sprintf("%s left %+v", route, e)
	}
	return ""
}

// deaf is a store that does not receive the actor.
type deaf struct{ app.Store }

func (d deaf) UpdateTenant(_ context.Context, id string, update func(hook.Tenant) (hook.Tenant, error)) (hook.Tenant, error) {
	return d.Store.UpdateTenant(context.Background(), id, update)
}

// Control: a route that loses its actor is reported.
func TestAuditOfAnUnknownActor(t *testing.T) {
	const route = "PATCH /v1/tenants/{id}"
	h := newTestAPI(t)
	h.tenant("acme")
	rename := func() string {
		before := len(h.audited())
		want[client.Tenant](h, 200, call{"PATCH", "/v1/tenants/acme", liveKey, `{"name":"` + fmt.Sprint(before) + time.Now().String() + `"}`, nil})
		return wronglyAudited(route, h.audited()[before:])
	}
	if wrong := rename(); wrong != "" {
		t.Error(wrong)
	}
	h.rewire(func(s app.Store) app.Store { return deaf{s} })
	if wrong := rename(); !strings.Contains(wrong, route) {
		t.Errorf("not noticed: %q", wrong)
	}
	if wrong := wronglyAudited("POST /v1/forgotten", nil); !strings.Contains(wrong, "POST /v1/forgotten") {
		t.Errorf("a new route is not noticed: %q", wrong)
	}
}

func TestAuditOfVerification(t *testing.T) {
	h := newTestAPI(t, func(o *app.Options, _ *store.Options) { o.VerifyEndpoints = true })
	h.tenant("acme")
	e := h.endpoint("acme", "*")
	before := len(h.audited())
	want[client.Endpoint](h, 202, call{"POST", "/v1/endpoints/" + e.ID + "/verify", liveKey, `{"trust":true}`, nil})
	if left := h.audited()[before:]; len(left) != 1 || left[0].Act != string(hook.ActEndpointVerified) {
		t.Errorf("%+v", left)
	}
}

// A repeated request that shows a secret again is recorded; other repetitions are not.
func TestAuditOfARepeat(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	once := map[string]string{"Idempotency-Key": "k-1"}
	for _, body := range []struct{ path, text string }{
		{"/v1/endpoints", `{"tenant":"acme","url":"https://hooks.example.com/","event_types":["*"]}`}, {"/v1/keys", `{"kind":"publisher"}`},
	} {
		c := call{"POST", body.path, liveKey, body.text, once}
		h.do(c)
		before := len(h.audited())
		if w := h.do(c); w.Code != 201 {
			t.Fatal(w.Body)
		}
		left := h.audited()[before:]
		if len(left) != 1 || left[0].Act != string(hook.ActSecretRevealed) && left[0].Act != string(hook.ActKeyShown) {
			t.Errorf("%s: %+v", body.path, left)
		}
	}
	c := call{"POST", "/v1/tenants", liveKey, `{"id":"b"}`, once}
	h.do(c)
	before := len(h.audited())
	h.do(c)
	if left := h.audited()[before:]; len(left) != 0 {
		t.Errorf("%+v", left)
	}
}

// Refused writes are recorded, but only up to a limit.
func TestAuditOfRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestAPI(t)
		defer func() { _ = h.store.Close() }()
		h.tenant("acme")
		key := h.key("tenant", "acme")
		before := len(h.audited())
		for range 50 {
			refused(h, 403, "forbidden", "", call{"DELETE", "/v1/tenants/acme", key, nil, nil})
		}
		refused(h, 404, "not_found", "", call{"GET", "/v1/endpoints/" + hook.ID{1}.String(), liveKey, nil, nil}) // reads nothing
		left := h.audited()[before:]
		if len(left) != 10 || left[0].Act != string(hook.ActCallRefused) || *left[0].ObjectID != "DELETE /v1/tenants/acme" || left[0].Outcome != "forbidden" {
			t.Errorf("%d entries: %+v", len(left), left)
		}
		time.Sleep(time.Minute) // in the bubble's time
		before = len(h.audited())
		refused(h, 422, "unknown_field", "nope", call{"POST", "/v1/tenants", liveKey, `{"nope":1}`, nil})
		refused(h, 404, "not_found", "", call{"DELETE", "/v1/endpoints/" + hook.ID{1}.String(), key, nil, nil})
		left = h.audited()[before:]
		if len(left) != 2 || left[0].Outcome != "unknown_field" || *left[1].ObjectID != "DELETE /v1/endpoints/{id}" {
			t.Errorf("%+v", left)
		}
		// Reads of the same payload add one entry in five minutes.
		e := h.event("acme", "a.b")
		before = len(h.audited())
		for range 3 {
			want[client.Event](h, 200, get("/v1/events/"+e.ID))
		}
		if left := h.audited()[before:]; len(left) != 1 || left[0].Act != string(hook.ActEventRead) {
			t.Errorf("%+v", left)
		}
		time.Sleep(6 * time.Minute)
		want[client.Event](h, 200, get("/v1/events/"+e.ID))
		if left := h.audited()[before:]; len(left) != 2 {
			t.Errorf("%+v", left)
		}
	})
}

// Each kind of key sees only the entries that it may see.
func TestAuditWalls(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	h.tenant("other")
	h.endpoint("acme", "*")
	h.endpoint("other", "*")
	mine := h.key("tenant", "acme")
	want[client.Endpoint](h, 201, call{"POST", "/v1/endpoints", mine, `{"url":"https://hooks.example.com/","event_types":[]}`, nil})
	list := func(key, query string) []client.AuditEntry {
		return want[client.Page[client.AuditEntry]](h, 200, call{"GET", "/v1/audit" + query, key, nil, nil}).Data
	}
	acts := func(rows []client.AuditEntry) (all []string) {
		for _, e := range rows {
			all = append(all, e.Act)
		}
		return all
	}
	seen := list(mine, "")
	if got := acts(seen); !slices.Equal(got, []string{"endpoint.created", "key.created", "endpoint.created", "tenant.created"}) {
		t.Errorf("%v", got)
	}
	for i, e := range seen {
		own := i == 0
		if *e.Tenant != "acme" || e.Chain != nil || (e.Actor.ID != nil) != own || (e.Actor.Address != nil) != own || (e.RequestID != nil) != own {
			t.Errorf("%d: %+v", i, e)
		}
	}
	if all := list(liveKey, ""); len(all) != 7 || all[0].Chain == nil || all[len(all)-1].Act != "audit.began" {
		t.Errorf("the operator sees %v", acts(all))
	}
	if all := list(liveKey, "?tenant=acme&object=endpoint"); len(all) != 2 {
		t.Errorf("%v", acts(all))
	}
	if all := list(mine, "?actor=bootstrap"); len(all) != 0 {
		t.Errorf("a tenant finds out the operator's key: %v", acts(all))
	}
	if all := list(testKey, ""); len(all) != 0 {
		t.Errorf("in the other mode: %v", acts(all))
	}
	refused(h, 404, "tenant_not_found", "tenant", call{"GET", "/v1/audit?tenant=other", mine, nil, nil})
	refused(h, http.StatusForbidden, "forbidden", "", call{"GET", "/v1/audit", h.key("publisher", "acme"), nil, nil})
}

// A write that changes nothing leaves neither an entry nor a line about an act.
func TestWritesThatChangeNothingAreNotRecorded(t *testing.T) {
	h := newTestAPI(t)
	h.tenant("acme")
	e := h.endpoint("acme", "*").ID
	h.event("acme", "a.b")
	replay := *want[client.Replay](h, 201, post("/v1/replays", `{"endpoint":"`+e+`","source":"all"}`)).ID
	want[client.EventType](h, 201, post("/v1/event-types", `{"name":"a.b","schema":{"type":"object"},"group":"G"}`))
	tell := func(c call) (entries, lines int) {
		t.Helper()
		before, said := len(h.audited()), strings.Count(h.log.String(), "audit: ")
		if w := h.do(c); w.Code != 200 {
			t.Errorf("%s %s: %d %s", c.method, c.path, w.Code, w.Body)
		}
		return len(h.audited()) - before, strings.Count(h.log.String(), "audit: ") - said
	}
	for i, c := range []call{
		post("/v1/replays/"+replay+"/pause", nil), post("/v1/replays/"+replay+"/resume", nil), post("/v1/replays/"+replay+"/cancel", nil),
		{"PATCH", "/v1/event-types/a.b", liveKey, `{"description":"D","version":2,"group":"H"}`, nil},
	} {
		if entries, lines := tell(c); entries != 1 || lines > 1 || i < 3 && lines != 1 { // control
			t.Errorf("%s: %d entries, %d lines", c.path, entries, lines)
		}
		if strings.HasSuffix(c.path, "/cancel") {
			continue // it has ended: a repetition is refused
		}
		if entries, lines := tell(c); entries != 0 || lines != 0 {
			t.Errorf("%s again: %d entries, %d lines", c.path, entries, lines)
		}
	}
	for _, body := range []string{`{}`, `{"schema":{"type":"object"}}`, `{"hidden":false,"other_versions":[{"version":1,"schema":{"type":"object"}}]}`} {
		if entries, _ := tell(call{"PATCH", "/v1/event-types/a.b", liveKey, body, nil}); entries != 0 {
			t.Errorf("%s: %d entries", body, entries)
		}
	}
}

// The writes of a key in a day are bounded, and with them the audit log: each accepted one
// has its entry, and one beyond the bound is refused and changes nothing.
func TestWritesOfADayBoundTheAuditLog(t *testing.T) {
	now := time.Now()
	h := newTestAPI(t, func(o *app.Options, _ *store.Options) {
		o.AuditedWrites, o.Now = 3, func() time.Time { return now }
	})
	h.tenant("acme") // with the bootstrap key, which may make ten times as many
	key := h.key("tenant", "acme")
	before := len(h.audited())
	create := call{"POST", "/v1/endpoints", key, `{"url":"https://hooks.example.com/","event_types":[]}`, nil}
	for range 3 {
		want[client.Endpoint](h, 201, create)
	}
	p := refused(h, 429, hook.CodeRateLimited, "", create)
	if !strings.Contains(p.Detail, "3 calls that write a day") || strings.Contains(p.Detail, "%!") {
		t.Error(p.Detail)
	}
	want[client.Page[client.Endpoint]](h, 200, call{"GET", "/v1/endpoints", key, nil, nil})
	want[client.Endpoint](h, 201, post("/v1/endpoints", `{"tenant":"acme","url":"https://hooks.example.com/","event_types":[]}`)) // control: another key
	now = now.Add(8 * time.Hour)
	want[client.Endpoint](h, 201, create) // a third of the day, a third of the writes
	refused(h, 429, hook.CodeRateLimited, "", create)
	made := 0
	for _, e := range h.audited()[before:] {
		if e.Act == string(hook.ActEndpointCreated) {
			made++
		}
	}
	if made != 5 {
		t.Errorf("%d entries about 5 endpoints", made)
	}
}
