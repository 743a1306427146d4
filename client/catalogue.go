package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
)

// EventType is an entry of the catalogue. The catalogue does not restrict which types may
// be published. Check may restrict the data of events of this type.
type EventType struct {
	Name        string          `json:"name" doc:"The type, such as payment.settled."`
	Description string          `json:"description" doc:"For people. Empty: none."`
	Schema      json.RawMessage `json:"schema" doc:"JSON Schema of the data, an object. null: none."`
	Example     json.RawMessage `json:"example" doc:"Data of an event, an object. null: none."`
	Check       string          `json:"check" enum:"off,warn,reject" doc:"What becomes of published data that is not what the schema asks for. warn: it is accepted with a warning; reject: it is refused."`
	Redact      []string        `json:"redact" nullable:"false" doc:"JSON pointers (RFC 6901) to values of the data that are shown as ***, to everybody. What is delivered has them."`
	CreatedAt   Time            `json:"created_at" doc:"When the entry was made."`
	UpdatedAt   Time            `json:"updated_at" doc:"When it was changed last."`
	Warnings    []Warning       `json:"warnings,omitempty" nullable:"false" doc:"What was odd about the entry, such as a name that is not spelt with dots; only in the answer that makes one. Absent: nothing."`
}

// NewEventType describes a catalogue entry to create. Schema is a JSON Schema of the data,
// and Example is the data of a sample event. Both are JSON objects.
type NewEventType struct {
	Name        string          `json:"name" doc:"1 to 128 characters: parts of letters, digits, underscores and hyphens, joined by dots, colons or slashes."`
	Description string          `json:"description,omitempty" doc:"For people, at most 4,096 characters."`
	Schema      json.RawMessage `json:"schema,omitempty" doc:"JSON Schema of the data, an object."`
	Example     json.RawMessage `json:"example,omitempty" doc:"Data of an event, an object. Test events of this type carry it."`
	Check       string          `json:"check,omitempty" enum:"off,warn,reject" doc:"What becomes of published data that is not what the schema asks for. Absent: off."`
	Redact      []string        `json:"redact,omitempty" doc:"JSON pointers (RFC 6901) to values of the data that are shown as ***, at most 100. What is delivered has them. Absent: none."`
}

// EventTypePatch changes a catalogue entry as a merge patch (RFC 7396), except that schema
// and example are replaced as a whole: absent members stay, and null removes a member.
type EventTypePatch struct {
	Description Optional[string]          `json:"description,omitzero" doc:"For people, at most 4,096 characters. null: none."`
	Schema      Optional[json.RawMessage] `json:"schema,omitzero" doc:"Replaces the JSON Schema. null: none."`
	Example     Optional[json.RawMessage] `json:"example,omitzero" doc:"Replaces the example. null: none."`
	Check       Optional[string]          `json:"check,omitzero" enum:"off,warn,reject" doc:"What becomes of published data that is not what the schema asks for. null: off."`
	Redact      Optional[[]string]        `json:"redact,omitzero" doc:"Replaces the JSON pointers to values that are not shown. It holds at once, for stored events too. null: none."`
}

// Profile is a wire format that endpoints can use.
type Profile struct {
	Name        string             `json:"name" doc:"The name that endpoints use."`
	Description string             `json:"description" doc:"What the format is, for people."`
	Default     bool               `json:"default" doc:"Of endpoints that name none."`
	Management  string             `json:"management" enum:"none,paysway,paywise" doc:"The management API spoken to its customers."`
	IPHosts     bool               `json:"ip_hosts" doc:"An IP address may stand for the host of a URL."`
	Timeout     string             `json:"timeout" doc:"Deadline of one attempt, from the name look-up to the last byte, such as 15s."`
	Retry       Retry              `json:"retry" doc:"When failed attempts are repeated, unless the endpoint says otherwise."`
	Headers     []string           `json:"headers" nullable:"false" doc:"Names of the headers of a request."`
	EventTypes  []ProfileEventType `json:"event_types" nullable:"false" doc:"The types of the format itself. Empty: it has none."`
}

// ProfileEventType is an event type of a profile's own catalogue. Body is a complete
// request body built around the example.
type ProfileEventType struct {
	Name        string          `json:"name" doc:"The type."`
	Description string          `json:"description" doc:"For people."`
	Example     json.RawMessage `json:"example" doc:"Data of an event of this type."`
	Body        json.RawMessage `json:"body" doc:"The whole body of a request around the example."`
}

// CreateEventType adds an entry to the catalogue of the caller's mode.
func (c *Client) CreateEventType(ctx context.Context, e NewEventType) (EventType, error) {
	return post[EventType](ctx, c, "/v1/event-types", e)
}

// EventTypes returns one page of the catalogue of the caller's mode, ordered by name.
func (c *Client) EventTypes(ctx context.Context, q ListOptions) (Page[EventType], error) {
	return get[Page[EventType]](ctx, c, "/v1/event-types"+queryOf(q))
}

// EventType returns one entry of the catalogue.
func (c *Client) EventType(ctx context.Context, name string) (EventType, error) {
	return get[EventType](ctx, c, "/v1/event-types/"+url.PathEscape(name))
}

// UpdateEventType changes an entry of the catalogue.
func (c *Client) UpdateEventType(ctx context.Context, name string, p EventTypePatch) (EventType, error) {
	return patch[EventType](ctx, c, "/v1/event-types/"+url.PathEscape(name), p)
}

// DeleteEventType removes an entry from the catalogue.
func (c *Client) DeleteEventType(ctx context.Context, name string) error {
	return c.Do(ctx, http.MethodDelete, "/v1/event-types/"+url.PathEscape(name), "", nil, nil)
}

// Profiles returns the wire formats of the server.
func (c *Client) Profiles(ctx context.Context) (Page[Profile], error) {
	return get[Page[Profile]](ctx, c, "/v1/profiles")
}
