package native

import (
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

// This file completes the OpenAPI document that huma generates from the routes.

// tags are the groups of the document, in the order of the reference page.
var tags = []*huma.Tag{
	{Name: "events", Description: "Publish events and see what became of them."},
	{Name: "deliveries", Description: "One event to one endpoint, with its attempts."},
	{Name: "master-keys", Description: "The keys that seal secrets in the database, and their rotation."},
	{Name: "replays", Description: "Send again to one endpoint what was accepted before, as a job."},
	{Name: "endpoints", Description: "Where events of a tenant go."},
	{Name: "stats", Description: "What happened to deliveries, in buckets of time."},
	{Name: "tenants", Description: "The customers of the platform. They span both modes."},
	{Name: "disk", Description: "What the store takes on disk. Both modes share it."},
	{Name: "keys", Description: "Credentials of one mode and one kind."},
	{Name: "partner-users", Description: "For whom the keys of a partner may act in paywise's management API. They belong to one mode."},
	{Name: "portal", Description: "Sessions of the pages that show a customer its own webhooks. They belong to one tenant and mode."},
	{Name: "ui", Description: "The pages for operators."},
	{Name: "event-types", Description: "The catalogue of one mode. It restricts no types; with check, the schema of a type decides about its data."},
	{Name: "profiles", Description: "The wire formats."},
	{Name: "search", Description: "What an id belongs to."},
	{Name: "audit", Description: "Who did what, in a log that shows when it was changed."},
	{Name: "erasures", Description: "Remove a tenant or an event for good, as a job with a receipt."},
	{Name: "reclaim", Description: "Give free space of the database back to the file system."},
	{Name: "listen", Description: "For receivers that connect to the server instead of being called."},
	{Name: "server", Description: "Health and version. No key is needed."},
	{Name: "webhooks", Description: "What receivers get, by wire format, and the operational events."},
}

func newDocument(schemas huma.Registry) *huma.OpenAPI {
	return &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{Title: "Posthorn", Version: "v1",
			Description: "Publish events once; Posthorn signs, delivers and retries them as webhooks. " +
				"Not in this document: the management APIs of PaySway (/oauth2/token, /webhooks/subscriptions) and paywise (/v1/webhooks/) and the API for programs written for Svix (/api/v1), which servers started with --mount have (docs/paysway-api.md, docs/paywise-api.md, docs/from-svix.md).",
			Contact: &huma.Contact{Name: "Posthorn", URL: "https://github.com/posthorn/posthorn"},
			License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}},
		Servers: []*huma.Server{{URL: "http://127.0.0.1:8080", Description: "Where posthorn serve listens unless told otherwise."}},
		Components: &huma.Components{Schemas: schemas,
			SecuritySchemes: map[string]*huma.SecurityScheme{
				"key": {Type: "http", Scheme: "bearer", Description: "A key belongs to one mode and one kind: operator, publisher or tenant."}}},
		Security: []map[string][]string{{"key": {}}},
		Tags:     tags,
	}
}

// finish adds the parts of the document that apply to many routes: groups, refusals,
// routes that need no key, and what receivers get.
func (a *api) finish(doc *huma.OpenAPI) {
	documentServer(doc)
	documentListen(doc)
	problem := doc.Components.Schemas.Schema(reflect.TypeFor[client.Problem](), true, "Problem")
	doc.Components.Responses = map[string]*huma.Response{"Problem": {Description: "A problem (RFC 9457); branch on its code.",
		Content: map[string]*huma.MediaType{problemContent: {Schema: problem}}}}
	for path, item := range doc.Paths {
		for method, op := range operationsOf(item) {
			group, _, _ := strings.Cut(strings.TrimPrefix(path, "/v1/"), "/")
			if !strings.HasPrefix(path, "/v1/") {
				group = "server"
			}
			op.Tags = []string{group}
			refusals(op, method, path)
		}
	}
	for _, unused := range []string{"ErrorModel", "ErrorDetail"} { // huma's own errors, which Posthorn's replace
		delete(doc.Components.Schemas.Map(), unused)
	}
	a.words().describeAll(doc)
	openAnswers(doc)
	doc.Webhooks = map[string]*huma.PathItem{}
	for _, p := range a.o.Service.Profiles() {
		doc.Webhooks[p.Name] = &huma.PathItem{Post: webhookOf(p)}
	}
	documentAlerts(doc)
}

func operationsOf(item *huma.PathItem) map[string]*huma.Operation {
	all := map[string]*huma.Operation{"GET": item.Get, "POST": item.Post, "PATCH": item.Patch, "DELETE": item.Delete}
	for method, op := range all {
		if op == nil {
			delete(all, method)
		}
	}
	return all
}

// refusals adds the statuses with which a route may refuse a request.
func refusals(op *huma.Operation, method, path string) {
	var statuses []int
	if strings.HasPrefix(path, "/v1/") {
		statuses = append(statuses, 401, 403, 422, 429, 503, 508)
	}
	if path == "/readyz" {
		statuses = append(statuses, 503)
	}
	// This response comes from net/http, before a route sees the request.
	op.Responses["431"] = &huma.Response{Description: "The header fields of the request are longer than the server reads.",
		Content: map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}}}
	if strings.Contains(path, "{") || op.Tags[0] == "listen" || slices.Contains([]string{"/v1/events", "/v1/endpoints", "/v1/deliveries", "/v1/replays", "/v1/events/match", "/v1/keys", "/v1/partner-users", "/v1/audit", "/v1/portal/sessions", "/v1/erasures", "/v1/disk"}, path) {
		statuses = append(statuses, 404)
	}
	if method == "POST" || method == "PATCH" {
		statuses = append(statuses, 400, 409, 413, 415)
	}
	if method == "PATCH" {
		op.RequestBody.Content[mergePatch] = op.RequestBody.Content[jsonType]
	}
	for _, p := range op.Parameters {
		switch p.Name {
		case "If-Match":
			statuses = append(statuses, 412)
		case "If-None-Match":
			op.Responses["304"] = &huma.Response{Description: http.StatusText(http.StatusNotModified)}
		}
	}
	for _, status := range statuses {
		op.Responses[strconv.Itoa(status)] = &huma.Response{Ref: "#/components/responses/Problem"}
	}
	if strings.HasPrefix(path, "/v1/") {
		op.Responses["default"] = &huma.Response{Ref: "#/components/responses/Problem"}
	} else {
		delete(op.Responses, "default")
	}
}

// documentServer adds the routes that need no key.
func documentServer(doc *huma.OpenAPI) {
	schemas := doc.Components.Schemas
	for _, route := range []struct {
		path, id, summary, content string
		schema                     *huma.Schema
	}{
		{"/healthz", "get-health", "Whether the process lives", "application/json", schemas.Schema(reflect.TypeFor[client.Status](), true, "Status")},
		{"/readyz", "get-readiness", "Whether requests can be accepted", "application/json", schemas.Schema(reflect.TypeFor[client.Status](), true, "Status")},
		{"/version", "get-version", "The version of the server", "application/json", schemas.Schema(reflect.TypeFor[client.Version](), true, "Version")},
		{"/openapi.json", "get-openapi", "This document", "application/openapi+json", &huma.Schema{Type: huma.TypeObject}},
	} {
		op := &huma.Operation{Method: http.MethodGet, Path: route.path, OperationID: route.id, Summary: route.summary,
			Security: []map[string][]string{}, Responses: map[string]*huma.Response{
				"200": {Description: "OK", Content: map[string]*huma.MediaType{route.content: {Schema: route.schema}}}}}
		doc.AddOperation(op)
	}
}

// openAnswers allows additional members in every schema that a response uses: a new
// member must not break a client that validates responses. Schemas that only requests
// use stay closed, because the server refuses unknown members.
func openAnswers(doc *huma.OpenAPI) {
	seen := map[string]bool{}
	for _, item := range doc.Paths {
		for _, op := range operationsOf(item) {
			for _, response := range op.Responses {
				for _, media := range response.Content {
					openSchema(doc.Components.Schemas, media.Schema, seen)
				}
			}
		}
	}
	for _, response := range doc.Components.Responses {
		for _, media := range response.Content {
			openSchema(doc.Components.Schemas, media.Schema, seen)
		}
	}
}

func openSchema(r huma.Registry, s *huma.Schema, seen map[string]bool) {
	if s == nil {
		return
	}
	if s.Ref != "" {
		if seen[s.Ref] {
			return
		}
		seen[s.Ref] = true
		openSchema(r, r.SchemaFromRef(s.Ref), seen)
		return
	}
	if s.AdditionalProperties == false {
		s.AdditionalProperties = nil
	}
	for _, inner := range s.Properties {
		openSchema(r, inner, seen)
	}
	openSchema(r, s.Items, seen)
	for _, inner := range s.AnyOf {
		openSchema(r, inner, seen)
	}
	if values, ok := s.AdditionalProperties.(*huma.Schema); ok {
		openSchema(r, values, seen)
	}
}

// webhookOf documents the requests that a receiver of a wire format gets.
func webhookOf(p app.Profile) *huma.Operation {
	examples := map[string]*huma.Example{}
	for _, t := range p.Types {
		examples[t.Name] = &huma.Example{Summary: t.Description, Value: json.RawMessage(t.Body)}
	}
	op := &huma.Operation{OperationID: "webhook-" + p.Name, Tags: []string{"webhooks"}, Summary: "An event in the format " + p.Name,
		Description: p.Description, Security: []map[string][]string{},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/json": {Schema: &huma.Schema{Type: huma.TypeObject}, Examples: examples}}},
		Responses: map[string]*huma.Response{}}
	for _, name := range p.Headers {
		if lower := strings.ToLower(name); lower != "content-type" && lower != "user-agent" {
			op.Parameters = append(op.Parameters, &huma.Param{Name: name, In: "header", Required: true, Schema: &huma.Schema{Type: huma.TypeString}})
		}
	}
	op.Parameters = append(op.Parameters, &huma.Param{Name: hook.LoopHeader, In: "header", Required: true, Schema: &huma.Schema{Type: huma.TypeString},
		Description: "The installation that sent the request (RFC 8586), in every format."})
	success := "2XX"
	if len(p.Policy.Success) == 1 && p.Policy.Success[0].From == p.Policy.Success[0].To {
		success = strconv.Itoa(p.Policy.Success[0].From)
	}
	op.Responses[success] = &huma.Response{Description: "The receiver has the event. It is not sent again."}
	if p.Policy.GoneDisables {
		op.Responses["410"] = &huma.Response{Description: "The receiver wants no more events: the endpoint is disabled."}
	}
	op.Responses["default"] = &huma.Response{Description: "Everything else, redirects included, is a failure: the event is sent again by the retry plan."}
	return op
}

// parametersOf returns the parameters of an operation, those of the path first.
func parametersOf(op *huma.Operation) []*huma.Param {
	all := slices.Clone(op.Parameters)
	place := map[string]int{"path": 0, "query": 1, "header": 2}
	slices.SortStableFunc(all, func(a, b *huma.Param) int { return place[a.In] - place[b.In] })
	return all
}
