package native

import (
	"cmp"
	"context"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/api/strict"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

func (a *api) eventRoutes(h huma.API) {
	register(a, h, operation("GET", "/v1/events", "list-events", "Search events", 200), a.listEvents)
	register(a, h, operation("GET", "/v1/events/{id}", "get-event", "Get an event with its data and deliveries", 200), a.getEvent)
}

// SpanIn bounds a list by time: after is inclusive, before is exclusive.
type SpanIn struct {
	After  Instant `query:"after" doc:"Not before this time, RFC 3339. The time itself is included." example:"2026-11-21T22:00:00Z"`
	Before Instant `query:"before" doc:"Before this time, RFC 3339. The time itself is not included." example:"2026-11-22T22:00:00Z"`
}

// Instant is a parameter in the format of hook.ParseTime.
type Instant struct{ time.Time }

// UnmarshalText parses the parameter.
func (i *Instant) UnmarshalText(text []byte) (err error) {
	i.Time, err = hook.ParseTime(string(text))
	return err
}

// Schema returns the schema of an instant.
func (Instant) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date-time"}
}

type eventsIn struct {
	PageIn
	SpanIn
	Tenant  string `query:"tenant" doc:"Events of this tenant. Absent: of all tenants that the key sees." example:"acme"`
	Type    string `query:"type" doc:"Events of exactly this type." example:"payment.settled"`
	Channel string `query:"channel" doc:"Events that were published to this channel." example:"project-1"`
	Tag     string `query:"tag" doc:"Events with this tag: its name, a colon and its value." example:"order:o-1"`
	Test    string `query:"test" enum:"true,false" doc:"true: test events only. false: none of them." example:"false"`
}

func (a *api) listEvents(ctx context.Context, q *request, in *eventsIn) (*reply[client.Page[client.Event]], error) {
	tag, err := app.ParseTag(in.Tag)
	if err != nil {
		return nil, err
	}
	query, reach := hook.EventQuery{Scope: hook.Scope{Tenant: in.Tenant}, Type: in.Type, Test: yesOrNo(in.Test), Channel: in.Channel, Tag: tag,
		After: in.After.Time, Before: in.Before.Time, Page: in.page()}, hook.Reach{}
	query.Reach = &reach
	rows, next, err := a.o.Service.Events(ctx, q.caller, query)
	if err != nil {
		return nil, err
	}
	return searched(q, wireAll(rows, wireEvent), next, reach), nil
}

// yesOrNo parses a parameter that is true, false or absent.
func yesOrNo(text string) *bool {
	if text == "" {
		return nil
	}
	yes := text == "true"
	return &yes
}

type eventIn struct {
	ItemIn
	ReadIn
	Tenant string `query:"tenant" doc:"Needed only if several tenants have an event with this id."`
}

func (a *api) getEvent(ctx context.Context, q *request, in *eventIn) (*reply[client.Event], error) {
	id, err := in.event()
	if err != nil {
		return nil, err
	}
	event, deliveries, err := a.o.Service.Event(ctx, q.caller, in.Tenant, id)
	if err != nil {
		return nil, err
	}
	out := wireEvent(*event)
	out.Data, out.Redacted = event.Data, event.Redacted
	out.Deliveries = wireAll(deliveries, wireDelivery)
	return single(q, 200, out)
}

func (a *api) deliveryRoutes(h huma.API) {
	register(a, h, operation("GET", "/v1/deliveries", "list-deliveries", "Search deliveries", 200), a.listDeliveries)
	register(a, h, operation("GET", "/v1/deliveries/counts", "count-deliveries", "Count the deliveries that have not ended well", 200), a.countDeliveries)
	register(a, h, operation("GET", "/v1/deliveries/{id}", "get-delivery", "Get a delivery with all its attempts", 200), a.getDelivery)
	retry := operation("POST", "/v1/deliveries/{id}/retry", "retry-delivery", "One more attempt now", 202)
	retry.RequestBody = &huma.RequestBody{}
	register(a, h, retry, a.retryDelivery)
	retry.RequestBody.Required = false // an empty body means the defaults
	register(a, h, operation("POST", "/v1/deliveries/{id}/cancel", "cancel-delivery", "Stop an open delivery", 200), a.cancelDelivery)
}

type deliveriesIn struct {
	PageIn
	SpanIn
	Tenant      string   `query:"tenant" doc:"Deliveries of this tenant. Absent: of all tenants that the key sees." example:"acme"`
	Endpoint    string   `query:"endpoint" format:"uuid" doc:"Deliveries to this endpoint." example:"019396e0-5c2f-7cc1-8f3d-6d1f0f1c2b3a"`
	Event       string   `query:"event" doc:"Deliveries of this event." example:"019396e1-2b60-7a0c-9d51-0c7be3f4a915"`
	EventType   string   `query:"event_type" doc:"Deliveries of events of exactly this type." example:"payment.settled"`
	Type        string   `query:"type" deprecated:"true" doc:"The older name of event_type. Both together are refused." example:"payment.settled"`
	State       []string `query:"state" enum:"pending,held,succeeded,failed,cancelled" maxItems:"5" doc:"Deliveries in this state, or in one of several with commas between them." example:"failed"`
	StatusClass []string `query:"status_class" enum:"2xx,3xx,4xx,5xx" maxItems:"4" doc:"The receiver's last answer has a status of this class, or of one of several." example:"5xx"`
	Status      int      `query:"status" minimum:"100" maximum:"599" doc:"The receiver's last answer has this status." example:"503"`
	Error       []string `query:"error" pattern:"^[a-z_]{1,64}$" maxItems:"10" doc:"The last attempt failed with this class, or one of several: last_error." example:"timeout_response"`
	Tried       string   `query:"tried" enum:"true,false" doc:"true: deliveries that were attempted. false: those that were not." example:"true"`
	Channel     string   `query:"channel" doc:"Deliveries of events that were published to this channel." example:"project-1"`
	Tag         string   `query:"tag" doc:"Deliveries of events with this tag: its name, a colon and its value." example:"order:o-1"`
}

func (a *api) listDeliveries(ctx context.Context, q *request, in *deliveriesIn) (*reply[client.Page[client.Delivery]], error) {
	if in.EventType != "" && in.Type != "" {
		return nil, &hook.Error{Code: hook.CodeInvalidRequest, Field: "type", Message: "\"type\" is the older name of \"event_type\": give one of them."}
	}
	query := hook.DeliveryQuery{Scope: hook.Scope{Tenant: in.Tenant}, Type: cmp.Or(in.EventType, in.Type), Channel: in.Channel, Status: in.Status, Tried: yesOrNo(in.Tried),
		After: in.After.Time, Before: in.Before.Time, Page: in.page()}
	var err error
	if query.Tag, err = app.ParseTag(in.Tag); err != nil {
		return nil, err
	}
	if query.Endpoint, err = filterID("endpoint", in.Endpoint); err != nil {
		return nil, err
	}
	if query.Event, err = filterEvent(in.Event); err != nil {
		return nil, err
	}
	for _, word := range in.State {
		state, _ := hook.ParseState(word) // huma has checked it
		query.States = append(query.States, state)
	}
	for _, class := range in.StatusClass {
		query.StatusClasses = append(query.StatusClasses, int(class[0]-'0'))
	}
	for _, class := range in.Error {
		query.Errors = append(query.Errors, hook.Class(class))
	}
	var reach hook.Reach
	query.Reach = &reach
	rows, next, err := a.o.Service.Deliveries(ctx, q.caller, query)
	if err != nil {
		return nil, err
	}
	return searched(q, wireAll(rows, wireDelivery), next, reach), nil
}

type countsIn struct {
	Tenant   string `query:"tenant" doc:"Deliveries of this tenant. Absent: of all tenants that the key sees." example:"acme"`
	Endpoint string `query:"endpoint" format:"uuid" doc:"Deliveries to this endpoint." example:"019396e0-5c2f-7cc1-8f3d-6d1f0f1c2b3a"`
}

func (a *api) countDeliveries(ctx context.Context, q *request, in *countsIn) (*reply[client.DeliveryCounts], error) {
	endpoint, err := filterID("endpoint", in.Endpoint)
	if err != nil {
		return nil, err
	}
	n, err := a.o.Service.StateCounts(ctx, q.caller, in.Tenant, endpoint)
	if err != nil {
		return nil, err
	}
	wire := func(n hook.AtLeast) client.Count { return client.Count{Count: n.N, More: n.More} }
	return ok(client.DeliveryCounts{Pending: wire(n.Pending), Retrying: wire(n.Retrying), Held: wire(n.Held), Failed: wire(n.Failed)}), nil
}

func filterID(field, text string) (hook.ID, error) {
	if text == "" {
		return hook.ID{}, nil
	}
	id, err := hook.ParseID(text)
	if err != nil || id.IsZero() { // the zero id means none
		return hook.ID{}, strict.Wrong(field, "a UUID")
	}
	return id, nil
}

// filterEvent reads the id of an event, in whichever form the platform gave it.
func filterEvent(text string) (hook.ID, error) {
	if text == "" {
		return hook.ID{}, nil
	}
	id, _, ok := hook.EventID(text)
	if !ok {
		return hook.ID{}, strict.Wrong("event", "the id of an event")
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
	Body body[client.RetryRequest]
}

func (a *api) retryDelivery(ctx context.Context, q *request, in *retryIn) (*reply[client.Delivery], error) {
	id, err := in.parsed("delivery")
	if err != nil {
		return nil, err
	}
	if in.Body.err != nil {
		return nil, in.Body.err
	}
	once, err := onceFor(q, in.Body.text, 202, wireDelivery)
	if err != nil {
		return nil, err
	}
	row, replay, err := a.o.Service.RetryDelivery(ctx, q.caller, id, in.Body.value.EvenIfDisabled, once)
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
