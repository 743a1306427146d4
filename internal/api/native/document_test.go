package native_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/profile"
	"github.com/posthorn/posthorn/internal/store"
)

var update = flag.Bool("update", false, "write docs/openapi.json anew")

// document is the part of the OpenAPI document that the tests read.
type document struct {
	OpenAPI string
	Tags    []struct{ Name, Description string }
	Paths   map[string]map[string]struct {
		OperationID string
		Tags        []string
		Security    *[]any
		Parameters  []struct{ Name, In string }
		Responses   map[string]json.RawMessage
	}
	Webhooks map[string]struct {
		Post struct {
			RequestBody struct {
				Content map[string]struct {
					Examples map[string]struct{ Value json.RawMessage }
				}
			}
		}
	}
	Components struct {
		Schemas map[string]struct {
			Required             []string
			AdditionalProperties any
		}
	}
}

func (h *testAPI) document() document {
	h.t.Helper()
	return want[document](h, 200, call{"GET", "/openapi.json", "", nil, nil})
}

// routes returns the documented routes as "METHOD /path".
func (d document) routes() []string {
	var out []string
	for path, methods := range d.Paths {
		for method := range methods {
			if strings.HasPrefix(path, "/v1/listen") {
				continue // of another HTTP adapter, which has its own isolation test
			}
			out = append(out, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(out)
	return out
}

// The committed copy is what others read and compare: a change of the API appears as a
// change of that file. To update it, run go test ./internal/api/native -run OpenAPI
// -update.
func TestOpenAPIIsTheCommittedCopy(t *testing.T) {
	h := newTestAPI(t)
	const path = "../../../docs/openapi.json"
	var now bytes.Buffer
	if err := json.Indent(&now, h.do(call{"GET", "/openapi.json", "", nil, nil}).Body.Bytes(), "", "  "); err != nil {
		t.Fatal(err)
	}
	now.WriteByte('\n')
	if *update {
		if err := os.WriteFile(path, now.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(kept), now.String()); diff != "" {
		t.Errorf("docs/openapi.json is not what the server says; run with -update and look at the change:\n%s", diff)
	}
}

func TestOpenAPIDocument(t *testing.T) {
	doc := newTestAPI(t).document()
	if doc.OpenAPI != "3.1.0" {
		t.Error(doc.OpenAPI)
	}
	tags := map[string]bool{}
	for _, tag := range doc.Tags {
		if tags[tag.Name] || tag.Description == "" {
			t.Errorf("tag %q: declared twice, or without a description", tag.Name)
		}
		tags[tag.Name] = true
	}
	ids := map[string]string{}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			route := method + " " + path
			if op.OperationID == "" || ids[op.OperationID] != "" || len(op.Tags) != 1 || !tags[op.Tags[0]] {
				t.Errorf("%s: operationId %q (also of %q), tags %v", route, op.OperationID, ids[op.OperationID], op.Tags)
			}
			ids[op.OperationID] = route
			open := op.Security != nil && len(*op.Security) == 0
			if open == strings.HasPrefix(path, "/v1/") {
				t.Errorf("%s: needs no key: %v", route, open)
			}
			for _, status := range []string{"401", "403", "default"} {
				if _, ok := op.Responses[status]; !ok && !open {
					t.Errorf("%s does not document %s", route, status)
				}
			}
		}
	}
	for name, required := range map[string][]string{"NewEvent": {"type", "data"}, "NewEndpoint": {"url", "event_types"},
		"EndpointPatch": nil, "NewTenant": nil, "NewEventType": {"name"}, "Resend": nil} {
		if diff := cmp.Diff(required, doc.Components.Schemas[name].Required); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	for name, closed := range map[string]bool{"NewEvent": true, "NewEndpoint": true, "EndpointPatch": true, "Endpoint": false, "Delivery": false,
		"Attempt": false, "Problem": false, "Retry": false, "PageEndpoint": false, "Explanation": false, "RecentStats": false} {
		if schema, ok := doc.Components.Schemas[name]; !ok || (schema.AdditionalProperties == false) != closed {
			t.Errorf("%s: there %v, additionalProperties %v, want it closed: %v", name, ok, schema.AdditionalProperties, closed)
		}
	}
}

func TestWebhooksOfTheDocument(t *testing.T) {
	doc := newTestAPI(t).document()
	for _, name := range profile.Builtin().Names() {
		p, _ := profile.Builtin().Get(name)
		examples := doc.Webhooks[name].Post.RequestBody.Content["application/json"].Examples
		if len(examples) != len(p.Catalogue()) || len(examples) == 0 && name != "standard" && name != "svix" {
			t.Errorf("%s: %d examples for %d types", name, len(examples), len(p.Catalogue()))
		}
		for _, known := range p.Catalogue() {
			var body map[string]any
			if err := json.Unmarshal(examples[known.Name].Value, &body); err != nil || len(body) == 0 {
				t.Errorf("%s, %s: %v: %s", name, known.Name, err, examples[known.Name].Value)
			}
		}
	}
}

// hostile is a profile whose texts try to break out of their place in the page.
const hostile = `
name: hostile
description: "</p><script src=//evil.example></script><img src=x onerror=alert(1)>"
`

func TestReferencePage(t *testing.T) {
	set := profile.Builtin()
	p, ok := set.Get("standard")
	if !ok {
		t.Fatal("no profile to start from")
	}
	_, text, _ := strings.Cut(string(p.Text()), "description:")
	_, rest, _ := strings.Cut(text, "\n")
	evil, err := profile.Load("hostile.yaml", []byte(hostile+rest))
	if err != nil {
		t.Fatal(err)
	}
	if err := set.Add(evil); err != nil {
		t.Fatal(err)
	}
	h := newTestAPI(t, func(o *app.Options, _ *store.Options) { o.Profiles = set })
	w := h.do(call{"GET", "/docs", "", nil, nil})
	page := w.Body.String()
	policy := w.Header().Get("Content-Security-Policy")
	if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") || !strings.HasPrefix(policy, "default-src 'none'") ||
		strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") {
		t.Errorf("%d %s %s", w.Code, w.Header().Get("Content-Type"), policy)
	}
	for path, methods := range h.document().Paths {
		for method, op := range methods {
			if !strings.Contains(page, `id="`+op.OperationID+`"`) || !strings.Contains(page, path) {
				t.Errorf("%s %s is not on the page", method, path)
			}
		}
	}
	for _, bad := range []string{"<script", "<img", "onerror=alert(1)>", "//cdn", "style="} {
		if strings.Contains(page, bad) {
			t.Errorf("the page holds %s", bad)
		}
	}
	if !strings.Contains(page, "&lt;script src=//evil.example&gt;") { // control: the hostile text is there, as text
		t.Error("the hostile description is not on the page")
	}
	if css := h.do(call{"GET", "/docs/style.css", "", nil, nil}); css.Code != 200 || !strings.HasPrefix(css.Header().Get("Content-Type"), "text/css") {
		t.Errorf("style sheet: %d %s", css.Code, css.Header().Get("Content-Type"))
	}
}
