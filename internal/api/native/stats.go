package native

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

func (a *api) statsRoutes(h huma.API) {
	register(a, h, operation("GET", "/v1/stats", "get-stats", "Numbers about all deliveries, in buckets of time", 200), a.stats)
	register(a, h, operation("GET", "/v1/tenants/{id}/stats", "get-tenant-stats", "Numbers about a tenant's deliveries, in buckets of time", 200), a.tenantStats)
	register(a, h, operation("GET", "/v1/endpoints/{id}/stats", "get-endpoint-stats", "Numbers about an endpoint", 200), a.endpointStats)
}

// BucketsIn selects the time that statistics cover.
type BucketsIn struct {
	From Instant `query:"from" doc:"Start, RFC 3339. Absent: an hour before to." example:"2026-11-21T22:00:00Z"`
	To   Instant `query:"to" doc:"End, RFC 3339. Absent: now." example:"2026-11-22T22:00:00Z"`
	Step string  `query:"step" enum:"1m,5m,15m,1h,6h,1d" doc:"Length of a bucket. Steps under 1h go back 24 hours, others 90 days. Absent: the shortest that gives at most 120 buckets." example:"1m"`
}

func (b BucketsIn) span() app.Span { return app.Span{From: b.From.Time, To: b.To.Time, Step: b.Step} }

type statsIn struct {
	BucketsIn
	Tenant string `query:"tenant" doc:"Numbers of this tenant. A tenant key may leave it out." example:"acme"`
}

func (a *api) stats(ctx context.Context, q *request, in *statsIn) (*reply[client.Stats], error) {
	return a.statsOf(ctx, q, in.Tenant, in.BucketsIn)
}

type tenantStatsIn struct {
	ItemIn
	BucketsIn
}

func (a *api) tenantStats(ctx context.Context, q *request, in *tenantStatsIn) (*reply[client.Stats], error) {
	return a.statsOf(ctx, q, in.ID, in.BucketsIn)
}

func (a *api) statsOf(ctx context.Context, q *request, tenant string, in BucketsIn) (*reply[client.Stats], error) {
	s, err := a.o.Service.Stats(ctx, q.caller, tenant, in.span())
	if err != nil {
		return nil, err
	}
	return ok(client.Stats{Tenant: some(s.Scope.Tenant), Mode: s.Scope.Mode.String(), Pending: s.Open.Pending, Held: s.Open.Held,
		OldestPending: wireOldest(s.Open), Buckets: wireBuckets(s, false)}), nil
}

type endpointStatsIn struct {
	ItemIn
	BucketsIn
}

func (a *api) endpointStats(ctx context.Context, q *request, in *endpointStatsIn) (*reply[client.EndpointStats], error) {
	id, err := in.parsed("endpoint")
	if err != nil {
		return nil, err
	}
	s, err := a.o.Service.EndpointStats(ctx, q.caller, id, in.span())
	if err != nil {
		return nil, err
	}
	return ok(wireStats(in.ID, s)), nil
}

func wireOldest(o hook.OpenWork) *client.OldestPending {
	d := o.Oldest
	if d == nil {
		return nil
	}
	return &client.OldestPending{Delivery: d.ID.String(), Endpoint: d.Endpoint.String(), At: wireTime(d.CreatedAt), Attempts: d.Attempts,
		NextAttemptAt: someTime(d.Due), LastError: some(string(d.LastError)), WaitsFor: some(string(o.OldestWaits))}
}

func wireBuckets(s hook.Stats, ofEndpoint bool) client.Buckets {
	out := client.Buckets{From: wireTime(s.From), Step: app.StepText(s.Step), Buckets: make([]client.StatsBucket, len(s.Buckets))}
	var total hook.Tally
	at := s.From
	for i := range s.Buckets {
		out.Buckets[i] = client.StatsBucket{Start: wireTime(at), Tally: wireTally(&s.Buckets[i], ofEndpoint)}
		total.Add(&s.Buckets[i])
		at = at.Add(s.Step)
	}
	out.To, out.Total = wireTime(at), wireTally(&total, ofEndpoint)
	return out
}

func wireTally(t *hook.Tally, ofEndpoint bool) client.Tally {
	out := client.Tally{Accepted: int(t.Accepted), Delivered: int(t.Delivered), FirstTry: int(t.FirstTry), GivenUp: int(t.GivenUp),
		Attempts: int(t.Attempts), Errors: map[string]int{}, AttemptTime: wireQuantiles(&t.AttemptTime), DeliveryTime: wireQuantiles(&t.DeliveryTime)}
	if events := int(t.Events); !ofEndpoint {
		out.Events = &events
	}
	for _, e := range t.Errors {
		out.Errors[string(e.Class)] = int(e.N)
	}
	return out
}

func wireQuantiles(h *hook.Histogram) *client.Quantiles {
	if len(h.Cells) == 0 {
		return nil
	}
	return &client.Quantiles{P50MS: milliseconds(h.Quantile(50)), P95MS: milliseconds(h.Quantile(95)), P99MS: milliseconds(h.Quantile(99))}
}
