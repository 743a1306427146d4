package native

import (
	"context"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/api/strict"
	"github.com/posthorn/posthorn/internal/hook"
)

func (a *api) eventRoutes(h huma.API) {
	register(a, h, operation("GET", "/v1/events", "list-events", "Search events", 200), a.listEvents)
	register(a, h, operation("GET", "/v1/events/{id}", "get-event", "Get an event with its data and deliveries", 200), a.getEvent)
}

// SpanIn bounds a list by time: after is included, before is not.
type SpanIn struct {
	After  time.Time `query:"after" doc:"RFC 3339, such as 2026-11-21T22:00:00Z; included."`
	Before time.Time `query:"before" doc:"RFC 3339, such as 2026-11-21T22:00:00Z; not included."`
}

type eventsIn struct {
	PageIn
	SpanIn
	Tenant string `query:"tenant"`
	Type   string `query:"type"`
}

func (a *api) listEvents(ctx context.Context, q *request, in *eventsIn) (*reply[client.Page[client.Event]], error) {
	rows, next, err := a.o.Service.Events(ctx, q.caller, hook.EventQuery{Scope: hook.Scope{Tenant: in.Tenant},
		Type: in.Type, After: in.After, Before: in.Before, Page: in.page()})
	if err != nil {
		return nil, err
	}
	return page(q, wireAll(rows, wireEvent), next), nil
}

type eventIn struct {
	ItemIn
	ReadIn
	Tenant string `query:"tenant" doc:"Needed only if several tenants have an event with this id."`
}

func (a *api) getEvent(ctx context.Context, q *request, in *eventIn) (*reply[client.Event], error) {
	id, err := in.parsed("event")
	if err != nil {
		return nil, err
	}
	event, deliveries, err := a.o.Service.Event(ctx, q.caller, in.Tenant, id)
	if err != nil {
		return nil, err
	}
	out := wireEvent(*event)
	out.Data = event.Data
	out.Deliveries = wireAll(deliveries, wireDelivery)
	return single(q, 200, out)
}

func (a *api) deliveryRoutes(h huma.API) {
	register(a, h, operation("GET", "/v1/deliveries", "list-deliveries", "Search deliveries", 200), a.listDeliveries)
	register(a, h, operation("GET", "/v1/deliveries/{id}", "get-delivery", "Get a delivery with all its attempts", 200), a.getDelivery)
	register(a, h, operation("POST", "/v1/deliveries/{id}/retry", "retry-delivery", "One more attempt now", 202), a.retryDelivery)
	register(a, h, operation("POST", "/v1/deliveries/{id}/cancel", "cancel-delivery", "Stop an open delivery", 200), a.cancelDelivery)
}

type deliveriesIn struct {
	PageIn
	SpanIn
	Tenant      string `query:"tenant"`
	Endpoint    string `query:"endpoint" format:"uuid"`
	Event       string `query:"event" format:"uuid"`
	Type        string `query:"type"`
	State       string `query:"state" enum:"pending,held,succeeded,failed,cancelled"`
	StatusClass string `query:"status_class" enum:"2xx,3xx,4xx,5xx" doc:"Of the last attempt's answer."`
}

func (a *api) listDeliveries(ctx context.Context, q *request, in *deliveriesIn) (*reply[client.Page[client.Delivery]], error) {
	query := hook.DeliveryQuery{Scope: hook.Scope{Tenant: in.Tenant}, Type: in.Type,
		After: in.After, Before: in.Before, Page: in.page()}
	var err error
	if query.Endpoint, err = filterID("endpoint", in.Endpoint); err != nil {
		return nil, err
	}
	if query.Event, err = filterID("event", in.Event); err != nil {
		return nil, err
	}
	if state, known := hook.ParseState(in.State); known {
		query.State = &state
	}
	if in.StatusClass != "" {
		query.StatusClass = int(in.StatusClass[0] - '0')
	}
	rows, next, err := a.o.Service.Deliveries(ctx, q.caller, query)
	if err != nil {
		return nil, err
	}
	return page(q, wireAll(rows, wireDelivery), next), nil
}

func filterID(field, text string) (hook.ID, error) {
	if text == "" {
		return hook.ID{}, nil
	}
	id, err := hook.ParseID(text)
	if err != nil {
		return hook.ID{}, strict.Wrong(field, "a UUID")
	}
	return id, nil
}

type deliveryIn struct {
	ItemIn
	ReadIn
}

func (a *api) getDelivery(ctx context.Context, q *request, in *deliveryIn) (*reply[client.Delivery], error) {
	id, err := in.parsed("delivery")
	if err != nil {
		return nil, err
	}
	row, attempts, err := a.o.Service.Delivery(ctx, q.caller, id)
	if err != nil {
		return nil, err
	}
	out := wireDelivery(row)
	out.AttemptLog = wireAll(attempts, wireAttempt)
	return single(q, 200, out)
}

type retryIn struct {
	ItemIn
	OnceIn
}

func (a *api) retryDelivery(ctx context.Context, q *request, in *retryIn) (*reply[client.Delivery], error) {
	id, err := in.parsed("delivery")
	if err != nil {
		return nil, err
	}
	once, err := onceFor(q, nil, 202, wireDelivery)
	if err != nil {
		return nil, err
	}
	row, replay, err := a.o.Service.RetryDelivery(ctx, q.caller, id, once)
	if err != nil {
		return nil, err
	}
	return made(202, wireDelivery(row), replay), nil
}

func (a *api) cancelDelivery(ctx context.Context, q *request, in *ItemIn) (*reply[client.Delivery], error) {
	id, err := in.parsed("delivery")
	if err != nil {
		return nil, err
	}
	row, err := a.o.Service.CancelDelivery(ctx, q.caller, id)
	if err != nil {
		return nil, err
	}
	return ok(wireDelivery(row)), nil
}
