package native

import (
	"context"
	"math"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

func (a *api) insightRoutes(h huma.API) {
	register(a, h, operation("GET", "/v1/events/{id}/explain", "explain-event", "Say for each endpoint why it did or did not get the event", 200), a.explainEvent)
	resend := operation("POST", "/v1/events/{id}/resend", "resend-event", "One more attempt: to one endpoint, or to all that match now", 202)
	resend.RequestBody = &huma.RequestBody{}
	register(a, h, resend, a.resendEvent)
	resend.RequestBody.Required = false // an empty body means all that match
	register(a, h, operation("POST", "/v1/endpoints/{id}/secret/reveal", "reveal-secret", "Show the secret again, where the server allows it", 200), a.revealSecret)
}

type explainIn struct {
	ItemIn
	Tenant string `query:"tenant" doc:"Needed only if several tenants have an event with this id."`
}

func (a *api) explainEvent(ctx context.Context, q *request, in *explainIn) (*reply[client.Explanation], error) {
	id, err := in.event()
	if err != nil {
		return nil, err
	}
	out, err := a.o.Service.Explain(ctx, q.caller, in.Tenant, id)
	if err != nil {
		return nil, err
	}
	return ok(wireExplanation(out)), nil
}

func wireExplanation(x app.Explanation) client.Explanation {
	return client.Explanation{Event: hook.PublicText(x.Event.PublicID, x.Event.GivenID), Tenant: x.Event.Scope.Tenant, Mode: x.Event.Scope.Mode.String(),
		Type: x.Event.Type, Channels: x.Event.Channels, AcceptedAt: wireTime(x.Event.AcceptedAt), More: x.More, OtherMode: x.OtherMode,
		Endpoints: wireAll(x.Endpoints, func(e app.Explained) client.ExplainedEndpoint {
			out := client.ExplainedEndpoint{Endpoint: e.Endpoint.String(), URL: some(hook.MaskURL(e.URL)), EventTypes: append([]string{}, e.Types...), Channels: e.Channels,
				Reason: string(e.Why), Message: e.Message}
			out.WaitsFor = some(string(e.WaitsFor))
			if e.Delivery != nil {
				d := wireDelivery(*e.Delivery)
				out.Delivery = &d
			}
			return out
		})}
}

type resendIn struct {
	ItemIn
	OnceIn
	Tenant string `query:"tenant" doc:"Needed only if several tenants have an event with this id."`
	Body   body[client.Resend]
}

func (a *api) resendEvent(ctx context.Context, q *request, in *resendIn) (*reply[client.Resent], error) {
	id, err := in.event()
	if err != nil {
		return nil, err
	}
	if in.Body.err != nil {
		return nil, in.Body.err
	}
	endpoint, err := filterID("endpoint", in.Body.value.Endpoint)
	if err != nil {
		return nil, err
	}
	once, err := onceFor(q, in.Body.text, 202, wireResent)
	if err != nil {
		return nil, err
	}
	out, replay, err := a.o.Service.ResendEvent(ctx, q.caller, in.Tenant, id, endpoint, once)
	if err != nil {
		return nil, err
	}
	return made(202, wireResent(out), replay), nil
}

func wireResent(r app.Resent) client.Resent {
	return client.Resent{Event: hook.PublicText(r.Event, r.GivenID), Deliveries: wireAll(r.Deliveries, wireDelivery), Created: r.Created, Skipped: r.Skipped}
}

// revealSecret shows a secret again. The Cache-Control header of every response
// prevents caching.
func (a *api) revealSecret(ctx context.Context, q *request, in *ItemIn) (*reply[client.RevealedSecret], error) {
	id, err := in.parsed("endpoint")
	if err != nil {
		return nil, err
	}
	secret, err := a.o.Service.RevealSecret(ctx, q.caller, id)
	if err != nil {
		return nil, err
	}
	return ok(client.RevealedSecret{Secret: secret.Text, CreatedAt: wireTime(secret.CreatedAt)}), nil
}

func wireStats(id string, s hook.EndpointStats) client.EndpointStats {
	out := client.EndpointStats{Endpoint: id, Pending: s.Pending, Held: s.Held, Failed: s.Failed,
		OldestPendingAt: someTime(s.OldestPending), OldestPending: wireOldest(s.Buckets.Open), Buckets: wireBuckets(s.Buckets, true),
		Recent: client.RecentStats{Since: someTime(s.Since), Attempts: s.Attempts, Errors: map[string]int{},
			Deliveries: client.Counts{Pending: s.ByState[hook.Pending], Held: s.ByState[hook.Held], Succeeded: s.ByState[hook.Succeeded],
				Failed: s.ByState[hook.Failed], Cancelled: s.ByState[hook.Cancelled]}}}
	if p := s.Pace; p != nil {
		text := app.WaitText(p)
		if p.WaitsFor != hook.WaitCap {
			text += app.CapText(p)
		}
		out.Pace = &client.Pace{InFlight: p.InFlight, Cap: p.Cap, Limit: p.Limit, LoweredBy: some(string(p.LoweredBy)), Waiting: p.Waiting,
			WaitsFor: some(string(p.WaitsFor)), NotBefore: someTime(p.NotBefore), Message: strings.TrimSpace(text)}
	}
	for class, n := range s.ByClass {
		out.Recent.Errors[string(class)] = n
	}
	if s.Attempts > 0 {
		rate := math.Round(float64(s.Successes)/float64(s.Attempts)*1e4) / 1e4
		p50, p95 := milliseconds(s.Latency.P50), milliseconds(s.Latency.P95)
		out.Recent.SuccessRate, out.Recent.LatencyP50MS, out.Recent.LatencyP95MS = &rate, &p50, &p95
	}
	return out
}

func milliseconds(d time.Duration) float64 {
	return math.Round(float64(d)/float64(time.Microsecond)) / 1000
}
