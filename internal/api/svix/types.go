package svix

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

// eventType is an entry of the catalogue in Svix's format. An archived one is hidden.
type eventType struct {
	Name         string                     `json:"name"`
	Description  string                     `json:"description"`
	Archived     bool                       `json:"archived"`
	Deprecated   bool                       `json:"deprecated"`
	Schemas      *map[string]jsontext.Value `json:"schemas"`
	CreatedAt    client.Time                `json:"createdAt"`
	UpdatedAt    client.Time                `json:"updatedAt"`
	FeatureFlag  *string                    `json:"featureFlag"`  // always null
	FeatureFlags *[]string                  `json:"featureFlags"` // always null
	GroupName    *string                    `json:"groupName"`
}

func wireType(e hook.EventType, content bool) eventType {
	out := eventType{Name: e.Name, Description: e.Description, Archived: e.Hidden, Deprecated: e.Deprecated,
		CreatedAt: client.Time{Time: e.CreatedAt}, UpdatedAt: client.Time{Time: e.UpdatedAt}}
	if e.Group != "" {
		out.GroupName = &e.Group
	}
	schemas := map[string]jsontext.Value{}
	for _, v := range e.Versions() {
		if content && v.Schema != nil {
			schemas[strconv.Itoa(v.Version)] = v.Schema
		}
	}
	if len(schemas) > 0 {
		out.Schemas = &schemas
	}
	return out
}

// readType reads the members of an event type other than its name.
func readType(o *object, whole bool) app.EventTypeChange {
	change := app.EventTypeChange{
		Description: take[string](o, "a string", "description"),
		Deprecated:  take[bool](o, "true or false", "deprecated"),
		Hidden:      take[bool](o, "true or false", "archived"),
		Group:       take[string](o, "a string", "groupName"),
	}
	if whole {
		if change.Description == nil {
			o.blame("description", "description is required")
		}
		for _, flag := range []**bool{&change.Deprecated, &change.Hidden} {
			if *flag == nil {
				*flag = new(bool)
			}
		}
	}
	if change.Group == nil && (whole || o.has("groupName")) {
		change.Group = new(string)
	}
	o.refuse("Posthorn has no feature flags of event types: every application would see the type. Leave it out, or set archived to true.", "featureFlag", "featureFlags")
	if whole || o.has("schemas") {
		readSchemas(o, &change)
	}
	return change
}

// readSchemas reads the schemas by version. Version 1 is the one that events have; if there
// is none, the lowest.
func readSchemas(o *object, change *app.EventTypeChange) {
	list := take[map[string]jsontext.Value](o, "an object of JSON Schemas", "schemas")
	var versions []hook.TypeVersion
	if list != nil {
		for text, schema := range *list {
			number, err := strconv.Atoi(text)
			if err != nil || number < 1 || schema.Kind() != '{' {
				o.blame("schemas/"+text, "schemas must be JSON Schemas by version: whole numbers from 1 on")
				continue
			}
			versions = append(versions, hook.TypeVersion{Version: number, Schema: schema, Example: exampleOf(schema)})
		}
	}
	slices.SortFunc(versions, func(a, b hook.TypeVersion) int { return a.Version - b.Version })
	if len(versions) == 0 {
		versions = []hook.TypeVersion{{Version: 1}}
	}
	others := versions[1:]
	change.Version, change.Schema, change.Example, change.Others = &versions[0].Version, &versions[0].Schema, &versions[0].Example, &others
}

// exampleOf returns the first example of a schema that is an object, or nil.
func exampleOf(schema []byte) []byte {
	var in struct {
		Examples []json.RawMessage `json:"examples"`
	}
	if json.Unmarshal(schema, &in) != nil || len(in.Examples) == 0 || in.Examples[0][0] != '{' {
		return nil
	}
	return in.Examples[0]
}

func (a *api) createType(q *call) error {
	o, err := q.object(maxBody)
	if err != nil {
		return err
	}
	name := take[string](o, "a string", "name")
	if name == nil {
		o.blame("name", "name is required")
	}
	change := readType(o, true)
	if err := o.err(); err != nil {
		return err
	}
	err = a.makeType(q, *name, change)
	if hook.CodeOf(err) != hook.CodeConflict {
		return err
	}
	archived := func(e hook.EventType) error {
		if !e.Hidden {
			return &failure{status: http.StatusConflict, code: "event_type_exists", text: "An event type with this name exists."}
		}
		return nil
	}
	change.Check = archived
	e, err := a.o.Service.UpdateEventType(q.r.Context(), q.c, *name, change)
	if err != nil {
		return err
	}
	return q.answer(http.StatusCreated, wireType(e, true))
}

// makeType creates an event type and answers. Only CodeConflict is left to the caller.
func (a *api) makeType(q *call, name string, change app.EventTypeChange) error {
	e := hook.EventType{Name: name, Description: *change.Description, Group: *change.Group, Deprecated: *change.Deprecated, Hidden: *change.Hidden,
		TypeVersion: hook.TypeVersion{Version: *change.Version, Schema: *change.Schema, Example: *change.Example}, Others: *change.Others}
	once, err := q.once(func(result any) (int, []byte) {
		made, ok := result.(hook.EventType)
		if !ok {
			return 0, nil
		}
		return http.StatusCreated, encode(wireType(made, true))
	})
	if err != nil {
		return err
	}
	made, replay, err := a.o.Service.CreateEventType(q.r.Context(), q.c, e, once)
	if err != nil {
		return err
	}
	if replay != nil {
		return q.repeated(replay)
	}
	return q.answer(http.StatusCreated, wireType(made, true))
}

func (a *api) getType(q *call) error {
	e, err := a.o.Service.EventType(q.r.Context(), q.c, q.parts["type"])
	if err != nil {
		return err
	}
	return q.answer(http.StatusOK, wireType(e, true))
}

func (a *api) putType(q *call) error {
	o, err := q.object(maxBody)
	if err != nil {
		return err
	}
	change := readType(o, true)
	if err := o.err(); err != nil {
		return err
	}
	e, err := a.o.Service.UpdateEventType(q.r.Context(), q.c, q.parts["type"], change)
	if hook.CodeOf(err) == hook.CodeNotFound {
		return a.makeType(q, q.parts["type"], change)
	}
	if err != nil {
		return err
	}
	return q.answer(http.StatusOK, wireType(e, true))
}

func (a *api) patchType(q *call) error {
	o, err := q.object(maxBody)
	if err != nil {
		return err
	}
	change := readType(o, false)
	for _, name := range []string{"description", "archived", "deprecated"} {
		if o.null(name) {
			o.blame(name, name+" must not be null")
		}
	}
	if err := o.err(); err != nil {
		return err
	}
	e, err := a.o.Service.UpdateEventType(q.r.Context(), q.c, q.parts["type"], change)
	if err != nil {
		return err
	}
	return q.answer(http.StatusOK, wireType(e, true))
}

func (a *api) deleteType(q *call) error {
	expunge, err := q.values.flag("expunge", false)
	if err != nil {
		return err
	}
	if expunge {
		err = a.o.Service.DeleteEventType(q.r.Context(), q.c, q.parts["type"])
	} else {
		yes := true
		_, err = a.o.Service.UpdateEventType(q.r.Context(), q.c, q.parts["type"], app.EventTypeChange{Hidden: &yes})
	}
	if err != nil {
		return err
	}
	return q.done()
}

// backRounds bounds the pages of the catalogue that a page backwards reads.
const backRounds = 40

// listTypes lists the catalogue by name. Like Svix, it has one order.
func (a *api) listTypes(q *call) error {
	w, err := q.values.window(true)
	if err != nil {
		return err
	}
	archived, err := q.values.flag("include_archived", false)
	if err != nil {
		return err
	}
	content, err := q.values.flag("with_content", false)
	if err != nil {
		return err
	}
	if w.from != "" && !hook.ValidType(w.from) {
		return badIterator()
	}
	tq := hook.TypeQuery{Page: hook.Page{Limit: w.limit}}
	if !archived {
		tq.Hidden = new(bool)
	}
	turns := rounds
	if w.back {
		turns, tq.Limit = backRounds, maxLimit
	} else if w.from != "" {
		tq.Cursor = base64.RawURLEncoding.EncodeToString([]byte(w.from))
	}
	var list []hook.EventType
	done := false
	for range turns {
		rows, next, err := a.o.Service.EventTypes(q.r.Context(), q.c, tq)
		if err != nil {
			return err
		}
		for _, e := range rows {
			if w.back && e.Name >= w.from {
				next = ""
				break
			}
			if list = append(list, e); w.back && len(list) > w.limit+1 {
				list = list[1:]
			}
		}
		if tq.Cursor = next; next == "" || !w.back && len(list) == w.limit {
			done = next == ""
			break
		}
		if !w.back {
			tq.Limit = w.limit - len(list)
		}
	}
	if w.back {
		if !done {
			return wrongPart("query", "iterator", "The way back is too long. Begin again without an iterator.")
		}
		if done = len(list) <= w.limit; !done {
			list = list[1:]
		}
	}
	data := make([]eventType, len(list))
	for i, e := range list {
		data[i] = wireType(e, content)
	}
	return q.answer(http.StatusOK, pageOf(data, done, func(v eventType) string { return v.Name }))
}
