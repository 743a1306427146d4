package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// Why is a stable word for the reason that an endpoint did or did not get an event.
type Why string

// The reasons.
const (
	WhyMatched    Why = "matched"     // its filter matched the type when the event was accepted
	WhyResent     Why = "resent"      // it did not get the event then; the event was resent to it later
	WhyTest       Why = "test"        // a test event goes to one endpoint, whatever its filter
	WhyType       Why = "type"        // its filter did not match the type
	WhyChannel    Why = "channel"     // it listened to channels that the event does not have
	WhyDisabled   Why = "disabled"    // it was disabled by hand
	WhyDeleted    Why = "deleted"     // it was deleted before the event
	WhyNotCreated Why = "not_created" // it was created after the event
	WhyUnknown    Why = "unknown"     // the stored history does not show the reason
)

// Explained explains why one endpoint did or did not get an event.
type Explained struct {
	Endpoint hook.ID
	URL      string        // when the event was accepted; empty if the endpoint was created later
	Types    hook.Filter   // when the event was accepted
	Channels hook.Channels // when the event was accepted
	Why      Why
	Message  string
	Delivery *hook.DeliveryRow // nil: none
	WaitsFor hook.Wait         // what a due pending delivery waits for, as far as this node knows
}

// Explanation is an event and, for each endpoint of its tenant, the reason that it did
// or did not get the event. More means that the tenant has more endpoints than are
// listed.
type Explanation struct {
	Event     *hook.Event
	Endpoints []Explained
	More      bool
	OtherMode bool // the tenant has endpoints in the other mode, which never get events of this one
}

// Explain returns for each endpoint of an event's tenant and mode why it did or did not
// get a delivery. The reason follows from the endpoint's state when the event was
// accepted.
func (s *Service) Explain(ctx context.Context, c Caller, tenant string, id hook.ID) (Explanation, error) {
	event, rows, err := s.event(ctx, c, tenant, id)
	if err != nil {
		return Explanation{}, err
	}
	if event, err = s.redacted(ctx, event); err != nil {
		return Explanation{}, err
	}
	out := Explanation{Event: event}
	histories, more, err := s.o.Store.History(ctx, event.Scope, event.AcceptedAt)
	if err != nil {
		return out, err
	}
	out.More = more
	byEndpoint := make(map[hook.ID]*hook.DeliveryRow, len(rows))
	for i := range rows {
		byEndpoint[rows[i].Endpoint] = &rows[i]
	}
	for i := range histories {
		if histories[i].Operational != hook.ReservedType(event.Type) && event.Kind == hook.NormalEvent {
			continue // it can never get the event
		}
		e := explain(event, &histories[i], byEndpoint[histories[i].Endpoint])
		s.explainWait(&e, event)
		out.Endpoints = append(out.Endpoints, e)
	}
	other := event.Scope
	if other.Mode = hook.Test; event.Scope.Mode == hook.Test {
		other.Mode = hook.Live
	}
	out.OtherMode, err = s.o.Store.HasEndpoints(ctx, other)
	return out, err
}

// paceOf returns the state of the endpoint's attempts on this node, or nil.
func (s *Service) paceOf(endpoint hook.ID) *hook.Pace {
	if s.o.Pace == nil {
		return nil
	}
	if p, ok := s.o.Pace(endpoint); ok {
		return &p
	}
	return nil
}

// explainWait adds why a pending delivery is not being attempted: it waits until the
// deliver_at of its event, or it is due and waits for something else.
func (s *Service) explainWait(e *Explained, event *hook.Event) {
	if e.Delivery == nil || e.Delivery.State != hook.Pending {
		return
	}
	if now := s.o.Now(); e.Delivery.Due.After(now) {
		if event.DeliverAt.After(now) {
			e.Message += " It waits until " + event.DeliverAt.UTC().Format(time.RFC3339Nano) + ", the event's deliver_at."
		}
		return
	}
	p := s.paceOf(e.Endpoint)
	if p == nil || p.WaitsFor == hook.WaitNone {
		return
	}
	e.WaitsFor = p.WaitsFor
	e.Message += " " + WaitText(p)
}

// WaitText returns a sentence that explains what an endpoint's deliveries wait for.
func WaitText(p *hook.Pace) string {
	switch p.WaitsFor {
	case hook.WaitCap:
		return fmt.Sprintf("Its deliveries wait because %d of %d attempts at once are under way.%s", p.InFlight, p.Cap, CapText(p))
	case hook.WaitRate:
		return "Its deliveries wait for its rate_limit."
	case hook.WaitPause:
		return "Its deliveries wait because it asked for a pause with Retry-After."
	case hook.WaitHostCap:
		return "Its deliveries wait because as many attempts are under way at its host or address, over all tenants, as the server makes at once there."
	case hook.WaitHostRate:
		return "Its deliveries wait because as many attempts have begun at its host or address, over all tenants, as the server begins there in a second."
	case hook.WaitTenant:
		return "Its deliveries wait because the tenant has its share of all attempts under way."
	case hook.WaitServer:
		return "Its deliveries wait because attempts were put off for a fault of the server."
	case hook.WaitTurn:
		return "Its next attempt is about to begin."
	}
	return ""
}

// CapText returns a sentence, with a leading space, that explains why an endpoint gets
// fewer concurrent attempts than its limit. It is empty if nothing lowered them.
func CapText(p *hook.Pace) string {
	switch {
	case p.LoweredBy == hook.ClassNone:
		return ""
	case p.LoweredStatus != 0:
		return fmt.Sprintf(" It gets %d of %d at once since it answered %d; each success allows one more.", p.Cap, p.Limit, p.LoweredStatus)
	}
	return fmt.Sprintf(" It gets %d of %d at once since an attempt ended with %s; each success allows one more.", p.Cap, p.Limit, p.LoweredBy)
}

// explain is the rule of Explain. A delivery is proof. Without one, the revisions give
// the reason.
func explain(event *hook.Event, h *hook.History, d *hook.DeliveryRow) Explained {
	out := Explained{Endpoint: h.Endpoint, Delivery: d}
	then := revisionOf(event, h, d != nil)
	if then != nil {
		out.URL, out.Types = then.URL, then.Types
		out.Channels = then.Channels
	}
	out.Why, out.Message = reason(event, h, then, d)
	return out
}

// revisionOf returns, among revisions of the same microsecond, the one that explains
// what happened. It prefers the latest.
func revisionOf(event *hook.Event, h *hook.History, got bool) *hook.Revision {
	for i := len(h.Then) - 1; i >= 0; i-- {
		if wanted(event, &h.Then[i]) == got {
			return &h.Then[i]
		}
	}
	if len(h.Then) == 0 {
		return nil
	}
	return &h.Then[len(h.Then)-1]
}

// wanted is the rule by which publishing matches endpoints.
func wanted(event *hook.Event, r *hook.Revision) bool {
	return r.Status != hook.Disabled && r.Status != hook.Deleted && r.Types.Match(event.Type) && r.Channels.Admit(event.Channels)
}

func reason(event *hook.Event, h *hook.History, then *hook.Revision, d *hook.DeliveryRow) (Why, string) {
	switch {
	case event.Kind == hook.TestEvent && d != nil:
		return WhyTest, "The test event was made for this endpoint."
	case event.Kind == hook.TestEvent:
		return WhyTest, "A test event goes to the endpoint under test only."
	case d != nil && d.CreatedAt.After(event.AcceptedAt):
		return WhyResent, "The endpoint did not get the event when it was published; it was resent to it later."
	case d != nil:
		return WhyMatched, "The endpoint's event_types and channels let the event pass when it was published."
	case then == nil && h.CreatedAt.Before(event.AcceptedAt):
		return WhyUnknown, "The endpoint was changed so often since that what it was when the event was published is not kept."
	case then == nil:
		return WhyNotCreated, "The endpoint was made after the event was published."
	case then.Status == hook.Deleted:
		return WhyDeleted, "The endpoint was deleted before the event was published."
	case then.Status == hook.Disabled:
		return WhyDisabled, "The endpoint was disabled by hand when the event was published."
	case !then.Types.Match(event.Type):
		return WhyType, "The endpoint's event_types did not let the type pass when the event was published."
	case !then.Channels.Admit(event.Channels):
		has := "the event has no channel."
		if len(event.Channels) > 0 {
			has = "the event was published to " + strings.Join(event.Channels, ", ") + "."
		}
		return WhyChannel, "The endpoint listened to " + strings.Join(then.Channels, ", ") + " only, and " + has
	case !h.CreatedAt.Before(event.AcceptedAt):
		return WhyNotCreated, "The endpoint was made at the very moment the event was published."
	}
	return WhyUnknown, "The endpoint wanted the event and has no delivery: it was changed at the very moment the event was published, or the server's clock was set back."
}

// Resent is the result of resending an event. The rows are as they were when the
// attempts were requested.
type Resent struct {
	Event      hook.ID // as receivers see it
	GivenID    string
	Deliveries []hook.DeliveryRow
	Created    int
	Skipped    int // endpoints disabled by failures that already have a delivery
}

// ResendEvent requests one more attempt of an event: to the endpoint, or with a zero id
// to every endpoint that matches now. It reuses an existing delivery. If the attempt
// fails, state and schedule of the delivery stay as they are. The error is
// CodeEndpointDisabled if the named endpoint is disabled.
func (s *Service) ResendEvent(ctx context.Context, c Caller, tenant string, id, endpoint hook.ID, once *Once) (Resent, *hook.Replay, error) {
	if err := c.may(hook.MayReplay); err != nil {
		return Resent{}, nil, err
	}
	scope, err := c.reach(tenant)
	if err != nil {
		return Resent{}, nil, err
	}
	event, err := s.o.Store.EventByPublicID(ctx, scope, id)
	if err != nil {
		return Resent{}, nil, err
	}
	n, err := s.deliveriesOf(ctx, event, endpoint)
	if err != nil {
		return Resent{}, nil, err
	}
	if err := s.spend(ctx, c, limitAttempts, n); err != nil {
		return Resent{}, nil, err
	}
	around := func(stored any) any {
		r, _ := stored.(hook.Resent)
		out := Resent{Event: event.PublicID, GivenID: event.GivenID, Created: r.Created, Skipped: r.Skipped}
		for _, d := range r.Deliveries {
			out.Deliveries = append(out.Deliveries, hook.DeliveryRow{Delivery: d.Shown(), PublicID: event.PublicID, GivenID: event.GivenID, DeliverAt: event.DeliverAt})
		}
		return out
	}
	stored, replay, err := s.o.Store.Resend(ctx, event.Scope, event.ID, endpoint, s.profileOf, once.in(event.Scope, around))
	out, _ := around(stored).(Resent)
	return out, replay, err
}

// deliveriesOf returns the number of deliveries that a resend requests: one for a named
// endpoint, otherwise one for each endpoint that can get the event now; at least one.
func (s *Service) deliveriesOf(ctx context.Context, event *hook.Event, endpoint hook.ID) (int, error) {
	if !endpoint.IsZero() {
		return 1, nil
	}
	all, err := s.o.Store.TenantEndpoints(ctx, event.Scope)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, e := range all {
		if e.Status != hook.Disabled && e.Wants(event.Type, event.Channels) {
			n++
		}
	}
	return max(1, n), nil
}

// EndpointStats returns statistics about an endpoint.
func (s *Service) EndpointStats(ctx context.Context, c Caller, id hook.ID, span Span) (hook.EndpointStats, error) {
	ep, err := s.endpoint(ctx, c, id)
	if err != nil {
		return hook.EndpointStats{}, err
	}
	now, err := s.figures(ctx, ep, span)
	if err != nil {
		return now, err
	}
	out, err := s.o.Store.RecentStats(ctx, ep.Scope, id)
	out.Pending, out.Held, out.Failed, out.OldestPending, out.Buckets, out.Pace = now.Pending, now.Held, now.Failed, now.OldestPending, now.Buckets, now.Pace
	return out, err
}

// EndpointFigures returns the statistics of an endpoint without those of its latest
// deliveries, which take longer to read than all others.
func (s *Service) EndpointFigures(ctx context.Context, c Caller, id hook.ID, span Span) (hook.EndpointStats, error) {
	ep, err := s.endpoint(ctx, c, id)
	if err != nil {
		return hook.EndpointStats{}, err
	}
	return s.figures(ctx, ep, span)
}

func (s *Service) figures(ctx context.Context, ep *hook.Endpoint, span Span) (out hook.EndpointStats, err error) {
	if out.Buckets, err = s.stats(ctx, hook.StatsQuery{Scope: ep.Scope, Endpoint: ep.ID}, span); err != nil {
		return out, err
	}
	open := &out.Buckets.Open
	out.Pending, out.Held, out.Failed, out.Pace = open.Pending, open.Held, open.Failed, s.paceOf(ep.ID)
	if open.Oldest != nil {
		out.OldestPending = open.Oldest.Event.Time()
	}
	return out, nil
}

// EndpointBuckets returns the tallies of an endpoint alone.
func (s *Service) EndpointBuckets(ctx context.Context, c Caller, id hook.ID, span Span) (hook.Stats, error) {
	ep, err := s.endpoint(ctx, c, id)
	if err != nil {
		return hook.Stats{}, err
	}
	span.Open = hook.OpenNone
	return s.stats(ctx, hook.StatsQuery{Scope: ep.Scope, Endpoint: id}, span)
}

var errSecretDamaged = &hook.Error{Code: hook.CodeEndpointDamaged,
	Message: "The endpoint's secret is damaged in the database and cannot be opened. Rotate the secret, which gives it a new one."}

// RevealSecret returns the newest signing secret of an endpoint. It must be allowed by
// Options.AllowReveal, and every use is logged (S-11).
func (s *Service) RevealSecret(ctx context.Context, c Caller, id hook.ID) (hook.Secret, error) {
	if err := c.may(hook.MaySeeSecret); err != nil {
		return hook.Secret{}, err
	}
	if !s.o.AllowReveal {
		return hook.Secret{}, &hook.Error{Code: hook.CodeRevealDisabled, Message: "This server does not show secrets again: start the server with --allow-reveal, or rotate the secret."}
	}
	ep, err := s.endpoint(ctx, c, id)
	if err != nil {
		return hook.Secret{}, err
	}
	if ep.Damage.Has(hook.DamagedSecrets) {
		return hook.Secret{}, errSecretDamaged
	}
	if len(ep.Secrets) == 0 {
		return hook.Secret{}, hook.NotFound("secret")
	}
	if err := s.spend(ctx, c, limitAttempts, 1); err != nil {
		return hook.Secret{}, err
	}
	if err := s.auditReveal(ctx, c, ep, "secret revealed", ""); err != nil {
		return hook.Secret{}, err
	}
	return ep.Secrets[0], nil
}
