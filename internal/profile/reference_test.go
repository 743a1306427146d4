package profile_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posthorn/posthorn/internal/profile"
)

const referencePage = "../../docs/profiles.md"

// The committed page matches the loader's tables.
func TestReferencePage(t *testing.T) {
	text := profile.Reference()
	if *update {
		if err := os.WriteFile(referencePage, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile(referencePage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(page), text); diff != "" {
		t.Errorf("the page is stale; run this test with -update:\n%s", diff)
	}
}

// A member that the page calls required is refused if it is missing, and the loader knows
// the names on the page.
func TestReferenceIsWhatTheLoaderDoes(t *testing.T) {
	inFile := false
	required := 0
	for line := range strings.Lines(profile.Reference()) {
		if strings.HasPrefix(line, "### ") {
			inFile = strings.TrimSpace(line) == "### The file"
		}
		cells := strings.Split(line, "|")
		if !inFile || len(cells) < 4 || !strings.HasPrefix(cells[1], " `") {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(cells[1], " `"), "`")
		must := strings.Contains(cells[1], "(required)")
		// A repeated name shows that the loader knows it, because an unknown name is reported
		// first.
		_, err := profile.Load("f", []byte(base+name+": {}\n"))
		if bad, ok := errors.AsType[*profile.FileError](err); ok && strings.Contains(bad.Reason, "unknown name") {
			t.Errorf("the loader does not know %s", name)
		}
		if !must {
			if strings.Contains("\n"+base, "\n"+name+":") {
				t.Errorf("the smallest profile has %s, which is not required", name)
			}
			continue
		}
		required++
		if _, err := profile.Load("f", []byte(withoutMember(base, name))); err == nil || !strings.Contains(err.Error(), name+": is missing") {
			t.Errorf("without %s: %v", name, err)
		}
	}
	if required < 6 {
		t.Errorf("only %d required names found: the test looks at the wrong place", required)
	}
}

// withoutMember removes a top-level member from a file.
func withoutMember(text, name string) string {
	var out strings.Builder
	cutting := false
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, " ") {
			cutting = strings.HasPrefix(line, name+":")
		}
		if !cutting {
			out.WriteString(line)
		}
	}
	return out.String()
}
