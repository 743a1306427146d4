package native

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/api/strict"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

func (a *api) catalogueRoutes(h huma.API) {
	register(a, h, operation("POST", "/v1/event-types", "create-event-type", "Add an event type to the catalogue", 201), a.createEventType)
	register(a, h, operation("GET", "/v1/event-types", "list-event-types", "List the catalogue by name", 200), a.listEventTypes)
	register(a, h, operation("GET", "/v1/event-types/{id}", "get-event-type", "Get an event type of the catalogue", 200), a.getEventType)
	register(a, h, operation("PATCH", "/v1/event-types/{id}", "update-event-type", "Change an event type of the catalogue", 200), a.updateEventType)
	register(a, h, operation("DELETE", "/v1/event-types/{id}", "delete-event-type", "Take an event type out of the catalogue", 204), a.deleteEventType)
	register(a, h, operation("GET", "/v1/event-types/{id}/subscribers", "count-subscribers", "Count the endpoints that receive an event type", 200), a.countSubscribers)
	register(a, h, operation("GET", "/v1/event-types/{id}/differences", "compare-event-type-versions", "Compare two versions of an event type", 200), a.compareVersions)
	register(a, h, operation("GET", "/v1/profiles", "list-profiles", "List the wire formats", 200), a.listProfiles)
}

func wireEventType(e hook.EventType) client.EventType {
	out := client.EventType{Name: e.Name, Description: e.Description, Group: e.Group, Version: e.Version, Schema: e.Schema, Example: e.Example,
		OtherVersions: wireAll(e.Others, func(v hook.TypeVersion) client.EventTypeVersion {
			return client.EventTypeVersion{Version: v.Version, Schema: v.Schema, Example: v.Example}
		}), Check: e.Enforce.String(), Deprecated: e.Deprecated, Replacement: e.Replacement, Hidden: e.Hidden, Redact: append([]string{}, e.Redact...),
		CreatedAt: wireTime(e.CreatedAt), UpdatedAt: wireTime(e.UpdatedAt), Searchable: map[string]string{}}
	for _, member := range e.Searchable {
		out.Searchable[member.Tag] = member.Pointer
	}
	return out
}

// searchableOf returns searchable members in the order in which they are stored.
func searchableOf(members map[string]string) []hook.Searchable {
	var out []hook.Searchable
	for _, name := range slices.Sorted(maps.Keys(members)) {
		out = append(out, hook.Searchable{Tag: name, Pointer: members[name]})
	}
	return out
}

// madeEventType returns the response to the creation of an entry. Standard Webhooks 1.0
// recommends names of parts joined by dots.
func madeEventType(e hook.EventType) client.EventType {
	out := wireEventType(e)
	if !hook.DottedType(e.Name) {
		out.Warnings = []client.Warning{{Code: "event_type_not_dotted",
			Message: "The name is taken as it is. Standard Webhooks advises dots between the parts: a new platform names its types like payment.settled."}}
	}
	return out
}

type newEventTypeIn struct {
	OnceIn
	Body body[client.NewEventType]
}

func (a *api) createEventType(ctx context.Context, q *request, in *newEventTypeIn) (*reply[client.EventType], error) {
	if in.Body.err != nil {
		return nil, in.Body.err
	}
	want := in.Body.value
	if want.Name == "" {
		return nil, strict.Missing("name")
	}
	e := hook.EventType{Name: want.Name, Description: want.Description, Group: want.Group, Deprecated: want.Deprecated, Replacement: want.Replacement, Hidden: want.Hidden, Redact: want.Redact, Searchable: searchableOf(want.Searchable)}
	var given struct{ Version *int } // 0 is not absent
	err := json.Unmarshal(in.Body.text, &given)
	if err != nil {
		return nil, err
	}
	if e.Version = 1; given.Version != nil {
		e.Version = *given.Version
	}
	if e.Schema, err = object("schema", want.Schema); err != nil {
		return nil, err
	}
	if e.Example, err = object("example", want.Example); err != nil {
		return nil, err
	}
	if e.Others, err = versionsOf(want.OtherVersions); err != nil {
		return nil, err
	}
	if e.Enforce, err = enforceOf(want.Check); err != nil {
		return nil, err
	}
	once, err := onceFor(q, in.Body.text, 201, madeEventType)
	if err != nil {
		return nil, err
	}
	out, replay, err := a.o.Service.CreateEventType(ctx, q.caller, e, once)
	if err != nil {
		return nil, err
	}
	return made(201, madeEventType(out), replay), nil
}

// enforceOf parses how a schema is enforced. An absent value means off.
func enforceOf(text string) (hook.Enforce, error) {
	enforce, ok := hook.ParseEnforce(text)
	if !ok && text != "" {
		return 0, strict.Wrong("check", "\"off\", \"warn\" or \"reject\"")
	}
	return enforce, nil
}

// object accepts a JSON object, and null as nil.
func object(field string, text json.RawMessage) ([]byte, error) {
	switch jsontext.Value(text).Kind() {
	case '{':
		return text, nil
	case 'n', 0:
		return nil, nil
	}
	return nil, strict.Wrong(field, "an object")
}

// versionsOf parses other_versions.
func versionsOf(list []client.EventTypeVersion) ([]hook.TypeVersion, error) {
	out := make([]hook.TypeVersion, len(list))
	for i, v := range list {
		out[i].Version = v.Version
		for _, text := range []struct {
			name  string
			given json.RawMessage
			to    *[]byte
		}{{"schema", v.Schema, &out[i].Schema}, {"example", v.Example, &out[i].Example}} {
			var err error
			if *text.to, err = object(fmt.Sprintf("other_versions/%d/%s", i, text.name), text.given); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

type eventTypesIn struct {
	PageIn
	Group      string `query:"group" doc:"Types of this group." example:"Payments"`
	Deprecated string `query:"deprecated" enum:"true,false" doc:"true: deprecated types only. false: the others." example:"false"`
	Hidden     string `query:"hidden" enum:"true,false" doc:"true: hidden types only. false: the others. Tenant keys never see hidden ones." example:"false"`
}

func (a *api) listEventTypes(ctx context.Context, q *request, in *eventTypesIn) (*reply[client.Page[client.EventType]], error) {
	rows, next, err := a.o.Service.EventTypes(ctx, q.caller, hook.TypeQuery{Group: in.Group, Deprecated: yesOrNo(in.Deprecated), Hidden: yesOrNo(in.Hidden), Page: in.page()})
	if err != nil {
		return nil, err
	}
	return page(q, wireAll(rows, wireEventType), next), nil
}

func (a *api) countSubscribers(ctx context.Context, q *request, in *ItemIn) (*reply[client.Subscribers], error) {
	if _, err := a.o.Service.EventType(ctx, q.caller, in.ID); err != nil {
		return nil, err
	}
	counts, err := a.o.Service.Subscribers(ctx, q.caller, in.ID)
	if err != nil {
		return nil, err
	}
	return ok(client.Subscribers(counts[0])), nil
}

type differencesIn struct {
	ItemIn
	From int `query:"from_version" minimum:"1" maximum:"10000" doc:"The earlier version. Absent: the one before to_version." example:"1"`
	To   int `query:"to_version" minimum:"1" maximum:"10000" doc:"The later version. Absent: the version for events that name none." example:"2"`
}

func (a *api) compareVersions(ctx context.Context, q *request, in *differencesIn) (*reply[client.TypeDifferences], error) {
	found, err := a.o.Service.TypeDifferences(ctx, q.caller, in.ID, in.From, in.To)
	if err != nil {
		return nil, err
	}
	return ok(client.TypeDifferences{From: found.From, To: found.To, More: found.More,
		Differences: wireAll(found.List, func(d app.TypeDifference) client.TypeDifference {
			return client.TypeDifference{Pointer: d.Pointer, Effect: string(d.Effect), Message: d.Message}
		})}), nil
}

type eventTypeIn struct {
	ItemIn
	ReadIn
}

func (a *api) getEventType(ctx context.Context, q *request, in *eventTypeIn) (*reply[client.EventType], error) {
	e, err := a.o.Service.EventType(ctx, q.caller, in.ID)
	if err != nil {
		return nil, err
	}
	return single(q, 200, wireEventType(e))
}

type eventTypePatchIn struct {
	ItemIn
	ChangeIn
	Body members[client.EventTypePatch]
}

func (a *api) updateEventType(ctx context.Context, q *request, in *eventTypePatchIn) (*reply[client.EventType], error) {
	if in.Body.err != nil {
		return nil, in.Body.err
	}
	p := &patch{values: in.Body.values}
	change := app.EventTypeChange{Description: patched(p, "description", ""), Group: patched(p, "group", ""), Version: required[int](p, "version", "a whole number"),
		Schema: patchedObject(p, "schema"), Example: patchedObject(p, "example"), Deprecated: patched(p, "deprecated", false),
		Replacement: patched(p, "replacement", ""), Hidden: patched(p, "hidden", false)}
	if list := patched(p, "other_versions", []client.EventTypeVersion{}); list != nil {
		others, err := versionsOf(*list)
		if err != nil {
			p.blame(err)
		}
		change.Others = &others
	}
	if text := patched(p, "check", "off"); text != nil {
		enforce, err := enforceOf(*text)
		if err != nil {
			p.blame(err)
		}
		change.Enforce = &enforce
	}
	change.Redact = patched(p, "redact", []string{})
	if members := patched(p, "searchable", map[string]string{}); members != nil {
		list := searchableOf(*members)
		change.Searchable = &list
	}
	p.readOnly("name", "created_at", "updated_at")
	if err := p.end(); err != nil {
		return nil, err
	}
	for _, check := range ifMatch(q, eventTypeTag) {
		change.Check = check
	}
	e, err := a.o.Service.UpdateEventType(ctx, q.caller, in.ID, change)
	if err != nil {
		return nil, err
	}
	return single(q, 200, wireEventType(e))
}

func patchedObject(p *patch, name string) *[]byte {
	value, _, present := p.take(name)
	if !present {
		return nil
	}
	text, err := object(name, json.RawMessage(value))
	if err != nil {
		p.blame(err)
	}
	return &text
}

type eventTypeDeleteIn struct {
	ItemIn
	ChangeIn
}

func (a *api) deleteEventType(ctx context.Context, q *request, in *eventTypeDeleteIn) (*none, error) {
	return nil, a.o.Service.DeleteEventType(ctx, q.caller, in.ID, ifMatch(q, eventTypeTag)...)
}

func (a *api) listProfiles(context.Context, *request, *struct{}) (*reply[client.Page[client.Profile]], error) {
	return ok(client.Page[client.Profile]{Data: wireAll(a.o.Service.Profiles(), wireProfile)}), nil
}

func wireProfile(p app.Profile) client.Profile {
	return client.Profile{Name: p.Name, Description: p.Description, Default: p.Default, Management: p.Management, IPHosts: p.IPHosts,
		Timeout: duration(p.Policy.Timeout), Retry: *wireRetry(&p.Policy.Retry), Headers: append([]string{}, p.Headers...),
		EventTypes: wireAll(p.Types, func(t app.ProfileType) client.ProfileEventType {
			return client.ProfileEventType{Name: t.Name, Description: t.Description, Example: t.Example, Body: t.Body}
		})}
}
