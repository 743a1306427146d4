package native_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posthorn/posthorn/internal/hook"
)

// textsOf returns the values of a file's constants whose names begin with the prefix.
func textsOf(t *testing.T, file, prefix string) []string {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	ast.Inspect(tree, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, prefix) {
			return true
		}
		for _, value := range spec.Values {
			if literal, ok := value.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				text, _ := strconv.Unquote(literal.Value) // the parser accepted it
				found[text] = true
			}
		}
		return true
	})
	return slices.Sorted(maps.Keys(found))
}

// The client has a constant for every code, class, kind and state, and no others.
func TestWordsOfTheClient(t *testing.T) {
	const words = "../../../client/words.go"
	if diff := cmp.Diff(textsOf(t, "../../hook/errors.go", "Code"), textsOf(t, words, "Code")); diff != "" {
		t.Errorf("codes: %s", diff)
	}
	classes := slices.DeleteFunc(textsOf(t, "../../hook/class.go", "Class"), func(text string) bool {
		return text == "" || hook.Class(text).Ours() // faults of this machine are not attempts
	})
	if diff := cmp.Diff(classes, textsOf(t, words, "Error")); diff != "" {
		t.Errorf("classes: %s", diff)
	}
	states := textsOf(t, words, "State")
	for _, text := range states {
		if _, known := hook.ParseState(text); !known {
			t.Errorf("%q is no state", text)
		}
	}
	if kinds := textsOf(t, words, "Kind"); len(states) != 5 || len(kinds) != 3 || len(classes) < 15 {
		t.Errorf("%d states, kinds %q, %d classes", len(states), kinds, len(classes))
	}
}
