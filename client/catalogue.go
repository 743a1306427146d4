package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
)

// EventType is an entry of the catalogue. The catalogue informs; it does not
// restrict which types may be published.
type EventType struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Schema      json.RawMessage `json:"schema"`
	Example     json.RawMessage `json:"example"`
	CreatedAt   Time            `json:"created_at"`
	UpdatedAt   Time            `json:"updated_at"`
}

// NewEventType asks for an entry of the catalogue. Schema is a JSON Schema of the
// data, Example the data of an event; both are objects.
type NewEventType struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Schema      json.RawMessage `json:"schema,omitempty"`
	Example     json.RawMessage `json:"example,omitempty"`
}

// EventTypePatch changes an entry (RFC 7396, but schema and example are replaced
// as a whole): absent members stay, null takes away.
type EventTypePatch struct {
	Description Optional[string]          `json:"description,omitzero"`
	Schema      Optional[json.RawMessage] `json:"schema,omitzero"`
	Example     Optional[json.RawMessage] `json:"example,omitzero"`
}

// Profile is a wire format that endpoints can be served with.
type Profile struct {
	Name        string             `json:"name"`
	Description string             `json:"description"`
	Default     bool               `json:"default" doc:"Of endpoints that name none."`
	Management  string             `json:"management" enum:"none,paysway,paywise" doc:"The management API spoken to its customers."`
	IPHosts     bool               `json:"ip_hosts" doc:"An IP address may stand for the host of a URL."`
	Timeout     string             `json:"timeout"`
	Retry       Retry              `json:"retry"`
	Headers     []string           `json:"headers" nullable:"false" doc:"Names of the headers of a request."`
	EventTypes  []ProfileEventType `json:"event_types" nullable:"false"`
}

// ProfileEventType is a type of a profile's own catalogue. Body is a whole request
// body around the example.
type ProfileEventType struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Example     json.RawMessage `json:"example"`
	Body        json.RawMessage `json:"body"`
}

// CreateEventType adds an entry to the catalogue of the caller's mode.
func (c *Client) CreateEventType(ctx context.Context, e NewEventType) (EventType, error) {
	return post[EventType](ctx, c, "/v1/event-types", e)
}

// EventTypes lists the catalogue of the caller's mode by name.
func (c *Client) EventTypes(ctx context.Context, o ListOptions) (Page[EventType], error) {
	return get[Page[EventType]](ctx, c, "/v1/event-types"+o.query())
}

// EventType returns one entry of the catalogue.
func (c *Client) EventType(ctx context.Context, name string) (EventType, error) {
	return get[EventType](ctx, c, "/v1/event-types/"+url.PathEscape(name))
}

// UpdateEventType changes an entry of the catalogue.
func (c *Client) UpdateEventType(ctx context.Context, name string, p EventTypePatch) (EventType, error) {
	return patch[EventType](ctx, c, "/v1/event-types/"+url.PathEscape(name), p)
}

// DeleteEventType takes an entry out of the catalogue.
func (c *Client) DeleteEventType(ctx context.Context, name string) error {
	return c.Do(ctx, http.MethodDelete, "/v1/event-types/"+url.PathEscape(name), "", nil, nil)
}

// Profiles lists the wire formats of the server.
func (c *Client) Profiles(ctx context.Context) (Page[Profile], error) {
	return get[Page[Profile]](ctx, c, "/v1/profiles")
}
