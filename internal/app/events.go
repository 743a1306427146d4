package app

import (
	"context"

	"github.com/posthorn/posthorn/internal/hook"
)

// maxShown bounds the deliveries shown with one event. It equals the bound of the
// fan-out.
const maxShown = 1000

// Events returns a page of events without their data. q.Scope.Tenant is the tenant that
// the caller requested.
func (s *Service) Events(ctx context.Context, c Caller, q hook.EventQuery) ([]hook.Event, string, error) {
	scope, err := c.reach(q.Scope.Tenant)
	if err != nil {
		return nil, "", err
	}
	if err := checkChannel(q.Channel); err != nil {
		return nil, "", err
	}
	if q.Type != "" && !hook.ValidType(q.Type) {
		return nil, "", errType("type", q.Type)
	}
	q.Scope = scope
	rows, next, err := s.o.Store.Events(ctx, q)
	if err == nil && len(rows) == 0 {
		err = s.checkNamed(ctx, c, scope.Tenant)
	}
	return rows, next, err
}

// Event returns an event with its deliveries, by the id that receivers see. Values that
// the event's type redacts are replaced in its data. The tenant
// is needed only if several tenants have an event with the same platform id.
func (s *Service) Event(ctx context.Context, c Caller, tenant string, id hook.ID) (*hook.Event, []hook.DeliveryRow, error) {
	event, rows, err := s.event(ctx, c, tenant, id)
	if err == nil {
		event, err = s.redacted(ctx, event)
	}
	if err == nil {
		s.auditRead(ctx, c, hook.ActEventRead, "event", event.PublicID, event.Scope)
	}
	return event, rows, err
}

// event is Event for callers that do not show the content of the event.
func (s *Service) event(ctx context.Context, c Caller, tenant string, id hook.ID) (*hook.Event, []hook.DeliveryRow, error) {
	scope, err := c.reach(tenant)
	if err != nil {
		return nil, nil, err
	}
	event, err := s.o.Store.EventByPublicID(ctx, scope, id)
	if err != nil {
		return nil, nil, err
	}
	q := hook.DeliveryQuery{Scope: event.Scope, Event: event.ID}
	var all []hook.DeliveryRow
	for {
		rows, next, err := s.o.Store.Deliveries(ctx, q)
		if all = append(all, rows...); err != nil || next == "" || len(all) >= maxShown {
			return event, all, err
		}
		q.Cursor = next
	}
}

// Deliveries returns a page of deliveries. q.Scope.Tenant is the tenant that the caller
// requested.
func (s *Service) Deliveries(ctx context.Context, c Caller, q hook.DeliveryQuery) ([]hook.DeliveryRow, string, error) {
	scope, err := c.reach(q.Scope.Tenant)
	if err != nil {
		return nil, "", err
	}
	if err := checkChannel(q.Channel); err != nil {
		return nil, "", err
	}
	if q.Type != "" && !hook.ValidType(q.Type) {
		return nil, "", errType("event_type", q.Type)
	}
	q.Scope = scope
	if !q.Event.IsZero() { // callers know it by the id that receivers see
		event, err := s.o.Store.EventByPublicID(ctx, scope, q.Event)
		if hook.CodeOf(err) == hook.CodeNotFound {
			return nil, "", s.checkNamed(ctx, c, scope.Tenant)
		}
		if err != nil {
			return nil, "", err
		}
		q.Event = event.ID
	}
	rows, next, err := s.o.Store.Deliveries(ctx, q)
	if err == nil && len(rows) == 0 {
		err = s.checkNamed(ctx, c, scope.Tenant)
	}
	return rows, next, err
}

// Delivery returns a delivery with all its attempts.
func (s *Service) Delivery(ctx context.Context, c Caller, id hook.ID) (hook.DeliveryRow, []hook.Attempt, error) {
	scope, err := c.reach("")
	if err != nil {
		return hook.DeliveryRow{}, nil, err
	}
	row, attempts, err := s.o.Store.Delivery(ctx, scope, id)
	if err == nil && len(attempts) > 0 { // attempts contain the responses of receivers
		s.auditRead(ctx, c, hook.ActDeliveryRead, "delivery", id, row.Scope)
	}
	return row, attempts, err
}

func (s *Service) deliveryRow(ctx context.Context, c Caller, id hook.ID) (hook.DeliveryRow, error) {
	scope, err := c.reach("")
	if err != nil {
		return hook.DeliveryRow{}, err
	}
	return s.o.Store.DeliveryRow(ctx, scope, id)
}

// RetryDelivery requests one more attempt now, whatever the state. If the attempt
// fails, state and schedule stay as they are. If the endpoint is disabled, the error is
// CodeEndpointDisabled, unless anyway is set. Such an attempt does not affect the
// endpoint's health.
func (s *Service) RetryDelivery(ctx context.Context, c Caller, id hook.ID, anyway bool, once *Once) (hook.DeliveryRow, *hook.Replay, error) {
	if err := c.may(hook.MayRetry); err != nil {
		return hook.DeliveryRow{}, nil, err
	}
	row, err := s.deliveryRow(ctx, c, id)
	if err != nil {
		return hook.DeliveryRow{}, nil, err
	}
	if err := s.spend(ctx, c, limitAttempts, 1); err != nil {
		return hook.DeliveryRow{}, nil, err
	}
	around := func(d hook.Delivery) hook.DeliveryRow {
		return hook.DeliveryRow{Delivery: d.Shown(), PublicID: row.PublicID, GivenID: row.GivenID, DeliverAt: row.DeliverAt}
	}
	retry := s.o.Store.RetryDelivery
	if anyway {
		retry = s.o.Store.RetryAnyway
	}
	d, replay, err := retry(ctx, row.Scope, id, once.in(row.Scope, func(stored any) any {
		d, _ := stored.(hook.Delivery)
		return around(d)
	}))
	return around(d), replay, err
}

// CancelDelivery cancels an open delivery. If it is not open, the error is
// CodeDeliverySettled.
func (s *Service) CancelDelivery(ctx context.Context, c Caller, id hook.ID) (hook.DeliveryRow, error) {
	if err := c.may(never); err != nil {
		return hook.DeliveryRow{}, err
	}
	row, err := s.deliveryRow(ctx, c, id)
	if err != nil {
		return hook.DeliveryRow{}, err
	}
	row.Delivery, err = s.o.Store.CancelDelivery(ctx, row.Scope, id)
	return row, err
}
