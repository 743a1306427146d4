package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	const (
		pass  = `{"Action":"pass","Package":"p","Test":"TestA"}` + "\n"
		whole = `{"Action":"pass","Package":"p"}` + "\n"
	)
	cases := []struct {
		name, in, tally string
		ok              bool
		say             string
	}{
		{"good", pass + whole, "1 0\n", true, "1 passed, 0 failed, 0 skipped, 1 packages"},
		{"failed", pass + `{"Action":"output","Package":"p","Test":"TestB","Output":"why it broke\n"}` + "\n" +
			`{"Action":"fail","Package":"p","Test":"TestB"}` + "\n" + `{"Action":"fail","Package":"p"}` + "\n", "1 1\n", false, "why it broke"},
		{"skipped", pass + `{"Action":"skip","Package":"p","Test":"TestB"}` + "\n" + whole, "1 1\n", false, "p TestB skipped"},
		{"package without tests", pass + whole + `{"Action":"skip","Package":"q"}` + "\n", "1 0\n", true, ""},
		{"nothing ran", whole, "0 1\n", false, "no test ran"},
		{"no output", "", "0 1\n", false, "no test ran"},
		{"did not build", `{"ImportPath":"p","Action":"build-output","Output":"undefined: x\n"}` + "\n" +
			`{"ImportPath":"p","Action":"build-fail"}` + "\n" + `{"Action":"fail","Package":"p"}` + "\n" + pass, "1 1\n", false, "undefined: x"},
		{"tool speaks", pass + "go: updates to go.mod needed\n", "1 0\n", true, "updates to go.mod"},
		{"figure", pass + `{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:1: FIGURE 5 of 5\n"}` + "\n", "1 0\n", true, "    5 of 5\n"},
	}
	for _, c := range cases {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			tally := filepath.Join(t.TempDir(), "tally")
			var out strings.Builder
			err := run(strings.NewReader(c.in), io.Writer(&out), "lane", "", tally)
			if (err == nil) != c.ok {
				t.Errorf("error %v, want ok %v", err, c.ok)
			}
			if !strings.Contains(out.String(), c.say) {
				t.Errorf("output %q lacks %q", out.String(), c.say)
			}
			if got, err := os.ReadFile(tally); err != nil || string(got) != c.tally {
				t.Errorf("tally %q (%v), want %q", got, err, c.tally)
			}
		})
	}
}
