package posthorn_test

import (
	"fmt"
	"strings"
	"testing"
)

const controlTable = `
| room | may import |
| --- | --- |
| ` + "`hook`" + ` | standard library only |
| ` + "`store`" + ` | ` + "`hook`" + ` |
| ` + "`api`" + ` | ` + "`hook`, `store`" + ` |
| ` + "`gone`" + ` | ` + "`nowhere`" + ` |
`

// TestRulesCanFail runs every rule on a source that violates it and on one that complies. A
// rule that reports nothing here would not protect the tree either.
func TestRulesCanFail(t *testing.T) {
	table, err := readArrows(controlTable)
	if err != nil {
		t.Fatal(err)
	}
	long := func(n int) string { return strings.Repeat("\t_ = 1\n", n) }
	methods := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "\tM%d()\n", i)
		}
		return b.String()
	}
	rules := []struct {
		name, path, bad, good string
		check                 func(*source) []string
	}{
		{"arrow", "store/a.go", `package a; import _ "` + modulePath + `/api"`, `package a; import _ "` + modulePath + `/hook/x"`, table.check},
		{"room unknown", "attic/a.go", `package a`, ``, table.check},
		{"foreign module in a pure room", "hook/a.go", `package a; import _ "example.com/x"`, `package a; import _ "net/http"`, table.check},
		{"package name", "a/a.go", `package helpers`, `package hook`, checkPackageName},
		{"package name of a test", "a/a_test.go", `package util_test`, `package hook_test`, checkPackageName},
		{"long file", "a/a.go", "package a\n" + strings.Repeat("//\n", 600), "package a\n" + strings.Repeat("//\n", 599), checkSizes},
		{"long function", "a/a.go", "package a\nfunc f() {\n" + long(79) + "}", "package a\nfunc f() {\n" + long(78) + "}", checkSizes},
		{"long method", "a/a.go", "package a\nfunc (t T) f() {\n" + long(79) + "}", ``, checkSizes},
		{"long test", "a/a_test.go", "package a\nfunc f() {\n" + long(149) + "}", "package a\nfunc f() {\n" + long(148) + "}", checkSizes},
		{"wide interface", "a/a.go", "package a\ntype i interface {\n" + methods(11) + "}", "package a\ntype i interface {\n" + methods(10) + "}", checkSizes},
		{"function without doc", "a/a.go", "package a\n\nfunc F() {}", "package a\n\n// F is.\nfunc F() {}\nfunc g() {}", checkDocs},
		{"method without doc", "a/a.go", "package a\n\nfunc (t *T[K]) F() {}", "package a\n\nfunc (t *t) F() {}", checkDocs},
		{"type without doc", "a/a.go", "package a\n\ntype T int", "package a\n\n// T is.\ntype T int", checkDocs},
		{"constant without doc", "a/a.go", "package a\n\nconst (\n\tA = 1\n)", "package a\n\n// The letters.\nconst (\n\tA = 1\n)", checkDocs},
		{"variable without doc", "a/a.go", "package a\n\nvar A, b = 1, 2", "package a\n\nvar A = 1 // A is.\nvar b = 2", checkDocs},
		{"sleep", "a/a_test.go", `package a; import "time"; func f() { time.Sleep(1) }`, `package a; import ("testing/synctest"; "time"); func f() { synctest.Test(nil, func(any) { time.Sleep(1) }) }`, checkSleep},
		{"sleep in a helper", "a/a_test.go", `package a; import ("testing/synctest"; "time"); func TestA() { synctest.Test(nil, nil) }; func TestB() {}; func f() { time.Sleep(1) }`, `package a; import ("testing/synctest"; "time"); func TestA() { synctest.Test(nil, nil) }; func f() { time.Sleep(1) }`, checkSleep},
		{"sleep in a test with a helper's bubble", "a/a_test.go", `package a; import ("testing/synctest"; "time"); func TestA() { b(); time.Sleep(1) }; func b() { synctest.Test(nil, nil) }`, `package a; import ("testing/synctest"; "time"); func TestA() { b() }; func b() { synctest.Test(nil, nil) }; func f() { time.Sleep(1) }`, checkSleep},
		{"sleep in a test beside a bubble", "a/a_test.go", `package a; import ("testing/synctest"; "time"); func TestA() { synctest.Test(nil, nil); time.Sleep(1) }`, ``, checkSleep},
		{"sleep under another name", "a/a_test.go", `package a; import z "time"; var f = z.Sleep`, ``, checkSleep},
		{"http client", "a/a.go", `package a; import "net/http"; var c = &http.Client{}`, `package a; import "net/http"; var c = &http.Server{}`, checkEgress},
		{"http client as a field", "a/a.go", `package a; import h "net/http"; type T struct{ c h.Client }`, ``, checkEgress},
		{"http transport", "a/a.go", `package a; import "net/http"; var c = new(http.Transport)`, ``, checkEgress},
		{"http.Get", "a/a.go", `package a; import "net/http"; var _, _ = http.Get("")`, ``, checkEgress},
		{"http.DefaultClient", "a/a.go", `package a; import "net/http"; var c = http.DefaultClient`, ``, checkEgress},
		{"net.DialTimeout", "a/a.go", `package a; import "net"; var d = net.DialTimeout`, `package a; import "net"; var d = net.Listen`, checkEgress},
		{"net.Dialer", "a/a.go", `package a; import "net"; var d net.Dialer`, ``, checkEgress},
		{"tls.Dial", "a/a.go", `package a; import "crypto/tls"; var d = tls.Dial`, `package a; import "crypto/tls"; var d = tls.NewListener`, checkEgress},
		{"dot import", "a/a.go", `package a; import . "net/http"; var c Client`, ``, checkEgress},
		{"unescaped text", "internal/web/a.go", `package web; import "html/template"; var x = template.HTML("")`, `package web; import "html/template"; var x = template.New("")`, checkTemplates},
		{"unescaped address under another name", "internal/web/a.go", `package web; import h "html/template"; type T struct{ u h.URL }`, ``, checkTemplates},
		{"template of plain text", "internal/web/a.go", `package web; import "text/template"; var x = template.New("")`, ``, checkTemplates},
		{"engine import", "internal/store/a.go", `package store; import "github.com/posthorn/posthorn/internal/store/sqlite"; var d sqlite.DB`, `package store; import "github.com/posthorn/posthorn/internal/store/sqltext"; var d sqltext.Table`, blind},
		{"engine assertion", "internal/store/a.go", `package store; var _, ok = e.(*sqlite.DB)`, `package store; var _, ok = e.(*hook.Error)`, blind},
		{"engine switch", "internal/store/a.go", `package store; func f() { switch e.(type) { case *postgres.Conn: } }`, `package store; func f() { switch e.(type) { case error: } }`, blind},
		{"engine nil", "internal/store/a.go", `package store; func f() bool { return s.peers != nil }`, `package store; func f() bool { return s.opts.Room != nil }`, blind},
	}
	for _, r := range rules {
		t.Run(strings.ReplaceAll(r.name, " ", "_"), func(t *testing.T) {
			bad, err := parse(r.path, []byte(r.bad))
			if err != nil {
				t.Fatal(err)
			}
			if len(r.check(bad)) == 0 {
				t.Errorf("the rule is silent on\n%s", r.bad)
			}
			if r.good == "" {
				return
			}
			good, err := parse(r.path, []byte(r.good))
			if err != nil {
				t.Fatal(err)
			}
			if found := r.check(good); len(found) != 0 {
				t.Errorf("the rule complains about\n%s\n%v", r.good, found)
			}
		})
	}
}

func blind(s *source) []string { return checkEngineBlind(s, "internal/store/store.go") }

func TestTableRulesCanFail(t *testing.T) {
	table, err := readArrows(controlTable)
	if err != nil {
		t.Fatal(err)
	}
	if got := table.siblings("store", "api"); len(got) != 1 {
		t.Errorf("siblings: %v", got)
	}
	present := &source{path: "hook/a.go"}
	if got := table.stale([]*source{present, {path: "store/a.go"}, {path: "api/x/a.go"}}); len(got) != 2 {
		t.Errorf("stale rows: %v", got)
	}
	if _, err := readArrows("| room | may import |\n|---|---|\n| a | b |\n| a | c |\n"); err == nil {
		t.Error("two rows of one room were accepted")
	}
	if _, err := readArrows("no table"); err == nil {
		t.Error("a missing table was accepted")
	}
	list := "| library | reason |\n|---|---|\n| `example.com/a` | it does what nothing else does |\n"
	for mod, want := range map[string]int{
		"require example.com/a v1.0.0\n":                                           0,
		"require (\n\texample.com/a v1.0.0\n\texample.com/i v1.0.0 // indirect\n)": 0,
		"require (\n\texample.com/a v1.0.0\n\texample.com/b v1.0.0\n)":             1,
		"require example.com/b v1.0.0\n":                                           2,
	} {
		if got := checkDependencies(mod, list); len(got) != want {
			t.Errorf("%q: %v, want %d findings", mod, got, want)
		}
	}
	if got := checkDependencies("require example.com/a v1.0.0\n", "| library | reason |\n|---|---|\n| `example.com/a` | x |\n"); len(got) != 1 {
		t.Errorf("an empty reason was accepted: %v", got)
	}
}
