package typefile

import (
	"fmt"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func parse(t *testing.T, text string) *yaml.Node {
	t.Helper()
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(text), &n); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return &n
}

func inYAML(t *testing.T, n *yaml.Node) string {
	t.Helper()
	if n == nil {
		return ""
	}
	text, err := yaml.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

const paper = `
openapi: 3.1.0
webhooks:
  payment.settled:
    post:
      summary: S
      description: Money has arrived.
      tags: [Payments, More]
      deprecated: true
      requestBody: {$ref: '#/components/requestBodies/Settled'}
  tree.grown:
    $ref: '#/components/pathItems/Tree'
  bare:
    put: {summary: Only words}
components:
  pathItems:
    Tree:
      post:
        requestBody:
          content:
            text/plain: {schema: {type: string}}
            application/cloudevents+json; charset=utf-8:
              schema: {$ref: '#/components/schemas/Tree'}
  requestBodies:
    Settled:
      content:
        application/json:
          examples:
            one: {$ref: '#/components/examples/One'}
          schema:
            allOf:
              - {$ref: '#/components/schemas/Envelope'}
              - properties: {data: {$ref: '#/components/schemas/Payment'}}
  examples:
    One: {value: {type: payment.settled, data: {id: pay_1}}}
  schemas:
    Envelope: {type: object, properties: {type: {type: string}}}
    Payment:
      type: object
      required: [id]
      properties:
        id: {type: string, enum: [{$ref: 'not a reference'}]}
        $ref: {type: string}
        amount: {$ref: '#/components/schemas/Envelope/properties/type'}
    Tree:
      type: object
      properties: {left: {$ref: '#/components/schemas/Tree'}, right: {$ref: '#/components/schemas/Tree'}}
      examples: [{left: {}}]
`

func TestWebhooksOfADocument(t *testing.T) {
	list, err := Webhooks(parse(t, paper), "")
	if err != nil || len(list) != 3 {
		t.Fatal(list, err)
	}
	settled, tree, bare := list[0], list[1], list[2]
	if settled.Name != "payment.settled" || settled.Description != "Money has arrived." || settled.Group != "Payments" || !settled.Deprecated || settled.Line != 4 {
		t.Errorf("%+v", settled)
	}
	if bare.Description != "Only words" || bare.Schema != nil || bare.Example != nil {
		t.Errorf("%+v", bare)
	}
	if got, want := inYAML(t, tree.Schema), `$ref: '#/$defs/Tree'
$defs:
    Tree:
        type: object
        properties:
            left:
                $ref: '#/$defs/Tree'
            right:
                $ref: '#/$defs/Tree'
        examples: [{left: {}}]`; got != want {
		t.Errorf("a schema that contains itself:\n%s", got)
	}
	if got := inYAML(t, tree.Example); got != "{left: {}}" {
		t.Errorf("example %s", got)
	}
	list, err = Webhooks(parse(t, strings.Split(paper, "  tree.grown:")[0]+"components:"+strings.SplitN(paper, "components:", 2)[1]), "data")
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	if got, want := inYAML(t, list[0].Schema), `$ref: '#/$defs/Payment'
$defs:
    Payment:
        type: object
        required:
            - id
        properties:
            id:
                type: string
                enum: [{$ref: 'not a reference'}]
            $ref:
                type: string
            amount:
                $ref: '#/$defs/Envelope.properties.type'
    Envelope.properties.type:
        type: string`; got != want {
		t.Errorf("schema of the data:\n%s", got)
	}
	if got := inYAML(t, list[0].Example); got != "{id: pay_1}" {
		t.Errorf("example of the data: %s", got)
	}
}

func TestDocumentsThatAreRefused(t *testing.T) {
	hook := func(schema string) string {
		return "openapi: 3.1.0\nwebhooks: {a: {post: {requestBody: {content: {application/json: {schema: " + schema + "}}}}}}\n"
	}
	wide := hook("{properties: {" + strings.Repeat("p: {type: string}, ", 9_999) + "}}")
	for text, want := range map[string]string{
		"swagger: '2.0'":                     `no member "openapi"`,
		"[]":                                 `no member "openapi"`,
		"openapi: 3.0.3":                     `line 1: OpenAPI "3.0.3": only 3.1`,
		"openapi: 3.10.0":                    "only 3.1",
		"openapi: 3.1.0":                     "has no webhooks",
		"{openapi: 3.1.0, webhooks: []}":     "has no webhooks",
		"{openapi: 3.1.0, webhooks: {a: 1}}": `webhook "a": line 1: it has no "post"`,
		"{openapi: 3.1.0, webhooks: {a: {get: {}}}}":                            `it has no "post"`,
		"{openapi: 3.1.0, webhooks: {a: {$ref: x.yaml}}}":                       "leads out of the document",
		"{openapi: 3.1.0, webhooks: {a: {$ref: '#/webhooks/a'}}}":               "do they lead back to themselves?",
		"{openapi: 3.1.0, webhooks: {a: {$ref: '#/components/none'}}}":          "points nowhere",
		hook("{$ref: 'https://example.com/s.json'}"):                            `line 2: $ref "https://example.com/s.json" leads out of the document`,
		hook("{$ref: 'file:///etc/passwd'}"):                                    "leads out of the document",
		hook("{items: {$ref: other.yaml#/x}}"):                                  "leads out of the document",
		hook("{$ref: '#Payment'}"):                                              "only references with a path",
		hook("{$ref: '#/webhooks/a/post/0'}"):                                   "points nowhere",
		hook("{$id: 'https://example.com/'}"):                                   "$id is not read",
		hook("{$dynamicRef: '#x'}"):                                             "$dynamicRef is not read",
		hook(strings.Repeat("{items: ", 101) + "{}" + strings.Repeat("}", 101)): "nested more than 100 levels",
		wide: "more than 10000 parts",
		"openapi: 3.1.0\nwebhooks:\n" + many("  h%d: {}\n", 1001): "more than 1000 webhooks",
	} {
		if _, err := Webhooks(parse(t, text), ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.120s: %v, want %q", text, err, want)
		}
	}
	if _, err := Webhooks(parse(t, hook("{properties: {id: {}}}")), "data"); err == nil || !strings.Contains(err.Error(), `no member "data"`) {
		t.Error(err)
	}
	if _, err := Webhooks(parse(t, hook("{$ref: '#/components/schemas/A'}")+"components: {schemas: {A: {$ref: '#/components/schemas/A'}}}"), "data"); err == nil || !strings.Contains(err.Error(), "back to themselves") {
		t.Error(err)
	}
	// Few bytes must not become many: 500 webhooks with the same large schema.
	large := "components: {schemas: {L: {enum: [" + strings.Repeat("1, ", 9_900) + "]}}}\n"
	refs := many("  h%d: {post: {requestBody: {content: {application/json: {schema: {$ref: '#/components/schemas/L'}}}}}}\n", 500)
	if _, err := Webhooks(parse(t, "openapi: 3.1.0\nwebhooks:\n"+refs+large), ""); err == nil || !strings.Contains(err.Error(), "all webhooks have more than 500000 parts") {
		t.Error(err)
	}
	// Nor may few become many steps: a schema that is made of itself, 20 times.
	self := "components: {schemas: {A: {allOf: [" + strings.Repeat("{$ref: '#/components/schemas/A'}, ", 20) + "]}}}"
	if _, err := Webhooks(parse(t, hook("{$ref: '#/components/schemas/A'}")+self), "data"); err == nil || !strings.Contains(err.Error(), "more than 500000 parts") {
		t.Error(err)
	}
}

func many(line string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, line, i)
	}
	return b.String()
}
