package cli

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/server/servertest"
	"github.com/posthorn/posthorn/internal/typefile"
)

// What is written is read back as it was, whatever the texts and numbers are.
func TestFilesOfTypesAreReadBack(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	words := []string{"", "a", "true", "null", "~", "1e400", "0x10", "-1", "2026-01-31", "a: b", "# no", "- x", "<<", "=", "*", "&a", "!t", "'", `"`, "\n", " x ", "x\ny\n", "\t", "é€😀", "\u2028", "\ufeff", "\x00", "<&>", "{}", "[a]", "%", "@", "`", ".inf", "yes", "1_000", "0o7", "0.10", "12:30"}
	numbers := []string{"0", "-0", "1e400", "1.50", "12345678901234567890.5", "-1e-9", "1E5"}
	var value func(depth int) string
	text := func() string {
		s, _ := json.Marshal(words[random.IntN(len(words))] + words[random.IntN(len(words))])
		return string(s)
	}
	value = func(depth int) string {
		switch n := random.IntN(8); {
		case n < 2 && depth < 5:
			var members []string
			for i := range random.IntN(4) {
				members = append(members, fmt.Sprintf(`"%d%s:%s`, i, text()[1:], value(depth+1)))
			}
			return "{" + strings.Join(members, ",") + "}"
		case n < 3 && depth < 5:
			var items []string
			for range random.IntN(4) {
				items = append(items, value(depth+1))
			}
			return "[" + strings.Join(items, ",") + "]"
		case n < 5:
			return numbers[random.IntN(len(numbers))]
		case n < 6:
			return []string{"true", "false", "null"}[random.IntN(3)]
		}
		return text()
	}
	for i := range 300 {
		one := client.NewEventType{Name: fmt.Sprintf("t%d", i), Description: words[random.IntN(len(words))], Schema: json.RawMessage(`{"a":` + value(0) + `}`), Hidden: i%2 == 0,
			OtherVersions: []client.EventTypeVersion{{Version: 7, Example: json.RawMessage(`{` + text() + `:` + value(0) + `}`)}}}
		written, err := typefile.Write([]client.NewEventType{one})
		if err != nil {
			t.Fatal(err)
		}
		read, err := readTypes(written)
		if err != nil || len(read) != 1 {
			t.Fatalf("%v\n%s", err, written)
		}
		if !equalJSON(t, one, read[0]) {
			t.Fatalf("read %+v\nwritten\n%s", read[0], written)
		}
	}
	if list, err := typefile.Write(nil); err != nil || string(list) != "event_types: []\n" {
		t.Errorf("%q, %v", list, err)
	}
}

// equalJSON compares two types as JSON: numbers as they are spelt.
func equalJSON(t *testing.T, a, b client.NewEventType) bool {
	t.Helper()
	text := func(v client.NewEventType) string {
		out, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	return text(a) == text(b)
}

// The catalogue goes into a file and back without a difference, also into another one.
func TestCatalogueToAFileAndBack(t *testing.T) {
	s := newShell(t)
	dir := t.TempDir()
	servertest.WriteFile(t, dir, "types.yaml", `event_types:
  - name: payment.settled
    group: Payments
    description: "Money: <arrived>\n# twice"
    check: reject
    version: 2
    schema: {type: object, required: [id], properties: {amount: {maximum: 1e400}}}
    example: {id: "1e5", z: 1.50, a: null}
    searchable: {payment: /id, total: /a~1b}
    other_versions:
      - {version: 3, schema: {type: object}}
      - {version: 1, example: {}}
  - {name: orders/old, deprecated: true, replacement: payment.settled, hidden: true}
`)
	file := filepath.Join(dir, "types.yaml")
	servertest.Contains(t, s.OK("event-type", "apply", "-f", file), "created    payment.settled", "created    orders/old")
	out := filepath.Join(dir, "out.yaml")
	s.OK("event-type", "export", "-o", out)
	for _, name := range []string{file, out} {
		if got := s.OK("event-type", "apply", "-f", name); strings.Count(got, "unchanged") != 2 {
			t.Errorf("%s again: %s %s", name, got, s.get("/v1/event-types/payment.settled"))
		}
	}
	first := s.OK("event-type", "export")
	before := s.get("/v1/event-types/payment.settled")
	s.OK("event-type", "delete", "payment.settled", "--yes")
	s.OK("event-type", "delete", "orders/old", "--yes")
	s.OK("event-type", "apply", "-f", out)
	if diff := cmp.Diff(first, s.OK("event-type", "export")); diff != "" {
		t.Error(diff)
	}
	if after := s.get("/v1/event-types/payment.settled"); len(after) != len(before) {
		t.Errorf("before %s\nafter  %s", before, after)
	}
	if got := s.OK("event-type", "export", "--group", "Payments"); !strings.Contains(got, "payment.settled\n") || strings.Contains(got, "name: orders/old") {
		t.Error(got)
	}
	servertest.Contains(t, s.OK("event-type", "diff", "payment.settled", "--from", "2", "--to", "3"), "version 2 to 3", "breaking", "/id", "may be left out now")
	servertest.Contains(t, squeezed(s.OK("event-type", "subscribers", "payment.settled")), "endpoints 0")
}

func TestImportOfWebhooks(t *testing.T) {
	s := newShell(t)
	dir := t.TempDir()
	paper := `openapi: 3.1.0
webhooks:
  payment.settled:
    post:
      description: Money has arrived.
      tags: [Payments]
      requestBody:
        content:
          application/json:
            example: {type: payment.settled, data: {id: pay_1}}
            schema:
              properties: {data: {$ref: '#/components/schemas/Payment'}}
components:
  schemas:
    Payment: {type: object, required: [id%s], properties: {id: {type: string}, parent: {$ref: '#/components/schemas/Payment'}}}
`
	file := filepath.Join(dir, "openapi.yaml")
	servertest.WriteFile(t, dir, "openapi.yaml", fmt.Sprintf(paper, ""))
	run := []string{"event-type", "import", file, "--member", "data"}
	servertest.Contains(t, s.OK(append(run, "--dry-run")...), "created    payment.settled")
	if got := s.OK("event-type", "export"); got != "event_types: []\n" {
		t.Errorf("after a dry run: %s", got)
	}
	if _, errOut, code := invoke(t, "", run...); code != exit.Usage || !strings.Contains(errOut, "add --yes") {
		t.Errorf("without a terminal: %d %s", code, errOut)
	}
	s.OK(append(run, "--yes")...)
	s.OK("event-type", "update", "payment.settled", "--check", "reject", "--hidden")
	servertest.Contains(t, s.OK(append(run, "--yes")...), "unchanged  payment.settled")

	servertest.WriteFile(t, dir, "openapi.yaml", fmt.Sprintf(paper, ", parent"))
	servertest.Contains(t, s.OK(append(run, "--new-version", "--dry-run")...), "changed    payment.settled  version 1 to 2", "compatible", "/parent", "always there now")
	s.OK(append(run, "--new-version", "--yes")...)
	var got client.EventType
	if err := json.Unmarshal([]byte(s.get("/v1/event-types/payment.settled")), &got); err != nil {
		t.Fatal(err)
	}
	if got.Version != 2 || len(got.OtherVersions) != 1 || got.Check != "reject" || !got.Hidden || got.Group != "Payments" || string(got.Example) != `{"id":"pay_1"}` || !strings.Contains(string(got.Schema), `["id","parent"]`) {
		t.Errorf("%+v", got)
	}

	for text, want := range map[string]string{
		"{openapi: 3.1.0, webhooks: {a b: {post: {}}}}":                                                                                `line 1: the webhook "a b" cannot name an event type`,
		"{openapi: 3.1.0, webhooks: {a: {post: {}}, a: {post: {}}}}":                                                                   "there twice",
		"{openapi: 3.1.0, webhooks: {a: {post: {requestBody: {content: {application/json: {schema: {type: objekt}}}}}}}}":              "cannot be used",
		"{openapi: 3.1.0, webhooks: {a: {post: {requestBody: {content: {application/json: {schema: {$ref: 'http://127.0.0.1/'}}}}}}}}": "nothing is loaded",
		"{openapi: 3.1.0, webhooks: {a: &x {post: {requestBody: {content: {application/json: {schema: {items: *x}}}}}}}}":              "anchors",
		"a: [":                              "not YAML",
		strings.Repeat("# filler\n", 1<<20): "longer than 4194304 bytes", // 9 MB
	} {
		servertest.WriteFile(t, dir, "bad.yaml", text)
		_, errOut, code := invoke(t, "", "event-type", "import", filepath.Join(dir, "bad.yaml"), "--dry-run")
		if code != exit.Usage || !strings.Contains(errOut, want) {
			t.Errorf("%.80q: exit code %d, %s; want %q", text, code, errOut, want)
		}
	}
}
