package native

import (
	"bytes"
	"embed"
	"encoding/json"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

//go:embed docs.html docs.css
var docsFiles embed.FS

// docsPolicy permits the page to load only its own style sheet (S-14).
const docsPolicy = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// docsRoutes renders the reference page of the document once. html/template escapes all
// texts. The page needs no script and no external resources.
func (a *api) docsRoutes(doc *huma.OpenAPI) {
	page := template.Must(template.ParseFS(docsFiles, "docs.html"))
	var html bytes.Buffer
	if err := page.Execute(&html, referenceOf(doc)); err != nil {
		a.o.Log.Error("the reference page cannot be rendered", "error", err)
	}
	style, _ := docsFiles.ReadFile("docs.css") // embedded: always present
	a.mux.HandleFunc("GET /docs", docsFile("text/html; charset=utf-8", html.Bytes()))
	a.mux.HandleFunc("GET /docs/style.css", docsFile("text/css; charset=utf-8", style))
}

func docsFile(content string, text []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", content)
		h.Set("Content-Security-Policy", docsPolicy)
		h.Set("Referrer-Policy", "no-referrer")
		_, _ = w.Write(text) // an error means that the caller disconnected
	}
}

// root redirects browsers to the reference page and lists the main routes for programs.
func (a *api) root(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Accept")
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		w.Header().Set("Location", "/docs")
		w.WriteHeader(http.StatusSeeOther)
		return
	}
	w.Header()["Content-Type"] = jsonContent
	_, _ = w.Write([]byte(`{"name":"Posthorn","docs":"/docs","openapi":"/openapi.json","version":"/version","health":"/readyz"}`)) // an error means that the caller disconnected
}

// These types are the data of the template.
type (
	reference struct {
		Title, Description string
		Groups             []group
		Schemas            []schemaPart
	}
	group struct {
		Name, Description string
		Routes            []route
	}
	route struct {
		ID, Method, Path, Summary, Description string
		Params                                 []field
		Body                                   string // name of the schema
		Answers                                []answerPart
		Examples                               []example
	}
	field struct {
		Name, In, Kind, Doc string
		Required            bool
	}
	answerPart struct{ Status, Description, Schema string }
	example    struct{ Name, Summary, Text string }
	schemaPart struct {
		Name   string
		Fields []field
	}
)

func referenceOf(doc *huma.OpenAPI) reference {
	out := reference{Title: doc.Info.Title, Description: doc.Info.Description}
	routes := map[string][]route{}
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		ops := operationsOf(doc.Paths[path])
		for _, method := range []string{"GET", "POST", "PATCH", "DELETE"} {
			if op := ops[method]; op != nil {
				routes[op.Tags[0]] = append(routes[op.Tags[0]], routeOf(method, path, op))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(doc.Webhooks)) {
		op := doc.Webhooks[name].Post
		routes["webhooks"] = append(routes["webhooks"], routeOf("POST", name, op))
	}
	for _, tag := range doc.Tags {
		out.Groups = append(out.Groups, group{Name: tag.Name, Description: tag.Description, Routes: routes[tag.Name]})
	}
	schemas := doc.Components.Schemas.Map()
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		out.Schemas = append(out.Schemas, schemaPart{Name: name, Fields: fieldsOf(schemas[name])})
	}
	return out
}

func routeOf(method, path string, op *huma.Operation) route {
	out := route{ID: op.OperationID, Method: method, Path: path, Summary: op.Summary, Description: op.Description}
	for _, p := range parametersOf(op) {
		out.Params = append(out.Params, field{Name: p.Name, In: p.In, Kind: kindOf(p.Schema), Doc: describe(p), Required: p.Required})
	}
	if op.RequestBody != nil {
		if media := op.RequestBody.Content["application/json"]; media != nil {
			out.Body = kindOf(media.Schema)
			for _, name := range slices.Sorted(maps.Keys(media.Examples)) {
				out.Examples = append(out.Examples, example{Name: name, Summary: media.Examples[name].Summary, Text: indented(media.Examples[name].Value)})
			}
		}
	}
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		response := op.Responses[status]
		part := answerPart{Status: status, Description: response.Description}
		if response.Ref != "" {
			part.Schema = "Problem"
		}
		for _, media := range response.Content {
			part.Schema = kindOf(media.Schema)
		}
		out.Answers = append(out.Answers, part)
	}
	return out
}

func describe(p *huma.Param) string {
	if p.Description == "" && p.Schema != nil {
		return p.Schema.Description
	}
	return p.Description
}

func indented(value any) string {
	text, ok := value.(json.RawMessage)
	if !ok {
		return ""
	}
	var out bytes.Buffer
	if err := json.Indent(&out, text, "", "  "); err != nil {
		return string(text)
	}
	return out.String()
}

func fieldsOf(s *huma.Schema) []field {
	var out []field
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		inner := s.Properties[name]
		out = append(out, field{Name: name, Kind: kindOf(inner), Doc: inner.Description, Required: slices.Contains(s.Required, name)})
	}
	return out
}

// kindOf describes a value in a few words.
func kindOf(s *huma.Schema) string {
	switch {
	case s == nil:
		return "any"
	case len(s.AnyOf) > 0:
		var kinds []string
		for _, one := range s.AnyOf {
			kinds = append(kinds, kindOf(one))
		}
		return strings.Join(kinds, " | ")
	case s.Ref != "":
		return s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]
	case s.Type == huma.TypeArray:
		return "array of " + kindOf(s.Items)
	case len(s.Enum) > 0:
		var words []string
		for _, word := range s.Enum {
			if text, ok := word.(string); ok {
				words = append(words, text)
			}
		}
		return strings.Join(words, " | ")
	case s.Format != "":
		return s.Type + " (" + s.Format + ")"
	case s.Type == "":
		return "any"
	}
	return s.Type
}
