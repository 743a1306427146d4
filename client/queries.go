package client

import (
	"context"
	"iter"
	"net/url"
	"reflect"
	"strconv"
	"time"
)

// ListOptions chooses a page of a list. The zero value asks for the first page.
type ListOptions struct {
	Cursor string `query:"cursor"` // NextCursor of the page before
	Limit  int    `query:"limit"`  // rows, 1 to 250; 0: the server's default of 50
}

// TenantQuery chooses tenants. Zero members do not narrow the list; the same holds
// for the other queries.
type TenantQuery struct {
	ListOptions
	Name string `query:"name"` // exactly this name
}

// KeyQuery chooses keys of the caller's mode.
type KeyQuery struct {
	ListOptions
	Kind   string `query:"kind"` // such as KindTenant
	Tenant string `query:"tenant"`
	Name   string `query:"name"` // exactly this name
}

// EndpointQuery chooses endpoints.
type EndpointQuery struct {
	ListOptions
	Tenant         string `query:"tenant"` // a tenant key may leave it out
	Enabled        *bool  `query:"enabled"`
	EventType      string `query:"event_type"` // those whose filter lets this type pass
	Profile        string `query:"profile"`
	DisabledReason string `query:"disabled_reason"` // such as DisabledByHand
}

// EventQuery chooses events. After is included, Before is not; both are about the
// time of acceptance.
type EventQuery struct {
	ListOptions
	Tenant string    `query:"tenant"` // a tenant key may leave it out
	Type   string    `query:"type"`
	Test   *bool     `query:"test"` // test events only, or none of them
	After  time.Time `query:"after"`
	Before time.Time `query:"before"`
}

// DeliveryQuery chooses deliveries. After is included, Before is not; both are about
// the time when the delivery was made.
type DeliveryQuery struct {
	ListOptions
	Tenant      string    `query:"tenant"` // a tenant key may leave it out
	Endpoint    string    `query:"endpoint"`
	Event       string    `query:"event"`
	EventType   string    `query:"event_type"`
	State       string    `query:"state"`        // such as StateFailed
	StatusClass string    `query:"status_class"` // of the last answer: 2xx, 3xx, 4xx or 5xx
	Error       string    `query:"error"`        // class of the last attempt's failure, such as timeout_response
	After       time.Time `query:"after"`
	Before      time.Time `query:"before"`
}

// PartnerUserQuery chooses grants of the caller's mode.
type PartnerUserQuery struct {
	ListOptions
	Partner string `query:"partner"`
}

// queryOf writes the members that are not zero, with the question mark.
func queryOf(q any) string {
	values := url.Values{}
	addQuery(values, reflect.ValueOf(q))
	if len(values) == 0 {
		return ""
	}
	return "?" + values.Encode()
}

func addQuery(to url.Values, from reflect.Value) {
	for i := range from.NumField() {
		name, field := from.Type().Field(i).Tag.Get("query"), from.Field(i)
		if name == "" {
			addQuery(to, field) // ListOptions
			continue
		}
		if field.IsZero() {
			continue
		}
		switch v := field.Interface().(type) {
		case string:
			to.Set(name, v)
		case int:
			to.Set(name, strconv.Itoa(v))
		case *bool:
			to.Set(name, strconv.FormatBool(*v))
		case time.Time:
			to.Set(name, v.UTC().Format(time.RFC3339Nano))
		}
	}
}

// all walks a list page by page. A page is asked for when its first row is wanted.
func all[T any](cursor *string, page func() (Page[T], error)) iter.Seq2[T, error] {
	first := *cursor
	return func(yield func(T, error) bool) {
		for *cursor = first; ; {
			got, err := page()
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, row := range got.Data {
				if !yield(row, nil) {
					return
				}
			}
			if got.NextCursor == nil {
				return
			}
			*cursor = *got.NextCursor
		}
	}
}

// AllTenants walks all pages of Tenants. The first error ends the walk; the same
// holds for the other iterators. One iterator is for one goroutine.
func (c *Client) AllTenants(ctx context.Context, q TenantQuery) iter.Seq2[Tenant, error] {
	return all(&q.Cursor, func() (Page[Tenant], error) { return c.Tenants(ctx, q) })
}

// AllKeys walks all pages of Keys.
func (c *Client) AllKeys(ctx context.Context, q KeyQuery) iter.Seq2[Key, error] {
	return all(&q.Cursor, func() (Page[Key], error) { return c.Keys(ctx, q) })
}

// AllEndpoints walks all pages of Endpoints.
func (c *Client) AllEndpoints(ctx context.Context, q EndpointQuery) iter.Seq2[Endpoint, error] {
	return all(&q.Cursor, func() (Page[Endpoint], error) { return c.Endpoints(ctx, q) })
}

// AllEvents walks all pages of Events, newest first. Events that are published
// meanwhile are not in it.
func (c *Client) AllEvents(ctx context.Context, q EventQuery) iter.Seq2[Event, error] {
	return all(&q.Cursor, func() (Page[Event], error) { return c.Events(ctx, q) })
}

// AllDeliveries walks all pages of Deliveries, newest first.
func (c *Client) AllDeliveries(ctx context.Context, q DeliveryQuery) iter.Seq2[Delivery, error] {
	return all(&q.Cursor, func() (Page[Delivery], error) { return c.Deliveries(ctx, q) })
}

// AllPartnerUsers walks all pages of PartnerUsers.
func (c *Client) AllPartnerUsers(ctx context.Context, q PartnerUserQuery) iter.Seq2[PartnerUser, error] {
	return all(&q.Cursor, func() (Page[PartnerUser], error) { return c.PartnerUsers(ctx, q) })
}

// AllEventTypes walks all pages of EventTypes.
func (c *Client) AllEventTypes(ctx context.Context, q ListOptions) iter.Seq2[EventType, error] {
	return all(&q.Cursor, func() (Page[EventType], error) { return c.EventTypes(ctx, q) })
}
