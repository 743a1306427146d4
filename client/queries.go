package client

import (
	"context"
	"iter"
	"net/url"
	"reflect"
	"strconv"
	"time"
)

// ListOptions selects a page of a list. The zero value selects the first page.
type ListOptions struct {
	Cursor string `query:"cursor"` // NextCursor of the previous page
	Limit  int    `query:"limit"`  // rows, 1 to 250; 0 means the server's default of 50
}

// TenantQuery selects tenants. In this query and all others, zero members do not restrict
// the list.
type TenantQuery struct {
	ListOptions
	Name string `query:"name"` // exact match
}

// KeyQuery selects keys of the caller's mode.
type KeyQuery struct {
	ListOptions
	Kind   string `query:"kind"` // such as KindTenant
	Tenant string `query:"tenant"`
	Name   string `query:"name"` // exact match
}

// EndpointQuery selects endpoints.
type EndpointQuery struct {
	ListOptions
	Tenant         string `query:"tenant"` // optional for a tenant key
	Enabled        *bool  `query:"enabled"`
	Operational    *bool  `query:"operational"`
	EventType      string `query:"event_type"` // endpoints whose filter matches this type
	Profile        string `query:"profile"`
	UID            string `query:"uid"`             // the platform's own name for an endpoint
	DisabledReason string `query:"disabled_reason"` // such as DisabledByHand
}

// EventQuery selects events. After is inclusive, Before is exclusive, and both refer to the
// time when the event was accepted.
type EventQuery struct {
	ListOptions
	Tenant  string    `query:"tenant"` // optional for a tenant key
	Type    string    `query:"type"`
	Test    *bool     `query:"test"` // true: only test events; false: no test events
	Tag     string    `query:"tag"`  // name:value
	Channel string    `query:"channel"`
	After   time.Time `query:"after"`
	Before  time.Time `query:"before"`
}

// DeliveryQuery selects deliveries. After is inclusive, Before is exclusive, and both refer
// to the time when the delivery was created.
type DeliveryQuery struct {
	ListOptions
	Tenant      string    `query:"tenant"` // optional for a tenant key
	Endpoint    string    `query:"endpoint"`
	Event       string    `query:"event"`
	EventType   string    `query:"event_type"`
	State       string    `query:"state"`        // such as StateFailed; several with commas between them
	StatusClass string    `query:"status_class"` // of the last response: 2xx, 3xx, 4xx or 5xx; several with commas
	Status      int       `query:"status"`       // of the last response
	Error       string    `query:"error"`        // error class of the last attempt, such as timeout_response; several with commas
	Tried       *bool     `query:"tried"`        // whether an attempt was made; nil: both
	Tag         string    `query:"tag"`          // name:value, of the event
	Channel     string    `query:"channel"`      // of the event
	After       time.Time `query:"after"`
	Before      time.Time `query:"before"`
}

// PartnerUserQuery selects grants of the caller's mode.
type PartnerUserQuery struct {
	ListOptions
	Partner string `query:"partner"`
}

// queryOf encodes the non-zero members as a query string, including the question mark.
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

// all iterates over a list page by page. It requests a page when its first row is needed.
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

// AllTenants iterates over all pages of Tenants. Like the other iterators, it stops at the
// first error, and must not be used by several goroutines at once.
func (c *Client) AllTenants(ctx context.Context, q TenantQuery) iter.Seq2[Tenant, error] {
	return all(&q.Cursor, func() (Page[Tenant], error) { return c.Tenants(ctx, q) })
}

// AllKeys iterates over all pages of Keys.
func (c *Client) AllKeys(ctx context.Context, q KeyQuery) iter.Seq2[Key, error] {
	return all(&q.Cursor, func() (Page[Key], error) { return c.Keys(ctx, q) })
}

// AllEndpoints iterates over all pages of Endpoints.
func (c *Client) AllEndpoints(ctx context.Context, q EndpointQuery) iter.Seq2[Endpoint, error] {
	return all(&q.Cursor, func() (Page[Endpoint], error) { return c.Endpoints(ctx, q) })
}

// AllEvents iterates over all pages of Events, newest first. Events published during the
// iteration are not included.
func (c *Client) AllEvents(ctx context.Context, q EventQuery) iter.Seq2[Event, error] {
	return all(&q.Cursor, func() (Page[Event], error) { return c.Events(ctx, q) })
}

// AllDeliveries iterates over all pages of Deliveries, newest first.
func (c *Client) AllDeliveries(ctx context.Context, q DeliveryQuery) iter.Seq2[Delivery, error] {
	return all(&q.Cursor, func() (Page[Delivery], error) { return c.Deliveries(ctx, q) })
}

// AllPartnerUsers iterates over all pages of PartnerUsers.
func (c *Client) AllPartnerUsers(ctx context.Context, q PartnerUserQuery) iter.Seq2[PartnerUser, error] {
	return all(&q.Cursor, func() (Page[PartnerUser], error) { return c.PartnerUsers(ctx, q) })
}

// AllPortalSessions iterates over all pages of PortalSessions.
func (c *Client) AllPortalSessions(ctx context.Context, q PortalSessionQuery) iter.Seq2[PortalSession, error] {
	return all(&q.Cursor, func() (Page[PortalSession], error) { return c.PortalSessions(ctx, q) })
}

// AllEventTypes iterates over all pages of EventTypes.
func (c *Client) AllEventTypes(ctx context.Context, q EventTypeQuery) iter.Seq2[EventType, error] {
	return all(&q.Cursor, func() (Page[EventType], error) { return c.EventTypes(ctx, q) })
}
