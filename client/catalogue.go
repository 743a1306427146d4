package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
)

// EventType is an entry of the catalogue. The catalogue does not restrict which types may
// be published. Check may restrict the data of events of this type.
type EventType struct {
	Name          string             `json:"name" doc:"The type, such as payment.settled."`
	Description   string             `json:"description" doc:"For people. Empty: none."`
	Group         string             `json:"group" doc:"What the type belongs to, for people, such as Payments. Empty: none."`
	Version       int                `json:"version" doc:"The version that schema and example are of. Events that name no type_version have it."`
	Schema        json.RawMessage    `json:"schema" doc:"JSON Schema of the data, an object. null: none."`
	Example       json.RawMessage    `json:"example" doc:"Data of an event, an object. null: none."`
	OtherVersions []EventTypeVersion `json:"other_versions" nullable:"false" doc:"The other versions, by number. Events may name them in type_version."`
	Check         string             `json:"check" enum:"off,warn,reject" doc:"What becomes of published data that is not what the schema asks for. warn: it is accepted with a warning; reject: it is refused."`
	Deprecated    bool               `json:"deprecated" doc:"true: receivers should no longer rely on the type. It can be published all the same."`
	Replacement   string             `json:"replacement" doc:"The type to use instead of a deprecated one. Empty: none."`
	Redact        []string           `json:"redact" nullable:"false" doc:"JSON pointers (RFC 6901) to values of the data that are shown as ***, to everybody. What is delivered has them."`
	Hidden        bool               `json:"hidden" doc:"true: tenant keys do not see the entry. The type can be published all the same."`
	CreatedAt     Time               `json:"created_at" doc:"When the entry was made."`
	UpdatedAt     Time               `json:"updated_at" doc:"When it was changed last."`
	// Searchable are the members of the data that become tags.
	Searchable map[string]string `json:"searchable" nullable:"false" doc:"Members of the data that become tags of an event: names of tags with JSON pointers into the data. Empty: none."`
	Warnings      []Warning          `json:"warnings,omitempty" nullable:"false" doc:"What was odd about the entry, such as a name that is not spelt with dots; only in the answer that makes one. Absent: nothing."`
}

// EventTypeVersion is one version of an event type.
type EventTypeVersion struct {
	Version int             `json:"version" doc:"The number, 1 to 10,000."`
	Schema  json.RawMessage `json:"schema,omitzero" doc:"JSON Schema of the data, an object. Absent: none."`
	Example json.RawMessage `json:"example,omitzero" doc:"Data of an event, an object. Absent: none."`
}

// NewEventType describes a catalogue entry to create. Schema is a JSON Schema of the data,
// and Example is the data of a sample event. Both are JSON objects.
type NewEventType struct {
	Name          string             `json:"name" doc:"1 to 128 characters: parts of letters, digits, underscores and hyphens, joined by dots, colons or slashes."`
	Description   string             `json:"description,omitempty" doc:"For people, at most 4,096 characters."`
	Group         string             `json:"group,omitempty" doc:"What the type belongs to, for people, at most 64 characters."`
	Version       int                `json:"version,omitempty" doc:"The version that schema and example are of, 1 to 10,000. Absent: 1."`
	Schema        json.RawMessage    `json:"schema,omitempty" doc:"JSON Schema of the data, an object."`
	Example       json.RawMessage    `json:"example,omitempty" doc:"Data of an event, an object. Test events of this type carry it."`
	OtherVersions []EventTypeVersion `json:"other_versions,omitempty" nullable:"false" doc:"Up to 9 other versions that events may name in type_version."`
	Check         string             `json:"check,omitempty" enum:"off,warn,reject" doc:"What becomes of published data that is not what the schema asks for. Absent: off."`
	Deprecated    bool               `json:"deprecated,omitempty" doc:"true: receivers should no longer rely on the type."`
	Replacement   string             `json:"replacement,omitempty" doc:"The type to use instead of a deprecated one."`
	Redact        []string           `json:"redact,omitempty" doc:"JSON pointers (RFC 6901) to values of the data that are shown as ***, at most 100. What is delivered has them. Absent: none."`
	Hidden        bool               `json:"hidden,omitempty" doc:"true: tenant keys do not see the entry."`
	// Searchable are the members of the data that become tags.
	Searchable map[string]string `json:"searchable,omitempty" nullable:"false" doc:"1 to 4 names of tags with JSON pointers into the data, such as /order/id. The texts, numbers and booleans there become tags of events published from now on. Absent: none."`
}

// EventTypePatch changes a catalogue entry as a merge patch (RFC 7396), except that schema,
// example and other_versions are replaced as a whole: absent members stay, and null
// removes a member.
type EventTypePatch struct {
	Description   Optional[string]             `json:"description,omitzero" doc:"For people, at most 4,096 characters. null: none."`
	Group         Optional[string]             `json:"group,omitzero" doc:"What the type belongs to, for people. null: none."`
	Version       Optional[int]                `json:"version,omitzero" nullable:"false" doc:"The version for events that name none. The one before it moves to other_versions, unless these are given too. A number that the type does not have must be above all that it has."`
	Schema        Optional[json.RawMessage]    `json:"schema,omitzero" doc:"Replaces the JSON Schema of the version. null: none."`
	Example       Optional[json.RawMessage]    `json:"example,omitzero" doc:"Replaces the example of the version. null: none."`
	OtherVersions Optional[[]EventTypeVersion] `json:"other_versions,omitzero" doc:"Replaces all other versions. null: none."`
	Check         Optional[string]             `json:"check,omitzero" enum:"off,warn,reject" doc:"What becomes of published data that is not what the schema asks for. null: off."`
	Deprecated    Optional[bool]               `json:"deprecated,omitzero" doc:"Whether receivers should no longer rely on the type. null: false."`
	Replacement   Optional[string]             `json:"replacement,omitzero" doc:"The type to use instead of a deprecated one. null: none."`
	Redact        Optional[[]string]           `json:"redact,omitzero" doc:"Replaces the JSON pointers to values that are not shown. It holds at once, for stored events too. null: none."`
	Hidden        Optional[bool]               `json:"hidden,omitzero" doc:"Whether tenant keys do not see the entry. null: false."`
	// Searchable replaces the members of the data that become tags.
	Searchable Optional[map[string]string] `json:"searchable,omitzero" doc:"Replaces the members of the data that become tags. null: none."`
}

// EventTypeQuery selects entries of the catalogue. Empty members do not restrict.
type EventTypeQuery struct {
	Group      string `query:"group"`
	Deprecated *bool  `query:"deprecated"`
	Hidden     *bool  `query:"hidden"`
	ListOptions
}

// Subscribers counts the endpoints that receive an event type.
type Subscribers struct {
	Endpoints int  `json:"endpoints" doc:"Endpoints whose filter passes the type, disabled ones included."`
	Enabled   int  `json:"enabled" doc:"Of these, the enabled ones."`
	Tenants   int  `json:"tenants" doc:"The tenants that these endpoints belong to."`
	More      bool `json:"more" doc:"true: the count ended at its bound, the newest 20,000 endpoints or 32 MiB of filters; there may be more."`
}

// TypeDifferences are the differences between two versions of an event type.
type TypeDifferences struct {
	From        int              `json:"from" doc:"The earlier version."`
	To          int              `json:"to" doc:"The later version."`
	Differences []TypeDifference `json:"differences" nullable:"false" doc:"What differs, at most 100 entries. Empty: nothing that decides about data."`
	More        bool             `json:"more" doc:"true: the comparison ended at its bound; there may be more."`
}

// TypeDifference is one difference between two versions of an event type.
type TypeDifference struct {
	Pointer string `json:"pointer" doc:"JSON pointer into the data, with a star for each item or further member. Empty: all of it."`
	Effect  string `json:"effect" enum:"compatible,breaking,unclear" doc:"For receivers that know the earlier version. compatible: data of the later one is data of the earlier one; breaking: it may not be; unclear: it cannot be told."`
	Message string `json:"message" doc:"What differs, as a sentence."`
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
func (c *Client) EventTypes(ctx context.Context, q EventTypeQuery) (Page[EventType], error) {
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

// Subscribers counts the endpoints that receive an event type: for a tenant key its own.
func (c *Client) Subscribers(ctx context.Context, name string) (Subscribers, error) {
	return get[Subscribers](ctx, c, "/v1/event-types/"+url.PathEscape(name)+"/subscribers")
}

// TypeDifferences compares two versions of an event type. A version of 0 is chosen by the
// server: to is the version for events that name none, and from the one before to.
func (c *Client) TypeDifferences(ctx context.Context, name string, from, to int) (TypeDifferences, error) {
	q := url.Values{}
	for member, version := range map[string]int{"from_version": from, "to_version": to} {
		if version != 0 {
			q.Set(member, strconv.Itoa(version))
		}
	}
	path := "/v1/event-types/" + url.PathEscape(name) + "/differences"
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return get[TypeDifferences](ctx, c, path)
}

// Profiles returns the wire formats of the server.
func (c *Client) Profiles(ctx context.Context) (Page[Profile], error) {
	return get[Page[Profile]](ctx, c, "/v1/profiles")
}
