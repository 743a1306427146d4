package posthorn_test

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strconv"
	"strings"
)

// Size limits, in lines and methods.
const (
	maxFile      = 600
	maxFunc      = 80
	maxTestFunc  = 150
	maxInterface = 10
)

// stdlibOnly in the second column of the table also forbids other modules.
const stdlibOnly = "standard library only"

// arrows specifies which package may import which, as drawn in ARCHITECTURE.md.
type arrows map[string]arrow

type arrow struct {
	rooms  []string
	stdlib bool
	all    bool
}

// tableAfter returns the rows of the first Markdown table whose header starts with the two
// names.
func tableAfter(text, first, second string) [][]string {
	var rows [][]string
	inside := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			if inside {
				break
			}
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case !inside:
			inside = len(cells) >= 2 && cells[0] == first && cells[1] == second
		case strings.HasPrefix(cells[0], "---"):
		case len(cells) >= 2:
			rows = append(rows, cells)
		}
	}
	return rows
}

func readArrows(text string) (arrows, error) {
	a := arrows{}
	for _, row := range tableAfter(text, "room", "may import") {
		room := strings.Trim(row[0], "`/")
		var w arrow
		for part := range strings.SplitSeq(row[1], ",") {
			switch part = strings.Trim(strings.TrimSpace(part), "`/"); part {
			case "", "nothing of ours":
			case stdlibOnly:
				w.stdlib = true
			case "everything":
				w.all = true
			default:
				w.rooms = append(w.rooms, part)
			}
		}
		if _, twice := a[room]; twice {
			return nil, fmt.Errorf("ARCHITECTURE.md: room %s has two rows", room)
		}
		a[room] = w
	}
	if len(a) == 0 {
		return nil, fmt.Errorf("ARCHITECTURE.md: no table | room | may import |")
	}
	return a, nil
}

// room returns the row for a directory: the longest path that contains it.
func (a arrows) room(dir string) string {
	best := ""
	for room := range a {
		if (dir == room || strings.HasPrefix(dir, room+"/")) && len(room) > len(best) {
			best = room
		}
	}
	return best
}

func (a arrows) check(s *source) []string {
	from := a.room(s.dir())
	if from == "" {
		return []string{fmt.Sprintf("%s: %s is no room of ARCHITECTURE.md", s.path, s.dir())}
	}
	may := a[from]
	var out []string
	for _, imp := range s.file.Imports {
		path, err := strconv.Unquote(imp.Path.Value)
		if err != nil {
			out = append(out, s.at(imp)+": "+err.Error())
			continue
		}
		dir, ours := strings.CutPrefix(path, modulePath+"/")
		if !ours {
			if host, _, _ := strings.Cut(path, "/"); may.stdlib && strings.Contains(host, ".") {
				out = append(out, fmt.Sprintf("%s: %s imports %s, but only the standard library is open to it", s.at(imp), from, path))
			}
			continue
		}
		to := a.room(dir)
		if to == from || may.all || slices.Contains(may.rooms, to) {
			continue
		}
		out = append(out, fmt.Sprintf("%s: the arrow %s -> %s is not in ARCHITECTURE.md", s.at(imp), from, dir))
	}
	return out
}

// stale returns rows and arrow targets that have no package in the checkout.
func (a arrows) stale(all []*source) []string {
	var out []string
	for room, w := range a {
		if !slices.ContainsFunc(all, func(s *source) bool { return s.dir() == room || strings.HasPrefix(s.dir(), room+"/") }) {
			out = append(out, "ARCHITECTURE.md: room "+room+" has no Go file")
		}
		for _, to := range w.rooms {
			if _, known := a[to]; !known {
				out = append(out, fmt.Sprintf("ARCHITECTURE.md: %s may import %s, which is no room", room, to))
			}
		}
	}
	slices.Sort(out)
	return out
}

// siblings reports arrows between packages that only internal/server may connect, even if
// the table allows them.
func (a arrows) siblings(rooms ...string) []string {
	var out []string
	for _, from := range rooms {
		for _, to := range a[from].rooms {
			if slices.Contains(rooms, to) {
				out = append(out, fmt.Sprintf("ARCHITECTURE.md: siblings %s -> %s", from, to))
			}
		}
	}
	return out
}

// checkDependencies compares the direct requirements of go.mod with the allow-list.
func checkDependencies(mod, list string) []string {
	reason := map[string]string{}
	for _, row := range tableAfter(list, "library", "reason") {
		reason[strings.Trim(row[0], "`")] = row[1]
	}
	var out []string
	inRequire := false
	for line := range strings.Lines(mod) {
		line = strings.TrimSpace(line)
		switch {
		case line == "require (":
			inRequire = true
			continue
		case line == ")":
			inRequire = false
		}
		spec, single := strings.CutPrefix(line, "require ")
		if !inRequire && !single || strings.Contains(line, "// indirect") || line == "" {
			continue
		}
		path, _, _ := strings.Cut(spec, " ")
		if why, listed := reason[path]; !listed {
			out = append(out, "go.mod: "+path+" is not on the allow-list of docs/dependencies.md")
		} else if len(why) < 15 {
			out = append(out, "docs/dependencies.md: "+path+" has no reason")
		}
		delete(reason, path)
	}
	for path := range reason {
		out = append(out, "docs/dependencies.md: "+path+" is not required by go.mod")
	}
	slices.Sort(out)
	return out
}

var emptyNames = []string{"util", "utils", "common", "helpers", "helper", "models", "types", "base", "shared", "misc"}

// checkPackageName refuses names that do not describe what a package contains.
func checkPackageName(s *source) []string {
	name := strings.TrimSuffix(s.file.Name.Name, "_test")
	if slices.Contains(emptyNames, name) {
		return []string{s.path + ": package name " + name + " says nothing"}
	}
	return nil
}

func checkSizes(s *source) []string {
	var out []string
	if !s.test && s.lines > maxFile {
		out = append(out, fmt.Sprintf("%s: %d lines, at most %d", s.path, s.lines, maxFile))
	}
	limit := maxFunc
	if s.test {
		limit = maxTestFunc
	}
	for _, d := range s.file.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok {
			if n := s.set.Position(fn.End()).Line - s.set.Position(fn.Pos()).Line + 1; n > limit {
				out = append(out, fmt.Sprintf("%s: function %s has %d lines, at most %d", s.at(fn), fn.Name.Name, n, limit))
			}
		}
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		if i, ok := n.(*ast.InterfaceType); ok && !s.test {
			methods := 0
			for _, f := range i.Methods.List {
				methods += max(len(f.Names), 1)
			}
			if methods > maxInterface {
				out = append(out, fmt.Sprintf("%s: interface with %d methods, at most %d", s.at(i), methods, maxInterface))
			}
		}
		return true
	})
	return out
}

// checkDocs requires a comment on every exported name: functions, methods of exported types,
// types, constants and variables. The comment of a group counts.
func checkDocs(s *source) []string {
	var out []string
	missing := func(n ast.Node, name string) {
		out = append(out, fmt.Sprintf("%s: exported %s has no doc comment", s.at(n), name))
	}
	for _, d := range s.file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) {
				missing(d, d.Name.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					if spec.Name.IsExported() && d.Doc == nil && spec.Doc == nil && spec.Comment == nil {
						missing(spec, spec.Name.Name)
					}
				case *ast.ValueSpec:
					for _, name := range spec.Names {
						if name.IsExported() && d.Doc == nil && spec.Doc == nil && spec.Comment == nil {
							missing(name, name.Name)
						}
					}
				}
			}
		}
	}
	return out
}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	t := d.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return true
		}
	}
}

// named returns the local name under which a file imports a package, or "" if it does not
// import it.
func (s *source) named(path string) string {
	for _, imp := range s.file.Imports {
		if p, _ := strconv.Unquote(imp.Path.Value); p == path {
			if imp.Name != nil {
				return imp.Name.Name
			}
			return path[strings.LastIndex(path, "/")+1:]
		}
	}
	return ""
}

// mentions calls visit for each use of a name of the imported package.
func (s *source) mentions(path string, visit func(sel *ast.SelectorExpr)) {
	local := s.named(path)
	if local == "" {
		return
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == local {
				visit(sel)
			}
		}
		return true
	})
}

// span is a range of source text.
type span struct{ from, to token.Pos }

func (b span) holds(n ast.Node) bool { return b.from <= n.Pos() && n.End() <= b.to }

// bubbles returns the calls of synctest.Test in a file.
func bubbles(s *source) []span {
	var out []span
	s.mentions("testing/synctest", func(sel *ast.SelectorExpr) {
		if sel.Sel.Name != "Test" {
			return
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && call.Fun == sel {
				out = append(out, span{call.Pos(), call.End()})
			}
			return true
		})
	})
	return out
}

// helpersInBubbles returns the spans of a file's tests, and whether all of them run in a
// synctest bubble, either directly or through a function of the file.
func helpersInBubbles(s *source, inBubble []span) (tests []span, all bool) {
	opens := map[string]bool{} // functions that start a bubble
	for _, d := range s.file.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
			body := span{fn.Pos(), fn.End()}
			opens[fn.Name.Name] = slices.ContainsFunc(inBubble, func(b span) bool { return body.from <= b.from && b.to <= body.to })
		}
	}
	all = len(inBubble) > 0
	for _, d := range s.file.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "Test") && !strings.HasPrefix(fn.Name.Name, "Benchmark") && !strings.HasPrefix(fn.Name.Name, "Fuzz") {
			continue
		}
		tests = append(tests, span{fn.Pos(), fn.End()})
		through := opens[fn.Name.Name]
		ast.Inspect(fn, func(n ast.Node) bool {
			if name, ok := n.(*ast.Ident); ok && opens[name.Name] {
				through = true
			}
			return true
		})
		all = all && through
	}
	return tests, all
}

// checkSleep reports time.Sleep outside the function passed to synctest.Test. In a file
// whose tests all run in a bubble, helpers may sleep, too.
func checkSleep(s *source) []string {
	inBubble := bubbles(s)
	tests, helpers := helpersInBubbles(s, inBubble)
	var out []string
	if s.named("time") == "." {
		out = append(out, s.path+": dot import of time hides its names")
	}
	s.mentions("time", func(sel *ast.SelectorExpr) {
		if sel.Sel.Name != "Sleep" || slices.ContainsFunc(inBubble, func(b span) bool { return b.holds(sel) }) {
			return
		}
		if helpers && !slices.ContainsFunc(tests, func(b span) bool { return b.holds(sel) }) {
			return
		}
		out = append(out, s.at(sel)+": time.Sleep outside a synctest bubble")
	})
	return out
}

// outgoing lists, for each package, the names that open connections.
var outgoing = map[string]func(name string) bool{
	"net/http": func(n string) bool {
		return slices.Contains([]string{"Client", "Transport", "Get", "Head", "Post", "PostForm", "DefaultClient", "DefaultTransport"}, n)
	},
	"net":        func(n string) bool { return strings.HasPrefix(n, "Dial") },
	"crypto/tls": func(n string) bool { return strings.HasPrefix(n, "Dial") || n == "Client" },
}

// checkEgress reports every use of a name that can open a connection.
func checkEgress(s *source) []string {
	var out []string
	for path, opens := range outgoing {
		if s.named(path) == "." {
			out = append(out, s.path+": dot import of "+path+" hides its names")
		}
		s.mentions(path, func(sel *ast.SelectorExpr) {
			if opens(sel.Sel.Name) {
				out = append(out, fmt.Sprintf("%s: %s.%s outside internal/egress", s.at(sel), path, sel.Sel.Name))
			}
		})
	}
	slices.Sort(out)
	return out
}

// checkTemplates reports the types of html/template with which text skips escaping. Pages
// are made of escaped text only.
func checkTemplates(s *source) []string {
	var out []string
	if s.named("html/template") == "." {
		out = append(out, s.path+": dot import of html/template hides its names")
	}
	s.mentions("html/template", func(sel *ast.SelectorExpr) {
		if slices.Contains([]string{"HTML", "HTMLAttr", "JS", "JSStr", "CSS", "URL", "Srcset"}, sel.Sel.Name) {
			out = append(out, s.at(sel)+": template."+sel.Sel.Name+" skips escaping")
		}
	})
	s.mentions("text/template", func(sel *ast.SelectorExpr) {
		if strings.HasPrefix(s.path, "internal/web/") {
			out = append(out, s.at(sel)+": text/template does not escape")
		}
	})
	return out
}

// engines are the packages that implement a database engine or depend on one.
var engines = []string{"internal/store/sqlite", "internal/store/postgres", "internal/store/cluster"}

// checkEngineBlind reports code above the engines that depends on which engine is in use: an
// import outside the files that open a store, a type assertion to a type of an engine, and a
// comparison of the engine or the peers with nil. All differences go through the interfaces
// of internal/store/unit/engine.go.
func checkEngineBlind(s *source, opens ...string) []string {
	var out []string
	for _, dir := range engines {
		path := modulePath + "/" + dir
		if s.named(path) != "" && !slices.Contains(opens, s.path) {
			out = append(out, fmt.Sprintf("%s imports %s: only %s may", s.path, dir, strings.Join(opens, ", ")))
		}
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.TypeAssertExpr:
			if n.Type != nil && namesEngine(n.Type) {
				out = append(out, s.at(n)+": a type assertion to an engine")
			}
		case *ast.CaseClause:
			if slices.ContainsFunc(n.List, namesEngine) {
				out = append(out, s.at(n)+": a type switch over engines")
			}
		case *ast.BinaryExpr:
			if (n.Op == token.EQL || n.Op == token.NEQ) && (isNil(n.X) && isEngine(n.Y) || isNil(n.Y) && isEngine(n.X)) {
				out = append(out, s.at(n)+": an engine is compared with nil")
			}
		}
		return true
	})
	return out
}

// namesEngine reports whether an expression uses a type of an engine's package.
func namesEngine(e ast.Expr) bool {
	found := false
	ast.Inspect(e, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if pkg, ok := sel.X.(*ast.Ident); ok && slices.ContainsFunc(engines, func(dir string) bool { return strings.HasSuffix(dir, "/"+pkg.Name) }) {
				found = true
			}
		}
		return true
	})
	return found
}

func isNil(e ast.Expr) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == "nil"
}

func isEngine(e ast.Expr) bool {
	sel, ok := e.(*ast.SelectorExpr)
	return ok && slices.Contains([]string{"engine", "peers", "cluster", "Engine", "Peers"}, sel.Sel.Name)
}
