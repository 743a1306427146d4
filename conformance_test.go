package posthorn_test

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The pages in docs/conformance name the tests that prove each fact. This test compares the
// pages with the tree. It fails if a page refers to something that does not exist, or omits
// something.

// claim is one row of a page.
type claim struct {
	at, id, fact, source, proof string
}

var (
	factID      = regexp.MustCompile(`^([A-Z]+-C?)([0-9]+)$`)
	inBackticks = regexp.MustCompile("`([^`]+)`")
	testRef     = regexp.MustCompile(`^([a-z][a-z0-9/]*)\.((?:Test|Fuzz|Example)\w*)(?:/(.+))?$`)
	settingRef  = regexp.MustCompile(`^([a-z0-9-]+\.yaml): (\S+) = (.+)$`)
	flagRef     = regexp.MustCompile(`^--([a-z-]+) = (.+)$`)
)

// readClaims parses the rows of a page. Every row of a table is a claim, except for the
// header and the line below it.
func readClaims(page, text string) (claims []claim, findings []string) {
	number, head := 0, true
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			head = true
			continue
		}
		if head || strings.HasPrefix(line, "| ---") {
			head = false
			continue
		}
		at := fmt.Sprintf("%s:%d", page, number)
		cells := strings.Split(strings.Trim(line, "|"), " | ")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) != 4 || !factID.MatchString(cells[0]) || slices.Contains(cells, "") {
			findings = append(findings, at+": a row is an id, a fact, a source and a proof")
			continue
		}
		claims = append(claims, claim{at, cells[0], cells[1], cells[2], cells[3]})
	}
	return claims, findings
}

// readInventory parses the ids of the list of facts.
func readInventory(text string) (ids []string, findings []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		id, words, _ := strings.Cut(line, " ")
		if !factID.MatchString(id) || words == "" {
			findings = append(findings, "facts.txt: "+strconv.Quote(line)+" is no id with a few words")
			continue
		}
		ids = append(ids, id)
	}
	return ids, findings
}

// checkNumbers requires that the ids of each kind run from 1 on without gaps.
func checkNumbers(claims []claim) (findings []string) {
	last := map[string]int{}
	for _, c := range claims {
		m := factID.FindStringSubmatch(c.id)
		n, _ := strconv.Atoi(m[2]) // digits only
		if n != last[m[1]]+1 {
			findings = append(findings, fmt.Sprintf("%s: %s comes after number %d", c.at, c.id, last[m[1]]))
		}
		last[m[1]] = n
	}
	return findings
}

// checkInventory requires that the pages and the list contain the same facts, each once.
func checkInventory(claims []claim, ids []string) (findings []string) {
	rows, listed := map[string]int{}, map[string]int{}
	for _, c := range claims {
		if rows[c.id]++; rows[c.id] == 2 {
			findings = append(findings, c.at+": "+c.id+" stands twice")
		}
	}
	for _, id := range ids {
		if listed[id]++; listed[id] == 2 {
			findings = append(findings, "facts.txt: "+id+" stands twice")
		}
		if rows[id] == 0 {
			findings = append(findings, "facts.txt: "+id+" has no row")
		}
	}
	for _, c := range claims {
		if listed[c.id] == 0 {
			findings = append(findings, c.at+": "+c.id+" is not in facts.txt")
		}
	}
	return findings
}

// evidence is what the tree contains.
type evidence struct {
	tests    map[string]bool            // "package.TestName"
	texts    map[string]map[string]bool // string literals by package
	settings map[string]*yaml.Node      // built-in profiles by file
	flags    map[string]string          // defaults as written in the source
}

// checkProof requires that everything a row refers to exists, or that the row states that
// there is no proof, and why.
func (e *evidence) checkProof(c claim) (findings []string) {
	for _, honest := range []string{"not proved: ", "not built: "} {
		if reason, ok := strings.CutPrefix(c.proof, honest); ok {
			if len(reason) < 20 {
				findings = append(findings, c.at+": "+c.id+" does not say why")
			}
			return findings
		}
	}
	refs := inBackticks.FindAllStringSubmatch(c.proof, -1)
	if rest := inBackticks.ReplaceAllString(c.proof, ""); len(refs) == 0 || strings.Trim(rest, ", ") != "" {
		return []string{c.at + ": " + c.id + " leans on nothing that can be looked up"}
	}
	for _, ref := range refs {
		if wrong := e.lookUp(ref[1]); wrong != "" {
			findings = append(findings, c.at+": "+c.id+": "+wrong)
		}
	}
	return findings
}

// lookUp returns what is wrong with one reference.
func (e *evidence) lookUp(ref string) string {
	if m := testRef.FindStringSubmatch(ref); m != nil {
		switch {
		case !e.tests[m[1]+"."+m[2]]:
			return "there is no test " + m[1] + "." + m[2]
		case m[3] != "" && !e.has(m[1], m[3]):
			return "there is no case " + strconv.Quote(m[3]) + " in " + m[1]
		}
		return ""
	}
	if m := settingRef.FindStringSubmatch(ref); m != nil {
		root := e.settings[m[1]]
		if root == nil {
			return "there is no profile " + m[1]
		}
		if got := setting(root, strings.Split(m[2], ".")); got != m[3] {
			return m[1] + ": " + m[2] + " is " + got + ", not " + m[3]
		}
		return ""
	}
	if m := flagRef.FindStringSubmatch(ref); m != nil {
		if got, known := e.flags[m[1]]; !known || got != m[2] {
			return "--" + m[1] + " is " + strconv.Quote(got) + ", not " + m[2]
		}
		return ""
	}
	return strconv.Quote(ref) + " is no test, setting or option"
}

// has reports whether a text is a string literal in the package or below it.
func (e *evidence) has(room, text string) bool {
	for dir, texts := range e.texts {
		if (dir == room || strings.HasPrefix(dir, room+"/")) && texts[text] {
			return true
		}
	}
	return false
}

// setting returns a scalar by its path.
func setting(n *yaml.Node, path []string) string {
	if len(path) == 0 {
		return n.Value
	}
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == path[0] {
			return setting(n.Content[i+1], path[1:])
		}
	}
	return "(absent)"
}

// note records the evidence in one file of the tree.
func (e *evidence) note(s *source) {
	if e.texts[s.dir()] == nil {
		e.texts[s.dir()] = map[string]bool{}
	}
	for _, d := range s.file.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && s.test && fn.Recv == nil {
			e.tests[s.dir()+"."+fn.Name.Name] = true
		}
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			if text, err := strconv.Unquote(n.Value); n.Kind == token.STRING && err == nil {
				e.texts[s.dir()][text] = true
			}
		case *ast.CallExpr: // f.IntVar(&c.Limit, "name", default, ...)
			if s.path != "internal/server/config.go" || len(n.Args) < 4 {
				break
			}
			if lit, ok := n.Args[1].(*ast.BasicLit); ok && lit.Kind == token.STRING {
				name, _ := strconv.Unquote(lit.Value) // already parsed, so it is valid
				e.flags[name] = types.ExprString(n.Args[2])
			}
		}
		return true
	})
}

var caseName = regexp.MustCompile(`(?m)^\s*"name": ("(?:[^"\\]|\\.)*")`)

// noteData records the names of the cases in testdata, and the profiles.
func (e *evidence) noteData(t *testing.T) {
	t.Helper()
	vectors, err := filepath.Glob("*/testdata/*.json")
	if err != nil || len(vectors) == 0 {
		t.Fatalf("no cases in testdata: %v", err)
	}
	for _, path := range vectors {
		for _, m := range caseName.FindAllStringSubmatch(read(t, path), -1) {
			name, _ := strconv.Unquote(m[1])
			e.texts[strings.Split(filepath.ToSlash(path), "/")[0]][name] = true
		}
	}
	files, err := filepath.Glob("internal/profile/builtin/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no built-in profiles: %v", err)
	}
	for _, path := range files {
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(read(t, path)), &doc); err != nil {
			t.Fatal(err)
		}
		e.settings[filepath.Base(path)] = doc.Content[0]
	}
}

func newEvidence() *evidence {
	return &evidence{map[string]bool{}, map[string]map[string]bool{}, map[string]*yaml.Node{}, map[string]string{}}
}

func TestConformancePages(t *testing.T) {
	e := newEvidence()
	for _, s := range checkout(t) {
		e.note(s)
	}
	e.noteData(t)
	pages, err := filepath.Glob("docs/conformance/*.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []claim
	for _, page := range pages {
		if filepath.Base(page) == "README.md" {
			continue
		}
		claims, findings := readClaims(page, read(t, page))
		report(t, findings)
		if len(claims) < 20 {
			t.Errorf("%s has %d rows", page, len(claims))
		}
		all = append(all, claims...)
	}
	ids, findings := readInventory(read(t, "docs/conformance/facts.txt"))
	report(t, findings)
	report(t, checkNumbers(all))
	report(t, checkInventory(all, ids))
	proved := 0
	for _, c := range all {
		report(t, e.checkProof(c))
		if !strings.HasPrefix(c.proof, "not ") {
			proved++
		}
	}
	t.Logf("%d facts, %d with a proof", len(all), proved)
}

// Every mark that rows use is explained, and every explained mark is used.
func TestConformanceMarks(t *testing.T) {
	known := map[string]bool{}
	for _, row := range tableAfter(read(t, "docs/conformance/README.md"), "mark", "source") {
		mark, _, _ := strings.Cut(row[0], ":")
		known[mark] = false
	}
	for _, page := range []string{"docs/conformance/paysway.md", "docs/conformance/paywise.md"} {
		claims, _ := readClaims(page, read(t, page)) // the other test reports the findings
		for _, c := range claims {
			for i, mark := range strings.Split(c.source, ", ") {
				mark, _, isPage := strings.Cut(mark, ":")
				if _, ok := known[mark]; ok {
					known[mark] = true
				} else if i == 0 || isPage || !strings.Contains(c.source, "P: ") { // further pages of one P
					t.Errorf("%s: %s has the mark %q", c.at, c.id, mark)
				}
			}
		}
	}
	for mark, used := range known {
		if !used {
			t.Errorf("README.md explains %q, which no row has", mark)
		}
	}
}

// Every rule detects what it is meant to detect.
func TestConformanceRulesCanFail(t *testing.T) {
	e := newEvidence()
	for name, text := range map[string]string{
		"room/a_test.go":             "package room\nfunc TestA(t *testing.T) { t.Run(\"case one\", nil); _ = `\"quoted\"` }\nfunc (x y) TestMethod() {}\n",
		"room/below/cases.go":        "package below\nvar names = []string{\"case below\"}\nfunc TestNot() {}\n",
		"roommate/b_test.go":         "package roommate\nvar name = \"case of another\"\n",
		"internal/server/config.go":  "package server\nfunc flags() { f.IntVar(&c.N, \"limit\", 20, \"about\"); f.StringVar(&c.S, \"name\", \"x\", \"about\") }\n",
		"internal/server/another.go": "package server\nfunc other() { f.IntVar(&c.N, \"stray\", 1, \"about\") }\n",
	} {
		s, err := parse(name, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		e.note(s)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte("retry:\n  first: 10s\nsuccess: 200\n"), &doc); err != nil {
		t.Fatal(err)
	}
	e.settings["a.yaml"] = doc.Content[0]
	const head = "| id | fact | source | proof |\n| --- | --- | --- | --- |\n"
	for _, c := range []struct{ rows, list, want string }{
		{"| X-1 | f | S0 | `room.TestA` |", "X-1 a", ""},
		{"| X-1 | f | S0 | `room.TestA/case one`, `room.TestA/case below`, `room.TestA/\"quoted\"` |", "X-1 a", ""},
		{"| X-1 | f | S0 | `a.yaml: retry.first = 10s`, `a.yaml: retry.cap = (absent)`, `--limit = 20`, `--name = \"x\"` |", "# about\n\nX-1 a", ""},
		{"| X-1 | f | S0 | not built: there is something else |\n| X-2 | f | S0 | `room.TestA` |\n| Y-C01 | f | MUST | `room.TestA` |", "X-1 a\nX-2 b\nY-C01 c", ""},
		{"| X-1 | f | S0 | `room.TestB` |", "X-1 a", "no test room.TestB"},
		{"| X-1 | f | S0 | `room.TestMethod` |", "X-1 a", "no test room.TestMethod"},
		{"| X-1 | f | S0 | `room/below.TestNot` |", "X-1 a", "no test room/below.TestNot"},
		{"| X-1 | f | S0 | `roommate.TestA` |", "X-1 a", "no test roommate.TestA"},
		{"| X-1 | f | S0 | `room.TestA/case two` |", "X-1 a", `no case "case two"`},
		{"| X-1 | f | S0 | `room.TestA/case of another` |", "X-1 a", `no case "case of another"`},
		{"| X-1 | f | S0 | `room.TestA`, `room.TestB` |", "X-1 a", "no test room.TestB"},
		{"| X-1 | f | S0 | `a.yaml: retry.first = 11s` |", "X-1 a", "is 10s, not 11s"},
		{"| X-1 | f | S0 | `a.yaml: success = (absent)` |", "X-1 a", "is 200"},
		{"| X-1 | f | S0 | `b.yaml: success = 200` |", "X-1 a", "no profile b.yaml"},
		{"| X-1 | f | S0 | `--limit = 21` |", "X-1 a", "not 21"},
		{"| X-1 | f | S0 | `--stray = 1` |", "X-1 a", "--stray"},
		{"| X-1 | f | S0 | `TestA` |", "X-1 a", "no test, setting or option"},
		{"| X-1 | f | S0 | by looking |", "X-1 a", "looked up"},
		{"| X-1 | f | S0 | `room.TestA` and luck |", "X-1 a", "looked up"},
		{"| X-1 | f | S0 | not proved: later |", "X-1 a", "does not say why"},
		{"| X-1 | f | S0 | |", "X-1 a", "a row is"},
		{"| X-1 | f | `room.TestA` |", "X-1 a", "a row is"},
		{"| one | f | S0 | `room.TestA` |", "", "a row is"},
		{"| X-2 | f | S0 | `room.TestA` |", "X-2 a", "comes after number 0"},
		{"| X-1 | f | S0 | `room.TestA` |\n| X-3 | f | S0 | `room.TestA` |", "X-1 a\nX-3 b", "comes after number 1"},
		{"| X-1 | f | S0 | `room.TestA` |\n| X-1 | f | S0 | `room.TestA` |", "X-1 a", "stands twice"},
		{"| X-1 | f | S0 | `room.TestA` |", "X-1 a\nX-1 a", "stands twice"},
		{"| X-1 | f | S0 | `room.TestA` |", "X-1 a\nX-2 b", "X-2 has no row"},
		{"| X-1 | f | S0 | `room.TestA` |", "", "not in facts.txt"},
		{"| X-1 | f | S0 | `room.TestA` |", "X-1", "no id with a few words"},
	} {
		claims, findings := readClaims("page", "# Title\n\n"+head+c.rows+"\n")
		ids, wrong := readInventory(c.list)
		findings = append(append(findings, wrong...), append(checkNumbers(claims), checkInventory(claims, ids)...)...)
		for _, row := range claims {
			findings = append(findings, e.checkProof(row)...)
		}
		if text := strings.Join(findings, "\n"); (c.want == "") != (text == "") || !strings.Contains(text, c.want) {
			t.Errorf("%s with %q: %q, want %q", c.rows, c.list, text, c.want)
		}
	}
}
