package native

import (
	"encoding/json"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/posthorn/posthorn/internal/hook"
)

// documentAlerts adds to the document what operational endpoints get, in the format of
// Standard Webhooks: a webhook for each type, with the schema and an example of its data.
func documentAlerts(doc *huma.OpenAPI) {
	schemas := doc.Components.Schemas
	seen := map[string]bool{}
	for _, t := range hook.AlertTypes() {
		data := schemas.Schema(reflect.TypeOf(t.Example).Elem(), true, "")
		named := schemas.SchemaFromRef(data.Ref)
		example, _ := json.Marshal(t.Example) // a plain struct
		named.Examples = append(named.Examples, json.RawMessage(example))
		if digest, ok := t.Example.(*hook.DigestAlert); ok {
			one, _ := json.Marshal(digest.Examples[0])
			schemas.SchemaFromRef(named.Properties["examples"].Items.Ref).Examples = []any{json.RawMessage(one)}
		}
		openSchema(schemas, data, seen)
		body, _ := json.Marshal(struct {
			Type      string `json:"type"`
			Timestamp string `json:"timestamp"`
			Data      any    `json:"data"`
		}{t.Name, "2026-03-02T08:30:00.000000Z", t.Example})
		who := "Operational endpoints of the tenant concerned and of the operator get it."
		if !t.Tenants {
			who = "Operational endpoints of the operator get it."
		}
		doc.Webhooks[t.Name] = &huma.PathItem{Post: &huma.Operation{OperationID: "webhook-" + t.Name, Tags: []string{"webhooks"}, Summary: "Operational event: " + t.Description,
			Description: who + " It is shown in the format standard; the headers are those of the endpoint's format.", Security: []map[string][]string{},
			RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{jsonType: {
				Schema: &huma.Schema{Type: huma.TypeObject, Required: []string{"data", "timestamp", "type"}, Properties: map[string]*huma.Schema{
					"type":      {Type: huma.TypeString, Enum: []any{t.Name}},
					"timestamp": {Type: huma.TypeString, Format: "date-time"},
					"data":      data}},
				Examples: map[string]*huma.Example{t.Name: {Summary: t.Description, Value: json.RawMessage(body)}}}}},
			Responses: map[string]*huma.Response{"2XX": {Description: "The receiver has the event. It is not sent again."},
				"default": {Description: "Everything else is a failure: the event is sent again by the retry plan."}}}}
	}
}
