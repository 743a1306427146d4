package native

import (
	_ "embed"
	"encoding/json"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/posthorn/posthorn/client"
)

// This file adds to the document what huma cannot know: descriptions, examples, and
// which members may be null. Descriptions of members are tags in the client package;
// everything else is in document.json.

//go:embed document.json
var documentText []byte

// documentWords is the content of document.json: descriptions by operationId,
// parameters by name, and examples by schema.
type documentWords struct {
	Operations map[string]string
	Parameters map[string]struct {
		Description string
		Example     json.RawMessage
	}
	Examples map[string][]json.RawMessage
}

func (a *api) words() documentWords {
	var w documentWords
	if err := json.Unmarshal(documentText, &w); err != nil { // part of the program: a test reads it
		a.o.Log.Error("the words of the OpenAPI document cannot be read", "error", err)
	}
	return w
}

// describeAll adds the descriptions and examples to the document.
func (w documentWords) describeAll(doc *huma.OpenAPI) {
	schemas := doc.Components.Schemas
	for name, schema := range schemas.Map() {
		if row, isPage := strings.CutPrefix(name, "Page"); isPage && len(w.Examples[row]) > 0 {
			example := map[string]any{"data": w.Examples[row][:1], "next_cursor": nil}
			if row == "Event" || row == "Delivery" {
				example["next_cursor"], example["scanned"], example["until"] = "AZOW4StgegydUQx74_SpFQ", 20000, "2026-11-21T21:12:00.000000Z"
			} else { // these lists do not say it
				delete(schema.Properties, "scanned")
				delete(schema.Properties, "until")
			}
			page, _ := json.Marshal(example) // cannot fail
			w.Examples[name] = []json.RawMessage{page}
		}
		for _, example := range w.Examples[name] {
			schema.Examples = append(schema.Examples, example)
		}
		markNull(schemas.TypeFromRef("#/components/schemas/"+name), schema)
	}
	for path, item := range doc.Paths {
		for _, op := range operationsOf(item) {
			op.Description = w.Operations[op.OperationID]
			for i, p := range op.Parameters {
				op.Parameters[i] = w.parameter(path, p)
			}
			if op.RequestBody != nil {
				w.showExamples(op.RequestBody.Content)
			}
			for _, response := range op.Responses {
				w.showExamples(response.Content)
			}
		}
	}
}

// parameter returns a copy with a description and an example: huma checks requests with
// the original.
func (w documentWords) parameter(path string, p *huma.Param) *huma.Param {
	out, schema := *p, *p.Schema
	out.Schema = &schema
	name := p.Name
	switch {
	case p.In != "path":
	case strings.HasPrefix(path, "/v1/tenants/"):
		name = "id of a tenant"
	case strings.HasPrefix(path, "/v1/event-types/"):
		name = "id of an event type"
	case strings.HasPrefix(path, "/v1/master-keys/"):
		name = "id of a master key"
	default:
		schema.Format = "uuid"
	}
	known := w.Parameters[name]
	if out.Description == "" {
		out.Description = known.Description
	}
	if out.Example == nil && len(schema.Examples) == 0 && known.Example != nil {
		out.Example = known.Example
	}
	return &out
}

// showExamples gives each body the first example of its schema.
func (w documentWords) showExamples(content map[string]*huma.MediaType) {
	for name, media := range content {
		switch {
		case media.Schema == nil || name == ndjson:
		case media.Schema.Ref != "":
			if all := w.Examples[refName(media.Schema)]; len(all) > 0 {
				media.Example = all[0]
			}
		case media.Schema.Items != nil:
			if all := w.Examples[refName(media.Schema.Items)]; len(all) > 0 {
				media.Example = all[:1]
			}
		}
	}
}

func refName(s *huma.Schema) string { return s.Ref[strings.LastIndexByte(s.Ref, '/')+1:] }

// markNull marks the members of a wire struct that may be null: pointers that are never
// omitted, and members of a merge patch, unless their tag says otherwise. huma
// recognizes only pointers to scalars.
func markNull(t reflect.Type, s *huma.Schema) {
	if t == nil || t.Kind() != reflect.Struct {
		return
	}
	for _, field := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		member := s.Properties[name]
		optional := strings.Contains(options, "omit")
		if member == nil || field.Tag.Get("nullable") == "false" ||
			!(field.Type.Kind() == reflect.Pointer && !optional) && !strings.HasPrefix(field.Type.Name(), "Optional[") {
			continue
		}
		switch {
		case member.Ref != "":
			member.AnyOf = []*huma.Schema{{Ref: member.Ref}, {Type: "null"}}
			member.Ref = ""
		case member.Type != "": // a schema without a type already permits null
			member.Nullable = true
			if len(member.Enum) > 0 {
				member.Enum = append(member.Enum, nil)
			}
		}
	}
}

// documentListen adds the routes of the HTTP adapter for receivers that connect.
func documentListen(doc *huma.OpenAPI) {
	schemas := doc.Components.Schemas
	ref := func(t reflect.Type) *huma.Schema { return schemas.Schema(t, true, t.Name()) }
	text := func(name string) *huma.Param {
		return &huma.Param{Name: name, In: "query", Required: name == "name", Schema: &huma.Schema{Type: huma.TypeString}}
	}
	stream := operation("GET", "/v1/listen", "listen", "Receive deliveries over a connection", 200)
	stream.Parameters = []*huma.Param{text("name"), text("types"), text("profile"), text("tenant")}
	stream.Parameters[3].Description = "Required with an operator key: the tenant to listen for."
	stream.Responses["200"].Description = "Server-sent events: hello, then delivery for each attempt, then end."
	stream.Responses["200"].Content = map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{
		Description: "The data of one event: a JSON text on one line.",
		AnyOf: []*huma.Schema{ref(reflect.TypeFor[client.ListenHello]()), ref(reflect.TypeFor[client.ListenDelivery]()),
			ref(reflect.TypeFor[client.ListenEnd]())}}}}
	doc.AddOperation(&stream)

	answer := operation("POST", "/v1/listen/answers", "answer-listen", "Tell what came of a delivery", 204)
	answer.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		"application/json": {Schema: ref(reflect.TypeFor[client.ListenAnswer]())}}}
	doc.AddOperation(&answer)
}
