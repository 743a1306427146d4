// Package posthorn_test enforces the architecture rules. Its tests read the source in the
// checkout, and fail if the source and ARCHITECTURE.md disagree. The rules are in
// house_rules_test.go, and house_control_test.go shows for each of them that it can fail.
package posthorn_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const modulePath = "github.com/posthorn/posthorn"

// source is one Go file with what the rules need to know about it.
type source struct {
	path  string // slash-separated, relative to the root of the checkout
	test  bool
	set   *token.FileSet
	file  *ast.File
	lines int
	own   bool // belongs to the main module
}

func (s *source) dir() string { return filepath.ToSlash(filepath.Dir(s.path)) }

func (s *source) at(n ast.Node) string {
	return s.set.Position(n.Pos()).String()
}

func parse(path string, text []byte) (*source, error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	return &source{
		path:  path,
		test:  strings.HasSuffix(path, "_test.go"),
		set:   set,
		file:  file,
		lines: strings.Count(string(text), "\n"),
		own:   true,
	}, nil
}

// checkout parses every Go file below the root.
func checkout(t *testing.T) []*source {
	t.Helper()
	var all []*source
	foreign := "" // directory of a nested module
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules") {
				return filepath.SkipDir
			}
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil && path != "." {
				foreign = path
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		s, err := parse(filepath.ToSlash(path), text)
		if err != nil {
			return err
		}
		s.own = foreign == "" || !strings.HasPrefix(path, foreign+string(filepath.Separator))
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("only %d Go files found: the rules look at the wrong place", len(all))
	}
	return all
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func report(t *testing.T, findings []string) {
	t.Helper()
	for _, f := range findings {
		t.Error(f)
	}
}

func TestImportArrows(t *testing.T) {
	arrows, err := readArrows(read(t, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := checkout(t)
	for _, s := range all {
		if s.own && !s.test {
			report(t, arrows.check(s))
		}
	}
	report(t, arrows.stale(all))
}

func TestSiblingsNeverMeet(t *testing.T) {
	arrows, err := readArrows(read(t, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	report(t, arrows.siblings("internal/store", "internal/dispatch", "internal/deliver", "internal/api", "internal/web"))
}

func TestDirectDependenciesAreArgued(t *testing.T) {
	report(t, checkDependencies(read(t, "go.mod"), read(t, "docs/dependencies.md")))
}

func TestPackageNames(t *testing.T) {
	for _, s := range checkout(t) {
		report(t, checkPackageName(s))
	}
}

func TestSizes(t *testing.T) {
	for _, s := range checkout(t) {
		report(t, checkSizes(s))
	}
}

func TestExportedNamesAreExplained(t *testing.T) {
	explained := map[string]bool{} // packages with a package comment
	first := map[string]*source{}
	for _, s := range checkout(t) {
		if s.test || !s.own {
			continue
		}
		report(t, checkDocs(s))
		if first[s.dir()] == nil {
			first[s.dir()] = s
		}
		if s.file.Doc != nil {
			explained[s.dir()] = true
		}
	}
	for dir, s := range first {
		if !explained[dir] {
			t.Errorf("%s: package %s has no package comment", dir, s.file.Name.Name)
		}
	}
}

func TestNoSleepOutsideBubbles(t *testing.T) {
	for _, s := range checkout(t) {
		if s.test {
			report(t, checkSleep(s))
		}
	}
}

// Foreign text reaches a page only with escaping.
func TestNothingSkipsEscaping(t *testing.T) {
	for _, s := range checkout(t) {
		if s.own && !s.test {
			report(t, checkTemplates(s))
		}
	}
}

// Above the engines, no code depends on the database in use. Two files open a store.
func TestNobodyAsksWhichDatabase(t *testing.T) {
	for _, s := range checkout(t) {
		switch s.dir() {
		case "internal/store", "internal/store/unit", "internal/store/upkeep", "internal/store/accounts", "internal/store/alerts", "internal/store/replays", "internal/store/read", "internal/store/directory", "internal/store/batch":
			if !s.test {
				report(t, checkEngineBlind(s, "internal/store/store.go", "internal/store/errors.go"))
			}
		}
	}
}

// netExceptions are the places outside internal/egress and client where product code may
// open connections, each with its reason. A test reports stale entries.
var netExceptions = map[string]string{
	"internal/store/pgtest/cut.go":  "test support: it stands in front of a database that a test started",
	"internal/mail/server.go":       "the mail server is the operator's own, named by an option",
	"internal/importsvix/remote.go": "both servers are the operator's own, named by options of a command; no tenant chooses them",
	"internal/bench/rig.go":         "the load generator talks to the two processes it started itself",
	"internal/bench/reads.go":       "the same: it requests pages like a browser",
	"internal/bench/traffic.go":     "the same: it receives what it published",
}

func TestOneEgress(t *testing.T) {
	used := map[string]bool{}
	for _, s := range checkout(t) {
		if s.test || !s.own || strings.HasPrefix(s.path, "internal/egress/") || strings.HasPrefix(s.path, "client/") {
			continue
		}
		findings := checkEgress(s)
		if netExceptions[s.path] != "" && len(findings) > 0 {
			used[s.path] = true
			continue
		}
		report(t, findings)
	}
	for path := range netExceptions {
		if !used[path] {
			t.Errorf("netExceptions: %s needs no exception any more", path)
		}
	}
}
