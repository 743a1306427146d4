package native_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/store"
)

// site is a server with a tenant "acme" that has one of everything.
type site struct {
	replay, erasure string
	*client.Client
	ctx                                  context.Context
	endpoint, event, delivery, key, user string
	portal                               string // id of a session

	testAPI *testAPI
	mu      sync.Mutex
	last    string // "METHOD /path" of the latest request
	good    bool   // its status was 2xx
}

func newSite(t *testing.T) *site {
	t.Helper()
	h := newTestAPI(t, func(o *app.Options, _ *store.Options) { o.AllowReveal = true })
	s := &site{ctx: t.Context(), testAPI: h}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kept := &listened{ResponseWriter: w, status: 200}
		h.handler.ServeHTTP(kept, r)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.last, s.good = r.Method+" "+r.URL.Path, kept.status/100 == 2
	}))
	t.Cleanup(server.Close)
	s.Client = &client.Client{URL: server.URL, Key: liveKey}
	h.tenant("acme")
	h.tenant("broker")
	s.endpoint = h.endpoint("acme", "*").ID
	s.event = h.event("acme", "a.b").ID
	s.delivery = want[client.Page[client.Delivery]](h, 200, get("/v1/deliveries")).Data[0].ID
	s.key = want[client.Key](h, 201, post("/v1/keys", `{"kind":"publisher"}`)).ID
	s.portal = want[client.PortalSession](h, 201, post("/v1/portal/sessions", `{"tenant":"acme"}`)).ID
	s.user = want[client.PartnerUser](h, 201, post("/v1/partner-users", `{"partner":"broker","user":"u","tenant":"acme"}`)).ID
	want[client.EventType](h, 201, post("/v1/event-types", `{"name":"a.b"}`))
	s.replay = *want[client.Replay](h, 201, post("/v1/replays", `{"endpoint":"`+s.endpoint+`","source":"all"}`)).ID
	erased := h.event("acme", "a.b").ID
	s.erasure = want[client.Erasure](h, 202, post("/v1/erasures", `{"event":"`+erased+`"}`)).ID
	return s
}

type listened struct {
	http.ResponseWriter
	status int
}

func (l *listened) WriteHeader(status int) {
	l.status = status
	l.ResponseWriter.WriteHeader(status)
}

func (l *listened) Unwrap() http.ResponseWriter { return l.ResponseWriter }

func second[T any](_ T, err error) error { return err }

// clientCalls has one call of the client for every route of the API.
var clientCalls = map[string]func(*site) error{
	"GET /healthz":      func(s *site) error { return second(s.Alive(s.ctx)) },
	"GET /readyz":       func(s *site) error { return second(s.Ready(s.ctx)) },
	"GET /version":      func(s *site) error { return second(s.Version(s.ctx)) },
	"GET /openapi.json": func(s *site) error { return second(s.OpenAPI(s.ctx)) },

	"POST /v1/events": func(s *site) error {
		return second(s.Publish(s.ctx, client.NewEvent{Tenant: "acme", Type: "a.b", Data: json.RawMessage(`{}`)}, client.PublishOptions{}))
	},
	"POST /v1/events/batch": func(s *site) error {
		return second(s.PublishBatch(s.ctx, []client.NewEvent{{Tenant: "acme", Type: "a.b", Data: json.RawMessage(`{}`)}}, client.PublishOptions{}))
	},
	"GET /v1/events":              func(s *site) error { return second(s.Events(s.ctx, client.EventQuery{})) },
	"GET /v1/events/{id}":         func(s *site) error { return second(s.Event(s.ctx, s.event)) },
	"GET /v1/events/{id}/explain": func(s *site) error { return second(s.Explain(s.ctx, s.event, "acme")) },
	"POST /v1/events/{id}/resend": func(s *site) error {
		return second(s.ResendEvent(s.ctx, s.event, "", client.Resend{Endpoint: s.endpoint}))
	},

	"POST /v1/events/match": func(s *site) error {
		return second(s.MatchEvent(s.ctx, client.MatchRequest{Tenant: "acme", Type: "a.b"}))
	},

	"POST /v1/replays": func(s *site) error {
		return second(s.CreateReplay(s.ctx, client.NewReplay{Endpoint: s.endpoint, Source: "all"}))
	},
	"GET /v1/replays":              func(s *site) error { return second(s.Replays(s.ctx, client.ReplayQuery{State: client.ReplayRunning})) },
	"GET /v1/replays/{id}":         func(s *site) error { return second(s.Client.Replay(s.ctx, s.replay)) },
	"POST /v1/replays/{id}/pause":  func(s *site) error { return second(s.PauseReplay(s.ctx, s.replay)) },
	"POST /v1/replays/{id}/resume": func(s *site) error { return second(s.ResumeReplay(s.ctx, s.replay)) },
	"POST /v1/replays/{id}/cancel": func(s *site) error { return second(s.CancelReplay(s.ctx, s.replay)) },

	"POST /v1/erasures": func(s *site) error { return second(s.Erase(s.ctx, client.NewErasure{Event: s.event})) },
	"GET /v1/erasures": func(s *site) error {
		return second(s.Erasures(s.ctx, client.ErasureQuery{State: client.ErasureRunning}))
	},
	"GET /v1/erasures/{id}": func(s *site) error { return second(s.Erasure(s.ctx, s.erasure)) },
	"POST /v1/reclaim":      func(s *site) error { return second(s.Reclaim(s.ctx)) },

	"GET /v1/search": func(s *site) error {
		found, err := s.Search(s.ctx, s.delivery[:13])
		if err == nil && len(found.Data) == 0 {
			err = errors.New("nothing was found")
		}
		return err
	},
	"GET /v1/deliveries/counts":       func(s *site) error { return second(s.CountDeliveries(s.ctx, "", s.endpoint)) },
	"GET /v1/deliveries":              func(s *site) error { return second(s.Deliveries(s.ctx, client.DeliveryQuery{})) },
	"GET /v1/deliveries/{id}":         func(s *site) error { return second(s.Delivery(s.ctx, s.delivery)) },
	"POST /v1/deliveries/{id}/retry":  func(s *site) error { return second(s.RetryDelivery(s.ctx, s.delivery)) },
	"POST /v1/deliveries/{id}/cancel": func(s *site) error { return second(s.CancelDelivery(s.ctx, s.delivery)) },

	"POST /v1/endpoints": func(s *site) error {
		return second(s.CreateEndpoint(s.ctx, client.NewEndpoint{Tenant: "acme", URL: "https://hooks.example.com/", EventTypes: []string{}}))
	},
	"GET /v1/endpoints":      func(s *site) error { return second(s.Endpoints(s.ctx, client.EndpointQuery{})) },
	"GET /v1/endpoints/{id}": func(s *site) error { return second(s.Endpoint(s.ctx, s.endpoint)) },
	"PATCH /v1/endpoints/{id}": func(s *site) error {
		return second(s.UpdateEndpoint(s.ctx, s.endpoint, client.EndpointPatch{Title: client.Set("T")}))
	},
	"DELETE /v1/endpoints/{id}":             func(s *site) error { return s.DeleteEndpoint(s.ctx, s.endpoint) },
	"GET /v1/stats":                         func(s *site) error { return second(s.Stats(s.ctx, client.StatsSpan{})) },
	"GET /v1/tenants/{id}/stats":            func(s *site) error { return second(s.TenantStats(s.ctx, "acme", client.StatsSpan{Step: "5m"})) },
	"GET /v1/endpoints/{id}/stats":          func(s *site) error { return second(s.EndpointStats(s.ctx, s.endpoint)) },
	"POST /v1/endpoints/{id}/test":          func(s *site) error { return second(s.TestEndpoint(s.ctx, s.endpoint, client.TestRequest{})) },
	"POST /v1/endpoints/{id}/verify":        func(s *site) error { return second(s.VerifyEndpoint(s.ctx, s.endpoint, client.VerifyRequest{})) },
	"POST /v1/endpoints/{id}/secret/rotate": func(s *site) error { return second(s.RotateSecret(s.ctx, s.endpoint, client.RotateSecret{})) },
	"POST /v1/endpoints/{id}/secret/expire": func(s *site) error { return s.ExpireSecrets(s.ctx, s.endpoint) },
	"POST /v1/endpoints/{id}/secret/reveal": func(s *site) error { return second(s.RevealSecret(s.ctx, s.endpoint)) },

	"POST /v1/tenants":     func(s *site) error { return second(s.CreateTenant(s.ctx, client.NewTenant{})) },
	"GET /v1/tenants":      func(s *site) error { return second(s.Tenants(s.ctx, client.TenantQuery{})) },
	"GET /v1/tenants/{id}": func(s *site) error { return second(s.Tenant(s.ctx, "acme")) },
	"PATCH /v1/tenants/{id}": func(s *site) error {
		return second(s.UpdateTenant(s.ctx, "acme", client.TenantPatch{Name: client.Set("Acme")}))
	},
	"DELETE /v1/tenants/{id}":        func(s *site) error { return s.DeleteTenant(s.ctx, "acme") },
	"GET /v1/tenants/{id}/retention": func(s *site) error { return second(s.TenantRetention(s.ctx, "acme")) },
	"PATCH /v1/tenants/{id}/retention": func(s *site) error {
		return second(s.UpdateTenantRetention(s.ctx, "acme", client.TenantRetentionPatch{Payloads: client.Set("48h")}))
	},
	"GET /v1/disk": func(s *site) error { return second(s.Disk(s.ctx, "acme")) },

	"POST /v1/keys":               func(s *site) error { return second(s.CreateKey(s.ctx, client.NewKey{Kind: "publisher"})) },
	"GET /v1/keys":                func(s *site) error { return second(s.Keys(s.ctx, client.KeyQuery{})) },
	"DELETE /v1/keys/{id}":        func(s *site) error { return s.RevokeKey(s.ctx, s.key) },
	"GET /v1/master-keys":         func(s *site) error { return second(s.MasterKeys(s.ctx, client.ListOptions{})) },
	"POST /v1/master-keys/rotate": func(s *site) error { return second(s.RotateMasterKey(s.ctx)) },
	"DELETE /v1/master-keys/{id}": func(s *site) error { return s.DropMasterKey(s.ctx, s.unused()) },
	"GET /v1/audit":               func(s *site) error { return second(s.AuditEntries(s.ctx, client.AuditQuery{})) },

	"POST /v1/event-types":                 func(s *site) error { return second(s.CreateEventType(s.ctx, client.NewEventType{Name: "b.c"})) },
	"GET /v1/event-types":                  func(s *site) error { return second(s.EventTypes(s.ctx, client.EventTypeQuery{})) },
	"GET /v1/event-types/{id}":             func(s *site) error { return second(s.EventType(s.ctx, "a.b")) },
	"GET /v1/event-types/{id}/subscribers": func(s *site) error { return second(s.Subscribers(s.ctx, "a.b")) },
	"GET /v1/event-types/{id}/differences": func(s *site) error { return second(s.TypeDifferences(s.ctx, "a.b", 1, 1)) },
	"PATCH /v1/event-types/{id}": func(s *site) error {
		return second(s.UpdateEventType(s.ctx, "a.b", client.EventTypePatch{Example: client.Set(json.RawMessage(`{"a":1}`))}))
	},
	"DELETE /v1/event-types/{id}": func(s *site) error { return s.DeleteEventType(s.ctx, "a.b") },
	"GET /v1/profiles":            func(s *site) error { return second(s.Profiles(s.ctx)) },

	"POST /v1/partner-users": func(s *site) error {
		return second(s.CreatePartnerUser(s.ctx, client.NewPartnerUser{Partner: "broker", User: "v", Tenant: "acme"}))
	},
	"GET /v1/partner-users":         func(s *site) error { return second(s.PartnerUsers(s.ctx, client.PartnerUserQuery{})) },
	"DELETE /v1/partner-users/{id}": func(s *site) error { return s.DeletePartnerUser(s.ctx, s.user) },

	"POST /v1/portal/sessions": func(s *site) error {
		return second(s.CreatePortalSession(s.ctx, client.NewPortalSession{Tenant: "acme"}))
	},
	"GET /v1/portal/sessions":         func(s *site) error { return second(s.PortalSessions(s.ctx, client.PortalSessionQuery{})) },
	"DELETE /v1/portal/sessions":      func(s *site) error { return s.EndPortalSessions(s.ctx, "acme") },
	"DELETE /v1/portal/sessions/{id}": func(s *site) error { return s.EndPortalSession(s.ctx, s.portal) },
	"POST /v1/ui/links":               func(s *site) error { return second(s.CreateUILink(s.ctx)) },
}

// The client has a call for every route of the document, and the call reaches the
// route. Its entry in the audit log is the one in auditedActs.
func TestClientCallsEveryRoute(t *testing.T) {
	routes := newTestAPI(t).document().routes()
	for _, route := range routes {
		t.Run(route, func(t *testing.T) {
			do := clientCalls[route]
			if do == nil {
				t.Fatal("the client has no call of this route")
			}
			s := newSite(t)
			if prepare := auditedAfter[route]; prepare != nil {
				if err := prepare(s); err != nil {
					t.Fatal(err)
				}
			}
			before := len(s.testAPI.audited())
			if err := do(s); err != nil {
				t.Fatal(err)
			}
			if wrong := wronglyAudited(route, s.testAPI.audited()[before:]); wrong != "" {
				t.Error(wrong)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			pattern := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(route), `\{id\}`, "[^/]+") + "$")
			if !pattern.MatchString(s.last) || !s.good {
				t.Errorf("the call made the request %s, answered well: %v", s.last, s.good)
			}
		})
	}
	if len(clientCalls) != len(routes) {
		t.Errorf("%d calls for %d routes: a call of a route that is gone?", len(clientCalls), len(routes))
	}
}
